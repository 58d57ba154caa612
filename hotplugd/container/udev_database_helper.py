"""The program that keeps records of udev's database in containers, where no udevd does: see `udev_record`.

It is served as `helper_loop` says. A request is `KEEP`, with three descriptors beside it: the folder in /proc
of a container's init, the container's root (O_PATH), and a file with the records that are to be there, by
their names, as JSON. The answer is `DONE`, `UDEVD` where a udevd runs inside, or what went wrong. What was
asked for is so then, or said not to be: records that were as they should be are not touched, those of ours
that are too many go, which are known by their mark, and no others do.

A udevd is inside where something listens on /run/udev/control in the network namespace of the container's
init: udevd itself, or the service manager that starts it. The file alone proves nothing: it stays when udevd
has ended. libudev's programs listen to uevents only where it is (systemd: device-monitor.c), so it is made
here with the first record, and stays, for those that are started while no device is there.

Everything in there belongs to whoever is in the container, who may have planted anything:

- The request's root has to be what is mounted as that process's root, which is not the host's.
- All is done as the container's root, as the host counts users: files belong to it, what it may not do
  remains undone, and no capability helps (capabilities(7), on the file system's user).
- Each folder is opened from the one above, no link is followed, and all are on the file system of /run, which
  is in memory, or the root's: others may be some process's that never answers, and who waits for that cannot
  be ended. So the root is a disk's, too, or mounted on the host. A file is written under another name and
  renamed, so nothing that was there is opened to write; to read, only regular files are.
- There are limits to what is read and listed, and a deadline that ends the program.

What it needs: CAP_SETUID and CAP_SETGID, for setfsuid(2) and setfsgid(2).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import signal
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from hotplugd.aio.helper_loop import NO_REQUEST, Answer, Limits, serve
from hotplugd.container.id_map import outside_of_root
from hotplugd.container.mounts import FOLDER, MEMORY, closing, mount_of, mounts_of, see_that_is_root
from hotplugd.container.roots_helper import listeners, read_of, see_that_is_init

KEEP: Final = b"keep"
UDEVD: Final = b"udevd"
MARK: Final = b"E:HOTPLUGD_RECORD=1"
NOT_PERMITTED: Final = "Operation not permitted: to act as the container's root"
LIMITS: Final = Limits(request=64, least=3, most=3, answer=4096)
ROOM: Final = 4 << 20
"""The bytes of all records at most."""

# Less than whoever asks waits.
_DEADLINE: Final = 3
_CONTROL: Final = "/run/udev/control"
_RECORD_MOST: Final = 64 << 10
# The most files that are listed: in a larger folder, files of ours may be left.
_LISTED_MOST: Final = 4096
_TEMPORARY: Final = ".hotplugd-"
# systemd: sd-device.c, `sd_device_get_device_id`.
_ID: Final = re.compile(r"[bc][0-9]{1,10}:[0-9]{1,10}|\+[a-z0-9_-]{1,64}:[^/\0\n]{1,180}", re.ASCII)
_LINE: Final = re.compile(r"[SLIEGQV]:[^\n\0]*")
_TAG: Final = re.compile("[A-Za-z0-9_-]{1,64}", re.ASCII)
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def main(_: Sequence[str] = ()) -> int:
    """Serve standard input. Returns the exit code."""
    os.umask(0o022)
    return serve("udevdb", LIMITS, handle)


def handle(message: bytes, descriptors: Sequence[int]) -> Answer:
    """Do what is asked. Raises OSError and ValueError."""
    process, root, wanted = descriptors
    if message != KEEP:
        raise ValueError(NO_REQUEST)
    # A file system in the container may never answer.
    signal.alarm(_DEADLINE)
    try:
        records = _records(wanted)
        see_that_is_init(process)
        see_that_is_root(root, mounts_of(process))
        if any(path == _CONTROL for _, path in listeners(process)):
            return Answer(UDEVD)
        with _as_root_of(process):
            _Database(process, root).keep(records)
        return Answer()
    finally:
        signal.alarm(0)


def _records(descriptor: int) -> dict[str, bytes]:
    """The records that a file has. Raises ValueError where they are none."""
    found = json.loads(os.pread(descriptor, ROOM, 0))
    pairs = found.items() if isinstance(found, dict) else [("", "")]
    if not all(_ID.fullmatch(name) and isinstance(text, str) and _is_record(text) for name, text in pairs):
        raise ValueError(NO_REQUEST)
    return {name: text.encode() for name, text in pairs}


def _is_record(text: str) -> bool:
    lines = text.removesuffix("\n").split("\n")
    return MARK.decode() in lines and all(map(_LINE.fullmatch, lines))


def _is_ours(record: bytes) -> bool:
    return MARK in record.split(b"\n")


@contextmanager
def _as_root_of(process: int) -> Iterator[None]:
    """What is done to files meanwhile is done as the user and group that are root in there."""
    user, group = (
        outside_of_root(read_of(process, name).decode("ascii").splitlines())
        for name in ("uid_map", "gid_map")
    )
    if user is None or group is None:
        raise ValueError("its user namespace has no root")
    _become(user, group)
    try:
        yield
    finally:
        _become(0, 0)


def _become(user: int, group: int) -> None:
    libc = ctypes.CDLL(None)
    libc.setfsgid(group)
    libc.setfsuid(user)
    # setfsuid(2) reports no failure: a second call returns the id in force.
    now = (libc.setfsuid(-1), libc.setfsgid(-1))
    if tuple(each & 0xFFFFFFFF for each in now) != (user, group):
        if user or group:
            libc.setfsuid(0)
            libc.setfsgid(0)
        raise PermissionError(NOT_PERMITTED)


class _Database:
    """/run/udev of one container, as whoever is root in there."""

    def __init__(self, process: int, root: int) -> None:
        self._process = process
        self._root = root
        self._mount = -1

    def keep(self, records: Mapping[str, bytes]) -> None:
        """Have these records there, and no others of ours."""
        with ExitStack() as opened:

            def folder(above: int, name: str) -> int | None:
                found = self._folder(above, name, make=bool(records))
                if found is not None:
                    opened.callback(os.close, found)
                return found

            run = self._open_run()
            opened.callback(os.close, run)
            if (udev := folder(run, "udev")) is None:
                return
            data, tags = folder(udev, "data"), folder(udev, "tags")
            if data is not None:
                for name in self._left(data, records):
                    self._remove(data, tags, name)
            if data is not None and tags is not None:
                for name, record in records.items():
                    before = self._read(data, name)
                    if before != record:
                        self._untag(tags, set(_tags(before)) - set(_tags(record)), name)
                        self._write(data, name, record)
                    self._tag(tags, name, record)
            if records:
                with suppress(FileExistsError):
                    _create(udev, "control", b"")

    # --- folders ----------------------------------------------------------------------------------------

    def _open_run(self) -> int:
        try:
            run = os.open("run", FOLDER, dir_fd=self._root)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ValueError("/run in there is no folder") from error
        self._mount = mount_of(run)
        if self._mount == mount_of(self._root):
            return run
        # Once it is open: the number of a mount that has gone is another's next.
        mount = mounts_of(self._process).get(self._mount)
        kind = mount.kind if mount is not None else "unknown"
        if kind in MEMORY:
            return run
        os.close(run)
        raise ValueError(f"/run in there is a file system of type {kind}; expected was tmpfs")

    def _folder(self, above: int, name: str, *, make: bool) -> int | None:
        """A folder that is on the file system of /run; None where there is none, and none is made."""
        if make:
            with suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=above)
        try:
            folder = os.open(name, FOLDER, dir_fd=above)
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            raise ValueError(f"{name} in there is no folder") from error
        if mount_of(folder) != self._mount:
            os.close(folder)
            raise ValueError(f"something is mounted on {name} in there")
        return folder

    # --- files ------------------------------------------------------------------------------------------

    def _left(self, data: int, records: Mapping[str, bytes]) -> list[str]:
        """The names of ours in a folder of records that are not to be there."""
        left = []
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=data)
        with closing(folder), os.scandir(folder) as files:
            for _, file in zip(range(_LISTED_MOST), files, strict=False):
                name = file.name
                is_old = _ID.fullmatch(name) and name not in records and _is_ours(self._read(data, name))
                if is_old or name.startswith(_TEMPORARY):
                    left.append(name)
        return left

    def _read(self, folder: int, name: str) -> bytes:
        """The beginning of a regular file of that folder's file system; nothing of what is none."""
        try:
            found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            return b""
        with closing(found):
            # To open a device or a pipe is to do something to it, and what is mounted may never answer.
            if mount_of(found) != self._mount or not stat.S_ISREG(os.fstat(found).st_mode):
                return b""
            # Not to wait for whoever has a lease on it (fcntl(2)).
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            with suppress(PermissionError, BlockingIOError), ExitStack() as opened:
                file = os.open(f"/proc/self/fd/{found}", flags)
                opened.callback(os.close, file)
                return os.pread(file, _RECORD_MOST, 0)
        return b""

    def _write(self, folder: int, name: str, record: bytes) -> None:
        temporary = f"{_TEMPORARY}{os.urandom(8).hex()}"
        _create(folder, temporary, record)
        try:
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            os.unlink(temporary, dir_fd=folder)
            raise

    def _tag(self, tags: int, name: str, record: bytes) -> None:
        """Have the device found by its tags (systemd: device-private.c, `device_tag`)."""
        for tag in _tags(record):
            folder = self._folder(tags, tag, make=True)
            if folder is not None:
                with closing(folder), suppress(FileExistsError):
                    _create(folder, name, b"")

    def _remove(self, data: int, tags: int | None, name: str) -> None:
        if tags is not None:
            self._untag(tags, _tags(self._read(data, name)), name)
        with suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(name, dir_fd=data)

    def _untag(self, tags: int, gone: Iterable[str], name: str) -> None:
        for tag in gone:
            with suppress(ValueError):  # what is planted there is not ours
                folder = self._folder(tags, tag, make=False)
                if folder is not None:
                    with closing(folder), suppress(FileNotFoundError, IsADirectoryError):
                        os.unlink(name, dir_fd=folder)
                    with suppress(OSError):  # there are others
                        os.rmdir(tag, dir_fd=tags)


def _create(folder: int, name: str, text: bytes) -> None:
    """A new file. Raises OSError, and there is none then."""
    file = os.open(name, _NEW, 0o644, dir_fd=folder)
    try:
        written = os.write(file, text)
    except OSError:
        os.unlink(name, dir_fd=folder)
        raise
    finally:
        os.close(file)
    if written != len(text):
        os.unlink(name, dir_fd=folder)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _tags(record: bytes) -> list[str]:
    lines = record.decode("utf-8", "replace").split("\n")
    return [tag for line in lines if line.startswith("G:") and _TAG.fullmatch(tag := line[2:])]
