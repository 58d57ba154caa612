"""A camera that says of itself what it likes: udevd's `v4l_id` prints its name as it is."""

from __future__ import annotations

import struct
from typing import Final

from tests.support.phones.gadget import Gadget, Identity

# What the kernel keeps of a name: include/uapi/linux/videodev2.h, v4l2_capability.card.
LONGEST_NAME: Final = 31
_TO_HOST: Final = 0x80
_SIZE: Final = 16 * 16 * 2
_YUY2: Final = bytes.fromhex("5955593200001000800000aa00389b71")
# How it would stream (USB Video Class 1.0, 4.3.1.1): the first format, the first frame, 30 a second.
_PROBE: Final = struct.pack("<HBBI5H2I", 0, 1, 1, 333_333, 0, 0, 0, 0, 0, _SIZE, 512)


def _class_specific(subtype: int, body: bytes) -> bytes:
    return struct.pack("<BBB", 3 + len(body), 0x24, subtype) + body


def _interface(number: int, endpoints: int, subclass: int) -> bytes:
    return struct.pack("<9B", 9, 4, number, 0, endpoints, 14, subclass, 0, 0)


def _configuration() -> bytes:
    """A lens, and a stream of one format and one size (USB Video Class 1.0, 3.7 and 3.9)."""
    lens = _class_specific(2, struct.pack("<BHBB3HBH", 1, 0x0201, 0, 0, 0, 0, 0, 2, 0))
    stream = _class_specific(3, struct.pack("<BHBBB", 2, 0x0101, 0, 1, 0))
    control = _class_specific(1, struct.pack("<HHIBB", 0x0100, 13 + len(lens + stream), 6_000_000, 1, 1))
    layout = _class_specific(4, struct.pack("<BB16s6B", 1, 1, _YUY2, 16, 1, 0, 0, 0, 0))
    frame = _class_specific(5, struct.pack("<BBHH4IBI", 1, 0, 16, 16, 1, 1, _SIZE, 333_333, 1, 333_333))
    size = 14 + len(layout + frame)
    head = _class_specific(1, struct.pack("<BHBBBBBBB", 1, size, 0x81, 0, 2, 0, 0, 0, 1) + b"\0")
    endpoint = struct.pack("<BBBBHB", 7, 5, 0x81, 2, 512, 0)
    together = struct.pack("<8B", 8, 11, 0, 2, 14, 3, 0, 0)
    body = together + _interface(0, 0, 1) + control + lens + stream
    body += _interface(1, 1, 2) + head + layout + frame + endpoint
    return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 2, 1, 0, 0x80, 50) + body


class Camera:
    """It is there until it is pulled."""

    def __init__(self, product: str, serial: str | None = None) -> None:
        self._identity = Identity(
            0x1209, 0x0002, serial, (), None, product, configurations=(_configuration(),)
        )
        self.returns = False

    def gadget(self) -> Gadget:
        """What it is; it takes all settings, and has one way to stream."""
        return Gadget(self._identity, control=self._control)

    def _control(self, setup: bytes, _: bytes, length: int) -> bytes:
        return _PROBE[:length] if setup[0] & _TO_HOST else b""
