"""The mounts that a process sees, by its folder in /proc, and which file systems may never answer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

from hotplugd.container.inode_status import status_of
from hotplugd.container.roots_helper import read_of

FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a folder is opened: no link is followed, and nothing is asked of its file system."""

MEMORY: Final = frozenset({"tmpfs", "ramfs"})
"""The types of file systems that are in memory."""

# The kernel answers for these and for those in memory; no process can make them hang.
_DISKS: Final = frozenset({"ext4", "ext3", "ext2", "xfs", "btrfs", "zfs", "f2fs", "bcachefs"})
_NUMBER, _PLACE = 2, 4  # of a mount, in a line of mountinfo


class Mount(NamedTuple):
    """As the kernel tells of it (proc(5), mountinfo): the file system's kind and number, and where."""

    kind: str
    number: str
    place: str


def mounts_of(process: int) -> dict[int, Mount]:
    """By their numbers, the mounts that a process sees."""
    found = {}
    for line in read_of(process, "mountinfo").decode("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if len(fields) > _PLACE and fields[0].isdecimal():
            found[int(fields[0])] = Mount(kinds[0], fields[_NUMBER], fields[_PLACE])
    return found


def mount_of(descriptor: int) -> int:
    """The number of the mount that it was opened on; the file system is not asked."""
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii", errors="replace") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key == "mnt_id":
                return int(value)
    raise ValueError("the kernel does not say on which mount a file is")


def see_that_is_root(root: int, mounts: Mapping[int, Mount]) -> None:
    """Raises ValueError where it is not what is mounted as the root, and where that may never answer."""
    mount = mounts.get(mount_of(root))
    if mount is None or mount.place != "/" or not status_of(root).is_mounted:
        raise ValueError("not the root of the container")
    # Whoever is root in there can mount an overlay of a file system that a process of theirs serves.
    with closing(os.open("/proc/1", FOLDER)) as host:
        known = {each.number for each in mounts_of(host).values()}
    if mount.kind not in MEMORY | _DISKS and mount.number not in known:
        what = f"the root in there is a file system of type {mount.kind}"
        raise ValueError(f"{what} that the host does not have mounted, and may never answer")


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close a descriptor afterwards."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)
