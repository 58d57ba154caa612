"""Which device should be where, and which instance's writer has to know.

Everything that happens is a call that changes what is known (`device`, `listed_devices`, `refresh`, …) and
kicks the writers of the instances concerned; see `writer` for what they do. All state belongs to the event
loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from hotplugd.model.entry import number_of
from hotplugd.model.values import Device, Instance, InstanceName
from hotplugd.plan.desired import Problem, Want, Wants, guard_rail, judged, may_be_used
from hotplugd.plan.foreign_entries import Claim
from hotplugd.plan.ownership import met
from hotplugd.plan.planner import Attachment, Change
from hotplugd.reconcile.moved_nics import Present
from hotplugd.reconcile.nic_locations import Moved
from hotplugd.reconcile.ownership_watch import Others
from hotplugd.reconcile.retry import LONG_AGO, NEVER
from hotplugd.reconcile.slot_removal import Leaving
from hotplugd.reconcile.tools import Activity, Tools
from hotplugd.reconcile.worker import Writer
from hotplugd.rules.ruleset import RuleSet


class Reconciler:
    """Keeps every instance as the rules, the devices and the instances say it should be.

    Nothing is planned before both were listed: without devices everything would have to go, and without
    instances no device would have a place.
    """

    def __init__(self, tools: Tools, rules: RuleSet) -> None:
        self._tools = tools
        self._rules = rules
        self._loop = asyncio.get_running_loop()
        self._devices_listed = False
        self._instances_listed = False
        self._devices: dict[str, Device] = {}
        self._since: dict[str, float] = {}
        self._slots: set[str] = set()
        self._unsettled: dict[str, Device] = {}
        self._wants: dict[str, Wants] = {}
        # The devices that rules take and the host uses, by key.
        self._used: dict[str, Device] = {}
        self._writers: dict[InstanceName, Writer] = {}
        self._others = Others(self._judge)
        self._moved = Moved(
            tools.boot, self._writers, self._devices, self._slots, self._may_have, self._restore, self._gone
        )
        self._away = self._moved.away
        # When an instance was found to be none at last.
        self._forgotten = LONG_AGO
        self._activity = Activity()
        self._leaving = Leaving(tools, self._activity, self._writers)

    # --- what is known ----------------------------------------------------------------------------------

    def set_rules(self, rules: RuleSet) -> None:
        """Take these rules from now on."""
        self._rules = rules
        for device in self._devices.values():
            self._claim(device)
        self._each(Writer.may_start)
        # The rules may ask for the ids of other names.
        self._each(Writer.forget_inside)

    def device(self, device: Device) -> None:
        """Take note of a device that is there, as udevd has it."""
        was = self._moved.back(device) if device.subsystem == "net" else None
        before = self._devices.get(device.syspath)
        if before == device and was is None:
            return
        if before is not None and before.slot != device.slot:
            self._unlink(before)
            self._slots.discard(before.slot)
        if was is not None:
            if before is not None and before.slot != device.slot:
                self._claim(before, gone=True)
            self._slots.discard(was.slot)
            self._devices.pop(was.key, None)
            self._rename(was.key, device.syspath)
        elif before is None or before.slot != device.slot:
            self._since[device.syspath] = self._loop.time()
        self._devices[device.syspath] = device
        self._slots.add(device.slot)
        self._leaving.back(device.slot)
        self._claim(device, was=was.key if was is not None else "")
        self._settle(device.syspath)

    def no_device(self, syspath: str) -> None:
        """Take note that a device is gone."""
        for below in self._away.below(syspath):
            self._gone(below)
        device = self._devices.get(syspath)
        if device is not None and device.subsystem == "net" and (names := self._may_have(device)):
            self._leaves(device)
            for name in names:
                if self._writer(name).is_running:
                    self._writer(name).look_again()
        else:
            self._gone(syspath)
        self._settle(syspath)

    def found_used(self, device: Device, how: str) -> None:
        """The host uses a device that was about to be put in, or uses it no more."""
        known = self._devices.get(device.key)
        if known is not None and known.slot == device.slot:
            self.device(replace(known, in_use=how))

    def listed_devices(self, devices: Sequence[Device], unsettled: Sequence[Device]) -> None:
        """Take note of all devices there are. Those that udevd has not processed stay what they were."""
        present = {each.syspath for each in (*devices, *unsettled)}
        for key, known in [each for each in self._devices.items() if each[0] not in present]:
            if not known.away:
                self.no_device(key)
            elif self._tools.restore(known) is None:
                self._gone(key)
        for device in devices:
            if device.syspath not in self._devices:
                self.device(device)
                # Nobody knows since when it is there.
                self._since.pop(device.syspath, None)
            else:
                self.device(device)
        self._unsettled = {each.syspath: each for each in unsettled if each.syspath not in self._devices}
        self._devices_listed = True
        self._each(self._looked)
        self._each(Writer.kick)

    def listed_instances(self, instances: Iterable[Instance], asked: float = NEVER) -> None:
        """Take note of all instances there are; the server answers.

        asked  when, in the loop's time, the server was asked: what was learned later is newer
        """
        self._instances_listed = True
        found = {instance.id: instance for instance in instances}
        self._others.gather()
        noted = {*self._tools.notes.names(), *self._tools.links.names()}
        for name in found.keys() | self._writers.keys() | noted:
            new = name not in self._writers
            self._writer(name).listed(found.get(name), asked)
            if new and asked < self._forgotten:
                # It may be the one that was found to be gone meanwhile.
                self._writer(name).refresh()
        self._others.tell()
        self._leaving.listed()

    def left_over(self, slot: str) -> None:
        """Take note that there are links of a slot that is no device's any more."""
        self._leaving.leave(slot, slot)

    def refresh(self, name: InstanceName) -> None:
        """Take note that something happened to this instance: the server has to be asked."""
        self._writer(name).refresh()

    def moved(self, name: InstanceName) -> None:
        """Take note that this instance is moved to another member of the cluster."""
        self._writer(name).moved()

    def updated(self, name: InstanceName) -> None:
        """Take note that this instance's configuration was updated, perhaps by us."""
        self._writer(name).updated()

    def look_again(self, name: InstanceName) -> None:
        """Take note that what is inside this instance may have changed."""
        self._writer(name).look_again()

    def start_failed(self, name: InstanceName, reason: str, operation: str) -> None:
        """Take note that this operation of the server's has not started this instance, for this reason."""
        self._writer(name).start_failed(reason, operation)

    def look_everywhere(self) -> None:
        """Look into every instance once more."""
        self._each(Writer.look_again)

    def restarted(self, name: InstanceName) -> None:
        """Take note that the instance has another init than before, or none."""
        self._writer(name).restarted()

    def close(self) -> None:
        """End what is under way, and do nothing any more: another may look after these instances."""
        self._activity.close()
        self._away.close()
        self._others.close()

    # --- what came of it --------------------------------------------------------------------------------

    async def settled(self) -> None:
        """Return once nothing is under way. What waits for its next try does not count."""
        await self._activity.none()

    @property
    def devices(self) -> int:
        """How many devices there are that rules can see."""
        return len(self._devices)

    def is_of_another(self, slot: str) -> bool:
        """Whether a device has the number that this slot's device had, and another slot."""
        number = number_of(slot)
        return slot not in self._slots and any(number_of(each) == number for each in self._slots)

    @property
    def wanted(self) -> Iterable[Wants]:
        """Where each device that a rule takes should go."""
        return self._wants.values()

    def usable(self) -> list[tuple[Device, Want]]:
        """The devices that rules take unless the host uses them, and the first place where each would go."""
        return [
            (device, want)
            for key, each in self._wants.items()
            if (device := self._devices.get(key)) is not None
            and (want := next(iter(each.kept or each.wants), None)) is not None
            and may_be_used(want)
        ]

    def kept(self) -> list[str]:
        """The syspaths of devices that a guard rail keeps on the host, though a rule takes them."""
        return [
            each.device.syspath
            for each in self._wants.values()
            if each.rule is not None
            and each.rule.attach is not None
            and not each.rule.attach.force
            and guard_rail(each.device)
        ]

    def attachments(self) -> list[Attachment]:
        """What is attached now, by instance."""
        return [each for _, writer in sorted(self._writers.items()) for each in writer.plan.attachments]

    def pending(self) -> list[Change]:
        """What has to change and has not, yet."""
        return [each for _, writer in sorted(self._writers.items()) for each in writer.plan.changes]

    def problems(self) -> list[Problem]:
        """Everything that a rule asks for and that is not so, and why."""
        found = [
            problem for wanted in self._wants.values() for problem in wanted.problems if not problem.guard
        ]
        found += self._moved.problems()
        for _, writer in sorted(self._writers.items()):
            found += [problem for problem in writer.problems() if not problem.guard]
        found += self._tools.seals.problems()
        return list(dict.fromkeys(found))

    # --- what moves into instances ----------------------------------------------------------------------

    def _may_have(self, device: Device) -> set[InstanceName]:
        """The instances that have, or may be about to have, what has left the host: one that starts takes it
        before anybody says that it runs.
        """
        wanted = self._wants.get(device.key, Wants(device)).wants
        names = {each.instance for each in wanted if self._writer(each.instance).holds(each.slot)}
        return names.union(self._moved.claimants.of(device))

    def _leaves(self, device: Device) -> None:
        """An interface has left the host, perhaps for an instance: until that is known it is not gone."""
        away = self._away.leave(device)
        self._devices.pop(device.key, None)
        self._devices[away.key] = away
        self._rename(device.key, away.key)
        self._claim(away, was=device.key)

    def _rename(self, key: str, to: str) -> None:
        self._others.forget(key)
        if (since := self._since.pop(key, None)) is not None:
            self._since[to] = since

    def _gone(self, key: str) -> None:
        device = self._devices.pop(key, None)
        self._since.pop(key, None)
        if device is not None:
            self._away.end(device.slot)
            self._slots.discard(device.slot)
            self._unlink(device)
            self._claim(device, gone=True)
            self._others.forget(key)

    def _learned(self, name: InstanceName, instance: Instance | None) -> None:
        self._moved.learned(name, instance)
        self._others.learned(name, instance)
        if instance is not None:
            # What was attached before anybody knew of it stays.
            for found in self._others.withheld(name):
                if self._is_attached(found):
                    self._claim(found.device)
        # What the host uses stays where it is, while that runs.
        for key, device in list(self._used.items()):
            if any(want.instance == name for want in self._wants[key].kept):
                self._claim(device)
        if instance is not None and instance.kind == "virtual-machine":
            self._looked(self._writer(name))

    def _judge(self, claims: AbstractSet[Claim]) -> None:
        """Look again at the devices that others' entries claim now, or did. No rule takes the rest."""
        for device in met([each.device for each in self._wants.values()], claims):
            self._claim(device)

    def _looked(self, writer: Writer) -> None:
        if self._devices_listed:
            self._moved.looked(writer)

    def _restore(self, device: Device) -> None:
        """An interface is inside that nobody has seen on the host since we started."""
        if (found := self._tools.restore(device)) is not None:
            self._slots.add(found.slot)
            self._leaves(found)

    # --- devices to writers -----------------------------------------------------------------------------

    def _claim(self, device: Device, *, gone: bool = False, was: str = "") -> None:
        """Tell the writers concerned where the device should go. was: what it was known by before."""
        key = device.key
        before = self._wants.pop(was or key, None)
        self._used.pop(was or key, None)
        now = Wants(device) if gone else self._wanted(device)
        if now.rule is not None:
            self._wants[key] = now
        if now.kept:
            self._used[key] = device
        for problem in now.problems:
            if not problem.guard and (before is None or problem not in before.problems):
                self._tools.log.warning(
                    "device.problem", device=problem.device, rule=problem.rule, reason=problem.message
                )
        if before is not None and before.wants == now.wants and was in ("", key):
            return
        for name in {want.instance for want in (*(before.wants if before else ()), *now.wants)}:
            if was not in ("", key):
                self._writer(name).want(was, ())
            mine = tuple(want for want in now.wants if want.instance == name)
            self._writer(name).want(key, mine)

    def _wanted(self, device: Device) -> Wants:
        found = judged(self._rules, device, self._has)
        return self._others.judge(found, attached=self._is_attached(found))

    def _is_attached(self, found: Wants) -> bool:
        """Whether an instance where it should be has an entry of ours for it, of whichever version."""
        holders = self._moved.claimants.of(found.device)
        return any(
            each.instance in holders or self._writers[each.instance].has_entry(each.slot)
            for each in found.wants
            if each.instance in self._writers
        )

    def _has(self, want: Want) -> bool:
        writer = self._writers.get(want.instance)
        return writer is not None and writer.is_running and writer.has_entry(want.slot)

    def _settle(self, syspath: str) -> None:
        # What an entry of an unprocessed device was kept for is known now, wherever that entry is.
        if self._unsettled.pop(syspath, None) is not None:
            self._each(Writer.kick)

    def _unlink(self, device: Device) -> None:
        # Whatever the rules say now: an entry from before may be left that names the link.
        if device.devnum is None or self._tools.dry_run:
            return
        self._leaving.leave(device.slot, str(device))

    def _each(self, what: Callable[[Writer], None]) -> None:
        for writer in list(self._writers.values()):
            what(writer)

    def _writer(self, name: InstanceName) -> Writer:
        if name not in self._writers:
            self._writers[name] = Writer(
                name,
                self._tools,
                self._activity,
                self._ready,
                Present(name, self._slots, self._away),
                self._since,
                self._learned,
                self._looked,
                self.found_used,
                self._idle,
            )
        return self._writers[name]

    def _ready(self) -> Sequence[Device] | None:
        """The devices that udevd has not processed, or None before everything was listed."""
        listed = self._devices_listed and self._instances_listed
        return tuple(self._unsettled.values()) if listed else None

    def _idle(self, writer: Writer) -> None:
        """Forget the writer of what is no instance and should not be one."""
        self._leaving.look(writer.name)
        if self._writers.get(writer.name) is not writer:
            # It was forgotten, and what it had under way has ended.
            return
        if writer.actual is None and not writer.wants and writer.is_idle:
            writer.close()
            self._forgotten = self._loop.time()
            self._writers.pop(writer.name, None)
