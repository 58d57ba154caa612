"""Tells those inside one instance by uevents of what came and of what went: what they were not told yet.

An instance is told `add` of a device once the device's node was seen inside, by this daemon and under the
present init: after an attach, and once more after hotplugd or the instance started, since nobody knows what
those inside had heard. They take it as what `udevadm trigger` makes them hear. They are told `remove` once
the entry of a device of which they were told is no more there, nor its node. A node that was lost and is put
back is not told of again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from hotplugd.aio.tasks import Activity
from hotplugd.model.entry import target_of
from hotplugd.model.ports import Unfit
from hotplugd.model.problem import Problem
from hotplugd.model.uevent import Uevent
from hotplugd.model.values import Devnum, Inside, Instance, InstanceName
from hotplugd.plan.change import Attachment, Plan
from hotplugd.reconcile.event_log import EventLog
from hotplugd.reconcile.notification import Notification
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.retry_queue import RetryQueue

_HAPPENED: Final = {"add": "is there", "remove": "is gone"}


class Notifier:
    """What is told to one instance, and what could not be.

    is_ready  whether those inside may be told of this device by now
    over      called once some of what could not be told is told
    """

    def __init__(
        self,
        name: InstanceName,
        ports: Ports,
        activity: Activity,
        log: EventLog,
        is_ready: Callable[[Attachment], bool],
        over: Callable[[], None],
    ) -> None:
        self._name = name
        self._is_ready = is_ready
        self._ports = ports
        self._log = log
        self._notified = Notified()
        self._unfit: dict[tuple[str, str], Problem] = {}
        self._facts: tuple[Plan, Instance, Inside] | None = None
        self._queue = RetryQueue[Notification](activity, self._inject, self._due, self._failed, over)

    def forget(self) -> None:
        """The instance restarted or stopped: programs inside know of no device."""
        self._notified.forget()
        self._facts = None
        self._unfit.clear()
        self._queue.forget()
        self._queue.run()

    def paths(self, instance: Instance | None) -> frozenset[str]:
        """Where to look whether the node has gone of something that has."""
        leaving = self._notified.leaving(instance) if instance is not None else ()
        return frozenset(notification.uevent.path for notification in leaving)

    def tell(self, plan: Plan, instance: Instance, inside: Inside | None) -> None:
        """There is nothing to send to the server, and this is how things are: tell what has to be told."""
        if inside is None or inside.error or self._ports.dry_run:
            return
        self._facts = (plan, instance, inside)
        self._queue.run()

    def again(self) -> None:
        """More devices may be ready to be told of."""
        self._queue.run()

    def problems(self) -> list[Problem]:
        """What could not be told."""
        waiting = [self._problem(notification, message) for notification, message in self._queue.problems()]
        return [*waiting, *self._unfit.values()]

    def _due(self, left: Sequence[Notification]) -> Sequence[Notification]:
        """What is due by what is known now; left: what was."""
        if self._facts is None:
            return left
        plan, instance, inside = self._facts
        return self._notified.due(instance, plan.attachments, inside, self._is_ready)

    async def _inject(self, notification: Notification) -> None:
        life, wrong = self._queue.life, None
        try:
            uevent = await self._ports.injector.inject(self._name, notification.uevent)
        except Unfit as error:
            # It never can be told: others are not to wait for it.
            uevent, wrong = notification.uevent, self._problem(notification, str(error))
        if life != self._queue.life:
            return
        self._notified.note(notification, uevent)
        self._unfit.pop(notification.key, None)
        if wrong is not None and uevent.action == "add":
            self._unfit[notification.key] = wrong
            self._log.untold(notification, wrong.message)

    def _failed(self, notification: Notification, message: str, pause: float) -> None:
        # All that is due waits for it, and is a problem.
        self._log.untold(notification, self._problem(notification, message).message, pause)
        for each in self._queue.due:
            self._log.untold(each, self._problem(each, message).message, pause)

    def _problem(self, notification: Notification, message: str) -> Problem:
        what = f"{self._name} was not told that it {_HAPPENED[notification.uevent.action]}: {message}"
        return Problem(str(notification.uevent.device), notification.rule, what)


class Notified:
    """What those inside know, in the life of one init."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Notification] = {}

    def forget(self) -> None:
        """The instance restarted or stopped."""
        self._known.clear()

    def note(self, notification: Notification, uevent: Uevent) -> None:
        """Take note of a uevent that was sent."""
        if uevent.action == "add":
            self._known[notification.key] = Notification(uevent, notification.entry, notification.rule)
        else:
            self._known.pop(notification.key, None)

    def leaving(self, instance: Instance) -> list[Notification]:
        """The `add` uevents that were sent for devices whose entries are gone."""
        places = {entry.name: target_of(entry) for entry in instance.entries.values()}
        # Where a GPU's nodes are its entry does not say.
        return [
            notification
            for (name, path), notification in self._known.items()
            if places.get(name) not in (path, "")
        ]

    def due(
        self,
        instance: Instance,
        attachments: Iterable[Attachment],
        inside: Inside,
        is_ready: Callable[[Attachment], bool],
    ) -> list[Notification]:
        """What to tell now, in this order: what went makes place for what came.

        inside    what was seen since the last change of each path
        is_ready  whether those inside may be told of a device that came
        """
        here = {
            attachment.want.target: attachment
            for attachment in attachments
            if _has(inside, attachment.want.target, attachment.want.device.devnum)
        }
        gone = [
            replace(notification, uevent=replace(notification.uevent, action="remove"))
            for notification in self.leaving(instance)
            if notification.uevent.path in here
            or (
                notification.uevent.path in inside.nodes
                and not _has(inside, notification.uevent.path, notification.uevent.device.devnum)
            )
        ]
        come = [
            Notification(
                Uevent("add", attachment.want.device, path), attachment.entry.name, attachment.want.rule.name
            )
            for path, attachment in here.items()
            if is_ready(attachment)
        ]
        return gone + [notification for notification in come if notification.key not in self._known]


def _has(inside: Inside, path: str, number: Devnum | None) -> bool:
    node = inside.nodes.get(path)
    return node is not None and node.devnum == number
