"""What writers work with, and how it is known that all of them rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from hotplugd.model.ports import Injector, Inspector, Server
from hotplugd.model.values import Device, Entry, Instance, InstanceName, Link
from hotplugd.plan.desired import Problem, Want


class Slots(Protocol):
    """The links below /dev/hotplugd."""

    def make(self, device: Device) -> None:
        """Make the device's links, or see that they are right. Raises OSError."""

    def cut(self, slot: str) -> None:
        """Have the slot's links lead nowhere from now on; the server does not see it. Raises OSError."""

    def remove(self, slot: str) -> None:
        """Take the slot's links away, of which the server has no entry any more. Raises OSError."""


class Notes(Protocol):
    """What is kept over a crash of ours, and not over a boot: what was being put into instances."""

    def names(self) -> Iterable[InstanceName]:
        """The instances of which there is a note from before that nobody took yet."""

    def take(self, name: InstanceName) -> Mapping[str, Entry]:
        """What was being put into this instance when we ended, by the entries' names."""

    def note(self, name: InstanceName, entries: Sequence[Entry]) -> None:
        """These are being put in; no note where there are none."""


class Links(Protocol):
    """The links inside instances, kept over a crash of ours, and not over a boot, which they do not outlast.

    Entries do not have them: rules change them while a device is attached.
    """

    def names(self) -> Iterable[InstanceName]:
        """The instances of which there is a note from before that nobody took yet."""

    def take(self, name: InstanceName) -> Mapping[str, Link]:
        """The links that were made in this instance when we ended, or about to be, by their paths."""

    def note(self, name: InstanceName, links: Mapping[str, Link]) -> None:
        """These are there, or about to be; no note where there are none."""


class Seals(Protocol):
    """Sees to it that no device leaves an instance before its node is sealed, so that none inside can open it
    again.

    Every way out is here: what goes by a request of ours is given to `seal` before. What a request replaces
    is given to `hold` before, and `has` seals it then, as it does what has gone by somebody else's.
    """

    def has(self, name: InstanceName, instance: Instance | None) -> None:
        """The instance is as it is now."""

    def restarted(self, name: InstanceName) -> None:
        """There is another init, or none."""

    async def seal(self, name: InstanceName, leaving: Iterable[Entry]) -> bool:
        """The nodes of these entries are about to go from this instance, which runs. Returns whether all are
        sealed.
        """

    async def hold(self, name: InstanceName, replaced: Iterable[Entry]) -> None:
        """The nodes of these entries are about to be made anew, if the server does as it is asked."""

    async def seal_everywhere(self, name: str) -> None:
        """The nodes of any entry of this name are about to go, from whichever instance."""

    def problems(self) -> list[Problem]:
        """What could not be sealed."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What writers work with.

    restore  an interface that is away, with the devices above it as they are; None where they are gone
    log      where what was done is told
    now      the time of day, as an entry's mark is to tell it
    in_use   why the host uses a device that is about to be put in, as it is now; empty where it does not
    dry_run  tell what would be done, and change nothing
    boot     the first 8 digits of the present boot's id
    """

    server: Server
    inspector: Inspector
    injector: Injector
    slots: Slots
    seals: Seals
    notes: Notes
    links: Links
    restore: Callable[[Device], Device | None]
    log: FilteringBoundLogger
    now: Callable[[], str]
    in_use: Callable[[Want], Awaitable[str]]
    dry_run: bool = False
    boot: str = ""


class Activity:
    """The tasks that are under way, all of one event loop, and waiting until there are none."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[object]] = set()
        self._none = asyncio.Event()
        self._none.set()
        self._closed = False

    def start(
        self, work: Callable[[], Coroutine[object, object, object]], then: Callable[[bool], None]
    ) -> None:
        """Begin this work, and call `then` with whether it ended as it should. Once closed nothing begins.

        A defect of ours is handed to the loop, for the daemon to end by.
        """
        if self._closed:
            return
        task = self._loop.create_task(work())
        self._tasks.add(task)
        self._none.clear()
        task.add_done_callback(partial(self._ended, then))

    async def none(self) -> None:
        """Return once nothing is under way. What waits for its next try does not count."""
        await self._none.wait()

    def close(self) -> None:
        """End what is under way, and begin nothing any more."""
        self._closed = True
        for task in self._tasks:
            task.cancel()

    def _ended(self, then: Callable[[bool], None], task: asyncio.Task[object]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._loop.call_exception_handler(
                {"message": "a writer failed", "exception": error, "task": task}
            )
        try:
            if not self._closed:
                then(error is None and not task.cancelled())
        finally:
            # Only now: what follows at once belongs to it.
            self._tasks.discard(task)
            if not self._tasks:
                self._none.set()
