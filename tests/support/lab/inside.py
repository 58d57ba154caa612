"""What is inside a container, seen through its init's root; shares no code with the daemon."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Seen:
    """A device node: `char` or `block`, number, permission bits, and owner as the container sees it."""

    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int

    @property
    def number(self) -> str:
        """As `c 189:3`."""
        return f"{self.kind[0]} {self.major}:{self.minor}"


def look(pid: int, path: str) -> Seen | None:
    """The device node at an absolute path inside, or None. No link inside is followed."""
    folder = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)
    try:
        for part in path.strip("/").split("/"):
            try:
                below = os.open(part, _LOOK, dir_fd=folder)
            except (FileNotFoundError, NotADirectoryError):
                return None
            os.close(folder)
            folder = below
        return _seen(pid, os.fstat(folder))
    finally:
        os.close(folder)


def nodes(pid: int) -> dict[str, Seen]:
    """Every device node below /dev inside, by path."""
    start = f"/proc/{pid}/root/dev"
    found: dict[str, Seen] = {}
    for path in _walk(start):
        with suppress(FileNotFoundError):
            seen = _seen(pid, os.lstat(path))
            if seen is not None:
                found[path.removeprefix(f"/proc/{pid}/root")] = seen
    return found


def _walk(folder: str) -> Iterator[str]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path)
            elif not entry.is_symlink():
                yield entry.path


def _seen(pid: int, status: os.stat_result) -> Seen | None:
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        return None
    return Seen(
        "char" if stat.S_ISCHR(status.st_mode) else "block",
        os.major(status.st_rdev),
        os.minor(status.st_rdev),
        stat.S_IMODE(status.st_mode),
        _within(pid, "uid_map", status.st_uid),
        _within(pid, "gid_map", status.st_gid),
    )


def _within(pid: int, table: str, ident: int) -> int:
    """A user or group of the host as the container's user namespace numbers it (user_namespaces(7))."""
    for line in Path(f"/proc/{pid}/{table}").read_text().splitlines():
        inside, outside, length = map(int, line.split())
        if outside <= ident < outside + length:
            return inside + ident - outside
    return 65534
