"""A process that can open nothing more, or has room for next to no uevents."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count, islice
from pathlib import Path
from typing import Final

_PIDFD_GETFD: Final = 438  # pidfd_getfd(2), the same number on every architecture
_UEVENTS: Final = "15"  # linux/netlink.h: NETLINK_KOBJECT_UEVENT


@contextmanager
def no_more_descriptors(pid: int | None = None, but: int = 0) -> Iterator[None]:
    """The process, ours where none is named, can open nothing meanwhile, but for so many at a time."""
    pid = pid or os.getpid()
    folder = f"/proc/{pid}/fd"
    # Ours had the listing itself open.
    taken = {int(each) for each in os.listdir(folder) if os.path.lexists(f"{folder}/{each}")}
    first = next(islice((number for number in count() if number not in taken), but, None))
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (first, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it has ended over it
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def shrink(pid: int) -> int:
    """From now on each such socket of the process has room for a uevent or two. Returns how many it has."""
    libc = ctypes.CDLL(None, use_errno=True)
    rows = [line.split() for line in Path("/proc/net/netlink").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[1] == _UEVENTS}
    found = [
        int(each)
        for each in os.listdir(f"/proc/{pid}/fd")
        if os.readlink(f"/proc/{pid}/fd/{each}") in sockets
    ]
    process = os.pidfd_open(pid)
    try:
        for descriptor in found:
            same = libc.syscall(_PIDFD_GETFD, process, descriptor, 0)
            assert same >= 0, os.strerror(ctypes.get_errno())
            with socket.socket(fileno=same) as uevents:
                uevents.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    finally:
        os.close(process)
    return len(found)
