"""Why the daemon ended, or could not start, for `status`: in a file beside its control socket.

The daemon keeps the file locked (flock(2)) for as long as it lives: nobody takes an earlier end for its own,
and one that is killed is known to have said nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hotplugd.model.text import plain

_MOST: Final = 1 << 16
# A reason is one line: a traceback is the log's.
_LONGEST: Final = 1000
# Not to write: as long as a file is open so, its file system cannot be mounted read-only.
_FLAGS: Final = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def file_of(control: Path) -> Path:
    """The file of the exit reason, beside this control socket."""
    return control.with_name(f"{control.name}.last")


class ExitReason:
    """The exit reason of this process. Where it cannot be written, or another daemon holds the file, nothing
    happens: the log has it, too.
    """

    def __init__(self, control: Path) -> None:
        self._descriptor = -1
        with suppress(OSError):
            control.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(file_of(control), _FLAGS, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
        self._write("started", "")

    def ended(self, reason: str = "") -> None:
        """Write that the daemon ends for this reason; empty where it was told to end."""
        self._write("ended" if reason else "stopped", reason)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, how: str, reason: str) -> None:
        if self._descriptor < 0:
            return
        at = datetime.now(UTC).isoformat(timespec="seconds")
        text = json.dumps({"how": how, "reason": plain(reason)[:_LONGEST], "at": at})
        with suppress(OSError):
            # The file that is locked, whatever has its name by now (proc(5): /proc/PID/fd).
            descriptor = os.open(f"/proc/self/fd/{self._descriptor}", os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
            try:
                os.write(descriptor, text.encode(errors="backslashreplace"))
            finally:
                os.close(descriptor)


@contextmanager
def with_crashes(exits: ExitReason | None) -> Iterator[None]:
    """Write the reason down where the body raises an unexpected exception."""
    try:
        yield
    except Exception as error:
        if exits is not None:
            exits.ended(_crash(error))
        raise


def _crash(error: BaseException) -> str:
    """What failed, and where, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    where = f", at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"it crashed: {type(error).__name__}: {error}{where}"


def exit_reason(control: Path) -> str:
    """Why the daemon that had this control socket ended, and when; empty where nobody knows, or it lives."""
    try:
        descriptor = os.open(file_of(control), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        said = json.loads(os.pread(descriptor, _MOST, 0))
        how, reason = str(said["how"]), str(said["reason"])
        at = f"{datetime.fromisoformat(str(said['at'])).astimezone():%Y-%m-%d %H:%M:%S %z}"
    except (OSError, ValueError, OverflowError, KeyError, TypeError, RecursionError):
        return ""
    finally:
        os.close(descriptor)
    if how == "stopped":
        return f"it was stopped at {at}"
    if how == "started":
        return f"it was started at {at}, and ended without a word: it was killed, or there was no memory"
    return plain(f"it ended at {at}: {reason}")
