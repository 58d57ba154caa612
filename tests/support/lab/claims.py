"""What of the machine is whose: one test's at a time, whatever processes and namespaces the tests are in."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from typing import Final, Self

_LOCK: Final = struct.Struct("hhqqi4x")  # struct flock of fcntl(2)
# Nobody else locks bytes of it, it is the same file in all mount namespaces, and nothing of a lock is left.
_FILE: Final = "/dev/null"
_KINDS: Final = ("tty", "veth", "usb", "machine", "udevd", "pools")
_RANGE: Final = 1 << 16


class Claim:
    """A number of something that is ours until it is closed, or our process ends."""

    def __init__(self, descriptor: int, kind: str, number: int) -> None:
        self._descriptor = descriptor
        self._kind = kind
        self._number = number

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def make_sole(self) -> bool:
        """Share it with nobody from now on. Returns False, and shares it as before, where others have it."""
        try:
            _lock(self._descriptor, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, self._kind, self._number)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let others have it. May be called again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def claims(kind: str, numbers: Iterable[int]) -> Iterator[tuple[int, Claim]]:
    """Those of `numbers` that no other test has, each with what holds it."""
    for number in numbers:
        descriptor = os.open(_FILE, os.O_RDWR | os.O_CLOEXEC)
        try:
            _lock(descriptor, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, kind, number)
        except BlockingIOError:
            os.close(descriptor)
        else:
            yield number, Claim(descriptor, kind, number)


def claim(kind: str, number: int, *, shared: bool = False) -> Claim:
    """This number, once no other test has it; where it is shared, once no other test has it alone."""
    descriptor = os.open(_FILE, os.O_RDWR | os.O_CLOEXEC)
    try:
        _lock(descriptor, fcntl.F_OFD_SETLKW, fcntl.F_RDLCK if shared else fcntl.F_WRLCK, kind, number)
    except BaseException:
        os.close(descriptor)
        raise
    return Claim(descriptor, kind, number)


def in_turn(kind: str, number: int, *, alone: bool) -> Claim:
    """This number, alone or beside other tests that do not want it alone, once it is our turn.

    Tests get it in the order in which they ask: those that share it never keep one waiting for good.
    The number behind it is taken, too.
    """
    with claim(kind, number + 1):
        return claim(kind, number, shared=not alone)


def _lock(descriptor: int, command: int, lock: int, kind: str, number: int) -> None:
    """Lock one byte. The lock is the open file's, so that two of one process are two owners."""
    byte = _KINDS.index(kind) * _RANGE + number
    fcntl.fcntl(descriptor, command, _LOCK.pack(lock, os.SEEK_SET, byte, 1, 0))
