"""The program that opens what belongs to processes of others: the one that may look into them.

It is served as `helper_loop` says. A request has one descriptor beside it, the folder of a process in /proc
(but for `disks` and `users`, which have none), and its fields have 0 bytes between them. The answer is
`DONE`, with a descriptor beside it where something is opened, or what went wrong.

    root                            the root of a container's init, O_PATH
    network                         the network namespace of a container's init
    list, FOLDER, INSTANCE, AFTER   which nodes the server that is this process and has this folder keeps of
                                    entries of ours in an instance, by the folder that it has for that; of
                                    none: which folders there are. Those whose names come after AFTER, each as
                                    `INODE NAME`; behind `MORE` in place of `DONE` further ones are left
    node, FOLDER, INSTANCE, FILE    one of these nodes, O_PATH
    disks                           which disks processes have open, each as `MAJOR:MINOR PID`
    users, KIND, NUMBER             which processes have the node open that is `char` or `block` and has this
                                    number, each likewise

Of a server's files nothing but nodes is handed out, and no folder: from the server's folder the way up leads
to the host's files, as the server may write them. A process is the server that it is said to be where it is
none of a container and has the socket open on which that server listens.

What it needs (Linux: kernel/ptrace.c, __ptrace_may_access; fs/proc/fd.c, proc_fd_permission):

- CAP_SYS_PTRACE, for what is in the host's own user namespace, as privileged containers are. Whoever has that
  can write to the memory of all processes, by /proc/PID/mem: so it is here, and not where rules, devices'
  strings and servers' answers are read.
- CAP_DAC_READ_SEARCH, for the folders of descriptors of other users' processes.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from hotplugd.aio.helper_loop import DONE, NO_REQUEST, Answer, Limits, serve
from hotplugd.container.inode_status import InodeStatus, file_system, new_room, status_of
from hotplugd.container.server_folders import ALL, nodes_in, sockets_of

ROOT: Final = b"root"
NETWORK: Final = b"network"
LIST: Final = b"list"
NODE: Final = b"node"
DISKS: Final = b"disks"
USERS: Final = b"users"
MORE: Final = b"more"
LIMITS: Final = Limits(request=1024, least=0, most=1, answer=64 << 10)
_PROC: Final = 0x9FA0  # linux/magic.h: PROC_SUPER_MAGIC
_FILE_MOST: Final = 1 << 20
_SOCKETS_MOST: Final = 16 << 20
_LISTENS: Final = 0x10000  # linux/net.h: __SO_ACCEPTCON
_PLACE: Final = 4
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Seconds for a look at all processes.
_LOOK_MOST: Final = 8.0
_USERS: Final = re.compile(rb"users\0(char|block)\0([0-9]{1,4}):([0-9]{1,7})")
# As servers call the nodes of entries of ours: older ones write a dash as it is.
_OURS: Final = re.compile(r"unix\.hp--?[0-9a-f]{16}\..+", re.DOTALL)


def main(arguments: Sequence[str] = ()) -> int:
    """Serve standard input. arguments: further folders that servers have. Returns the exit code."""
    return serve("roots", LIMITS, Roots((*ALL, *arguments)).handle)


class Roots:
    """Serves requests. folders: those that servers may have."""

    def __init__(self, folders: Collection[str]) -> None:
        self._folders = folders
        # The server that was asked for last: its process, its folder, and where its nodes are.
        self._process = self._nodes = -1
        self._folder = ""

    def handle(self, message: bytes, descriptors: Sequence[int]) -> Answer:
        """Open or list what is asked for."""
        if message == DISKS and not descriptors:
            return Answer(_joined(_open_nodes(lambda file: file.kind == "block")))
        if not descriptors and (users := _USERS.fullmatch(message)) is not None:
            kind, number = users[1].decode(), (int(users[2]), int(users[3]))
            return Answer(_joined(_open_nodes(lambda file: (file.kind, file.number) == (kind, number))))
        if len(descriptors) != 1:
            raise ValueError(NO_REQUEST)
        (process,) = descriptors
        if not stat.S_ISDIR(os.fstat(process).st_mode) or file_system(process) != _PROC:
            raise ValueError("not a process in /proc")
        match [each.decode("utf-8", "surrogateescape") for each in message.split(b"\0")]:
            case ["root"]:
                see_that_is_init(process)
                opened = os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=process)
            case ["network"]:
                see_that_is_init(process)
                opened = os.open("ns/net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
            case ["list", folder, instance, after] if folder in self._folders and _is_name(instance or "-"):
                return Answer(_page(_listed(self._nodes_of(process, folder), instance), after))
            case ["node", folder, instance, file] if folder in self._folders and _is_name(instance):
                opened = _node(self._nodes_of(process, folder), instance, file)
            case _:
                raise ValueError(NO_REQUEST)
        return Answer(opened=(opened,))

    def _nodes_of(self, process: int, folder: str) -> int:
        """A descriptor of its folder of nodes, which stays ours. Raises ValueError where it is no server."""
        # While its folder is held no other has its inode: it is the same process.
        known = self._process >= 0 and os.path.samestat(os.fstat(self._process), os.fstat(process))
        if not known or self._folder != folder:
            _see_that_is_server(process, folder)
            held = os.dup(process)
            try:
                nodes = os.open(f"root{nodes_in(folder)}", _FOLDER, dir_fd=process)
            except OSError:
                os.close(held)
                raise
            before = (self._process, self._nodes)
            self._process, self._folder, self._nodes = held, folder, nodes
            for each in before:
                if each >= 0:
                    os.close(each)
        return self._nodes


def _is_name(text: str) -> bool:
    return text not in ("", ".", "..") and "/" not in text


def _listed(nodes: int, instance: str) -> list[tuple[str, int]]:
    """The names and inodes of one instance's nodes of ours; of none: of the folders of all."""
    try:
        folder = os.open(instance or ".", os.O_RDONLY | _FOLDER & ~os.O_PATH, dir_fd=nodes)
    except (FileNotFoundError, NotADirectoryError):
        return []  # the server makes an instance's folder with its first node
    try:
        with os.scandir(folder) as entries:
            found = [(each.name, each.inode()) for each in entries]
    finally:
        os.close(folder)
    return [each for each in found if not instance or _OURS.fullmatch(each[0])]


