"""Lists the server's instances, by projects: at each connection, and again where several may have changed.

What is heard of one instance alone does not wait for a listing: the session has the reconciler ask for it.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotplugd.aio.backoff import Retry
from hotplugd.aio.pace import Pace
from hotplugd.model.ports import ServerError
from hotplugd.model.problem import Problem
from hotplugd.model.text import quoted
from hotplugd.model.values import InstanceName
from hotplugd.reconcile.problem_log import ProblemLog
from hotplugd.reconcile.reconciler import Reconciler
from hotplugd.server.client import Lxd

# Seconds until a server that does not answer is asked again: at first, and at most.
PAUSES: Final = (0.2, 10.0)
# Seconds until projects that could not be listed are listed again: at first, and at most.
_UNLISTED_PAUSES: Final = (1.0, 300.0)
# A project with this many waiting requests is reported.
_CROWD: Final = 100
# So often in a row all are listed, and then once in so many seconds, and for half of the time at most.
_LISTINGS: Final = (10, 1.0)
# So often in a row the server is asked for an instance that it tells of and that is not known, and then once
# in so many seconds: where it tells of more, all are listed instead.
_STRANGERS: Final = (100, 0.1)
# So often in a row what is left of a listing is looked for, and then once in so many seconds: with 10,000
# instances that takes 0.3 s, and cannot be done in parts.
_TRIMS: Final = (1, 300.0)


class InstanceListing:
    """The listings of one server's instances, which the reconciler takes note of."""

    def __init__(self, server: Lxd, reconciler: Reconciler, log: FilteringBoundLogger) -> None:
        self._server = server
        self._reconciler = reconciler
        self._log = log
        # Set while instances are to be listed again, and of which projects; None for all.
        self._due = asyncio.Event()
        self._due_projects: set[str] | None = set()
        # One listing at a time: of what an older one says after a newer one each instance would be asked for.
        self._turn = asyncio.Lock()
        self._unlisted: list[Problem] = []
        self._unlisted_log = ProblemLog(log, "server.unlisted")
        # Reports projects in which requests wait for each other.
        self._crowded_log = ProblemLog(log, "server.problem")
        # How often a listing failed, and why.
        self._retry = Retry()
        self._unlisted_retry = Retry()
        self._unlisted_alarm: asyncio.TimerHandle | None = None
        self._trims = Pace(*_TRIMS)
        self._strangers = Pace(*_STRANGERS)

    async def list_now(self, only: Collection[str] = ()) -> None:
        """List the instances of these projects, or all. Raises ServerError."""
        async with self._turn:
            asked = asyncio.get_running_loop().time()
            instances = await self._server.list(only)
            self._note_unlisted(self._server.unlisted, only)
            await self._reconciler.listed_instances(instances, asked, self._server.unlisted, only)
        if self._trims.due <= asked:
            self._trims.done(asked)
            _trim()

    def is_for_many(self, name: InstanceName) -> bool:
        """Whether the server tells of this instance, which is not known, among many."""
        if self._reconciler.knows(name):
            return False
        now = asyncio.get_running_loop().time()
        if self._strangers.due > now:
            return True
        self._strangers.done(now)
        return False

    def soon(self, project: str = "") -> None:
        """Have all instances listed again, or those of a project."""
        if not project:
            self._due_projects = None
        elif self._due_projects is not None:
            self._due_projects.add(project)
        self._due.set()

    async def run(self) -> None:
        """List what `soon` asks for, until cancelled. What the server does not answer is asked for again."""
        retry, pace, loop = self._retry, Pace(*_LISTINGS), asyncio.get_running_loop()
        failing = ProblemLog(self._log, "server.problem")
        while True:
            await self._due.wait()
            await asyncio.sleep(max(pace.due - loop.time(), 0.0))
            self._due.clear()
            projects, self._due_projects = self._due_projects, set()
            start = loop.time()
            pace.done(start)
            try:
                await self.list_now(projects or ())
                retry.reset()
                failing.are(())
                await asyncio.sleep(loop.time() - start)
            except ServerError as error:
                pause, _ = retry.failed(str(error), loop.time(), *PAUSES)
                failing.are(self._unlistable())
                self.soon()
                await asyncio.sleep(pause)

    def problems(self) -> list[Problem]:
        """Which projects could not be listed, and in which ones requests wait for each other."""
        return self._unlistable() + self._unlisted + self._crowded()

    def tell_crowded(self) -> None:
        """Tell in which projects requests wait for each other, and in which no more: from time to time."""
        self._crowded_log.are(self._crowded())

    def _unlistable(self) -> list[Problem]:
        why = self._retry.message
        return [Problem("", "", f"instances cannot be listed: {why}; tried again")] if why else []

    def _crowded(self) -> list[Problem]:
        return [
            Problem(
                "",
                "",
                f"project '{quoted(project)}': {waiting} requests about its instances wait for each other, "
                f"since those are edited, or start and stop, all the time; no other project waits for them",
            )
            for project, waiting in self._server.waiting().items()
            if waiting >= _CROWD
        ]

    def close(self) -> None:
        """List nothing again."""
        if self._unlisted_alarm is not None:
            self._unlisted_alarm.cancel()

    def _note_unlisted(self, projects: Mapping[str, str], only: Collection[str]) -> None:
        """Have it said which projects could not be listed, and have them listed again some time.

        only  those that were asked for now; none for all
        """
        problems = [
            Problem(
                "",
                "",
                f"project '{quoted(project)}' cannot be listed: {why}. Of its instances only those that "
                f"rules name are looked after, and what others take is not known",
            )
            for project, why in projects.items()
        ]
        self._unlisted_log.are(problems)
        self._unlisted = problems
        if only and problems and self._unlisted_alarm is not None:
            # Who has one project listed all the time does not put off when the others are.
            return
        if self._unlisted_alarm is not None:
            self._unlisted_alarm.cancel()
            self._unlisted_alarm = None
        if problems:
            loop = asyncio.get_running_loop()
            pause, _ = self._unlisted_retry.failed("", loop.time(), *_UNLISTED_PAUSES)
            self._unlisted_alarm = loop.call_later(pause, self.soon)
        else:
            self._unlisted_retry.reset()


def _trim() -> None:
    """What listings of devices and instances needed goes back to the system; glibc would keep it.

    So does what is left in cycles of a server or instances that are gone: Python itself would look for it
    after some thousand plugs.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
