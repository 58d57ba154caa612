"""Write what a command has made into a file that somebody named."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def write_file(file: Path, text: str) -> None:
    """Write a text into a file, all of it or nothing. Raises OSError.

    What is there and is no file, such as /dev/null, a pipe or a terminal, is written to and stays what it is.
    """
    try:
        is_file = stat.S_ISREG(file.stat().st_mode)
    except FileNotFoundError:
        is_file = True
    if not is_file:
        file.write_text(text, "utf-8", "backslashreplace")
        return
    file = file.resolve()
    new = file.with_name(f".{file.name}.new")
    # What devices are called is in it: it is the user's own.
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as writer:
        writer.write(text)
    new.replace(file)
