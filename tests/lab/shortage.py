"""A process that can open nothing more."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count


@contextmanager
def no_more_descriptors(pid: int | None = None) -> Iterator[None]:
    """The process, ours where none is named, can open nothing meanwhile."""
    pid = pid or os.getpid()
    folder = f"/proc/{pid}/fd"
    # Ours had the listing itself open.
    taken = {int(each) for each in os.listdir(folder) if os.path.lexists(f"{folder}/{each}")}
    lowest = next(number for number in count() if number not in taken)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # it has ended over it
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
