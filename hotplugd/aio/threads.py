"""Threads for what may block: requests, and files that somebody else can make hang."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Final, TypeVar

from hotplugd.aio.result import Outcome, outcome_of

T = TypeVar("T")

# Idle threads beyond this number end: after many calls at once each would keep its stack.
_KEPT: Final = 8

_Jobs = SimpleQueue[Callable[[], None] | None]
"""What a thread has to do; None ends it."""


class NoThread(OSError):
    """The system has no thread left for a call, and the call was not begun."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.errno = errno.ENOMEM


class Threads:
    """Runs blocking calls for one event loop, each in a thread of its own while it lasts.

    A thread whose call returns is used again, or ends if enough idle threads wait. A call that never returns
    costs its thread alone: the executor of the standard library has a fixed number of threads, and waits for
    all of them at exit.

    most  how many calls may run at a time, calls past their deadline included; 0 for any number
    """

    def __init__(self, most: int = 0) -> None:
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(most) if most else None
        self._idle: list[_Jobs] = []
        self._kept = _KEPT

    async def call(self, work: Callable[[], T], deadline: float) -> T:
        """The result of `work()`. Raises what it raises, NoThread, or TimeoutError after `deadline` seconds.

        After a time-out the work goes on, and its result is dropped.
        """
        async with asyncio.timeout(deadline):
            if self._room is not None:
                await self._room.acquire()
            return await self._call(work)

    def tell(self, what: Callable[[T], object], value: T) -> None:
        """From within a thread: have the loop call `what(value)`."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(what, value)

    def close(self) -> None:
        """End all threads: idle ones now, the others when their calls return."""
        self._kept = 0
        while self._idle:
            self._idle.pop().put(None)

    def _call(self, work: Callable[[], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self._loop.create_future()
        try:
            queue = self._idle.pop() if self._idle else self._start()
        except RuntimeError as error:  # as threading says it
            if self._room is not None:
                self._room.release()
            raise NoThread(str(error)) from error

        def report(outcome: Outcome[T]) -> None:
            if len(self._idle) < self._kept:
                self._idle.append(queue)
            else:
                queue.put(None)
            if self._room is not None:
                self._room.release()
            if future.done():
                return
            if outcome.error is not None:
                future.set_exception(outcome.error)
            else:
                future.set_result(outcome.get())

        def job() -> None:
            outcome = outcome_of(work)
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(report, outcome)

        queue.put(job)
        return future

    def _start(self) -> _Jobs:
        queue: _Jobs = SimpleQueue()

        def run() -> None:
            while (job := queue.get()) is not None:
                job()
                # An idle thread must not keep the objects of its last job.
                del job

        threading.Thread(target=run, daemon=True, name="hotplugd-call").start()
        return queue
