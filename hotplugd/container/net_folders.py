"""Which network interfaces a container has, by the sysfs that it shows those inside.

Names prove nothing: root inside renames interfaces and sets their addresses. The inode number of an
interface's folder in sysfs is the kernel's. Root inside may mount anything there, so each folder has to be on
sysfs, links are read and not followed, and the devices above are looked up in the host's own sysfs, which has
all of them.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterable
from itertools import islice
from typing import Final

from hotplugd.aio.shortage import is_short
from hotplugd.model.values import Interface

_SYSFS: Final = 0x62656572  # include/uapi/linux/magic.h: SYSFS_MAGIC
_STATFS: Final = 256  # more than any struct statfs, of which the type comes first
_LINK: Final = re.compile(r"\.\./\.\.(/devices/(?:[^/]+/)+)net/[^/]+")
_VIRTUAL: Final = "/devices/virtual"
# Root inside may make any number of interfaces; those with a name that we gave come first.
_MOST: Final = 1000
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def folders(root: int, wanted: Iterable[str]) -> dict[str, Interface]:
    """The interfaces below the directory descriptor `root`, by name; only those that sysfs shows there.

    wanted  the names that matter most. Raises OSError where no file can be opened.
    """
    interfaces: dict[str, Interface] = {}
    try:
        sys = _open(root, ("sys",))
    except OSError as error:
        if is_short(error):
            raise
        return interfaces
    try:
        links = _open(sys, ("class", "net"))
        try:
            if not _is_sysfs(links):
                return interfaces
            there = dict.fromkeys(_names(links))
            first = (name for name in wanted if name in there)
            for name in islice(dict.fromkeys((*first, *there)), _MOST):
                try:
                    interfaces[name] = _interface(sys, os.readlink(name, dir_fd=links))
                except (OSError, ValueError) as error:  # it has gone or was renamed meanwhile
                    if is_short(error):
                        raise
        finally:
            os.close(links)
    except OSError as error:
        if is_short(error):
            raise
        return interfaces
    finally:
        os.close(sys)
    return interfaces


def _names(folder: int) -> list[str]:
    # Through a descriptor of its own: O_PATH cannot be read.
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return sorted(os.listdir(descriptor))
    finally:
        os.close(descriptor)


def _interface(sys: int, link: str) -> Interface:
    """What a link in /sys/class/net leads to. Raises OSError, and ValueError for what is no such link."""
    match = _LINK.fullmatch(link)
    if match is None or ".." in match[1].split("/"):
        raise ValueError(link)
    above = match[1].rstrip("/")
    folder = _open(sys, link.split("/")[2:])
    try:
        if not _is_sysfs(folder):
            raise ValueError(link)
        number = os.fstat(folder).st_ino
    finally:
        os.close(folder)
    on_host = f"/sys{above}"
    return Interface(on_host, number if above == _VIRTUAL else os.stat(on_host).st_ino, number)


def _open(folder: int, parts: Iterable[str]) -> int:
    """A descriptor (O_PATH) of a folder below this one, links not followed. Raises OSError."""
    here = os.dup(folder)
    for part in parts:
        try:
            below = os.open(part, _FOLDER, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here


def _is_sysfs(descriptor: int) -> bool:
    buffer = ctypes.create_string_buffer(_STATFS)
    if ctypes.CDLL(None, use_errno=True).fstatfs(descriptor, buffer) != 0:
        return False
    return int(ctypes.cast(buffer, ctypes.POINTER(ctypes.c_long))[0]) == _SYSFS
