"""The program that opens the roots of containers: the one that may look into processes of others.

Standard input is a connected SOCK_SEQPACKET socket. A request is one message with one descriptor beside it,
the folder of a process in /proc. The answer is one message: `DONE` with a descriptor beside it, or what went
wrong. The program ends when the other side closes. It imports the standard library alone:
`python -I -S roots.py` runs it.

    root            the root of a container's init, O_PATH
    network         the network namespace of a container's init
    nodes /FOLDER   where a server in this process has the nodes of its instances, O_PATH; one of `SERVERS`

What it needs (Linux: kernel/ptrace.c, __ptrace_may_access): CAP_SYS_PTRACE, for what is in the host's own
user namespace, as privileged containers are. Whoever has that can write to the memory of all processes, by
/proc/PID/mem: so it is here, and not where rules, devices' strings and servers' answers are read.
"""

from __future__ import annotations

import array
import ctypes
import os
import socket
import stat
import sys
from contextlib import suppress
from typing import Final

DONE: Final = b"done"
ROOT: Final = b"root"
NETWORK: Final = b"network"
NODES: Final = b"nodes "
ANSWER_MOST: Final = 4096
SERVERS: Final = ("/var/lib/lxd", "/var/snap/lxd/common/lxd", "/var/lib/incus")
_REQUEST_MOST: Final = 256
_PROC: Final = 0x9FA0  # linux/magic.h: PROC_SUPER_MAGIC
_FILE_MOST: Final = 1 << 20
_PLACE: Final = 4
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_ROOM: Final = socket.CMSG_SPACE(4 * array.array("i").itemsize)


def main() -> int:
    """Serve standard input. Returns the exit code."""
    try:
        channel = socket.socket(fileno=os.dup(0))
    except OSError:
        channel = None
    if channel is None or (channel.family, channel.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        sys.stderr.write("hotplugd roots: standard input is no socket; hotplugd or systemd starts this\n")
        return 2
    with channel, suppress(BrokenPipeError, ConnectionResetError):  # nobody waits any more
        while _serve(channel):
            pass
    return 0


def _serve(channel: socket.socket) -> bool:
    """Serve one request. Returns whether there was one."""
    message, beside, flags, _ = channel.recvmsg(_REQUEST_MOST, _ROOM, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in beside:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    opened: list[int] = []
    try:
        if not message:
            return False
        try:
            complete = not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) and len(descriptors) == 1
            opened.append(_open(message if complete else b"", descriptors[0] if complete else -1))
            answer = DONE
        except (OSError, ValueError) as error:
            answer = str(error).encode()[:ANSWER_MOST]
        socket.send_fds(channel, [answer], opened)
    finally:
        for descriptor in (*descriptors, *opened):
            os.close(descriptor)
    return True


def _open(request: bytes, process: int) -> int:
    if not request:
        raise ValueError("not a request")
    if not stat.S_ISDIR(os.fstat(process).st_mode) or _kind(process) != _PROC:
        raise ValueError("not a process in /proc")
    if request == ROOT:
        _see_that_is_init(process)
        return os.open("root", _FOLDER, dir_fd=process)
    if request == NETWORK:
        _see_that_is_init(process)
        return os.open("ns/net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    folder = request.removeprefix(NODES).decode("utf-8", "replace")
    if not request.startswith(NODES) or folder not in SERVERS:
        raise ValueError("not a request")
    return os.open(f"root{folder}/devices", _FOLDER, dir_fd=process)


def _kind(descriptor: int) -> int:
    """Of the file system (statfs(2)). Each unit may have a /proc of its own, so numbers of devices differ."""
    found = (ctypes.c_long * 32)()
    if ctypes.CDLL(None, use_errno=True).fstatfs(descriptor, found) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found[0]


def root_mount(mountinfo: bytes) -> bytes:
    """What is mounted on the root in a mountinfo (proc(5)): the file system's number, and what of it.

    Said by the kernel alone: to look at the root itself may hang for as long as whoever is in there likes.
    """
    found = b""
    for line in mountinfo.splitlines():
        fields = line.split(b" ", 5)
        if len(fields) > _PLACE and fields[_PLACE] == b"/":
            found = b" ".join(fields[2:_PLACE])
    return found


def _see_that_is_init(process: int) -> None:
    """Raises ValueError where it is not number 1 in a process namespace below ours (proc(5): NSpid), or has
    the host's own root, as sandboxes of the host's programs have.
    """
    for line in _read(process, "status").decode("ascii", "replace").splitlines():
        key, _, value = line.partition(":")
        if key == "NSpid":
            numbers = value.split()
            if len(numbers) > 1 and numbers[-1] == "1":
                break
    else:
        raise ValueError("not the init of a container")
    host = os.open("/proc/1", _FOLDER)
    try:
        if root_mount(_read(process, "mountinfo")) == root_mount(_read(host, "mountinfo")):
            raise ValueError("not the init of a container: its root is the host's")
    finally:
        os.close(host)


def _read(process: int, name: str) -> bytes:
    """The beginning of a file in a process's folder."""
    file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    with open(file, "rb") as whole:
        return whole.read(_FILE_MOST)


if __name__ == "__main__":
    sys.exit(main())
