"""The control socket's file: its place, and who may connect, by its access control list (acl(5))."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from collections.abc import Collection
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from hotplugd.app.control_client import ControlError

# <linux/posix_acl_xattr.h>: a version, and entries that are sorted by tag and number.
_XATTR: Final = "system.posix_acl_access"
_VERSION: Final = struct.pack("<I", 2)
_ENTRY: Final = struct.Struct("<HHI")
_USER_OBJ, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x04, 0x08, 0x10, 0x20
_NO_ID: Final = 0xFFFFFFFF
_READ_WRITE: Final = 6
_BACKLOG: Final = 128


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


def listen(path: Path, gids: Collection[int], *, must: bool = True) -> socket.socket:
    """A listening socket for root and these groups, in place of one that nobody listens on any more.

    must  else it is for root alone where groups cannot be let in
    Raises ControlError.
    """
    try:
        path.parent.mkdir(mode=0o711 if gids else 0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise ControlError(f"{path} is in the way of the control socket, and no socket; remove it")
            _see_unused(path)
            path.unlink()
        with ExitStack() as undo:
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            undo.callback(listening.close)
            before = os.umask(0o177)
            try:
                listening.bind(str(path))
            finally:
                os.umask(before)
            try:
                let_in(path, gids)
            except AccessError:
                if must:
                    raise
            listening.listen(_BACKLOG)
            undo.pop_all()
    except AccessError as error:
        raise ControlError(str(error)) from error
    except OSError as error:
        raise ControlError(f"cannot make the control socket {path}: {error.strerror or error}") from error
    return listening


def _see_unused(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(1)
        try:
            channel.connect(str(path))
        except ConnectionRefusedError:
            return
    raise ControlError(
        f"another hotplugd answers on {path}; end it, or give this one another `control` in its configuration"
    )
