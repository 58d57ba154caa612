"""Tells those inside one instance what they have still to be told: one thing after the other, until done.

Nothing waits for this: a uevent that cannot be told is tried again later, and is a problem until then.
"""

from __future__ import annotations

import asyncio
from typing import Final

from hotplugd.aio.backoff import Retry
from hotplugd.aio.tasks import Activity
from hotplugd.model.ports import Unfit, Untold
from hotplugd.model.problem import Problem
from hotplugd.model.uevent import Uevent
from hotplugd.model.values import Inside, Instance, InstanceName
from hotplugd.plan.planner import Plan
from hotplugd.reconcile.event_log import EventLog
from hotplugd.reconcile.notified import Notification, Notified
from hotplugd.reconcile.ports import Tools

_PAUSES: Final = (0.5, 30.0)
_WHAT: Final = {"add": "is there", "remove": "is gone"}


class Notifier:
    """What is told to one instance, and what could not be."""

    def __init__(self, name: InstanceName, tools: Tools, activity: Activity, report: EventLog) -> None:
        self._name = name
        self._tools = tools
        self._activity = activity
        self._log = report
        self._loop = asyncio.get_running_loop()
        self._told = Notified()
        self._due: list[Notification] = []
        self._unfit: dict[tuple[str, str], Problem] = {}
        self._retry = Retry()
        self._life = 0
        self._facts: tuple[Plan, Instance, Inside] | None = None
        self._busy = False
        self._alarm: asyncio.TimerHandle | None = None

    def forget(self) -> None:
        """There is another init, or none: nobody in there knows anything."""
        self._life += 1
        self._told.forget()
        self._facts = None
        self._due.clear()
        self._unfit.clear()
        self._rest()

    def paths(self, instance: Instance | None) -> frozenset[str]:
        """Where to look whether the node has gone of something that has."""
        return (
            frozenset(each.uevent.path for each in self._told.leaving(instance)) if instance else frozenset()
        )

    def tell(self, plan: Plan, instance: Instance, inside: Inside | None) -> None:
        """There is nothing to send to the server, and this is how things are: tell what has to be told."""
        if inside is None or inside.error or self._tools.dry_run:
            return
        self._facts = (plan, instance, inside)
        if not self._busy:
            self._rest()

    def problems(self) -> list[Problem]:
        """What could not be told."""
        waiting = self._due if self._retry.message else []
        return [self._problem(each, self._retry.message) for each in waiting] + [*self._unfit.values()]

    def _rest(self) -> None:
        """Look for what to do next, and do it when it may be tried."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._find()
        if not self._due:
            self._retry.reset()
        elif self._retry.until > self._loop.time():
            self._alarm = self._loop.call_at(self._retry.until, self._rest)
        else:
            self._busy = True
            self._activity.start(self._work, self._worked)

    def _find(self) -> None:
        if self._facts is not None:
            plan, instance, inside = self._facts
            self._due = self._told.due(instance, plan.attachments, inside)

    async def _work(self) -> None:
        while self._due:
            first, life = self._due[0], self._life
            wrong: Problem | None = None
            try:
                uevent = await self._tools.injector.inject(self._name, first.uevent)
            except Unfit as error:
                uevent, wrong = first.uevent, self._problem(first, str(error))
            except Untold as error:
                if life == self._life:
                    self._failed(first, str(error))
                return
            if life == self._life:
                self._note(first, uevent, wrong)
                self._find()

    def _note(self, telling: Notification, uevent: Uevent, wrong: Problem | None) -> None:
        """It was told, or never will be: others are not to wait for it."""
        self._told.note(telling, uevent)
        self._unfit.pop(telling.key, None)
        if wrong is not None and uevent.action == "add":
            self._unfit[telling.key] = wrong
            self._log.untold(telling, wrong.message)

    def _worked(self, fine: bool) -> None:
        self._busy = False
        if fine:
            self._rest()

    def _failed(self, telling: Notification, message: str) -> None:
        pause, new = self._retry.failed(message, self._loop.time(), *_PAUSES)
        if new:
            self._log.untold(telling, self._problem(telling, message).message, pause)

    def _problem(self, telling: Notification, message: str) -> Problem:
        what = f"{self._name} was not told that it {_WHAT[telling.uevent.action]}: {message}"
        return Problem(str(telling.uevent.device), telling.rule, what)
