"""Passes every event to the workers of the instances concerned, and keeps the inventory of devices.

An event is a call (`device`, `listed_devices`, `refresh`, …) that changes what is known and wakes workers;
`worker` says what they do then. All state belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Final

from hotplugd.aio.backoff import LONG_AGO, NEVER
from hotplugd.aio.slices import slices
from hotplugd.aio.tasks import Activity
from hotplugd.model.problem import Problem
from hotplugd.model.values import CANNOT_TELL, Device, Instance, InstanceName
from hotplugd.plan.change import Attachment, Change
from hotplugd.plan.desired import Wants
from hotplugd.plan.kinds.kind import Claim, Want
from hotplugd.reconcile.assignments import Assignments
from hotplugd.reconcile.device_log import Cause
from hotplugd.reconcile.holds import Held
from hotplugd.reconcile.inventory import Inventory
from hotplugd.reconcile.nic_locations import NicLocations
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.slot_removal import SlotRemoval
from hotplugd.reconcile.worker import Worker
from hotplugd.rules.ruleset import RuleSet

# So many instances of a listing are taken in in one turn of the event loop: some 0.2 ms each, with what their
# workers do at once. A plug takes some ten turns.
_SLICE: Final = 10


class Reconciler:
    """Keeps every instance as the rules, the devices and the instances say it should be.

    Nothing is planned before both were listed: without devices every entry would be removed.
    """

    def __init__(self, ports: Ports, rules: RuleSet) -> None:
        self._ports = ports
        self._loop = asyncio.get_running_loop()
        self._inventory = Inventory()
        self._workers: dict[InstanceName, Worker] = {}
        self._nics = NicLocations(
            ports.boot, self._workers, self._inventory, self._may_have, self._restore, self._gone
        )
        self._away = self._nics.away
        self._assignments = Assignments(rules, self._workers, self._nics.claimants, self._judge, ports.log)
        self._ownership = self._assignments.ownership
        # The projects of which the server could not tell at last.
        self._unlisted: Collection[str] = ()
        # When an instance was found to be none at last.
        self._forgotten = LONG_AGO
        self._activity = Activity()
        self._slot_removal = SlotRemoval(ports, self._activity, self._workers, self._ownership.claims.naming)

    # --- what is known ----------------------------------------------------------------------------------

    def set_rules(self, rules: RuleSet) -> None:
        """Take these rules from now on."""
        self._assignments.rules = rules
        with self._because("reload"):
            for device in self._inventory.devices.values():
                self._claim(device)
        # The rules may ask for the ids of other names.
        self._for_all(Worker.may_start, Worker.forget_inside)

    def device(self, device: Device) -> None:
        """Take note of a device that is there, as udevd has it."""
        was = self._nics.back(device) if device.subsystem == "net" else None
        before = self._inventory.devices.get(device.syspath)
        if before == device and was is None:
            return
        if before is not None and before.slot != device.slot:
            self._unlink(before)
            self._inventory.slots.discard(before.slot)
        if was is not None:
            if before is not None and before.slot != device.slot:
                self._claim(before, gone=True)
            self._inventory.slots.discard(was.slot)
            self._inventory.devices.pop(was.key, None)
            self._rename(was.key, device.syspath)
        elif before is None or before.slot != device.slot:
            self._inventory.since[device.syspath] = self._loop.time()
        self._inventory.devices[device.syspath] = device
        self._inventory.slots.add(device.slot)
        if device.slot in self._slot_removal.devices:
            self._slot_removal.back(device.slot)
        self._claim(device, was=was.key if was is not None else "")
        if device.syspath in self._inventory.unprocessed:
            self._processed(device.syspath)

    def no_device(self, syspath: str) -> None:
        """Take note that a device is gone."""
        for below in self._away.below(syspath):
            self._gone(below)
        device = self._inventory.devices.get(syspath)
        if device is not None and device.subsystem == "net" and (names := self._may_have(device)):
            self._leaves(device)
            for name in names:
                if self._worker(name).is_running:
                    self._worker(name).look_again()
        else:
            self._gone(syspath)
        if syspath in self._inventory.unprocessed:
            self._processed(syspath)

    def found_used(self, device: Device, how: str) -> None:
        """The host uses a device that was about to be put in, or uses it no more."""
        known = self._inventory.devices.get(device.key)
        if known is not None and known.slot == device.slot:
            with self._because("host"):
                self.device(replace(known, in_use=how))

    def listed_devices(self, devices: Sequence[Device], unsettled: Sequence[Device]) -> None:
        """Take note of all devices there are. Those that udevd has not processed stay what they were."""
        with self._because("listing" if self._inventory.devices_listed else "start"):
            self._listed(devices, unsettled)
        self._inventory.devices_listed = True
        # All at once: nothing is planned without what is inside instances.
        for worker in list(self._workers.values()):
            self.looked(worker)
        self._for_all(Worker.kick)

    def _listed(self, devices: Sequence[Device], unsettled: Sequence[Device]) -> None:
        present = {device.syspath for device in (*devices, *unsettled)}
        for key, known in [item for item in self._inventory.devices.items() if item[0] not in present]:
            if not known.away:
                self.no_device(key)
            elif self._is_lost(known):
                self._gone(key)
        for device in devices:
            if device.syspath not in self._inventory.devices:
                self.device(device)
                # Nobody knows since when it is there.
                self._inventory.since.pop(device.syspath, None)
            else:
                self.device(device)
        self._inventory.unprocessed = {
            device.syspath: device for device in unsettled if device.syspath not in self._inventory.devices
        }

    async def listed_instances(
        self,
        instances: Iterable[Instance],
        asked: float = NEVER,
        unlisted: Collection[str] = (),
        only: Collection[str] = (),
    ) -> None:
        """Take note of all instances there are, a few in each turn of the loop; the server answers.

        asked     when, in the loop's time, the server was asked: what was learned later is newer
        unlisted  the projects of which it could not tell, those included that were not listed now
        only      the projects that were listed; none for all
        """
        self._unlisted = unlisted
        first = not self._inventory.instances_listed
        by_name = {instance.id: instance for instance in instances}
        noted = {*self._ports.entry_journal.names(), *self._ports.link_journal.names()}
        self._ownership.gather()
        known = dict.fromkeys((*by_name, *self._workers, *noted))
        listed = [name for name in known if name.project in only] if only else known
        async for names in slices(listed, _SLICE):
            for name in names:
                if name.project in unlisted:
                    self._worker(name).unlisted()
                else:
                    self._worker(name).listed(by_name.get(name), asked)
            if not first:
                # What others edit meanwhile is not to wait for all of them.
                self._ownership.tell()
                self._ownership.gather()
        self._inventory.starting = False
        self._ownership.tell()
        if first:
            self._inventory.instances_listed = True
            async for workers in slices(list(self._workers.values()), _SLICE):
                for worker in workers:
                    worker.kick()
        self._slot_removal.listed(completely=not unlisted)

    def left_over(self, slot: str) -> None:
        """Take note that there are links of a slot that is no device's any more."""
        self._slot_removal.leave(slot, slot)

    def knows(self, name: InstanceName) -> bool:
        """Whether there is such an instance, as far as is known, or something should be in it."""
        return name in self._workers

    def refresh(self, name: InstanceName) -> None:
        """Take note that something happened to this instance: the server has to be asked."""
        self._worker(name).refresh()

    def moved(self, name: InstanceName) -> None:
        """Take note that this instance is moved to another member of the cluster."""
        self._worker(name).moved()

    def updated(self, name: InstanceName) -> None:
        """Take note that this instance's configuration was updated, perhaps by us."""
        self._worker(name).updated()

    def look_again(self, name: InstanceName) -> None:
        """Take note that what is inside this instance may have changed."""
        self._worker(name).look_again()

    def start_failed(self, name: InstanceName, reason: str, operation: str) -> None:
        """Take note that this operation of the server's has not started this instance, for this reason."""
        self._worker(name).start_failed(reason, operation)

    def look_everywhere(self) -> None:
        """Look into every instance once more."""
        self._for_all(Worker.look_again)

    def restarted(self, name: InstanceName) -> None:
        """Take note that the instance has another init than before, or none."""
        self._worker(name).restarted()

    def close(self) -> None:
        """End what is under way, and do nothing any more: another may look after these instances."""
        self._activity.close()
        self._slot_removal.close()
        self._away.close()
        self._ownership.close()

    # --- what came of it --------------------------------------------------------------------------------

    async def settled(self) -> None:
        """Return once nothing is under way. What waits for its next try does not count."""
        await self._activity.none()

    @property
    def devices(self) -> int:
        """How many devices there are that rules can see."""
        return len(self._inventory.devices)

    @property
    def known(self) -> Iterable[Device]:
        """The devices that there are, and those that are in instances."""
        return self._inventory.devices.values()

    def is_of_another(self, slot: str) -> bool:
        """Whether a device has the number that this slot's device had, and another slot."""
        return self._inventory.is_of_another(slot)

    @property
    def wanted(self) -> Iterable[Wants]:
        """Where each device that a rule takes should go."""
        return self._assignments.wants.values()

    @property
    def taken(self) -> Mapping[str, int]:
        """How many devices each rule took so far, by its name."""
        return self._assignments.taken

    def usable(self) -> list[tuple[Device, Want]]:
        """The devices that rules take unless the host uses them, and the first place where each would go."""
        return self._assignments.usable(self._inventory.devices)

    def kept(self) -> list[str]:
        """The syspaths of devices that a guard rail keeps on the host, though a rule takes them."""
        return self._assignments.kept()

    def attachments(self) -> list[Attachment]:
        """What is attached now, by instance."""
        return [
            attachment
            for _, worker in sorted(self._workers.items())
            for attachment in worker.plan.attachments
        ]

    def pending(self) -> list[Change]:
        """What has to change and has not, yet."""
        return [change for _, worker in sorted(self._workers.items()) for change in worker.plan.changes]

    def held(self) -> list[Held]:
        """What has to wait, until when and why."""
        return [held for _, worker in sorted(self._workers.items()) for held in worker.held()]

    def problems(self) -> list[Problem]:
        """Everything that a rule asks for and that is not so, and why."""
        problems = self._assignments.problems() + self._nics.problems()
        for _, worker in sorted(self._workers.items()):
            problems += [problem for problem in worker.problems() if not problem.guard]
        problems += self._ports.seals.problems()
        return list(dict.fromkeys(problems))

    # --- what moves into instances ----------------------------------------------------------------------

    def _may_have(self, device: Device) -> set[InstanceName]:
        """The instances that have, or may be about to have, what has left the host: one that starts takes it
        before anybody says that it runs.
        """
        wanted = self._assignments.wants.get(device.key, Wants(device)).wants
        names = {want.instance for want in wanted if self._worker(want.instance).holds(want.slot)}
        return names.union(self._nics.claimants.of(device))

    def _leaves(self, device: Device) -> None:
        """An interface has left the host, perhaps for an instance: until that is known it is not gone."""
        away = self._away.leave(device)
        self._inventory.devices.pop(device.key, None)
        self._inventory.devices[away.key] = away
        self._rename(device.key, away.key)
        self._claim(away, was=device.key)

    def _rename(self, key: str, to: str) -> None:
        self._ownership.forget(key)
        if (since := self._inventory.since.pop(key, None)) is not None:
            self._inventory.since[to] = since

    def _gone(self, key: str) -> None:
        device = self._inventory.devices.pop(key, None)
        self._inventory.since.pop(key, None)
        if device is not None:
            self._away.end(device.slot)
            self._inventory.slots.discard(device.slot)
            self._unlink(device)
            self._claim(device, gone=True)
            self._ownership.forget(key)

    def learned(self, name: InstanceName, instance: Instance | None) -> None:
        """Take note of an instance as the server has it; None where there is none."""
        self._nics.learned(name, instance)
        with self._because("others"):
            for device in self._assignments.learned(name, instance):
                self._claim(device)
        if instance is not None and instance.kind == "virtual-machine":
            self.looked(self._worker(name))

    def _judge(self, claims: AbstractSet[Claim]) -> None:
        """Look again at the devices that others' entries claim now, or did. No rule takes the rest."""
        with self._because("others"):
            for device in self._assignments.met(claims):
                self._claim(device)

    def looked(self, worker: Worker) -> None:
        """Take note that somebody looked into an instance."""
        if self._inventory.devices_listed:
            self._nics.looked(worker)

    def _restore(self, device: Device) -> None:
        """An interface is inside that nobody has seen on the host since we started."""
        with suppress(OSError):  # nobody can tell before the next listing
            if (restored := self._ports.restore(device)) is not None:
                self._inventory.slots.add(restored.slot)
                self._leaves(restored)

    def _is_lost(self, device: Device) -> bool:
        """Whether what an interface hangs from is gone, while it is in an instance."""
        try:
            return self._ports.restore(device) is None
        except OSError:  # nobody can tell before the next listing
            return False

    # --- devices to workers -----------------------------------------------------------------------------

    def _claim(self, device: Device, *, gone: bool = False, was: str = "") -> None:
        """Tell the workers concerned where the device should go. was: what it was known by before."""
        key = device.key
        before, now = self._assignments.assign(device, gone=gone, was=was)
        if now.rule is not None and device.in_use.startswith(CANNOT_TELL):
            self._ports.unsure()
        if before is not None and before.wants == now.wants and was in ("", key):
            return
        cause = self._assignments.log.cause
        for name in {want.instance for want in (*(before.wants if before else ()), *now.wants)}:
            if was not in ("", key):
                self._worker(name).want(was, (), cause)
            mine = tuple(want for want in now.wants if want.instance == name)
            self._worker(name).want(key, mine, cause)
            if name.project in self._unlisted:
                self._worker(name).find()

    @contextmanager
    def _because(self, cause: Cause) -> Iterator[None]:
        """Meanwhile devices are told of for this reason, and not since somebody plugged or pulled them."""
        before, self._assignments.log.cause = self._assignments.log.cause, cause
        try:
            yield
        finally:
            self._assignments.log.cause = before

    def _processed(self, syspath: str) -> None:
        # What an entry of an unprocessed device was kept for is known now, wherever that entry is.
        del self._inventory.unprocessed[syspath]
        self._for_all(Worker.kick)

    def _unlink(self, device: Device) -> None:
        # Whatever the rules say now: an entry from before may be left that names the link.
        if device.devnum is None or self._ports.dry_run:
            return
        self._slot_removal.leave(device.slot, str(device))

    def _for_all(self, *acts: Callable[[Worker], None]) -> None:
        """Do these for all instances, one after the other: where no device goes a few in each turn of the
        loop.
        """
        workers = list(self._workers.values())
        for act in acts:
            for worker in workers:
                if worker.is_wanted:
                    act(worker)
        rest = [worker for worker in workers if not worker.is_wanted]
        if rest:
            self._activity.start(partial(self._for_rest, rest, acts), lambda _: None)

    async def _for_rest(self, rest: Sequence[Worker], acts: Sequence[Callable[[Worker], None]]) -> None:
        for act in acts:
            async for some in slices(rest, _SLICE):
                for worker in some:
                    if self._workers.get(worker.name) is worker:
                        act(worker)

    def _worker(self, name: InstanceName) -> Worker:
        if name not in self._workers:
            self._workers[name] = Worker(
                name, self._ports, self._activity, self._inventory, self._away, self, self._forgotten
            )
        return self._workers[name]

    def is_idle(self, worker: Worker) -> None:
        """Forget the worker of what is no instance and should not be one."""
        self._slot_removal.look(worker.name)
        if self._workers.get(worker.name) is not worker:
            # It was forgotten, and what it had under way has ended.
            return
        if worker.is_over:
            worker.close()
            self._forgotten = self._loop.time()
            self._workers.pop(worker.name, None)
