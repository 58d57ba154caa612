"""Which files count, in which order, and their bytes.

Folders that are given next to each other are one drop-in hierarchy, as systemd has it: the files of all of
them in the order of their base names, and a file in an earlier folder hides its namesakes in later ones.
An empty file or a link to /dev/null hides them too, and has no rules itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from hotplugd.rulefile.diagnostics import Diagnostic

Reading = Callable[[Path | None], object]
"""Called with a path before it is opened, which may hang, and with None afterwards."""


class Place:
    """A `Reading` that keeps the path, for another thread to see."""

    def __init__(self) -> None:
        self.path: Path | None = None

    def __call__(self, path: Path | None) -> None:
        """Keep the path."""
        self.path = path


DEFAULT_FOLDERS: Final = (
    Path("/etc/hotplugd/rules.d"),
    Path("/run/hotplugd/rules.d"),
    Path("/usr/local/lib/hotplugd/rules.d"),
    Path("/usr/lib/hotplugd/rules.d"),
)

LARGEST: Final = 1 << 20
MOST_FILES: Final = 5_000
_SUFFIXES: Final = (".yaml", ".yml")
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def is_folder(path: Path) -> bool:
    """Whether it is a folder, or a default one that may be missing."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return path in DEFAULT_FOLDERS


def drop_ins(
    folders: Iterable[Path], reading: Reading = lambda _: None
) -> tuple[list[Path], list[Diagnostic]]:
    """The files that count of one hierarchy of folders, in order, and which folders cannot be read."""
    by_name: dict[str, Path] = {}
    diagnostics: list[Diagnostic] = []
    for folder in folders:
        reading(folder)
        try:
            names = list(islice(_names(folder), MOST_FILES + 1))
        except OSError as error:
            if isinstance(error, FileNotFoundError) and folder in DEFAULT_FOLDERS:
                continue
            diagnostics.append(_unreadable(folder, error))
            continue
        if len(names) > MOST_FILES:
            message = f"more than {MOST_FILES} files of rules"
            diagnostics.append(whole(str(folder), message, "put several rules into one file"))
            continue
        for name in names:
            by_name.setdefault(name, folder / name)
    return [path for _, path in sorted(by_name.items()) if not _is_mask(path, reading)], diagnostics


def _names(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(_SUFFIXES) and not entry.name.startswith("."):
                yield entry.name


def others_in(folder: Path) -> list[Path]:
    """The files in a folder of rules that are not read, since their names end otherwise."""
    try:
        others = [each for each in folder.iterdir() if not each.name.endswith(_SUFFIXES)]
    except OSError:
        return []
    return sorted(each for each in others if not each.name.startswith("."))


def _is_mask(path: Path, reading: Reading) -> bool:
    reading(path)
    try:
        status = path.stat()
        null = Path(os.devnull).stat()
    except OSError:
        return False
    empty = stat.S_ISREG(status.st_mode) and status.st_size == 0
    return empty or (stat.S_ISCHR(status.st_mode) and status.st_rdev == null.st_rdev)


def read(path: Path) -> bytes | Diagnostic:
    """A file's bytes, or why there are none. Never waits: pipes and devices are refused."""
    try:
        if what := _other_kind(path.stat().st_mode):
            return whole(str(path), f"expected a file, and found {what}")
        # Meanwhile the file may have become a pipe, for which a plain open would wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if what := _other_kind(os.fstat(descriptor).st_mode):
                return whole(str(path), f"expected a file, and found {what}")
            raw = file.read(LARGEST + 1)
    except OSError as error:
        return _unreadable(path, error)
    except ValueError:
        return whole(str(path), "no path can have a NUL in it")
    return too_large(str(path)) if len(raw) > LARGEST else raw


def _other_kind(mode: int) -> str:
    return next((what for is_kind, what in _KINDS if is_kind(mode)), "")


def _unreadable(path: Path, error: OSError) -> Diagnostic:
    return whole(str(path), f"cannot be read: {error.strerror or error}")


def too_large(file: str) -> Diagnostic:
    """An error about a file's size."""
    return whole(file, f"larger than {LARGEST >> 20} MiB, which no rule file is", "split it into several")


def not_utf8(raw: bytes, file: str, error: UnicodeDecodeError) -> Diagnostic:
    """An error about the first byte that is not UTF-8."""
    before = raw[: error.start].decode("utf-8")
    line = before.count("\n")
    start = before.rfind("\n") + 1
    source = raw.split(b"\n")[line].decode("utf-8", "replace").rstrip("\r")
    hint = "save it as UTF-8"
    message = f"byte 0x{raw[error.start]:02x} at offset {error.start} is not UTF-8"
    return Diagnostic("error", file, line + 1, len(before) - start + 1, message, hint, source)


def whole(file: str, message: str, hint: str = "") -> Diagnostic:
    """An error about a whole file."""
    return Diagnostic("error", file, 1, 1, message, hint, whole=True)
