"""What a running container really has, seen through the root of its init.

Users of the container control every file in it. A symbolic link on the way to a node could lead to the host,
so each component of a path is opened relative to the one before, and links are never followed. A file system
in the container may hang for ever: callers run these functions in a thread with a deadline.
"""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hotplugd.aio.pace import Pace
from hotplugd.aio.shortage import is_short
from hotplugd.container.id_map import outside_of_root
from hotplugd.container.net_folders import folders
from hotplugd.container.roots_helper import root_mount
from hotplugd.model.devnum import devnum_of
from hotplugd.model.values import Inside, Node

_FREE_CHANGES: Final = 50
_CHANGE: Final = 0.1
_MOUNTS_MOST: Final = 1 << 20
_DATABASE_MOST: Final = 1 << 20
_ID: Final = re.compile("[0-9]{1,10}")
_LARGEST_ID: Final = 2**32 - 2
_BLOCKED: Final = (FileNotFoundError, NotADirectoryError)


class Lost(Exception):
    """The container's init is gone, or is no container's init."""


@dataclass(frozen=True, slots=True)
class Network:
    """A container's network namespace, by a descriptor that has to be closed soon, and who is root there.

    An open namespace of a dead container keeps its interfaces from coming back to the host.
    The root is given as the host counts users.
    """

    descriptor: int
    user: int


class Root:
    """A running container's file system, held open: process numbers are used again, this is not.

    The pidfd becomes readable when the init ends. The mounts descriptor is found readable
    once after something was mounted or unmounted inside (proc(5), /proc/pid/mounts: POLLPRI). The pace is how
    often that may be heard.
    """

    def __init__(self, pid: int, process: int, root: int) -> None:
        """Hold the container whose init is process `pid`, as the host counts. Raises Lost.

        process, root  its folder in /proc (`process_folder`) and its root directory; closed in the end
        """
        opened = [process, root]
        self.process, self._root = process, root
        try:
            self.pidfd = os.pidfd_open(pid)
            opened.append(self.pidfd)
            self._mountinfo = self._open("mountinfo")
            opened.append(self._mountinfo)
            _see_that_is_init(pid)
            self._see_that_is_apart()
            signal.pidfd_send_signal(self.pidfd, 0)
            self.mounts = select.epoll()
        except (OSError, Lost) as error:
            for descriptor in opened:
                os.close(descriptor)
            raise Lost(f"cannot look inside by process {pid}: {error}") from error
        # POLLIN would always be true of this file: a poll set of its own asks for the change alone. Each look
        # at the change takes it away (Linux: fs/proc_namespace.c, mounts_poll), so whoever finds this
        # descriptor readable has had all there is, and must not poll it again to make sure.
        self.mounts.register(self._mountinfo, select.EPOLLPRI)
        self.pace = Pace(_FREE_CHANGES, _CHANGE)

    def close(self) -> None:
        """Let go of the container."""
        self.mounts.close()
        for descriptor in (self.pidfd, self.process, self._root, self._mountinfo):
            os.close(descriptor)

    def duplicate(self) -> tuple[int, int]:
        """Descriptors of the root and of its init in /proc, for a thread of its own, which closes them.

        Raises OSError where there are none to be had.
        """
        root = os.dup(self._root)
        try:
            return root, os.dup(self.process)
        except OSError:
            os.close(root)
            raise

    def network(self, descriptor: int) -> Network | None:
        """Its network namespace, which this descriptor is; None where that is the host's. Raises Lost."""
        try:
            with open(self._open("uid_map"), encoding="ascii") as file:
                user = outside_of_root(file)
        except (OSError, ValueError) as error:
            os.close(descriptor)
            raise Lost(f"cannot have its network namespace: {error}") from error
        if user is None:
            os.close(descriptor)
            raise Lost("cannot have its network namespace: its user namespace has no root")
        if os.path.samestat(os.fstat(descriptor), os.stat("/proc/self/ns/net")):
            os.close(descriptor)
            return None
        return Network(descriptor, user)

    def _see_that_is_apart(self) -> None:
        """Raises Lost where its root is the host's, as in sandboxes of the host's programs: what is in there
        is the host's, and not a container's.
        """
        with open(self._open("mountinfo"), "rb") as file:
            found = root_mount(file.read(_MOUNTS_MOST))
        if found == root_mount(Path("/proc/1/mountinfo").read_bytes()):
            raise Lost("its root is the host's")

    def _open(self, name: str, flags: int = os.O_RDONLY) -> int:
        # By the process that is held, not by its number.
        return os.open(name, flags | os.O_CLOEXEC, dir_fd=self.process)


