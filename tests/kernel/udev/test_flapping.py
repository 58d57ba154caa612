"""Real devices that come and go all the time, and that change all the time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hotplugd.host.udev import Udev
from hotplugd.model.values import Device
from hotplugd.reconcile import hold_off
from hotplugd.reconcile.hold_off import HoldOff, plug_of
from tests.kernel.udev.bench import Heard, until, with_udev
from tests.support.lab.kernel import Console
from tests.support.lab.udevd import settle

pytestmark = pytest.mark.usefixtures("root", "udevd")

_MOST = 5


class Gate:
    """Holds off what is plugged more often than `_MOST` times. Counts what was read."""

    def __init__(self) -> None:
        self.holdoff = HoldOff(_MOST)
        self.read: list[str] = []

    def heard(self, syspath: str, now: float, *, plugged: bool) -> float:
        return self.holdoff.heard(syspath, now, plugged=plugged)

    def plugged(self, device: Device, now: float) -> float:
        self.read.append(device.syspath)
        hold = self.holdoff.plugged(plug_of(device), now)
        return hold.until if hold is not None else now

    def plugs(self, console: Console) -> int:
        """How often it was plugged in, once it was held off."""
        return next((each.count for each in self.holdoff.holds(0) if each.place == console.syspath), 0)

    def gone(self, syspath: str) -> None:
        self.holdoff.gone(syspath)


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> float:
    """A calm that is not waited for long."""
    monkeypatch.setattr(hold_off, "CALM", 1.0)
    return 1.0


@contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """Do this again and again, in a thread."""
    stop = threading.Event()

    def again() -> None:
        while not stop.is_set():
            work()

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def flap(console: Console) -> None:
    console.plug()
    time.sleep(0.02)
    console.unplug()
    time.sleep(0.02)


def run(script: Callable[[Udev, Heard, Gate], Awaitable[None]]) -> None:
    gate = Gate()

    async def body(_: Udev, heard: Heard) -> None:
        udev = Udev(frozenset(), heard, heard.lost.append, gate=gate)
        udev.start()
        try:
            await script(udev, heard, gate)
        finally:
            udev.stop()

    with_udev(body)


@pytest.mark.usefixtures("calm")
def test_a_device_that_flaps_is_told_of_so_often_and_read_no_more_and_is_there_once_it_is_calm(
    console: Console,
) -> None:
    async def script(_: Udev, heard: Heard, gate: Gate) -> None:
        with beside(lambda: flap(console)):
            await until(lambda: gate.plugs(console) > 30)
        await until(lambda: console.syspath not in heard.devices)
        told = heard.of(console.syspath)
        assert told.count("device") <= _MOST
        assert told.count("no_device") == told.count("device")
        assert gate.read.count(console.syspath) <= _MOST + 1
        console.plug()
        await until(lambda: console.syspath in heard.devices)
        console.unplug()
        await until(lambda: console.syspath not in heard.devices)

    run(script)


@pytest.mark.usefixtures("calm")
def test_what_is_held_off_is_not_listed_either(console: Console) -> None:
    async def script(udev: Udev, heard: Heard, gate: Gate) -> None:
        while not gate.plugs(console):
            console.unplug()
            console.plug()
            settle()
            await asyncio.sleep(0.01)
        udev.refresh()
        assert console.syspath not in heard.devices
        assert console.syspath not in heard.unprocessed
        await until(lambda: console.syspath in heard.devices)

    run(script)


@pytest.mark.usefixtures("calm")
def test_a_flap_that_ends_with_a_pull_ends_with_nothing(console: Console) -> None:
    async def script(udev: Udev, heard: Heard, gate: Gate) -> None:
        with beside(lambda: flap(console)):
            await until(lambda: gate.plugs(console))
        settle()
        now = asyncio.get_running_loop().time
        await until(lambda: gate.holdoff.holds(now()) == [])
        udev.refresh()
        assert console.syspath not in heard.devices

    run(script)


@pytest.mark.usefixtures("calm")
def test_other_devices_do_not_wait(console: Console, consoles: Callable[[int], list[Console]]) -> None:
    async def script(_: Udev, heard: Heard, gate: Gate) -> None:
        others = consoles(6)
        with beside(lambda: flap(console)):
            await until(lambda: gate.plugs(console))
            for other in others:
                other.plug()
                await until(lambda each=other: each.syspath in heard.devices, 5)  # type: ignore[misc]

    run(script)


@pytest.mark.alone
def test_a_device_that_changes_all_the_time_is_read_now_and_then_and_at_last(console: Console) -> None:
    async def script(_: Udev, heard: Heard, gate: Gate) -> None:
        console.plug()
        await until(lambda: console.syspath in heard.devices)
        before, begun = len(gate.read), time.monotonic()
        for number in range(300):
            (Path(console.syspath) / "uevent").write_text(
                f"change 12345678-1234-1234-1234-123456789abc NUMBER={number}"
            )
        settle()  # in the loop's thread: all of it is heard after this
        while_told = len(gate.read)
        await until(lambda: len(gate.read) > while_told)
        took = time.monotonic() - begun
        assert len(gate.read) - before <= 25 + 2 * took
        console.unplug()
        await until(lambda: console.syspath not in heard.devices)

    run(script)
