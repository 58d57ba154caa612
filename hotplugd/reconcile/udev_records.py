"""Keeps the records of udev's database of one instance as they should be, for rules that say `udev: true`.

A device's record is inside once its node was seen there, before those inside are told of it, and goes once
its entry has gone. After each look all is done once more: what somebody inside changed is put right, and so
is what udevd says by now. That there may be records is noted before, for the process after this one: a device
may go while there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from hotplugd.aio.tasks import Activity
from hotplugd.model.problem import Problem
from hotplugd.model.uevent import UdevRecord
from hotplugd.model.values import Inside, InstanceName
from hotplugd.plan.change import Attachment
from hotplugd.reconcile.event_log import EventLog
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.retry_queue import RetryQueue

_PLACE: Final = "/run/udev/control"

Records = tuple[UdevRecord, ...]


class UdevRecords:
    """The records of one instance.

    changed  called when more of them, or fewer, are inside, and when a problem is over
    """

    def __init__(
        self,
        name: InstanceName,
        ports: Ports,
        activity: Activity,
        changed: Callable[[], None],
        log: EventLog,
    ) -> None:
        self._name = name
        self._log = log
        self._ports = ports
        self._changed = changed
        # Whether there may be records of ours; and what the journal says.
        self._may_be = self._noted = ports.record_journal.take(name)
        self._wanted: Records | None = None
        self._kept: Records | None = None
        self._is_old = False
        self._queue = RetryQueue[Records](activity, self._keep, self._due, self._failed, changed)

    def forget(self) -> None:
        """The instance restarted or stopped: its /run is new, but where that is a folder of its root."""
        self._wanted = self._kept = None
        self._queue.forget()

    def close(self) -> None:
        """There is no such instance."""
        self._note(there=False)

    def paths(self) -> frozenset[str]:
        """Where to look, so that somebody looks, while there may be records and none should be."""
        return frozenset({_PLACE}) if self._may_be and not self._wanted else frozenset()

    def looked(self) -> None:
        """Take note of a look: the records inside may have changed."""
        self._is_old = True

    def keep(self, attachments: Iterable[Attachment], inside: Inside | None) -> None:
        """Have those records inside that should be, given what was seen."""
        if inside is None or inside.error or self._ports.dry_run:
            return
        asked = [each for each in attachments if each.want.attach.udev]
        if any(each.want.target not in inside.nodes for each in asked):
            return  # nobody has looked for it yet
        found = {
            each.want.device.slot: UdevRecord(each.want.device, each.want.links)
            for each in asked
            if (node := inside.nodes[each.want.target]) is not None
            and node.devnum == each.want.device.devnum
            and not each.want.device.early
        }
        self._wanted = tuple(found[slot] for slot in sorted(found))
        self._queue.run()

    def is_ready(self, attachment: Attachment) -> bool:
        """Whether those inside may be told of the device: its record is there, or none should be.

        What is told is what udevd says, too.
        """
        if attachment.want.device.early:
            return False
        kept = self._kept or ()
        return not attachment.want.attach.udev or any(
            each.device.slot == attachment.want.device.slot for each in kept
        )

    def problems(self) -> list[Problem]:
        """What could not be done."""
        return [self._problem(message) for _, message in self._queue.problems()]

    def _problem(self, message: str) -> Problem:
        return Problem("", "", f"{self._name}: udev's records in there are not as they should be: {message}")

    def _due(self, left: Sequence[Records]) -> Sequence[Records]:
        """What is due by what is known now; left: what was."""
        if self._wanted is None:
            return left
        if self._wanted or self._may_be:
            is_kept = self._wanted == self._kept and not self._is_old
            return () if is_kept else (self._wanted,)
        return ()

    async def _keep(self, records: Records) -> None:
        life = self._queue.life
        self._is_old = False
        if records:
            self._note(there=True)
        await self._ports.udev_database.keep(self._name, records)
        if life != self._queue.life:
            return
        before, self._kept = self._kept, records
        if not records:
            self._note(there=False)
            self._may_be = False
        if before != records:
            self._changed()

    def _note(self, *, there: bool) -> None:
        self._may_be = self._may_be or there
        if there != self._noted:
            self._noted = there
            self._ports.record_journal.note(self._name, there=there)

    def _failed(self, _: Records, reason: str, pause: float) -> None:
        self._log.records(self._problem(reason), reason, pause)
