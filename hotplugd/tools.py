"""What writers work with, and how it is known that all of them rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from hotplugd.model import Device
from hotplugd.server import Injector, Inspector, Server


class Slots(Protocol):
    """The links below /dev/hotplugd."""

    def make(self, device: Device) -> None:
        """Make the device's links, or see that they are right. Raises OSError."""

    def remove(self, device: Device) -> None:
        """Take the device's links away, which makes the server take its node out. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What writers work with.

    restore  an interface that is away, with the devices above it as they are; None where they are gone
    log      where what was done is told
    now      the time of day, as an entry's mark is to tell it
    dry_run  tell what would be done, and change nothing
    """

    server: Server
    inspector: Inspector
    injector: Injector
    slots: Slots
    restore: Callable[[Device], Device | None]
    log: FilteringBoundLogger
    now: Callable[[], str]
    dry_run: bool = False


class Activity:
    """How many tasks are under way, and waiting until there are none."""

    def __init__(self) -> None:
        self._tasks = 0
        self._none = asyncio.Event()
        self._none.set()

    def begin(self) -> None:
        """One more."""
        self._tasks += 1
        self._none.clear()

    def end(self) -> None:
        """One less."""
        self._tasks -= 1
        if self._tasks == 0:
            self._none.set()

    async def none(self) -> None:
        """Return once nothing is under way. What waits for its next try does not count."""
        await self._none.wait()


def ended_well(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> bool:
    """Whether a task ended as it should. A defect of ours is handed to the loop, for the daemon to end by."""
    if task.cancelled():
        return False
    if (error := task.exception()) is not None:
        loop.call_exception_handler({"message": "a writer failed", "exception": error, "task": task})
    return error is None
