"""A udev adapter in an event loop, and everything that it says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from hotplugd.host.udev import Udev
from hotplugd.model.values import Device
from tests.support.lab.wait import PAUSE

T = TypeVar("T")


class Heard:
    """A sink that keeps what it is told: what is there by now, and each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.devices: dict[str, Device] = {}
        self.unprocessed: dict[str, Device] = {}
        self.lost: list[str] = []
        self.on_device: Callable[[Device], None] = lambda _: None

    def device(self, device: Device) -> None:
        self.calls.append(("device", device.syspath))
        self.devices[device.syspath] = device
        self.unprocessed.pop(device.syspath, None)
        self.on_device(device)

    def no_device(self, syspath: str) -> None:
        self.calls.append(("no_device", syspath))
        del self.devices[syspath]

    def listed_devices(self, devices: list[Device], unprocessed: list[Device]) -> None:
        self.calls.append(("listed", ""))
        self.devices = {each.syspath: each for each in devices}
        self.unprocessed = {each.syspath: each for each in unprocessed}
        assert len(self.devices) == len(devices), "a device was listed twice"

    def of(self, syspath: str) -> list[str]:
        """The calls about one device."""
        return [call for call, about in self.calls if about == syspath]

    @property
    def listings(self) -> int:
        """How often all devices were listed."""
        return self.of("").count("listed")


async def until(check: Callable[[], T], deadline: float = 20.0) -> T:
    """As `eventually`, with the loop going on meanwhile."""
    start = time.monotonic()
    while not (answer := check()):
        assert time.monotonic() - start < deadline, f"not within {deadline} s; at last {answer!r}"
        await asyncio.sleep(PAUSE)
    return answer


def with_udev(script: Callable[[Udev, Heard], Awaitable[None]], attrs: Collection[str] = ()) -> None:
    """Run a script with an adapter that has not started. What its callbacks raise fails the test."""
    defects: list[str] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(repr(context)))
        heard = Heard()
        udev = Udev(frozenset(attrs), heard, heard.lost.append)
        try:
            await script(udev, heard)
        finally:
            udev.stop()

    asyncio.run(run())
    assert not defects, defects
