"""Which of the machine's numbered devices are whose: one test's at a time, whatever namespaces it is in."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from typing import Final, Self

_LOCK: Final = struct.Struct("hhqqi4x")  # struct flock of fcntl(2)
# Nobody else locks bytes of it, it is the same file in all mount namespaces, and nothing of a lock is left.
_FILE: Final = "/dev/null"
_KINDS: Final = ("tty", "veth", "usb")
_RANGE: Final = 1 << 16


class Claim:
    """A number that is ours until it is closed, or our process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others have it. May be called again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def claims(kind: str, numbers: Iterable[int]) -> Iterator[tuple[int, Claim]]:
    """Those of `numbers` that no other test has, each with what holds it."""
    for number in numbers:
        descriptor = os.open(_FILE, os.O_RDWR | os.O_CLOEXEC)
        byte = _KINDS.index(kind) * _RANGE + number
        try:
            # Of the open file, so that two of one process are two owners.
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
        except BlockingIOError:
            os.close(descriptor)
        else:
            yield number, Claim(descriptor)
