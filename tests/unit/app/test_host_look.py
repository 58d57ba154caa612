"""What the host is looked at for, where a look does not end."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
import structlog

from hotplugd.aio.threads import Threads
from hotplugd.app import host_look
from hotplugd.app.host_look import HostLook
from hotplugd.app.host_problems import HostProblems
from hotplugd.host.usb_signs import UsbSigns
from hotplugd.reconcile.hold_off import CALM
from hotplugd.rules.hubs import NO_HUBS
from tests.support.virtual import in_virtual_time
from tests.unit.reconcile.bench import Bench


def test_a_usb_device_that_hangs_keeps_one_thread_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ends, begun = threading.Event(), list[None]()

    def hangs() -> UsbSigns:
        begun.append(None)
        ends.wait(30)
        return UsbSigns({"1-1": 2})

    async def test() -> None:
        look = HostLook(Threads(), tmp_path / "roots", tmp_path / "usb")
        told = HostProblems(structlog.get_logger())
        for _ in range(3):
            await look.look_at_usb(told, {}, NO_HUBS)
        assert len(begun) == 1
        ends.set()
        async with asyncio.timeout(30):
            while len(begun) == 1:
                await look.look_at_usb(told, {}, NO_HUBS)
        look.stop()

    monkeypatch.setattr(host_look, "usb_signs", hangs)
    monkeypatch.setattr(host_look, "_FILE", 0.05)
    asyncio.run(test())


def test_usb_ports_are_looked_at_as_soon_as_a_hub_tells_of_over_current(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looks: list[float] = []

    @in_virtual_time
    async def test() -> None:
        loop = asyncio.get_running_loop()
        look = HostLook(Threads(), tmp_path / "roots", tmp_path / "usb")

        async def looked(*_: object) -> None:
            looks.append(loop.time() - begun)

        monkeypatch.setattr(look, "look_at_usb", looked)
        begun, known = loop.time(), Bench().reconciler.inventory
        told = HostProblems(structlog.get_logger())
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(look.watch_usb(told, known, lambda: NO_HUBS))
            await asyncio.sleep(3)
            look.over_current()
            await asyncio.sleep(0.5)
            # More of them in a moment are one look.
            look.over_current()
            look.over_current()
            await asyncio.sleep(CALM + 3)
            watch.cancel()
        look.stop()

    test()
    assert looks == [0, 3, 4, 4 + CALM]
