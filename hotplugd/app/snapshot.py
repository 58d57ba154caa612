"""Everything as it is now, once, and the plan for it: what `plan` and `explain` show.

The plan is the daemon's own (`plan.planner`), made from the same three inputs; nothing is changed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from hotplugd.aio.threads import Threads
from hotplugd.app.settings import ROOTS
from hotplugd.app.state_file import State
from hotplugd.container.inspector import Inspector
from hotplugd.container.opener import Opener
from hotplugd.host.list_once import restored
from hotplugd.host.sysfs import boot
from hotplugd.model import pci_slot
from hotplugd.model.entry import is_ours, is_path, name_for, names_for, target_of
from hotplugd.model.nic_slot import assumed, entry_for, inside, is_nic, number_above, recalled
from hotplugd.model.ports import Gone, ServerError
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, Inside, Instance, InstanceName
from hotplugd.plan.change import Attachment, Change, Plan
from hotplugd.plan.desired import Wants, judged, wants
from hotplugd.plan.kinds.kind import Want
from hotplugd.plan.overrides import NONE, Overrides, told_of
from hotplugd.plan.ownership import Owners, owner, withheld
from hotplugd.plan.planner import plan_instance
from hotplugd.pools.away_leases import Moment
from hotplugd.pools.leasing import Leasing
from hotplugd.rules.ruleset import RuleSet
from hotplugd.server.client import Lxd
from hotplugd.server.discover import find_server


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one device."""

    wants: Wants
    attachments: tuple[Attachment, ...]
    changes: tuple[Change, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """What should be, and what there is.

    wants   of each device that a rule takes, by what it is known by
    away    the devices that are in an instance, and not on the host therefore
    plans   of each instance that wants something, or has something of ours
    leasing who has which device of a pool; None where no server was asked
    """

    wants: Mapping[str, Wants]
    plans: Mapping[InstanceName, Plan] = field(default_factory=dict)
    away: Sequence[Device] = ()
    leasing: Leasing | None = None

    def is_taken(self, device: Device) -> bool:
        """Whether a rule takes the device."""
        return (wanted := self.wants.get(device.key)) is not None and wanted.rule is not None

    def placed(self) -> set[str]:
        """What the devices are called that should be in an instance."""
        return {str(each.device) for each in self.wants.values() if each.wants}

    def in_order(self) -> list[Plan]:
        """The plans by instance, as people count."""
        return [self.plans[name] for name in sorted(self.plans, key=lambda name: name.order)]

    def problems(self) -> list[Problem]:
        """Everything that a rule asks for and that cannot be."""
        found = [each for wanted in self.wants.values() for each in wanted.problems if not each.guard]
        told = [each for plan in self.in_order() for each in plan.problems]
        found += [each for each in told if not each.guard]
        found += self.leasing.problems() if self.leasing is not None else []
        return list(dict.fromkeys(found))

    def of(self, device: Device) -> Fate:
        """What becomes of one device; here guard rails speak too."""
        wanted = self.wants.get(device.key, Wants(device))
        plans = self.in_order()
        slots = {device.slot, *(each.slot for each in wanted.wants)}
        entries = {name for slot in slots for name in names_for(slot)}
        return Fate(
            wanted,
            tuple(
                each
                for plan in plans
                for each in plan.attachments
                if each.entry.name in entries or each.want.device.key == device.key
            ),
            tuple(
                each
                for plan in plans
                for each in plan.changes
                if each.entry.name in entries
                # An interface's entry may be under another slot.
                or (each.want is not None and each.want.device.key == device.key)
            ),
            (
                *wanted.problems,
                *(each for plan in plans for each in plan.problems if each.device == str(device)),
            ),
        )


def survey(
    rules: RuleSet,
    devices: Sequence[Device],
    unprocessed: Sequence[Device],
    server: str,
    environment: Mapping[str, str],
    state: State,
) -> Survey:
    """What becomes of these devices, of which udevd has not processed the `unprocessed`.

    server is the configuration's, and state what the state file says. Raises ServerError where the server is
    away.
    """
    overrides = state.overrides
    instances, insides = asyncio.run(_look(rules, devices, find_server(server, environment), state))
    away, held = _away(rules, devices, instances, insides)
    # A PCI device that is a virtual machine's is what it was, and not what the host sees without its driver.
    gone = {each.slot for each in away}
    devices = (*(each for each in devices if each.slot not in gone), *away)

    def has(want: Want) -> bool:
        instance = instances.get(want.instance)
        return instance is not None and instance.running and _has_entry(want, instance)

    owners = Owners()
    for name, instance in instances.items():
        owners.learned(name, instance)
    leasing = _leasing(rules, devices, instances, owners, has, state)
    every = {each.key: judged(rules, each, has, overrides, holder=leasing.holder) for each in devices}
    wanted = {key: each for key, each in every.items() if each.rule is not None or each.override is not None}
    wanted = {
        key: withheld(each, owners, attached=each.device.away or _is_attached(each, instances))
        for key, each in wanted.items()
    }
    mine = _by_instance(wanted)
    on_host = {device.slot for device in devices if not device.away}
    by_hand = {
        each.device.slot: told_of(each.override) for each in wanted.values() if each.override is not None
    }
    ours = {name for name, each in instances.items() if any(map(is_ours, each.entries.values()))}
    plans = {
        name: plan_instance(
            name,
            instances.get(name),
            mine.get(name, ()),
            insides.get(name),
            unprocessed,
            on_host | held.get(name, {}).keys(),
            held.get(name, {}),
            by_hand=by_hand,
        )
        for name in mine.keys() | ours
    }
    return Survey(wanted, plans, away, leasing)


def survey_devices(rules: RuleSet, devices: Sequence[Device], overrides: Overrides = NONE) -> Survey:
    """What should become of these devices, as far as that can be said without a server."""
    found = {device.key: wants(rules, device, overrides) for device in devices}
    return Survey({key: each for key, each in found.items() if each.rule or each.override})


def _leasing(
    rules: RuleSet,
    devices: Iterable[Device],
    instances: Mapping[InstanceName, Instance],
    owners: Owners,
    has: Callable[[Want], bool],
    state: State,
) -> Leasing:
    """The leases as a daemon would find and make them that starts now."""
    now = Moment(time.clock_gettime(time.CLOCK_BOOTTIME))
    leasing = Leasing(rules, state.leases.from_now(boot(), now))
    leasing.set_cordons(state.cordons)
    for each in state.leases.quarantines:
        leasing.set_health(each.key, each.health)
    if not rules.pools:
        return leasing
    for device in devices:
        leasing.judged(judged(rules, device, has, state.overrides), owner(device, owners))
    for name, instance in instances.items():
        leasing.learned(name, instance)

    def naming(slot: str) -> Iterator[InstanceName]:
        names = names_for(slot)
        return (
            name
            for name, instance in instances.items()
            if instance.here
            and any(each in instance.entries and is_ours(instance.entries[each]) for each in names)
        )

    leasing.settle(naming, (), now)
    return leasing


def _leased(
    rules: RuleSet, devices: Sequence[Device], instances: Mapping[InstanceName, Instance], state: State
) -> dict[str, Wants]:
    """Where these devices should go, before anybody looked inside."""
    owners = Owners()
    for name, instance in instances.items():
        owners.learned(name, instance)
    holder = _leasing(rules, devices, instances, owners, lambda _: False, state).holder
    found = {device.key: wants(rules, device, state.overrides, holder=holder) for device in devices}
    return {key: each for key, each in found.items() if each.rule or each.override}


def _away(
    rules: RuleSet,
    devices: Iterable[Device],
    instances: Mapping[InstanceName, Instance],
    insides: Mapping[InstanceName, Inside],
) -> tuple[list[Device], dict[InstanceName, dict[str, str]]]:
    """The interfaces that are in instances: as they are, and their entries' names by instance and slot."""
    slots = {device.slot for device in devices}
    above = {number_above(device.slot) for device in devices if device.subsystem == "net"}
    found: list[Device] = []
    held: dict[InstanceName, dict[str, str]] = {}
    for name, instance in instances.items():
        for device, entry in _inside(instance, insides.get(name)):
            seen = instance.kind == "container"
            if device.slot in slots or (not seen and number_above(device.slot) in above):
                continue
            if (there := restored(rules.attrs, device)) is not None:
                slots.add(there.slot)
                above.add(number_above(there.slot))
                found.append(there)
                held.setdefault(name, {})[there.slot] = entry
        for device, entry in _taken(instance, devices):
            if (there := restored(rules.attrs, device)) is not None:
                found.append(there)
                held.setdefault(name, {})[there.slot] = entry
    return found, held


def _taken(instance: Instance, devices: Iterable[Device]) -> Iterator[tuple[Device, str]]:
    """What a virtual machine that runs has by its PCI devices, and the names of the entries."""
    there = {each.slot for each in devices if each.subsystem == "pci" and each.driver == pci_slot.VFIO}
    if not there or not instance.running or not instance.here:
        return
    for entry in pci_slot.entries(instance):
        device = pci_slot.recalled(entry)
        pci = device.pci if device is not None else None
        if device is None or pci is None or pci.slot not in there:
            continue
        # One that had this driver before is what it was.
        if device is not pci or device.driver != pci_slot.VFIO:
            yield device, entry.name


def _inside(instance: Instance, seen: Inside | None) -> Iterator[tuple[Device, str]]:
    """The interfaces in one instance: those that were seen there, or that nobody can look for."""
    if not instance.running or not instance.here:
        return
    if instance.kind == "virtual-machine":
        yield from ((device, name_for(device.slot)) for device in assumed(instance))
    elif seen is not None and seen.folders is not None:
        for slot, entry, interface in inside(instance, seen.folders, boot()):
            if (device := recalled(slot, entry, interface)) is not None:
                yield device, entry.name


def _is_attached(wanted: Wants, instances: Mapping[InstanceName, Instance]) -> bool:
    """Whether an instance where it should be has an entry of ours for it, of whichever version."""
    return any(
        (instance := instances.get(each.instance)) is not None and _has_entry(each, instance)
        for each in wanted.wants
    )


def _has_entry(want: Want, instance: Instance) -> bool:
    return any(name in instance.entries for name in names_for(want.slot)) or (
        bool(want.kind.leaves) and entry_for(instance, want.device) is not None
    )


def _by_instance(wanted: Mapping[str, Wants]) -> dict[InstanceName, list[Want]]:
    found: dict[InstanceName, list[Want]] = {}
    for each in wanted.values():
        for want in each.wants:
            found.setdefault(want.instance, []).append(want)
    return found


async def _look(
    rules: RuleSet, devices: Sequence[Device], address: str, state: State
) -> tuple[dict[InstanceName, Instance], dict[InstanceName, Inside]]:
    """The instances, and what is inside those that devices go to, or network interfaces went to."""
    threads = Threads()
    lxd = Lxd(address, threads)
    await lxd.connect()
    instances = {each.id: each for each in await lxd.list()}
    wanted = (
        _leased(rules, devices, instances, state)
        if rules.pools
        else survey_devices(rules, devices, state.overrides).wants
    )
    for name in _by_instance(wanted):
        if name.project in lxd.unlisted:
            with suppress(Gone):
                instances[name] = await lxd.get(name)
    inspector = Inspector(threads, Opener(threads, ROOTS), lxd.init, _nothing, _nothing)
    inspector.ask_for(rules.users, rules.groups)

    async def look(name: InstanceName, paths: list[str]) -> tuple[InstanceName, Inside]:
        interfaces = [target_of(each) for each in instances[name].entries.values() if is_nic(each)]
        try:
            return name, await inspector.look(name, paths, interfaces or None)
        except ServerError as error:
            return name, Inside(error=str(error))

    try:
        mine = _by_instance(wanted)
        looks = [
            look(name, sorted({want.target for want in mine.get(name, ()) if is_path(want.target)}))
            for name, instance in instances.items()
            if instance.running
            and instance.here
            and instance.kind == "container"
            and (name in mine or any(map(is_nic, instance.entries.values())))
        ]
        return instances, dict(await asyncio.gather(*looks))
    finally:
        inspector.close()


def _nothing(_: InstanceName) -> None: ...
