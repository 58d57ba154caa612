"""What drivers say of network interfaces, by the ioctl for ethtool (include/uapi/linux/ethtool.h)."""

from __future__ import annotations

import fcntl
import socket
import struct
from types import TracebackType
from typing import Final, Self

_SIOCETHTOOL: Final = 0x8946  # include/uapi/linux/sockios.h
_GSTRINGS, _GSSET_INFO, _GFEATURES = 0x1B, 0x37, 0x3A
_FEATURES: Final = 4  # ETH_SS_FEATURES
_NAME: Final = 16  # IFNAMSIZ
_STRING: Final = 32  # ETH_GSTRING_LEN
_WORD: Final = 32  # bits of a field of struct ethtool_get_features_block
_MOST: Final = 1024


class Ethtool:
    """One interface, which is asked while the context lasts. Raises OSError where no socket can be had."""

    def __init__(self, name: str) -> None:
        self._name = name.encode("utf-8", "surrogateescape")[: _NAME - 1]
        # Any socket will do.
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._control.close()

    def ask(self, buffer: bytearray) -> bool:
        """Have a request answered in its place. Returns whether it was."""
        try:
            # The request is read and written through the pointer in struct ifreq (netdevice(7)).
            request = struct.pack(f"{_NAME}sP", self._name, _address_of(buffer))
            fcntl.ioctl(self._control, _SIOCETHTOOL, request.ljust(40, b"\0"))
        except (OSError, ValueError):
            return False
        return True

    def feature(self, name: str) -> bool | None:
        """Whether the interface has the feature of this name; None where the kernel knows none of it."""
        names = self._names_of_features()
        if name.encode() not in names:
            return None
        place, words = names.index(name.encode()), -(-len(names) // _WORD)
        blocks = bytearray(struct.pack("II", _GFEATURES, words) + bytes(16 * words))
        if not self.ask(blocks):
            return None
        # Each block has four words: available, requested, active, never_changed.
        (active,) = struct.unpack_from("I", blocks, 8 + 16 * (place // _WORD) + 8)
        return bool(active >> place % _WORD & 1)

    def _names_of_features(self) -> list[bytes]:
        count = bytearray(struct.pack("IIQI", _GSSET_INFO, 0, 1 << _FEATURES, 0))
        if not self.ask(count):
            return []
        (size,) = struct.unpack_from("I", count, 16)
        strings = bytearray(
            struct.pack("III", _GSTRINGS, _FEATURES, size) + bytes(_STRING * min(size, _MOST))
        )
        if size > _MOST or not self.ask(strings):
            return []
        return [bytes(strings[at : at + _STRING]).rstrip(b"\0") for at in range(12, len(strings), _STRING)]


def _address_of(buffer: bytearray) -> int:
    import ctypes  # noqa: PLC0415  # where there is an interface to ask for, and not before

    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
