"""Which messages of the kernel's say that a USB device was plugged in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from hotplugd.host.early import Early
from hotplugd.host.udev import Udev
from hotplugd.host.uevent import Event
from tests.kernel.udev.bench import Heard


@dataclass
class Message:
    """As pyudev has it; `_libudev` gives properties as bytes."""

    action: str = "add"
    subsystem: str = "usb"
    said: Mapping[bytes, bytes] = field(default_factory=dict)
    sys_path: str = "/sys/devices/none/usb1/1-4"
    sequence_number: int = 20

    @property
    def _libudev(self) -> Message:
        return self

    def udev_device_get_property_value(self, _: Message, name: bytes) -> bytes | None:
        return self.said.get(name)


class Plugs(Early):
    """Keeps what was plugged in."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def plugged(self, event: Event) -> None:
        self.heard.append(event)

    def stop(self) -> None:
        """Nothing is read."""


DEVICE = {b"DEVTYPE": b"usb_device"}


def plugged(message: Message, source: str) -> list[int]:
    """The numbers of the events that are plugs."""

    async def hear() -> list[int]:
        udev: Any = Udev(frozenset(), Heard(), lambda _: None)
        udev._early = plugs = Plugs()
        udev._hear(message, source)
        udev.stop()
        return [each.sequence for each in plugs.heard]

    return asyncio.run(hear())


def test_the_kernels_own_add_of_a_usb_device_is_a_plug() -> None:
    assert plugged(Message(said=DEVICE), "kernel") == [20]


@pytest.mark.parametrize(
    ("message", "source"),
    [
        (Message(said=DEVICE), "udev"),
        *(
            (Message(action, said=DEVICE), "kernel")
            for action in ("change", "bind", "move", "remove", "online")
        ),
        # Somebody wrote `add` into the device's `uevent`: with an id, or without one (the kernel says 0).
        (Message(said={**DEVICE, b"SYNTH_UUID": b"0"}), "kernel"),
        (Message(said={**DEVICE, b"SYNTH_UUID": b"8d2ac4a6-1d5c-4b0e-8f3a-3a4b5c6d7e8f"}), "kernel"),
        (Message(said={b"DEVTYPE": b"usb_interface"}), "kernel"),
        (Message(), "kernel"),
        (Message(subsystem="tty", said=DEVICE), "kernel"),
    ],
)
def test_no_other_is(message: Message, source: str) -> None:
    assert plugged(message, source) == []
