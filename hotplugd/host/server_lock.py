"""The lock of the one hotplugd of each server on this host, and the removal of its files in /dev/hotplugd."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hotplugd.host.slots import Slots
from hotplugd.host.sysfs import names
from hotplugd.model.entry import SLOTS

_LOCK: Final = ".lock-"


class AlreadyRunning(Exception):
    """Another hotplugd on this host looks after the same server."""


def is_alone(server: str) -> bool:
    """Whether no hotplugd looks after another server on this host. Raises OSError."""
    for name in names(SLOTS):
        if name.startswith(_LOCK) and name != _LOCK + file_id(server):
            with suppress(FileNotFoundError), Path(SLOTS, name).open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
    return True


def file_id(server: str) -> str:
    """The part of file names that means this server, whichever path leads to its socket."""
    return short_id(os.path.realpath(server) if server.startswith("/") else server)


def short_id(text: str) -> str:
    """The beginning of a text's hash, for the name of a file."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@contextmanager
def lock(server: str) -> Iterator[None]:
    """Be the one hotplugd on this host for `server` (an address) for as long as the context lasts.

    The lock is the kernel's and goes with the process.
    Raises AlreadyRunning, or OSError where /dev cannot be written.
    """
    descriptor = _lock_file(server)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"another hotplugd on this host looks after {server} already; `hotplugd status` speaks to it"
            ) from None
        if not _is_there(server, descriptor):
            # The previous holder removed the file between our two calls.
            os.close(descriptor)
            descriptor = _lock_file(server)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _lock_file(server: str) -> int:
    Path(SLOTS).mkdir(mode=0o755, exist_ok=True)
    path = Path(SLOTS, _LOCK + file_id(server))
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _is_there(server: str, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(Path(SLOTS, _LOCK + file_id(server))))
    return False


def was_alone(server: str) -> bool:
    """Whether no hotplugd has looked after another server on this host since it was started."""
    return all(name == _LOCK + file_id(server) for name in names(SLOTS) if name.startswith(_LOCK))


def leave_nothing(server: str, slots: Iterable[str], *, alone: bool) -> None:
    """Remove the files of one server, whose lock is held, from /dev/hotplugd, and the folder if it is empty.

    slots  those that its entries named
    alone  whether no entry of another names any: then all slots go
    Raises OSError.
    """
    links = Slots()
    for slot in links.names() if alone else set(slots):
        links.remove(slot)
    own = file_id(server)
    starts = tuple(f".{new}{what}-{own}-" for new in ("", "new-") for what in ("adding", "links", "records"))
    for name in names(SLOTS):
        if name.startswith(starts):
            Path(SLOTS, name).unlink(missing_ok=True)
    Path(SLOTS, _LOCK + own).unlink(missing_ok=True)
    with suppress(OSError):  # files of another server are left
        os.rmdir(SLOTS)
