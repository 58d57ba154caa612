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

_FILE: Final = ".pools"


class PoolLock:
    """A lock that is the kernel's: it goes with the process that has it."""

    def __init__(self) -> None:
        self._descriptor = -1

    def take(self) -> bool:
        """Have the lock from now on. Returns whether that is so: another may have it.

        Raises OSError where /dev cannot be written.
        """
        if self._descriptor >= 0:
            return True
        Path(SLOTS).mkdir(mode=0o755, exist_ok=True)
        descriptor = os.open(f"{SLOTS}/{_FILE}", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Have it no more. The file stays: who opens it at this moment would lock one that is gone."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1
