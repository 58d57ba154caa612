"""What writers work with, and how it is known that all of them rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from hotplugd.model import Device, Entry, InstanceName
from hotplugd.server import Injector, Inspector, Server


class Slots(Protocol):
    """The links below /dev/hotplugd."""

    def make(self, device: Device) -> None:
        """Make the device's links, or see that they are right. Raises OSError."""

    def remove(self, device: Device) -> None:
        """Take the device's links away, which makes the server take its node out. Raises OSError."""


class Notes(Protocol):
    """What is kept over a crash of ours, and not over a boot: what was being put into instances."""

    def names(self) -> Iterable[InstanceName]:
        """The instances of which there is a note from before that nobody took yet."""

    def take(self, name: InstanceName) -> Mapping[str, Entry]:
        """What was being put into this instance when we ended, by the entries' names."""

    def note(self, name: InstanceName, entries: Sequence[Entry]) -> None:
        """These are being put in; no note where there are none."""


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
    notes: Notes
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
