"""What the kernel has cached of a file, without a request to its file system, which may never answer.

By statx(2) and AT_STATX_DONT_SYNC: for a file system that a process serves, that is its last answer.
Imports the standard library alone, since our helper programs use it.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from typing import Final, Literal, NamedTuple

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
# linux/stat.h: of struct statx the attributes, the owner, the mode, which device it is, and which it is on.
_STATX: Final = struct.Struct("=8xQ4xIIH98xIIII112x")
_DONT_SYNC: Final = 0x4000  # linux/fcntl.h
_EMPTY_PATH: Final = 0x1000
_MOUNT_ROOT: Final = 0x2000


class InodeStatus(NamedTuple):
    """mode as in stat(2). is_mounted: whether it is what is mounted where it was opened.

    number, on  the device that it is, and the one that it is on, as major and minor number
    """

    is_mounted: bool
    uid: int
    gid: int
    mode: int
    number: tuple[int, int]
    on: tuple[int, int]

    @property
    def kind(self) -> Literal["char", "block"] | None:
        """The type of the device node; None for other files."""
        if stat.S_ISCHR(self.mode):
            return "char"
        return "block" if stat.S_ISBLK(self.mode) else None

    @property
    def is_sealed(self) -> bool:
        """Whether only the host's root can open it."""
        return (self.uid, self.gid, stat.S_IMODE(self.mode)) == (0, 0, 0)


def new_room() -> ctypes.Array[ctypes.c_char]:
    """A buffer for the answer, which a caller with many questions uses again."""
    return ctypes.create_string_buffer(_STATX.size)


def status_of(
    descriptor: int, name: str = "", room: ctypes.Array[ctypes.c_char] | None = None
) -> InodeStatus:
    """The status of a descriptor's file, or of the file of that name in its folder. Raises OSError."""
    room = room if room is not None else new_room()
    flags = _DONT_SYNC if name else _DONT_SYNC | _EMPTY_PATH
    if _LIBC.statx(descriptor, name.encode("utf-8", "surrogateescape"), flags, 0, room) != 0:
        raise _error()
    attributes, uid, gid, mode, *numbers = _STATX.unpack_from(room)
    major, minor, *on = numbers
    return InodeStatus(attributes & _MOUNT_ROOT != 0, uid, gid, mode, (major, minor), (on[0], on[1]))


def file_system(descriptor: int) -> int:
    """The type of the file system (statfs(2)), which may have to answer itself. Raises OSError."""
    found = (ctypes.c_long * 32)()
    if _LIBC.fstatfs(descriptor, found) != 0:
        raise _error()
    return found[0]


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
