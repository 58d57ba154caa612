"""The Coral accelerator: a bare loader, until whoever uses it has given it its firmware."""

from __future__ import annotations

from typing import Final

from tests.support.phones.gadget import Endpoint, Gadget, Identity, Interface, Speed

_LOADER: Final = Identity(0x1A6E, 0x089A, None, (Interface((0xFE, 0x01, 0x02)),), None, None)
_READY: Final = Identity(
    0x18D1, 0x9302, None, (Interface((0xFF, 0xFF, 0xFF), (Endpoint(0x81), Endpoint(0x01))),), None, None,
    speed=Speed.HIGH,
)  # fmt: skip
# USB Device Firmware Upgrade 1.1, 3: class request to an interface.
_CLASS_OUT, _DETACH = 0x21, 0


class Accelerator:
    """Comes as a loader each time it is plugged in; a DFU detach makes it leave and come back ready."""

    def __init__(self) -> None:
        self.returns = False
        self._present: Gadget | None = None

    def gadget(self) -> Gadget:
        """What it is at its next enumeration."""
        self._present = Gadget(_READY if self.returns else _LOADER, control=self._control)
        self.returns = False
        return self._present

    def become_ready(self) -> None:
        """Its firmware is there."""
        self.returns = True
        assert self._present is not None, "the accelerator is not plugged in"
        self._present.leave()

    def _control(self, setup: bytes, _: bytes, __: int) -> bytes | None:
        if setup[0] == _CLASS_OUT and setup[1] == _DETACH:
            self.become_ready()
            return b""
        return None
