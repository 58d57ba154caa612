"""The lock of the one hotplugd on a host that leases devices of pools.

Two daemons that serve two servers each know the leases of their own alone: with pools both would give the
same device to somebody.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from hotplugd.model.entry import SLOTS
from hotplugd.model.text import quoted

_FILE: Final = ".pools"


# Bytes of what the holder says of itself, which a reader takes.
_LONGEST: Final = 4096


class PoolLock:
    """A lock that is the kernel's: it goes with the process that has it.

    holder  who had it when it was refused: its process, and the server that it looks after; or empty
    """

    def __init__(self, server: str = "") -> None:
        """server: which one this hotplugd looks after, for those that are refused the lock."""
        self.holder = ""
        self._server = server
        self._descriptor = -1

    def take(self) -> bool:
        """Have the lock from now on. Returns whether that is so: another may have it.

        Raises OSError where /dev cannot be written.
        """
        if self._descriptor >= 0:
            return True
        Path(SLOTS).mkdir(mode=0o755, exist_ok=True)
        descriptor = os.open(f"{SLOTS}/{_FILE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.holder = quoted(os.pread(descriptor, _LONGEST, 0).decode("utf-8", "replace").strip())
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor, self.holder = descriptor, ""
        self._say(f"process {os.getpid()}, for {self._server}" if self._server else "")
        return True

    def release(self) -> None:
        """Have it no more. The file stays: who opens it at this moment would lock one that is gone."""
        if self._descriptor >= 0:
            self._say("")
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1

    def _say(self, text: str) -> None:
        """Have the file say this. Without it the lock is as good: /dev may be full."""
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text.encode("utf-8", "surrogateescape"), 0)
