"""A device that says whatever it likes of itself: descriptors that hide a keyboard, or that it is a hub."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tests.support.phones.gadget import Control, Gadget, Identity

Triple = tuple[int, int, int]

KEYBOARD: Triple = (3, 1, 1)
ADB: Triple = (0xFF, 0x42, 1)
# A keyboard's only endpoint, and what HID puts before it.
_HID = bytes((9, 0x21, 0x11, 1, 0, 1, 0x22, 63, 0))
_INTERRUPT = bytes((7, 5, 0x81, 3, 8, 0, 10))


def interface(triple: Triple, number: int = 0, alternate: int = 0) -> bytes:
    """An interface's descriptor, in one alternate setting, with what belongs to it."""
    rest = _HID + _INTERRUPT if triple[0] == 3 else _INTERRUPT if triple[0] == 9 else b""
    endpoints = 1 if rest else 0
    return struct.pack("<9B", 9, 4, number, alternate, endpoints, *triple, 0) + rest


def padding(count: int) -> bytes:
    """So many bytes of descriptors of the vendor's own, which mean nothing."""
    whole, rest = divmod(count, 250)
    sizes = [250] * whole + ([rest] if rest else [])
    return b"".join(bytes((size, 0xFF)).ljust(size, b"\0") for size in sizes)


def configuration(parts: Sequence[bytes], interfaces: int = 1, value: int = 1, length: int = 0) -> bytes:
    """A configuration of these parts. length: what it says that it has, if not what it has."""
    body = b"".join(parts)
    head = struct.pack("<BBHBBBBB", 9, 2, length or 9 + len(body), interfaces, value, 0, 0x80, 50)
    return head + body


def device(configurations: int = 1, vendor: int = 0x1209, product: int = 0x0001) -> bytes:
    """A device's descriptor."""
    return struct.pack(
        "<BBHBBBBHHHBBBB", 18, 1, 0x200, 0, 0, 0, 64, vendor, product, 0x100, 0, 0, 0, configurations
    )


def settings(count: int) -> list[bytes]:
    """So many alternate settings of the first interface, each of another class; the first is adb."""
    return [interface(ADB)] + [interface((0xFF, 0x80, each), 0, each) for each in range(1, count)]


# What hides a keyboard from udev, which keeps 72 different interfaces of the first page (systemd 252).
HIDDEN: dict[str, tuple[bytes, ...]] = {
    "90 alternate settings": (configuration([*settings(90), interface(KEYBOARD, 1)], 2),),
    "more than a page": (configuration([interface(ADB), padding(5000), interface(KEYBOARD, 1)], 2),),
    "an empty descriptor": (configuration([interface(ADB), b"\2\xff", interface(KEYBOARD, 1)], 2),),
    "another configuration": (
        configuration([interface(ADB), padding(5000)]),
        configuration([interface(KEYBOARD)], value=2),
    ),
    "a length that is no length": (
        configuration([interface(ADB), padding(5000), interface(KEYBOARD, 1)], 2, length=65535),
    ),
}
# Of this the kernel itself shows no more than the first 64 KiB.
TOO_MUCH = (
    configuration([interface(ADB), padding(40_000)]),
    configuration([padding(40_000), interface(KEYBOARD)], value=2),
)


class Stranger:
    """It is there until it is pulled."""

    def __init__(
        self,
        configurations: tuple[bytes, ...],
        *,
        vendor_id: int = 0x1209,
        product_id: int = 0x0001,
        serial: str = "AAA1",
        control: Control = lambda _setup, _data, _length: None,
    ) -> None:
        self._identity = Identity(vendor_id, product_id, serial, (), configurations=configurations)
        self._control = control
        self.returns = False

    def gadget(self) -> Gadget:
        """What it is."""
        return Gadget(self._identity, control=self._control)
