"""Passes every event to the workers of the instances concerned, and keeps the inventory of devices.

An event is a call (`device`, `listed_devices`, `refresh`, …) that changes what is known and wakes workers;
`worker` says what they do then. All state belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from hotplugd.aio.backoff import NEVER
from hotplugd.aio.slices import slices
from hotplugd.aio.tasks import Activity
from hotplugd.model.problem import Problem
from hotplugd.model.values import CANNOT_TELL, Device, Instance, InstanceName, Stop
from hotplugd.plan.change import Attachment, Change
from hotplugd.plan.kinds.kind import EntrySelector, Want
from hotplugd.plan.overrides import Overrides
from hotplugd.reconcile.assignments import Assignments
from hotplugd.reconcile.device_log import Cause
from hotplugd.reconcile.handovers import Handovers
from hotplugd.reconcile.holds import Held
from hotplugd.reconcile.inventory import Inventory
from hotplugd.reconcile.leases import Leases
from hotplugd.reconcile.moved_device_finder import MovedDeviceFinder
from hotplugd.reconcile.moved_devices import Candidates
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.slot_removal import SlotRemoval
from hotplugd.reconcile.worker import Worker
from hotplugd.reconcile.workers import SLICE, Workers
from hotplugd.rules.ruleset import RuleSet


class Reconciler:
    """Keeps every instance as the rules, the devices and the instances say it should be.

    Nothing is planned before both were listed: without devices every entry would be removed.

    inventory    the devices that are known
    assignments  where each of them should be
    """

    def __init__(self, ports: Ports, rules: RuleSet) -> None:
        self._ports = ports
        self._loop = asyncio.get_running_loop()
        by_name: dict[InstanceName, Worker] = {}
        slots = set[str]()
        self.inventory = Inventory(slots=slots, handovers=Handovers(by_name, slots))
        candidates = Candidates()
        self._activity = Activity()
        self._leases = Leases(rules, by_name, self.inventory, self._activity, self._leased, ports)
        self.assignments = Assignments(self._leases, by_name, candidates, self._judge, ports.log)
        self._ownership = self.assignments.ownership
        act = (self.assignments.may_have, self._leaves, self._gone, self.device)
        self._finder = MovedDeviceFinder(ports, by_name, self.inventory, candidates, *act)
        self._away = self._finder.away
        self._workers = Workers(by_name, ports, self._activity, self.inventory, self._away, self)
        self._slot_removal = SlotRemoval(ports, self._activity, by_name, self._ownership.owners.naming)

    # --- what is known ----------------------------------------------------------------------------------

    def set_rules(self, rules: RuleSet) -> None:
        """Take these rules from now on."""
        self._leases.set_rules(rules)
        self._judge_all("reload", self.inventory.devices.values())
        self._leases.settle()
        # The rules may ask for the ids of other names.
        self._workers.for_all(Worker.may_start, Worker.forget_inside)

    def set_overrides(self, overrides: Overrides, cause: Cause) -> None:
        """Take what people decided by hand from now on."""
        self.assignments.overrides = overrides
        self._judge_all(cause, self.inventory.devices.values())

    def device(self, device: Device) -> None:
        """Take note of a device that is there, as udevd has it."""
        if (may_leave := device.may_leave) and self._finder.takes(device):
            return
        was = self._finder.back(device) if may_leave else None
        before = self.inventory.devices.get(device.syspath)
        if before == device and was is None:
            return
        if before is not None and before.slot != device.slot:
            self._unlink(before)
            self.inventory.drop_slot(before.slot)
            self._leases.gone("", before.slot)
        if was is not None:
            if before is not None and before.slot != device.slot:
                self._assign(before, gone=True)
            self.inventory.drop_slot(was.slot)
            self.inventory.devices.pop(was.key, None)
            self._rename(was.key, device.syspath)
        elif before is None or before.slot != device.slot:
            self.inventory.since[device.syspath] = self._ports.boottime()
        self.inventory.devices[device.syspath] = device
        self.inventory.slots.add(device.slot)
        if device.slot in self._slot_removal.devices:
            self._slot_removal.back(device.slot)
        self._assign(device, was=was.key if was is not None else "")
        if self.inventory.unprocessed:
            self._processed(device.syspath)

    def no_device(self, syspath: str) -> None:
        """Take note that a device is gone."""
        for below in self._away.below(syspath):
            self._gone(below)
        device = self.inventory.devices.get(syspath)
        if device is not None and (names := self.assignments.may_have(device)):
            self._leaves(device)
            for worker in map(self._workers.of, names):
                if worker.is_running:
                    worker.look_again()
        else:
            self._gone(syspath)
        self._processed(syspath)

    def found_used(self, device: Device, how: str) -> None:
        """The host uses a device that was about to be put in, or uses it no more."""
        known = self.inventory.devices.get(device.key)
        if known is not None and known.slot == device.slot:
            with self.assignments.log.because("host"):
                self.device(replace(known, in_use=how))

    def listed_devices(self, devices: Sequence[Device], unprocessed: Sequence[Device]) -> None:
        """Take note of all devices there are. Those that udevd has not processed stay what they were."""
        with self.assignments.log.because("listing" if self.inventory.devices_listed else "start"):
            self._listed(devices, unprocessed)
        self.inventory.devices_listed = True
        self._leases.settle()
        # All at once: nothing is planned without what is inside instances.
        for worker in list(self._workers.all.values()):
            self.looked(worker)
        self._workers.for_all(Worker.kick)

    def _listed(self, devices: Sequence[Device], unprocessed: Sequence[Device]) -> None:
        present = {device.syspath for device in (*devices, *unprocessed)}
        for key, known in [item for item in self.inventory.devices.items() if item[0] not in present]:
            if not known.away:
                self.no_device(key)
            elif self._finder.is_lost(known):
                self._gone(key)
        for device in devices:
            seen = device.syspath in self.inventory.devices
            self.device(device)
            if not seen:
                # A listing does not tell when the device came.
                self.inventory.since.pop(device.syspath, None)
        self.inventory.unprocessed = {
            device.syspath: device for device in unprocessed if device.syspath not in self.inventory.devices
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
        self._workers.unlisted = unlisted
        first = not self.inventory.instances_listed
        by_name = {instance.id: instance for instance in instances}
        self._ownership.gather()
        known = dict.fromkeys((*by_name, *self._workers.all, *self._ports.noted()))
        listed = [name for name in known if name.project in only] if only else known
        async for names in slices(listed, SLICE):
            for name in names:
                if name.project in unlisted:
                    self._workers.of(name).unlisted()
                else:
                    self._workers.of(name).listed(by_name.get(name), asked)
            if not first:
                # Report edits by others now, not once all instances are listed.
                self._ownership.tell()
                self._ownership.gather()
        self.inventory.starting = False
        self._ownership.tell()
        self.inventory.instances_listed = True
        self._leases.listed(unlisted)
        if first:
            async for workers in slices(list(self._workers.all.values()), SLICE):
                for worker in workers:
                    worker.kick()
        self._slot_removal.listed(completely=not unlisted)

    def left_over(self, slot: str) -> None:
        """Take note that there are links of a slot that is no device's any more."""
        self._slot_removal.leave(slot, slot)

    def knows(self, name: InstanceName) -> bool:
        """Whether there is such an instance, as far as is known, or something should be in it."""
        return name in self._workers.all

    def refresh(self, name: InstanceName, stop: Stop | None = None) -> None:
        """Take note that something, or this stop, happened to an instance: the server has to be asked."""
        self._workers.of(name).refresh(stop)

    def moved(self, name: InstanceName) -> None:
        """Take note that this instance is moved to another member of the cluster."""
        self._workers.of(name).moved()

    def updated(self, name: InstanceName) -> None:
        """Take note that this instance's configuration was updated, perhaps by us."""
        self._workers.of(name).updated()

    def look_again(self, name: InstanceName) -> None:
        """Take note that what is inside this instance may have changed."""
        self._workers.of(name).look_again()

    def start_failed(self, name: InstanceName, reason: str, operation: str) -> None:
        """Take note that this operation of the server's has not started this instance, for this reason."""
        self._workers.of(name).start_failed(reason, operation)

    def look_everywhere(self) -> None:
        """Look into every instance once more."""
        self._workers.for_all(Worker.look_again)

    def restarted(self, name: InstanceName) -> None:
        """Take note that the instance has another init than before, or none."""
        self._workers.of(name).restarted()

    def close(self) -> None:
        """End what is under way, and do nothing any more: another may look after these instances."""
        self._activity.close()
        self._leases.close()
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
        return len(self.inventory.devices)

    def usable(self) -> list[tuple[Device, Want]]:
        """The devices that rules take unless the host uses them, and the first place where each would go."""
        return self.assignments.usable(self.inventory.devices)

    def attachments(self) -> list[Attachment]:
        """What is attached now, by instance."""
        return self._workers.gather(lambda worker: worker.plan.attachments)

    def pending(self) -> list[Change]:
        """What has to change and has not, yet."""
        return self._workers.gather(lambda worker: worker.plan.changes)

    def held(self) -> list[Held]:
        """What has to wait, until when and why."""
        return self._workers.gather(Worker.held)

    def problems(self) -> list[Problem]:
        """Everything that a rule asks for and that is not so, and why."""
        problems = self.assignments.problems() + self._finder.problems()
        problems += [each for each in self._workers.gather(Worker.problems) if not each.guard]
        problems += self._slot_removal.problems() + self._ports.seals.problems()
        return list(dict.fromkeys(problems))

    # --- what moves into instances ----------------------------------------------------------------------

    def _leaves(self, device: Device) -> None:
        """An interface has left the host, perhaps for an instance: until that is known it is not gone."""
        away = self._away.leave(device)
        self.inventory.devices.pop(device.key, None)
        self.inventory.devices[away.key] = away
        self._rename(device.key, away.key)
        self._assign(away, was=device.key)

    def _rename(self, key: str, to: str) -> None:
        self._ownership.forget(key)
        if (since := self.inventory.since.pop(key, None)) is not None:
            self.inventory.since[to] = since

    def _gone(self, key: str) -> None:
        if (device := self.inventory.remove(key)) is not None:
            self._away.end(device.slot)
            self._unlink(device)
            self._assign(device, gone=True)
            self._ownership.forget(key)

    def learned(self, name: InstanceName, instance: Instance | None) -> None:
        """Take note of an instance as the server has it; None where there is none."""
        self._finder.learned(name, instance)
        for other in self.inventory.handovers.learned(name, instance):
            self._workers.of(other).kick()
        self._judge_all("others", self.assignments.learned(name, instance))
        if instance is not None and instance.kind == "virtual-machine":
            self.looked(self._workers.of(name))

    def _judge_all(self, cause: Cause, devices: Iterable[Device]) -> None:
        with self.assignments.log.because(cause):
            for device in devices:
                self._assign(device)

    def _judge(self, selectors: AbstractSet[EntrySelector]) -> None:
        # Only devices that foreign entries take, or took.
        self._judge_all("others", self.assignments.met(selectors))

    def _leased(self, keys: Sequence[str]) -> None:
        for device in filter(None, map(self.inventory.devices.get, keys)):
            self._judge_all("start" if self._leases.had_before(device) else "lease", [device])

    def looked(self, worker: Worker) -> None:
        """Take note that somebody looked into an instance."""
        self._finder.looked(worker)

    def _assign(self, device: Device, *, gone: bool = False, was: str = "") -> None:
        """Tell the workers concerned where the device should go. was: what it was known by before."""
        key = device.key
        if device.subsystem == "net":
            self._finder.tell()
        before, now = self.assignments.assign(device, gone=gone, was=was)
        if now.override is not None or device.slot in self.inventory.by_hand:
            self.inventory.decided(device.slot, now.override)
        if now.rule is not None and device.in_use.startswith(CANNOT_TELL):
            self._ports.unsure()
        if before is not None and before.wants == now.wants and was in ("", key):
            return
        old = before.wants if before is not None else ()
        self._workers.want(key, now.wants, old, self.assignments.log.cause, was or key)

    def _processed(self, syspath: str) -> None:
        if self.inventory.unprocessed.pop(syspath, None) is not None:
            # What an entry of the device was kept for is known now, wherever that entry is.
            self._workers.for_all(Worker.kick)
            self._leases.processed(self.inventory.devices.get(syspath))

    def _unlink(self, device: Device) -> None:
        # Whatever the rules say now: an entry from before may be left that names the link.
        if device.devnum is not None and not self._ports.dry_run:
            self._slot_removal.leave(device.slot, str(device))

    def is_idle(self, worker: Worker) -> None:
        """Forget the worker of what is no instance and should not be one."""
        self._slot_removal.look(worker.name)
        self._workers.is_idle(worker)
        self._leases.is_idle(worker)
