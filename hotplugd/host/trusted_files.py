"""Files of root's on the host, which go into instances."""

from __future__ import annotations

import os
import stat
from typing import Final

MOST_BYTES: Final = 1 << 16

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# One that is no file is neither waited for nor opened for good.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


def read_trusted(path: str) -> bytes:
    """What is in a file. path: absolute, without `.` and `..`.

    No links are followed, not on the way either, and only root may be able to write the file, or to put
    another in its place. Raises OSError, with a text fit to be shown, where that is not so, where there is no
    such file, or where it is larger than `MOST_BYTES`. Blocks.
    """
    *above, name = path.strip("/").split("/")
    at = "/"
    folder = os.open("/", _FOLDER)
    try:
        for part in above:
            _see_roots(folder, at)
            at = os.path.join(at, part)
            folder = _stepped(folder, part, at)
        _see_roots(folder, at)
        return _content(folder, name, path)
    finally:
        os.close(folder)


def _stepped(folder: int, part: str, at: str) -> int:
    """The folder below this one, which is closed."""
    try:
        below = os.open(part, _FOLDER, dir_fd=folder)
    except OSError as error:
        raise OSError(f"{at} is no folder, or a link to one: {error.strerror}") from error
    os.close(folder)
    return below


def _content(folder: int, name: str, path: str) -> bytes:
    try:
        file = os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        raise OSError(f"{path} cannot be opened, or is a link: {error.strerror}") from error
    try:
        _see_file(file, path)
        content = os.read(file, MOST_BYTES + 1)
    finally:
        os.close(file)
    if len(content) > MOST_BYTES:
        raise OSError(f"{path} is larger than {MOST_BYTES >> 10} KB")
    return content


def _see_file(file: int, path: str) -> None:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise OSError(f"{path} is no file")
    _see_roots(file, path)


def _see_roots(file: int, at: str) -> None:
    """Raise OSError where others than root may write it. A sticky folder protects what is in it."""
    found = os.fstat(file)
    if found.st_uid != 0:
        raise OSError(f"{at} belongs to user {found.st_uid}, and has to be root's")
    if found.st_mode & _OTHERS and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        raise OSError(f"{at} may be written by others than root: `chmod go-w {at}`")