def process_folder(pid: int) -> int:
    """A descriptor of a process's folder in /proc, which no other process gets. Raises OSError."""
    return os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def open_at(root: int, path: str) -> int:
    """A descriptor (O_PATH) of what is at `path` below the directory descriptor `root`, links not followed.

    Closes that. May block for as long as the container likes. Raises OSError.
    """
    try:
        return _walk(root, path)
    except ValueError as error:
        raise FileNotFoundError(str(error)) from error
    finally:
        os.close(root)


def look(
    root: int,
    process: int,
    paths: Iterable[str],
    users: Iterable[str],
    groups: Iterable[str],
    interfaces: Iterable[str] | None = None,
) -> Inside:
    """What is at `paths`, and the ids of `users` and `groups`, below the directory descriptor `root`, and the
    network interfaces of `process`, a descriptor of its folder in /proc; which they are where there are names
    of interfaces that matter.

    Closes both. May block for as long as the container likes. Raises nothing but OSError, for what is not
    the absence of something.
    """
    try:
        return Inside(
            nodes={path: _node(root, path) for path in paths},
            users=_ids(root, "/etc/passwd", users),
            groups=_ids(root, "/etc/group", groups),
            interfaces=_interfaces(process),
            folders=folders(root, interfaces) if interfaces is not None else None,
        )
    finally:
        os.close(root)
        os.close(process)


def _interfaces(process: int) -> frozenset[str] | None:
    """The names of the process's network interfaces (proc(5), /proc/pid/net/dev: two lines of head).

    None where the process is gone.
    """
    try:
        descriptor = os.open("net/dev", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
        with open(descriptor, encoding="utf-8", errors="replace") as file:
            return frozenset(line.partition(":")[0].strip() for line in file.read().splitlines()[2:])
    except OSError as error:
        if is_short(error):
            raise
        return None


def _see_that_is_init(pid: int) -> None:
    """Raises Lost where the process is not number 1 in a process namespace below ours (proc(5): NSpid)."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines():
        key, _, value = line.partition(":")
        if key == "NSpid":
            numbers = value.split()
            if len(numbers) > 1 and numbers[-1] == "1":
                return
    raise Lost(f"process {pid} is not the init of a container")


def _walk(root: int, path: str) -> int:
    """A descriptor (O_PATH) of what is at the path, links not followed. Raises OSError."""
    parts = [part for part in path.split("/") if part not in ("", ".", "..")] or ["."]
    here = os.dup(root)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
        return os.open(parts[-1], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)


def _node(root: int, path: str) -> Node | None:
    # A link in place of a folder on the way gives ENOTDIR: the node is not there.
    try:
        descriptor = _walk(root, path)
    except _BLOCKED:
        return None
    except (ValueError, OSError) as error:
        # No file has such a name. Marks of entries, which give the path, can be edited.
        if isinstance(error, ValueError) or error.errno == errno.ENAMETOOLONG:
            return None
        raise
    try:
        status = os.fstat(descriptor)
        # readlink(2): an empty path is the link that the descriptor holds.
        target = os.readlink("", dir_fd=descriptor) if stat.S_ISLNK(status.st_mode) else ""
    finally:
        os.close(descriptor)
    number, mode = devnum_of(status), status.st_mode & 0o7777
    sealed = number is not None and (status.st_uid, status.st_gid, mode) == (0, 0, 0)
    return Node(number, mode, target, sealed)


def _read(root: int, path: str) -> bytes:
    """The beginning of a regular file; empty for other files. Raises OSError."""
    descriptor = _walk(root, path)
    try:
        # Opening a device has effects: look first, through a descriptor that opens nothing (O_PATH).
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        with open(f"/proc/self/fd/{descriptor}", "rb") as file:
            return file.read(_DATABASE_MOST)
    finally:
        os.close(descriptor)


def _ids(root: int, database: str, names: Iterable[str]) -> dict[str, int | None]:
    """The numbers of these names in a file of passwd(5) or group(5) form, None for what it lacks."""
    found: dict[str, int | None] = dict.fromkeys(names)
    if not found:
        return found
    try:
        text = _read(root, database)
    except OSError as error:
        if is_short(error):
            raise
        text = b""
    for line in text.decode("utf-8", "replace").splitlines():
        match line.split(":"):
            case [name, _, number, *_] if found.get(name, 0) is None and _ID.fullmatch(number):
                found[name] = int(number) if int(number) <= _LARGEST_ID else None
    return found
