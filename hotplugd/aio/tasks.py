"""The tasks that are under way in one event loop, and how it is known that there are none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial


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
        """Start a task, and call `then` with whether it ended without an error. Once closed it does nothing.

        An unexpected exception goes to the loop's handler, which ends the daemon.
        """
        if self._closed:
            return
        task = self._loop.create_task(work())
        self._tasks.add(task)
        self._none.clear()
        task.add_done_callback(partial(self._ended, then))

    async def none(self) -> None:
        """Return once no task runs. Work that waits for its next try does not count."""
        await self._none.wait()

    def close(self) -> None:
        """Cancel all tasks, and start none from now on."""
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
            # After `then`: tasks that it starts belong to this one.
            self._tasks.discard(task)
            if not self._tasks:
                self._none.set()
