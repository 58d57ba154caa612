"""Waiting for something to become so: the one place in the tests that sleeps."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PAUSE = 0.002


class NotInTime(AssertionError):
    """What was waited for did not happen."""


def eventually(check: Callable[[], T], deadline: float = 20.0, *, pause: float = PAUSE) -> T:
    """Call `check` until it answers something true, and return that.

    An AssertionError that it raises counts as not yet. Raises NotInTime with the last answer or assertion
    after `deadline` seconds. The deadline is for machines that are slow, not an expectation.
    """
    start = time.monotonic()
    while True:
        failed: AssertionError | None = None
        answer: T | None = None
        try:
            answer = check()
        except AssertionError as error:
            failed = error
        if answer:
            return answer
        if time.monotonic() - start > deadline:
            last = f"it failed with: {_words(failed)}" if failed is not None else f"it answered {answer!r}"
            name = getattr(check, "__qualname__", repr(check))
            raise NotInTime(f"{name} did not hold within {deadline} s; at last {last}") from failed
        time.sleep(pause)


def _words(failed: AssertionError) -> str:
    """What it says, or which line it is of."""
    return str(failed) or str(traceback.extract_tb(failed.__traceback__)[-1].line)


def ended(pid: int) -> bool:
    """Whether a process is no more, or only waits for its parent to notice (proc(5), /proc/pid/stat)."""
    try:
        # Not its command line, which is empty for a moment too where it becomes another program.
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in b"ZXx"
    except (FileNotFoundError, ProcessLookupError):
        return True


def steadily(check: Callable[[], object], seconds: float) -> None:
    """See that `check` answers something true for as long as `seconds`, looking every few milliseconds."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        assert check()
        time.sleep(PAUSE)
