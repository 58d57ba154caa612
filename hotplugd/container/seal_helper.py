"""The program that seals device nodes: nobody but the host's root can open a sealed one, by whatever handle.

Whoever opened a node with O_PATH opens its device by /proc/self/fd later, also when the node is gone from the
folder where it was, and when its number is another device's. The inode's permissions are asked each time: a
sealed inode belongs to the host's root and has mode 0, which root in a user namespace cannot change.

It is served as `helper_loop` says. A request is `REQUEST`, with the nodes as descriptors (O_PATH) beside it.
The answer has for each node `DONE` or what went wrong, with 0 bytes between them.

What it needs (Linux: fs/attr.c, setattr_prepare): CAP_CHOWN, to make the inode root's. Its owner may change
the mode, and that is who the program is by then.

What whoever asks can do with it is bounded by what it does, to take a node from all who may use it, and by
which nodes: those that a server has made, which are on the file system of its folder of them (see
`server_nodes`), and in there or mounted by themselves, as inside containers. The host's own /dev is none of
its business, nor are the terminals in a /dev/pts, or what else a container or a folder of the host may have.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import stat
import struct
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final

from hotplugd.aio.helper_loop import DONE, NO_REQUEST, Answer, Handler, Limits, serve
from hotplugd.container.server_folders import ALL, nodes_in

REQUEST: Final = b"seal"
# As many descriptors as the kernel passes with one message (Linux: include/net/scm.h, SCM_MAX_FD).
MOST: Final = 253
LIMITS: Final = Limits(request=len(REQUEST) + 1, least=0, most=MOST, answer=64 << 10)
_LONGEST: Final = 200
# linux/stat.h, linux/fcntl.h: of struct statx the beginning, up to the attributes.
_STATX: Final = struct.Struct("=IIQ")
_STATX_ROOM: Final = 256
_MOUNT_ROOT: Final = 0x2000
_EMPTY_PATH: Final = 0x1000


def main(arguments: Sequence[str] = ()) -> int:
    """Serve standard input. arguments: further folders that servers have. Returns the exit code."""
    return serve("seal", LIMITS, handler((*ALL, *arguments)))


def handler(folders: Collection[str]) -> Handler:
    """Seals nodes of servers that have these folders."""

    def answer(node: int) -> bytes:
        try:
            _seal(node, folders)
        except (OSError, ValueError) as error:
            return str(error).encode()[:_LONGEST].replace(b"\0", b"?")
        return DONE

    def handle(message: bytes, descriptors: Sequence[int]) -> Answer:
        if message != REQUEST:
            raise ValueError(NO_REQUEST)
        return Answer(b"\0".join(map(answer, descriptors)) or DONE)

    return handle


def _seal(node: int, folders: Collection[str]) -> None:
    status = os.fstat(node)
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        raise ValueError("not a device node")
    if not fcntl.fcntl(node, fcntl.F_GETFL) & os.O_PATH:
        raise ValueError("the node is open, and expected was a descriptor that opens nothing")
    if status.st_dev == os.stat("/dev").st_dev:
        raise ValueError("the node is in the host's own /dev, and the host uses it, too")
    path = f"/proc/self/fd/{node}"
    if not any(_is_of(node, folder) for folder in map(nodes_in, folders)):
        raise ValueError(f"the node is none that a server has made: it is {os.readlink(path)}")
    # The owner first: until then the mode is for its owner to change, who may be root inside.
    os.chown(path, 0, 0)
    os.chmod(path, 0)
    status = os.fstat(node)
    if (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) != (0, 0, 0):
        raise ValueError("the file system does not keep owner and mode")


def _is_of(node: int, folder: str) -> bool:
    """Whether it is on the file system of this folder, and in there or mounted somewhere by itself."""
    with suppress(FileNotFoundError):
        # An overlay has a number of its own for its folders, and others for its files: see its identifier.
        same = os.fstat(node).st_dev == os.stat(folder).st_dev
        identifier = os.statvfs(folder).f_fsid
        if same or (identifier and identifier == os.fstatvfs(node).f_fsid):
            path = os.readlink(f"/proc/self/fd/{node}")
            return path.startswith(f"{os.path.realpath(folder)}/") or _is_mounted(node)
    return False


def _is_mounted(node: int) -> bool:
    """Whether this is what is mounted where it was opened (statx(2))."""
    found = ctypes.create_string_buffer(_STATX_ROOM)
    if ctypes.CDLL(None, use_errno=True).statx(node, b"", _EMPTY_PATH, 0, found) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    _, _, attributes = _STATX.unpack_from(found)
    return bool(attributes & _MOUNT_ROOT)
