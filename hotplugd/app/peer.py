"""Who is at the other end of the control socket, by the kernel's word (unix(7))."""

from __future__ import annotations

import os
import socket
import struct
from typing import Final, NamedTuple

_CREDENTIALS: Final = struct.Struct("3i")
# <asm-generic/socket.h>; Python's socket has no name for it.
_SO_PEERGROUPS: Final = 59
# The most that getsockopt() of Python takes.
_MOST_BYTES: Final = 1024


class Peer(NamedTuple):
    """The process at the other end, as the kernel has it since it connected.

    gids  its group and its further groups; of more than 256 only the first named
    """

    pid: int
    uid: int
    gids: frozenset[int] = frozenset()

    @property
    def is_root(self) -> bool:
        """Whether it is of root, or of the user who runs this."""
        return self.uid in (0, os.geteuid())

    @classmethod
    def of(cls, channel: socket.socket) -> Peer:
        """Whoever connected. Raises OSError."""
        raw = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, gid = _CREDENTIALS.unpack(raw)
        try:
            groups = channel.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_BYTES)
        except OSError:  # ERANGE: there are more
            groups = b""
        return cls(pid, uid, frozenset({gid, *(each for (each,) in struct.iter_unpack("I", groups))}))
