"""Carries out what has to be done inside one instance: one task after the other, until nothing is due.

Nothing waits for this. A task that fails is tried again after a pause, which gets longer, and what is due
then is a problem until it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from hotplugd.aio.backoff import Retry
from hotplugd.aio.tasks import Activity
from hotplugd.model.ports import ServerError, Untold

_T = TypeVar("_T")
# The first pause, and the longest, in seconds.
_PAUSES: Final = (0.5, 30.0)


class RetryQueue(Generic[_T]):
    """The tasks of one kind for one instance.

    do           carries out a task. Raises ServerError or Untold
    refresh      gives what is due, given what is left of the tasks that were due before
    failed       called with a task that failed, why, and the seconds until it is tried again, if that is new
    over         called once a task was carried out that was a problem before

    due          the tasks, the first one first
    is_busy      a task is under way
    life         changes when the instance restarts: how a task ends that began before does not matter
    unconfirmed  tasks that were carried out, of which it is still to be seen that they had an effect; until
                 then the pause after a failure stays as long as it is
    """

    def __init__(
        self,
        activity: Activity,
        do: Callable[[_T], Awaitable[None]],
        refresh: Callable[[Sequence[_T]], Sequence[_T]],
        failed: Callable[[_T, str, float], None],
        over: Callable[[], None] = lambda: None,
    ) -> None:
        self._activity = activity
        self._do = do
        self._refresh = refresh
        self._report = failed
        self._tell_over = over
        self._is_over = False
        self._loop = asyncio.get_running_loop()
        self._retry = Retry()
        self._alarm: asyncio.TimerHandle | None = None
        self.is_busy = False
        self.life = 0
        self.due: Sequence[_T] = ()
        self.unconfirmed: set[_T] = set()

    def problems(self) -> list[tuple[_T, str]]:
        """What is due and could not be done, and why."""
        return [(task, self._retry.message) for task in self.due] if self._retry.message else []

    def forget(self) -> None:
        """The instance restarted or stopped: nothing is due, however the present task ends."""
        self.life += 1
        self.due = ()

    def run(self) -> None:
        """Carry out what is due, now or after the pause."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self.is_busy:
            return
        self.due = self._refresh(self.due)
        if not self.due:
            if not self.unconfirmed:
                self._retry.reset()
        elif self._retry.until > self._loop.time():
            self._alarm = self._loop.call_at(self._retry.until, self.run)
        else:
            self.is_busy = True
            self._activity.start(self._work, self._worked)

    def fail(self, task: _T, reason: str) -> None:
        """The task failed: all that is due waits."""
        pause, new = self._retry.failed(reason, self._loop.time(), *_PAUSES)
        if new:
            self._report(task, reason, pause)

    async def _work(self) -> None:
        while self.due:
            task, life = self.due[0], self.life
            try:
                await self._do(task)
            except (ServerError, Untold) as error:
                if life == self.life:
                    self.fail(task, str(error))
                return
            self._is_over = bool(self._retry.message)
            if life == self.life:
                self.due = self._refresh([other for other in self.due if other is not task])

    def _worked(self, fine: bool) -> None:
        self.is_busy = False
        is_over, self._is_over = self._is_over, False
        if fine:
            self.run()
            if is_over:
                self._tell_over()
