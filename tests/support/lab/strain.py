"""What a process is put to: how long its event loop kept others waiting, and how much memory it took."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PAUSE: Final = 0.005


@dataclass(slots=True)
class Strain:
    """lag: the most CPU time that the process took between two turns of the loop, in seconds: as long others
    had to wait, had the machine nothing else to do. memory: what was taken at most, in MiB.
    """

    lag: float = 0.0
    memory: float = 0.0


@asynccontextmanager
async def strained() -> AsyncIterator[Strain]:
    """What the loop's process is put to while the context lasts.

    The garbage collector does not count what the process holds already: a run of all tests has so many
    objects that one collection of them takes longer than what is measured.
    """
    found = Strain()
    gc.freeze()
    before = peak(os.getpid(), anew=True)

    async def watch() -> None:
        while True:
            start = time.process_time()
            await asyncio.sleep(_PAUSE)
            found.lag = max(found.lag, time.process_time() - start - _PAUSE)

    task = asyncio.get_running_loop().create_task(watch())
    # The first turn is its own.
    await asyncio.sleep(0)
    try:
        yield found
        await asyncio.sleep(2 * _PAUSE)
    finally:
        task.cancel()
        gc.unfreeze()
        found.memory = peak(os.getpid()) - before


def peak(pid: int, *, anew: bool = False) -> float:
    """The most memory that a process had, in MiB (proc(5): VmHWM); from now on, where it is counted anew."""
    if anew:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("expected VmHWM in /proc/PID/status")
