"""Runs the commands of hooks: for one device one after the other, for some devices at a time, and bounded."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from hotplugd.hooks.command_input import Event
from hotplugd.hooks.settings import Hook

AT_A_TIME: Final = 8
"""How many commands run at a time."""

WAITING: Final = 1000
"""How many events may have a command that has not ended; then no further one is taken."""

# What an event is about: the first of these that it has.
_ABOUT: Final = ("identity", "device", "instance")

Run = Callable[[Hook, Event], Awaitable[str]]
"""Runs a hook's command for an event. Returns why it failed; empty where it did not."""


@dataclass(slots=True)
class Outcome:
    """What came of a hook's commands. failed: how often in a row; why: the last time; at: an event's time"""

    failed: int = 0
    why: str = ""
    at: str = ""
    done: int = 0


@dataclass(slots=True)
class _Job:
    event: Event
    hooks: tuple[Hook, ...]
    number: int


@dataclass(slots=True)
class Jobs:
    """The commands that run, and wait.

    taken    the cursor of the last event that was taken
    changed  called when a hook begins or ends to fail, and when an event is done with
    """

    hooks: Sequence[Hook]
    run: Run
    changed: Callable[[], None] = lambda: None
    taken: str = ""
    at_a_time: int = AT_A_TIME
    waiting: int = WAITING
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    _queues: dict[str, deque[_Job]] = field(default_factory=dict)
    # Whose next command may begin, in the order in which they came.
    _ready: deque[str] = field(default_factory=deque)
    _tasks: dict[asyncio.Task[None], str] = field(default_factory=dict)
    # The events that are not done with, by their numbers, with the cursor of what was before each.
    _open: dict[int, str] = field(default_factory=dict)
    _next: int = 0
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    running: Counter[str] = field(default_factory=Counter)

    async def take(self, event: Event) -> None:
        """Have the commands for an event run. Waits while there is no room for it."""
        before, self.taken = self.taken, str(event.get("cursor", self.taken))
        hooks = tuple(each for each in self.hooks if each.takes(event))
        if not hooks:
            return
        number, self._next = self._next, self._next + 1
        self._open[number] = before
        about = next((str(event[key]) for key in _ABOUT if event.get(key)), "")
        queue = self._queues.get(about)
        if queue is None:
            queue = self._queues[about] = deque()
            self._ready.append(about)
        queue.append(_Job(event, hooks, number))
        self._begin()
        while len(self._open) > self.waiting:
            self._room.clear()
            await self._room.wait()

    @property
    def cursor(self) -> str:
        """After the last event before which every event is done with: where to go on after a restart."""
        return self._open[next(iter(self._open))] if self._open else self.taken

    @property
    def open(self) -> int:
        """How many events are not done with."""
        return len(self._open)

    async def end(self, grace: float) -> None:
        """Begin nothing more, and end what runs longer than this many seconds; it is not done with then."""
        self.at_a_time = 0
        if not self._tasks:
            return
        _, left = await asyncio.wait([*self._tasks], timeout=grace)
        for each in left:
            each.cancel()
        if left:
            await asyncio.wait(left)

    def _begin(self) -> None:
        while self._ready and len(self._tasks) < self.at_a_time:
            about = self._ready.popleft()
            task = asyncio.create_task(self._do(self._queues[about][0]))
            self._tasks[task] = about
            task.add_done_callback(self._done)

    async def _do(self, job: _Job) -> None:
        for hook in job.hooks:
            outcome = self.outcomes.setdefault(hook.name, Outcome())
            self.running[hook.name] += 1
            try:
                why = await self.run(hook, job.event)
            finally:
                self.running[hook.name] -= 1
            outcome.done += 1
            outcome.failed = outcome.failed + 1 if why else 0
            outcome.why, outcome.at = why, str(job.event.get("timestamp", ""))
            self.changed()

    def _done(self, task: asyncio.Task[None]) -> None:
        about = self._tasks.pop(task)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler({"message": "a hook", "exception": error})
        queue = self._queues[about]
        del self._open[queue.popleft().number]
        if queue:
            self._ready.append(about)
        else:
            del self._queues[about]
        self._room.set()
        self.changed()
        self._begin()
