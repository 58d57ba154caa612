"""A serial cable: an FT232R with nothing at its other end, which gives back what is written to it."""

from __future__ import annotations

from typing import Final

from tests.support.phones.gadget import Endpoint, Gadget, Identity, Interface, Speed

_SERIAL: Final = Interface((0xFF, 0xFF, 0xFF), (Endpoint(0x81), Endpoint(0x02)))
# Before all data: clear to send, data set ready, carrier; transmitter empty (drivers/usb/serial/ftdi_sio.h).
_STATUS: Final = b"\xb1\x60"
_TO_HOST: Final = 0x80
_GET_STATUS, _GET_LATENCY = 5, 10


class Cable:
    """It is there until it is pulled."""

    def __init__(self, serial: str | None = "A50285BI") -> None:
        self._identity = Identity(
            0x0403, 0x6001, serial, (_SERIAL,), "FTDI", "FT232R USB UART", 0x0600, Speed.FULL
        )
        self.returns = False

    def gadget(self) -> Gadget:
        """What it is."""
        gadget = Gadget(self._identity, control=_control)
        gadget.outs = {2: lambda data: gadget.send(1, _STATUS + data)}
        return gadget


def _control(setup: bytes, _: bytes, length: int) -> bytes:
    """The chip's own requests: settings are taken, questions answered."""
    if not setup[0] & _TO_HOST:
        return b""
    return {_GET_STATUS: _STATUS, _GET_LATENCY: b"\x10"}.get(setup[1], b"\xff" * length)
