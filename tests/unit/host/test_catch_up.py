"""All that the kernel has announced counts before what was read, however much it is."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from hotplugd.host import sysfs
from hotplugd.host.udev import Udev
from hotplugd.model.values import Device

MANY = 500
PHONE = "/sys/devices/none/usb1/1-4"


class Sink:
    """Hears nothing: there are no devices."""

    def device(self, device: Device) -> None:
        """No test plugs one in."""

    def no_device(self, syspath: str) -> None:
        """None goes."""

    def listed_devices(self, devices: list[Device], unprocessed: list[Device]) -> None:
        """None is listed."""


class Socket:
    """The kernel's uevent socket with removals in it, the last of them a phone's. answer: what it raises"""

    def __init__(self, answer: Exception | None = None) -> None:
        self.left = [*(f"{PHONE}:1.{number}" for number in range(1, MANY)), PHONE]
        self._answer = answer

    def fileno(self) -> int:
        """One that the loop does not wait for."""
        return 0

    def _receive_device(self) -> Any:
        if not self.left:
            return None
        if self._answer is not None:
            raise self._answer
        return SimpleNamespace(
            sys_path=self.left.pop(0), action="remove", sequence_number=MANY - len(self.left), subsystem="usb"
        )


def heard(socket: Socket) -> Udev:
    """Someone who reads a phone, and then has all heard that this socket has."""
    udev = Udev(frozenset(), Sink(), lambda _: None)
    udev._monitors = [socket]
    udev._present.plugs.read(PHONE, 1)
    udev._hear_kernel()
    return udev


def is_read(udev: Udev) -> bool:
    return PHONE in udev._present.plugs


def test_all_removals_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysfs, "sequence_now", lambda: MANY)

    async def script() -> None:
        socket = Socket()
        udev = heard(socket)
        udev._present.stop()
        assert (socket.left, is_read(udev)) == ([], False)

    asyncio.run(script())


def test_what_the_kernel_says_afterwards_does_not_hold_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysfs, "sequence_now", lambda: 3)

    async def script() -> None:
        socket = Socket()
        heard(socket)._present.stop()
        assert 0 < len(socket.left) < MANY

    asyncio.run(script())


@pytest.mark.parametrize("error", [ValueError("cut short"), OSError("no room")])
def test_where_it_cannot_be_heard_nothing_is_taken_for_what_was_announced(error: Exception) -> None:
    async def script() -> None:
        udev = heard(Socket(error))
        assert not is_read(udev)
        udev._monitors = []
        udev.stop()

    asyncio.run(script())
