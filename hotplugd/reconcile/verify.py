"""Verifies one instance from the inside: looks, then has links made, udev's records kept and uevents told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from hotplugd.aio.backoff import NEVER
from hotplugd.aio.tasks import Activity
from hotplugd.model.entry import target_of
from hotplugd.model.nic_slot import is_nic
from hotplugd.model.ports import ServerError
from hotplugd.model.problem import Problem
from hotplugd.model.values import Entry, Inside, Instance, InstanceName
from hotplugd.plan.change import Plan
from hotplugd.plan.kinds.kind import Want
from hotplugd.reconcile.event_log import EventLog
from hotplugd.reconcile.notify import Notifier
from hotplugd.reconcile.observed import BUSY, Observed
from hotplugd.reconcile.orphans import Orphans
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.symlinks import Symlinks
from hotplugd.reconcile.udev_records import UdevRecords


class Verifier:
    """Looks into one instance.

    orphans       which nodes should be gone
    observed      what was seen inside since the last change
    learned       called when more of it was seen
    is_looked_at  whether a look is under way
    """

    def __init__(
        self,
        name: InstanceName,
        ports: Ports,
        activity: Activity,
        report: EventLog,
        orphans: Orphans,
        observed: Observed,
        learned: Callable[[], None],
    ) -> None:
        self._name = name
        self._ports = ports
        self._activity = activity
        self._log = report
        self._orphans = orphans
        self._learned = learned
        self._loop = asyncio.get_running_loop()
        self._observed = observed
        self._symlinks = Symlinks(name, ports, activity, self._linked, report)
        self._records = UdevRecords(name, ports, activity, self._recorded, report)
        self._notifier = Notifier(name, ports, activity, report, self._records.is_ready, learned)
        self.is_looked_at = False
        # Saves work: most of 10,000 instances were never looked into, and have no problems inside.
        self._has_looked = False
        # The names of the interfaces that entries put inside.
        self._nics: list[str] = []

    def problems(self, *, wanted: bool) -> list[Problem]:
        """What is wrong inside. wanted: whether anything should be there."""
        if not self._has_looked:
            return self._records.problems()
        problems: list[Problem] = []
        if self._observed.inside is not None and self._observed.inside.error and wanted:
            problems.append(
                Problem("", "", f"cannot look inside {self._name}: {self._observed.inside.error}")
            )
        if self._observed.is_busy(self._loop.time()):
            problems.append(Problem("", "", f"{self._name}: {BUSY}"))
        if self._orphans.records.by_name:
            problems += self._orphans.seen_problems()
        return problems + self._symlinks.problems() + self._records.problems() + self._notifier.problems()

    # --- what happened ----------------------------------------------------------------------------------

    def forget(self) -> None:
        """The instance restarted or stopped."""
        self._observed.forget()
        self._orphans.restarted()
        self._notifier.forget()
        self._records.forget()
        self._symlinks.forget()

    def close(self) -> None:
        """There is no such instance."""
        self._records.close()

    def left(self, entry: Entry, *, cleared: bool = False, running: bool = True) -> None:
        """An entry was removed, so its node should be gone. See `Orphans.left`."""
        if self._orphans.left(entry, cleared=cleared, running=running):
            self._observed.changed([target_of(entry)])

    def ends(self, entry: Entry) -> None:
        """The entry is about to be removed or changed, or was: its links may have to be removed."""
        self._symlinks.ends(entry)

    # --- once there is nothing to send ------------------------------------------------------------------

    def look_at(self, plan: Plan, instance: Instance, wanted: Sequence[Want]) -> float:
        """When to look into an instance that runs here; NEVER if there is nothing to see."""
        if self._orphans.records.by_name and (new := self._orphans.seek(instance)):
            self._observed.changed(new)
        self._symlinks.has(instance)
        if self.is_looked_at:
            return NEVER
        links = self._symlinks.paths(plan.attachments)
        orphans = self._orphans.paths() if self._orphans.records.by_name else ()
        self._observed.also = links.union(self._notifier.paths(instance), orphans, self._records.paths())
        self._nics = [target_of(entry) for entry in instance.entries.values() if is_nic(entry)]
        return self._observed.next(plan.attachments, wanted, interfaces=bool(self._nics))

    def look(self, plan: Plan) -> None:
        """Begin to look. `look_at` was called before."""
        self.is_looked_at = self._has_looked = True
        paths = self._observed.paths(plan.attachments)
        self._activity.start(partial(self._look_at, paths, self._nics or None), self._looked)

    def rest(self, plan: Plan, instance: Instance) -> None:
        """Have links made, udev's records kept and uevents told, given what was seen."""
        self._symlinks.link(plan.attachments, instance, self._observed.inside)
        self._records.keep(plan.attachments, self._observed.inside)
        self._notifier.tell(plan, instance, self._observed.inside)

    def _looked(self, fine: bool) -> None:
        self.is_looked_at = False
        if fine:
            self._learned()

    async def _look_at(self, paths: Sequence[str], interfaces: Sequence[str] | None) -> None:
        begun = self._observed.begin(self._loop.time())
        self._log.looks(len(paths))
        try:
            inside = await self._ports.inspector.look(self._name, paths, interfaces)
        except ServerError as error:
            inside = Inside(error=str(error))
        counts = self._observed.seen(begun, inside, self._loop.time())
        self._records.looked()
        if self._observed.is_busy(self._loop.time()):
            self._log.busy(BUSY, now=True)
        if counts and self._orphans.records.by_name:
            for orphan in self._orphans.looked(inside.nodes):
                self._log.left_behind(orphan)
            if unseen := self._orphans.unseen:
                kept = await self._ports.seals.kept(self._name, [each.name for each in unseen])
                self._orphans.kept(unseen, kept)

    def _recorded(self) -> None:
        """Records are inside, or are gone: those inside may be told of devices now."""
        self._notifier.again()
        self._learned()

    def _linked(self, links: Iterable[str]) -> None:
        """Links were made or removed at these paths: what was seen there is out of date."""
        self._observed.changed(links)
        self._learned()
