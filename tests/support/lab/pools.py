"""The pools of the host, which one server's hotplugd serves at a time, and which stay that server's."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from pathlib import Path

from hotplugd.host.pool_lock import POOL_LOCK


def pools_are_nobodys() -> None:
    """Have whichever hotplugd comes next serve them, unless one does now: nothing is left of other tests."""
    with suppress(FileNotFoundError, PermissionError, BlockingIOError), Path(POOL_LOCK).open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate()
