"""Files that a pool puts inside the instances that get devices of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolFile:
    """A file of the host that an instance has before a device of the pool.

    source    its path on the host
    path      where it is inside
    uid, gid  its owner, as numbers inside
    mode      four octal digits
    """

    source: str
    path: str
    uid: int = 0
    gid: int = 0
    mode: str = "0600"
