"""The helper program that seals device nodes: only the host's root can open a sealed node, by any handle.

A process that opened a node with O_PATH can open its device through /proc/self/fd later, even after the node
was removed, and when another device has the number. Each such open checks the inode's permissions: a sealed
inode belongs to the host's root and has mode 0, which root in a user namespace cannot change.

It is served as `helper_loop` says. A request is `REQUEST`, with the nodes as descriptors (O_PATH) beside it.
The answer has for each node `DONE` or what went wrong, with 0 bytes between them.

What it needs (Linux: fs/attr.c, setattr_prepare): CAP_CHOWN, to make the inode root's. Its owner may change
the mode, and that is who the program is by then.

A client of the program can only make nodes unusable, and only nodes that a server has made: they are on the
file system of the server's folder of nodes (see `server_nodes`), and in that folder or mounted by themselves,
as inside containers. The program refuses nodes of the host's own /dev, terminals of a /dev/pts, and all other
files.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Collection, Sequence
from typing import Final

from hotplugd.aio.helper_loop import DONE, NO_REQUEST, Answer, Handler, Limits, serve
from hotplugd.container.inode_status import InodeStatus, file_system, status_of
from hotplugd.container.server_folders import ALL, nodes_in

REQUEST: Final = b"seal"
# As many descriptors as the kernel passes with one message (Linux: include/net/scm.h, SCM_MAX_FD).
MOST: Final = 253
LIMITS: Final = Limits(request=len(REQUEST) + 1, least=0, most=MOST, answer=64 << 10)
_LONGEST: Final = 200
_OVERLAY: Final = 0x794C7630  # linux/magic.h


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
    status = status_of(node)
    if not (stat.S_ISCHR(status.mode) or stat.S_ISBLK(status.mode)):
        raise ValueError("not a device node")
    if not fcntl.fcntl(node, fcntl.F_GETFL) & os.O_PATH:
        raise ValueError("the node is open, and expected was a descriptor that opens nothing")
    path = f"/proc/self/fd/{node}"
    if not any(_is_of(node, status, folder) for folder in map(nodes_in, folders)):
        raise ValueError(f"the node is none that a server has made: it is {os.readlink(path)}")
    # The owner first: until then its owner, perhaps root inside, could change the mode back.
    os.chown(path, 0, 0)
    os.chmod(path, 0)
    if not status_of(node).is_sealed:
        raise ValueError("the file system does not keep owner and mode")


def _is_of(node: int, found: InodeStatus, folder: str) -> bool:
    """Whether it is in this folder, or mounted somewhere by itself, and on the folder's file system."""
    inside = os.readlink(f"/proc/self/fd/{node}").startswith(f"{os.path.realpath(folder)}/")
    if not (inside or found.is_mounted):
        return False
    try:
        there = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if found.on == status_of(there).on:
            return True
        # An overlay has a number of its own for its folders, and others for its files.
        return file_system(there) == _OVERLAY and os.fstatvfs(there).f_fsid == os.fstatvfs(node).f_fsid
    finally:
        os.close(there)
