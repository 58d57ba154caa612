"""The program that writes what udevd is told to leave alone: the only one that may write for udevd.

udevd runs what its rules say, as root. So whoever can write rules is root; this program writes none but those
that `rules/leave.py` makes: conditions, a few fixed properties, and a jump to the end.

Standard input is a connected SOCK_SEQPACKET socket. A request is one message, the name of one of `FILES`,
with one descriptor beside it: a file with the text. The answer is one message, `DONE` or what went wrong. The
program ends when the other side closes. It imports the standard library alone:
`python -I -S udevrules.py [FOLDER]` runs it.
"""

from __future__ import annotations

import array
import os
import re
import socket
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

DONE: Final = b"done"
ANSWER_MOST: Final = 4096
FOLDER: Final = "/run/udev/rules.d"
FILES: Final = frozenset({"68-hotplugd-leave.rules", "90-hotplugd-leave.rules"})
_NAME_MOST: Final = 64
_MOST: Final = 16 << 20
_QUOTED: Final = 120
_ROOM: Final = socket.CMSG_SPACE(4 * array.array("i").itemsize)

_PROPERTIES: Final = "ID_MM_DEVICE_IGNORE|ID_MM_PORT_IGNORE|UDISKS_IGNORE|NM_UNMANAGED|MTP_NO_PROBE"
# What means itself in udev's quotes (udev(7)): nothing that ends them, escapes, or stands for something else.
_VALUE: Final = r'"[A-Za-z0-9_.:*?\[\]|@/+,=! -]*"'
_CONDITION: Final = (
    r"(?:ACTION|DEVPATH|SUBSYSTEMS?|KERNELS?|DRIVERS?|(?:ENV|ATTRS?)\{[A-Za-z0-9_.]+\})(?:==|!=)" + _VALUE
)
_END: Final = "hotplugd_leave_end"
_LINE: Final = re.compile(
    rf'(?:(?:{_CONDITION}, )*(?:ENV\{{(?:{_PROPERTIES})\}}="1", )*GOTO="{_END}"|LABEL="{_END}"'
    # A backslash at the end of a comment would join it to the next line.
    r"|# [ -\[\]-~]*|)"
)


class Unfit(ValueError):
    """A text is none that hotplugd makes."""


def see(text: str) -> None:
    """Raises Unfit where a line is none of those that `rules/leave.py` makes."""
    for number, line in enumerate(text.split("\n"), 1):
        if not _LINE.fullmatch(line):
            raise Unfit(f"line {number} is none that hotplugd makes: {line[:_QUOTED]!a}")


def main(arguments: Sequence[str] = ()) -> int:
    """Serve standard input. Returns the exit code."""
    folder = Path(arguments[0] if arguments else FOLDER)
    try:
        channel = socket.socket(fileno=os.dup(0))
    except OSError:
        channel = None
    if channel is None or (channel.family, channel.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        sys.stderr.write("hotplugd udevrules: standard input is no socket; hotplugd or systemd starts this\n")
        return 2
    with channel, suppress(BrokenPipeError, ConnectionResetError):  # nobody waits any more
        while _serve(channel, folder):
            pass
    return 0


def _serve(channel: socket.socket, folder: Path) -> bool:
    """Serve one request. Returns whether there was one."""
    message, beside, flags, _ = channel.recvmsg(_NAME_MOST, _ROOM, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in beside:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    try:
        if not message:
            return False
        try:
            name = message.decode("ascii", "replace")
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(descriptors) != 1 or name not in FILES:
                raise Unfit("not a request")
            _write(folder, name, _read(descriptors[0]))
            answer = DONE
        except (OSError, ValueError) as error:
            answer = str(error).encode()[:ANSWER_MOST]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    channel.send(answer)
    return True


def _read(descriptor: int) -> str:
    """The text, once: who gave it may write to it meanwhile."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST:
        raise Unfit(f"expected a file of at most {_MOST} bytes")
    raw = b""
    while len(raw) < _MOST and (some := os.pread(descriptor, _MOST - len(raw), len(raw))):
        raw += some
    text = raw.decode("ascii")
    see(text)
    return text


def _write(folder: Path, name: str, text: str) -> None:
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = folder / f"{name}.new"
    new.unlink(missing_ok=True)
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(file, "w", encoding="ascii") as writer:
        os.fchmod(file, 0o644)
        writer.write(text)
    os.replace(new, folder / name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
