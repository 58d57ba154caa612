"""The lock of the one hotplugd on a host that leases devices of pools.

Two daemons that serve two servers each know the leases of their own alone: with pools both would give the
same device to somebody. So the lock's file names the server whose instances may have leased devices, for as
long as they may, also while no hotplugd looks after that server. A boot takes the file away, as it does the
devices.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from hotplugd.host.server_lock import file_id
from hotplugd.model.entry import SLOTS
from hotplugd.model.text import quoted

_FILE: Final = ".pools"
POOL_LOCK: Final = f"{SLOTS}/{_FILE}"

# Bytes of the file that a reader takes: the path of a socket has 108 (unix(7)).
_LONGEST: Final = 512


class PoolLock:
    """A lock that is the kernel's: it goes with the process that has it. The server's name in its file stays.

    server   the address of the server that has it, or whose instances may have leased devices, when this one
             was refused; empty where that is not known
    process  the process that has it then; empty where none has it
    """

    def __init__(self, server: str) -> None:
        """server: the address of the one that this hotplugd looks after."""
        self.server = self.process = ""
        self._own = server
        self._descriptor = -1

    def take(self) -> bool:
        """Have the lock from now on. Returns whether that is so: it may be another server's.

        Raises OSError where /dev cannot be written.
        """
        if self._descriptor >= 0:
            return True
        Path(SLOTS).mkdir(mode=0o755, exist_ok=True)
        descriptor = os.open(POOL_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if not self._is_free(descriptor):
                return False
            self._descriptor, descriptor = descriptor, -1
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        self._say(f"{self._own}\n{os.getpid()}\n")
        return True

    def release(self, *, has_leased: bool) -> None:
        """Have it no more. The file stays: who opens it at this moment would lock one that is gone.

        has_leased  whether an instance of the server may have a leased device yet: nobody else's has then
        """
        if self._descriptor >= 0:
            self._say(f"{self._own}\n" if has_leased else "")
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1

    def forget(self) -> None:
        """No instance of the server has leased devices any more. Another's is not touched.

        Raises OSError where the file cannot be read.
        """
        with suppress(FileNotFoundError):
            if _read(POOL_LOCK)[0] and self.take():
                self.release(has_leased=False)

    def _is_free(self, descriptor: int) -> bool:
        """Lock the file. Returns whether it is locked, and no other server's."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        except BlockingIOError:
            locked = False
        server, process = _read(descriptor)
        self.server, self.process = quoted(server), "" if locked else quoted(process)
        return locked and (not server or file_id(server) == file_id(self._own))

    def _say(self, text: str) -> None:
        """Have the file say this. Where /dev is full it says nothing, and the lock is good while it lasts."""
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text.encode("utf-8", "surrogateescape"), 0)


def _read(file: str | int) -> tuple[str, str]:
    """The server that a lock's file names, and the process; each may be empty. Raises OSError."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW) if isinstance(file, str) else file
    try:
        text = os.pread(descriptor, _LONGEST, 0).decode("utf-8", "surrogateescape")
    finally:
        if descriptor != file:
            os.close(descriptor)
    server, process, *_ = (*text.split("\n"), "", "")
    return server, process
