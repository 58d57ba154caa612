"""A CAN adapter with several channels: gs_usb on 1d50:606f, whose interfaces have no addresses."""

from __future__ import annotations

import struct
from typing import Final

from tests.support.phones.gadget import Endpoint, Gadget, Identity, Interface, Speed

_CHANNELS: Final = Interface((0xFF, 0xFF, 0xFF), (Endpoint(0x81), Endpoint(0x02)))
_TO_HOST: Final = 0x80
# drivers/net/can/usb/gs_usb.c: enum gs_usb_breq
_BIT_TIMING: Final = 4
_CONFIGURATION: Final = 5


class CanAdapter:
    """It is there until it is pulled."""

    def __init__(self, channels: int = 2, serial: str | None = "CAN1") -> None:
        self._identity = Identity(
            0x1D50, 0x606F, serial, (_CHANNELS,), "Acme", "CAN adapter", speed=Speed.FULL
        )
        self._channels = channels
        self.returns = False

    def gadget(self) -> Gadget:
        """What it is."""
        return Gadget(self._identity, control=self._control)

    def _control(self, setup: bytes, _: bytes, length: int) -> bytes | None:
        if not setup[0] & _TO_HOST:
            return b""
        answers = {
            # How many channels follow the first, and versions.
            _CONFIGURATION: struct.pack("<4B2I", 0, 0, 0, self._channels - 1, 2, 1),
            # Features, clock, and what segments, jumps and prescalers may be.
            _BIT_TIMING: struct.pack("<10I", 0, 48_000_000, 1, 16, 1, 8, 4, 1, 1024, 1),
        }
        return answers.get(setup[1], b"\0" * length)
