"""Lets groups connect to a socket, by its access control list (acl(5))."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Final

# <linux/posix_acl_xattr.h>: a version, and entries that are sorted by tag and number.
_XATTR: Final = "system.posix_acl_access"
_VERSION: Final = struct.pack("<I", 2)
_ENTRY: Final = struct.Struct("<HHI")
_USER_OBJ, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x04, 0x08, 0x10, 0x20
_NO_ID: Final = 0xFFFFFFFF
_READ_WRITE: Final = 6


class AccessError(Exception):
    """Groups cannot be let in. The text is fit to be shown."""


def let_in(path: Path, gids: Collection[int]) -> None:
    """Let these groups connect to the socket, beside its owner. Raises AccessError, OSError."""
    if not gids:
        return
    entries = [
        (_USER_OBJ, _READ_WRITE, _NO_ID),
        (_GROUP_OBJ, 0, _NO_ID),
        *((_GROUP, _READ_WRITE, gid) for gid in sorted(gids)),
        (_MASK, _READ_WRITE, _NO_ID),
        (_OTHER, 0, _NO_ID),
    ]
    try:
        os.setxattr(path, _XATTR, _VERSION + b"".join(_ENTRY.pack(*each) for each in entries))
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        raise AccessError(
            f"the file system of {path} has no access control lists, which `allow` takes; put `control` on a "
            f"tmpfs, as /run is"
        ) from error
    if path.parent.stat().st_mode & stat.S_IXOTH == 0:
        raise AccessError(
            f"nobody but its owner gets through the folder {path.parent}, so `allow` lets nobody in; "
            f"run `chmod o+x {path.parent}`, or put `control` elsewhere"
        )
