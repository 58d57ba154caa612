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
from hotplugd.rules.hubs import NO_HUBS


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