def _page(found: Iterable[tuple[str, int]], after: str) -> bytes:
    """An answer with as many as there is room for."""
    lines, room = [DONE], LIMITS.answer - len(DONE)
    for name, inode in sorted(found):
        line = f"{inode} {name}".encode("utf-8", "surrogateescape")
        if name > after:
            room -= len(line) + 1
            if room < 0:
                lines[0] = MORE
                break
            lines.append(line)
    return b"\0".join(lines)


def _open_nodes(wanted: Callable[[InodeStatus], bool]) -> Iterator[str]:
    """Who has which of these nodes open (proc(5), /proc/pid/fd). Raises OSError where a process may not be
    seen, and ValueError where it takes too long.
    """
    until, most = time.monotonic() + _LOOK_MOST, (0, "")
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            descriptors = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                names = os.listdir(descriptors)
                most = max(most, (len(names), pid))
                yield from sorted(
                    f"{number} {pid}" for number in _nodes_in(descriptors, names, wanted, until)
                )
            finally:
                os.close(descriptors)
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
        except PermissionError:
            # Where the init is kept from everybody, nobody could be told anything.
            if pid != "1":
                raise
        if time.monotonic() > until:
            raise ValueError(
                f"to see who has it open takes longer than {_LOOK_MOST:.0f} s: process {most[1]} alone has "
                f"{most[0]} descriptors"
            )


