"""The program that writes what udevd is told to leave alone: the only one that may write for udevd.

udevd runs what its rules say, as root. So whoever can write rules is root; this program writes none but those
that `app/udev_ignore.py` makes: conditions, a few fixed properties, and a jump to the end.

It is served as `helper_loop` says. A request is the name of one of `FILES`, with one descriptor beside it: a
file with the text; where that is empty, the file goes. The answer is `DONE` or what went wrong. An argument
names another folder than `FOLDER`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hotplugd.aio.helper_loop import NO_REQUEST, Answer, Handler, Limits, serve

FOLDER: Final = "/run/udev/rules.d"
FILES: Final = frozenset({"68-hotplugd-leave.rules", "90-hotplugd-leave.rules"})
LIMITS: Final = Limits(request=64, least=1, most=1, answer=4096)
_MOST: Final = 16 << 20
_QUOTED: Final = 120

_FLAGS: Final = (
    "ID_MM_DEVICE_IGNORE|ID_MM_PORT_IGNORE|UDISKS_IGNORE|NM_UNMANAGED|MTP_NO_PROBE|HOTPLUGD_WITH_[0-9a-f]{16}"
)
_TELL: Final = rf'ENV\{{(?:{_FLAGS})\}}="1"|ENV\{{ID_NET_MANAGED_BY\}}="hotplugd"'
# What means itself in udev's quotes (udev(7)): nothing that ends them, escapes, or stands for something else.
_VALUE: Final = r'"[A-Za-z0-9_.:*?\[\]|@/+,=! -]*"'
_CONDITION: Final = (
    r"(?:ACTION|DEVPATH|SUBSYSTEMS?|KERNELS?|DRIVERS?|(?:ENV|ATTRS?)\{[A-Za-z0-9_.]+\})(?:==|!=)" + _VALUE
)
_LABEL: Final = '"hotplugd_leave_(?:end|own)"'
_LINE: Final = re.compile(
    rf"(?:(?:{_CONDITION}, )*(?:(?:{_TELL}), )*GOTO={_LABEL}|LABEL={_LABEL}"
    # What is above says whether a rule takes along what is below it.
    r'|IMPORT\{parent\}="HOTPLUGD_WITH_\*"'
    # A backslash at the end of a comment would join it to the next line.
    r"|# [ -\[\]-~]*|)"
)


class BadRules(ValueError):
    """A text is none that hotplugd makes."""


def see(text: str) -> None:
    """Raises BadRules where a line is none of those that `app/udev_ignore.py` makes."""
    for number, line in enumerate(text.split("\n"), 1):
        if not _LINE.fullmatch(line):
            raise BadRules(f"line {number} is none that hotplugd makes: {line[:_QUOTED]!a}")


def main(arguments: Sequence[str] = ()) -> int:
    """Serve standard input. Returns the exit code."""
    return serve("udevrules", LIMITS, handler(Path(arguments[0] if arguments else FOLDER)))


def handler(folder: Path) -> Handler:
    """Writes what it is asked for into this folder."""

    def handle(message: bytes, descriptors: Sequence[int]) -> Answer:
        if (name := message.decode("ascii", "replace")) not in FILES:
            raise BadRules(NO_REQUEST)
        _write(folder, name, _read(descriptors[0]))
        return Answer()

    return handle


def _read(descriptor: int) -> str:
    """The text, once: who gave it may write to it meanwhile."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST:
        raise BadRules(f"expected a file of at most {_MOST} bytes")
    raw = b""
    while len(raw) < _MOST and (some := os.pread(descriptor, _MOST - len(raw), len(raw))):
        raw += some
    text = raw.decode("ascii")
    see(text)
    return text


def _write(folder: Path, name: str, text: str) -> None:
    if not text:
        (folder / name).unlink(missing_ok=True)
        return
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = folder / f"{name}.new"
    new.unlink(missing_ok=True)
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(file, "w", encoding="ascii") as writer:
        os.fchmod(file, 0o644)
        writer.write(text)
    os.replace(new, folder / name)
