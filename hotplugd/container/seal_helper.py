"""The program that seals device nodes: nobody but the host's root can open a sealed one, by whatever handle.

Whoever opened a node with O_PATH opens its device by /proc/self/fd later, also when the node is gone from the
folder where it was, and when its number is another device's. The inode's permissions are asked each time: a
sealed inode belongs to the host's root and has mode 0, which root in a user namespace cannot change.

Standard input is a connected SOCK_SEQPACKET socket. A request is one message, `REQUEST`, with the nodes as
descriptors (O_PATH) beside it. The answer is one message: for each node `DONE` or what went wrong, with 0
bytes between them. The program ends when the other side closes. It imports the standard library alone:
`python -I -S seal.py` runs it.

What it needs (Linux: fs/attr.c, setattr_prepare): CAP_CHOWN, to make the inode root's. Its owner may change
the mode, and that is who the program is by then.

What whoever asks can do with it is bounded by what it does: to take a node from all who may use it.
It refuses the nodes of the host's own /dev, which it knows by the file system, so these stay as they are.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import stat
import sys
from contextlib import suppress
from typing import Final

REQUEST: Final = b"seal"
DONE: Final = b"done"
# As many descriptors as the kernel passes with one message (Linux: include/net/scm.h, SCM_MAX_FD).
MOST: Final = 253
ANSWER_MOST: Final = 64 << 10
_LONGEST: Final = 200
_ROOM: Final = socket.CMSG_SPACE(MOST * array.array("i").itemsize)


def main() -> int:
    """Serve standard input. Returns the exit code."""
    try:
        channel = socket.socket(fileno=os.dup(0))
    except OSError:
        channel = None
    if channel is None or (channel.family, channel.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        sys.stderr.write("hotplugd seal: standard input is no socket; hotplugd or systemd starts this\n")
        return 2
    with channel, suppress(BrokenPipeError, ConnectionResetError):  # nobody waits any more
        while _serve(channel):
            pass
    return 0


def _serve(channel: socket.socket) -> bool:
    """Serve one request. Returns whether there was one."""
    message, beside, flags, _ = channel.recvmsg(len(REQUEST) + 1, _ROOM, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in beside:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    try:
        if not message:
            return False
        if message != REQUEST or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            answer = b"not a request"
        else:
            answer = b"\0".join(map(_answer, descriptors)) or DONE
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    channel.send(answer)
    return True


def _answer(node: int) -> bytes:
    try:
        _seal(node)
    except (OSError, ValueError) as error:
        return str(error).encode()[:_LONGEST].replace(b"\0", b"?")
    return DONE


def _seal(node: int) -> None:
    status = os.fstat(node)
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        raise ValueError("not a device node")
    if not fcntl.fcntl(node, fcntl.F_GETFL) & os.O_PATH:
        raise ValueError("the node is open, and expected was a descriptor that opens nothing")
    if status.st_dev == os.stat("/dev").st_dev:
        raise ValueError("the node is in the host's own /dev, and the host uses it, too")
    path = f"/proc/self/fd/{node}"
    # The owner first: until then the mode is for its owner to change, who may be root inside.
    os.chown(path, 0, 0)
    os.chmod(path, 0)
    status = os.fstat(node)
    if (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) != (0, 0, 0):
        raise ValueError("the file system does not keep owner and mode")


if __name__ == "__main__":
    sys.exit(main())