def _nodes_in(
    descriptors: int, names: Iterable[str], wanted: Callable[[InodeStatus], bool], until: float
) -> set[str]:
    """The numbers of wanted nodes among these descriptors of a process, in whose folder they are."""
    found, room = set(), new_room()
    for each in names:
        with suppress(FileNotFoundError):  # it was closed
            # A file system that never answers, of whoever is root in a container, is not asked.
            file = status_of(descriptors, each, room)
            if wanted(file) and not _is_path(descriptors, each):
                found.add("{}:{}".format(*file.number))
        if time.monotonic() > until:
            break
    return found


def _is_path(descriptors: int, each: str) -> bool:
    """Whether it is a descriptor by which nothing is open."""
    for line in read_of(descriptors, f"../fdinfo/{each}").splitlines():
        key, _, flags = line.partition(b":")
        if key == b"flags":
            return bool(int(flags, 8) & os.O_PATH)
    return False


def _joined(lines: Iterable[str]) -> bytes:
    answer = b"\0".join((DONE, *(each.encode() for each in lines)))
    if len(answer) > LIMITS.answer:
        raise ValueError("more is open than can be told of")
    return answer


def _node(nodes: int, instance: str, file: str) -> int:
    """A descriptor (O_PATH) of a node."""
    if not _OURS.fullmatch(file) or not _is_name(file):
        raise ValueError("not a node of an entry of ours")
    folder = os.open(instance, _FOLDER, dir_fd=nodes)
    try:
        node = os.open(file, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    kind = os.fstat(node).st_mode
    if not (stat.S_ISCHR(kind) or stat.S_ISBLK(kind)):
        os.close(node)
        raise ValueError("not a device node")
    return node


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


def see_that_is_init(process: int) -> None:
    """Raises ValueError where it is not number 1 in a process namespace below ours (proc(5): NSpid), or has
    the host's own root, as sandboxes of the host's programs have.
    """
    for line in read_of(process, "status").decode("ascii", "replace").splitlines():
        key, _, value = line.partition(":")
        if key == "NSpid":
            numbers = value.split()
            if len(numbers) > 1 and numbers[-1] == "1":
                break
    else:
        raise ValueError("not the init of a container")
    host = os.open("/proc/1", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if root_mount(read_of(process, "mountinfo")) == root_mount(read_of(host, "mountinfo")):
            raise ValueError("not the init of a container: its root is the host's")
    finally:
        os.close(host)


def read_of(process: int, name: str, most: int = _FILE_MOST) -> bytes:
    """The beginning of a file in a process's folder."""
    file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    with open(file, "rb") as whole:
        return whole.read(most)


def _see_that_is_server(process: int, folder: str) -> None:
    """Raises ValueError where it is in a container, or does not have the socket open on which the server with
    this folder listens.
    """
    for space in ("pid", "user"):
        if not os.path.samestat(os.stat(f"ns/{space}", dir_fd=process), os.stat(f"/proc/self/ns/{space}")):
            raise ValueError("not the server: the process is in a container")
    sockets = sockets_of(folder)
    listening = {f"socket:[{inode}]" for inode, path in listeners(process) if path in sockets}
    descriptors = os.open("fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=process)
    try:
        for each in os.listdir(descriptors):
            with suppress(FileNotFoundError):  # it was closed
                if os.readlink(each, dir_fd=descriptors) in listening:
                    return
    finally:
        os.close(descriptors)
    raise ValueError(f"not the server: the process does not listen on {' or '.join(sockets)}")


def listeners(process: int) -> list[tuple[str, str]]:
    """The inodes and paths of unix sockets that are listened on where this process is (proc(5), net/unix)."""
    found = []
    whole = read_of(process, "net/unix", _SOCKETS_MOST).decode("utf-8", "surrogateescape")
    for line in whole.splitlines()[1:]:
        # Num RefCount Protocol Flags Type St Inode Path
        match line.split(maxsplit=7):
            case [_, _, _, flags, _, _, inode, path] if int(flags, 16) & _LISTENS:
                found.append((inode, path))
            case _:
                continue
    return found
