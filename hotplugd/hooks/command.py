"""Runs a command for a limited time, and ends what it began with it."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from hotplugd.model.text import quoted

# Seconds from SIGTERM to SIGKILL.
_GRACE: Final = 2.0


async def run(words: Sequence[str], variables: Mapping[str, str], given: bytes, limit: float) -> str:
    """Run a command. Returns why it failed; empty where its exit status is 0.

    words    the program and its words
    given    what it reads on its standard input; a file, so that nobody waits for it to be read
    limit    seconds; then it gets SIGTERM, and SIGKILL two seconds later
    It leads a process group of its own. What is left of that is killed when the command has ended, and when
    this is cancelled. What it prints goes where this program's own messages go: to the journal.
    """
    try:
        with tempfile.TemporaryFile() as file:
            file.write(given)
            file.seek(0)
            process = await asyncio.create_subprocess_exec(
                *words, stdin=file, env=variables, start_new_session=True, cwd="/"
            )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return f"{quoted(words[0])} cannot be started: {why}"
    try:
        return await _ended(process, limit)
    finally:
        _signal(process.pid, signal.SIGKILL)
        # So that nothing is left of it where this is cancelled.
        await process.wait()


async def _ended(process: asyncio.subprocess.Process, limit: float) -> str:
    try:
        async with asyncio.timeout(limit):
            status = await process.wait()
    except TimeoutError:
        _signal(process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await process.wait()
        return f"it ran longer than {limit:g} s, and was ended"
    if status < 0:
        return f"it was ended by {_called(-status)}"
    return f"its exit status was {status}" if status else ""


def _called(number: int) -> str:
    """The name of a signal; those for real time have none (signal(7))."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _signal(group: int, number: signal.Signals) -> None:
    """Send a signal to a command's process group; nothing where all of it has ended."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
