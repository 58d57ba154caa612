"""A keyboard that says of itself what it likes: its product name goes into sysfs as it is."""

from __future__ import annotations

import struct
from typing import Final

from tests.support.phones.gadget import Endpoint, Gadget, Identity, Interface

# One byte of modifier keys (HID 1.11, appendix E.6).
_REPORTS: Final = bytes.fromhex("05010906a101050719e029e715002501750195088102c0")
_HID, _REPORT = 0x21, 0x22
_INTERFACE: Final = Interface((3, 0, 0), (Endpoint(0x81, 3),))


class _Identity(Identity):
    """With the descriptor of its class between its interface's and its endpoint's (HID 1.11, 6.2.1)."""

    def configuration(self, index: int = 0) -> bytes | None:
        whole = super().configuration(index)
        if whole is None:
            return None
        at = 9 + 9
        body = (
            whole[9:at] + struct.pack("<BBHBBBH", 9, _HID, 0x0111, 0, 1, _REPORT, len(_REPORTS)) + whole[at:]
        )
        return whole[:2] + struct.pack("<H", 9 + len(body)) + whole[4:9] + body


class _Gadget(Gadget):
    def _descriptor(self, kind: int, index: int) -> bytes | None:
        return _REPORTS if kind == _REPORT else super()._descriptor(kind, index)


class Keyboard:
    """It is there until it is pulled."""

    def __init__(
        self, product: str, serial: str | None = None, ids: tuple[int, int] = (0x1209, 0x0001)
    ) -> None:
        self._identity = _Identity(*ids, serial, (_INTERFACE,), None, product)
        self.returns = False

    def gadget(self) -> Gadget:
        """What it is; requests of its class are settings, and are taken."""
        return _Gadget(self._identity, control=lambda _setup, _data, _length: b"")
