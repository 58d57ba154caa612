"""The leases of all pools: what is known of devices and instances, and what follows from it. Pure.

Devices are told as the rules judge them, instances as the server has them; `settle` makes the allocation from
that. An entry of ours is a lease's record: what an instance has when it, or the device, is met for the first
time is its own if its claims say so. Afterwards the leases here count, and not the entries: a snapshot that
is restored brings entries back whose leases are over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hotplugd.model import entry as entries
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, Entry, Instance, InstanceName
from hotplugd.plan.allocate import NO_ALLOCATION, Allocation, Asking, Ended, allocate
from hotplugd.plan.desired import Wants
from hotplugd.plan.expected import too_few
from hotplugd.plan.kinds.registry import kind_for
from hotplugd.plan.lease import Lease
from hotplugd.plan.planner import of_unprocessed
from hotplugd.plan.pool_devices import PoolDevice, PoolDevices
from hotplugd.plan.unit_key import place, unit_key
from hotplugd.rules.claims import Claim, ClaimProblem, claims_of
from hotplugd.rules.ruleset import RuleSet

Naming = Callable[[str], Iterable[InstanceName]]
"""The instances that may have an entry of ours for the device with a slot, now or soon."""


@dataclass(slots=True)
class _Unit:
    """What is leased as one: a device with what goes along with it, or a GPU's two nodes.

    slot   the id of the enumeration that its entry is for
    slots  of its devices, by what these are known by
    """

    pool: str
    slot: str
    slots: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Member:
    """An instance, and what it claims."""

    instance: Instance
    claims: tuple[Claim, ...] = ()
    problems: tuple[ClaimProblem, ...] = ()

    @property
    def matters(self) -> bool:
        """Whether it claims anything, or tries to."""
        return bool(self.claims or self.problems)


class Leasing:
    """What is leased to whom.

    allocation  what `settle` made last
    """

    def __init__(self, rules: RuleSet) -> None:
        self.allocation: Allocation = NO_ALLOCATION
        self.devices = PoolDevices()
        self._rules = rules
        self._units: dict[str, _Unit] = {}
        # The unit of each device that a pool's rule is about, and those that go along with it.
        self._unit_of: dict[str, str] = {}
        self._anchor_of: dict[str, str] = {}
        self._along: dict[str, dict[str, str]] = {}
        self._members: dict[InstanceName, _Member] = {}
        self._order: dict[tuple[InstanceName, str], int] = {}
        self._ordered = 0
        self._releasing: set[str] = set()
        # What was met for the first time since the last allocation.
        self._new_units: set[str] = set()
        self._new_members: set[InstanceName] = set()

    @property
    def rules(self) -> RuleSet:
        """The rules that decide."""
        return self._rules

    def set_rules(self, rules: RuleSet) -> None:
        """Take these rules from now on; every device has to be told anew."""
        self._rules = rules
        # A selector may mean other locations now.
        before, self.devices = self.devices, PoolDevices()
        for device in before:
            if device.pool in rules.pools and rules.leases:
                self.devices.put(device)
        self._members = {name: self._member(known.instance) for name, known in self._members.items()}

    # --- what is told -----------------------------------------------------------------------------------

    def judged(self, found: Wants, owner: str = "") -> bool:
        """A device is there, and the rules say this of it. Returns whether it matters for any pool.

        owner  whom it belongs to by an entry that is not ours, or empty
        """
        attach = found.rule.attach if found.rule is not None else None
        device = found.device
        if attach is None or attach.pool not in self._rules.pools or not self._rules.leases:
            return self.gone(device.key)
        if found.anchor is not None:
            if self._anchor_of.get(device.key) != found.anchor.key:
                self.gone(device.key)
                self._anchor_of[device.key] = found.anchor.key
            self._along.setdefault(found.anchor.key, {})[device.key] = device.slot
            return True
        slot = kind_for(device, attach.kind).slot(device)
        key = self._key(device, attach.pool, slot)
        if self._unit_of.get(device.key) != key:
            self.gone(device.key)
        if key not in self._units:
            self._units[key] = _Unit(attach.pool, slot)
            self._new_units.add(key)
        unit = self._units[key]
        if unit.slot != slot:
            # It was enumerated again, and has no entry of before.
            unit.slot = slot
        unit.slots[device.key], self._unit_of[device.key] = device.slot, key
        unfit = next((problem.message for problem in found.problems), owner)
        first = min(unit.slots)
        if first == device.key:
            self.devices.put(PoolDevice(key, attach.pool, device, unfit))
        return True

    def gone(self, key: str) -> bool:
        """A device is no more, or is of no pool, by what it is known by. Returns whether it was of one."""
        anchor = self._anchor_of.pop(key, None)
        if anchor is not None:
            along = self._along[anchor]
            del along[key]
            if not along:
                del self._along[anchor]
        name = self._unit_of.pop(key, None)
        if name is not None:
            unit = self._units[name]
            del unit.slots[key]
            if not unit.slots:
                del self._units[name]
                self._new_units.discard(name)
                self.devices.drop(name)
        return anchor is not None or name is not None

    def learned(self, name: InstanceName, instance: Instance | None) -> bool:
        """An instance is like this; None where there is none. Returns whether it matters for any pool."""
        before = self._members.get(name)
        if instance is None:
            self._members.pop(name, None)
            return before is not None and before.matters
        if before is None:
            self._new_members.add(name)
        elif before.instance.claims == instance.claims:
            self._members[name] = _Member(instance, before.claims, before.problems)
            return before.matters and _serves(before.instance) != _serves(instance)
        self._members[name] = self._member(instance)
        return self._members[name].matters or (before is not None and before.matters)

    # --- what follows -----------------------------------------------------------------------------------

    def holder(self, device: Device) -> Lease | None:
        """The lease of the device that a pool's rule is about, if it has one."""
        return self.allocation.leases.get(self._unit_of.get(device.key, ""))

    @property
    def is_releasing(self) -> bool:
        """Whether some instance may have a device whose lease is over."""
        return bool(self._releasing)

    def settle(self, naming: Naming, unprocessed: Sequence[Device] = ()) -> list[str]:
        """Make the allocation anew. Returns what the devices are known by that have another lease now.

        unprocessed  devices that udevd has not processed: an instance that has one of them gets nothing more
                     before it is known what that is
        """
        before = self.allocation.leases
        leases = {**before, **self._adopted(before)}
        useless = ((key, lease, self._why_useless(key, naming)) for key, lease in before.items())
        gone = tuple(Ended(key, lease, why) for key, lease, why in useless if why)
        for over in gone:
            del leases[over.key]
        silent = {lease.instance: self._silence(lease.instance) for lease in leases.values()}
        silent = {name: why for name, why in silent.items() if why}
        asking = self._asking(unprocessed)
        self._releasing = {
            key for key in self._releasing if key in self._units and self._names(key, naming, None)
        }
        made = allocate(self.devices, asking, leases, self._releasing, silent)
        self._releasing |= {over.key for over in made.ended if self._names(over.key, naming, None)}
        while busy := {key for key in made.new if self._names(key, naming, made.leases[key].instance)}:
            # Somebody has it, or may get it, without a lease: it is given once that is over.
            self._releasing |= busy
            ended = made.ended
            made = allocate(self.devices, asking, leases, self._releasing, silent)
            assert made.ended == ended
        self.allocation = Allocation(made.leases, made.new, (*made.ended, *gone), made.claims)
        changed = {key for key in {*before, *made.leases} if before.get(key) != made.leases.get(key)}
        return [device for key in sorted(changed) for device in self._devices_of(key)]

    def state(self, key: str) -> str:
        """Whether a device is `free`, `leased` or `releasing`."""
        if key in self.allocation.leases:
            return "leased"
        return "releasing" if key in self._releasing else "free"

    def key_of(self, device: Device) -> str:
        """What a pool's device is known by in leases; empty for others."""
        return self._unit_of.get(device.key, "")

    def problems(self) -> list[Problem]:
        """Which claims cannot be read, which cannot be had, and which pools have too few devices."""
        found = [
            Problem("", "", f"{name}: {problem}")
            for name, member in sorted(self._members.items())
            if member.instance.here
            for problem in member.problems
        ]
        for state in self.allocation.claims:
            if state.state == "unsatisfiable" and state.asking.claim.asked:
                asking = state.asking
                message = f"{asking.instance}: claim '{asking.claim.name}' cannot be met: {state.reason}"
                found.append(Problem("", "", message))
        return [*found, *too_few(self._rules, self.devices)] if self._rules.leases else []

    # --- within -----------------------------------------------------------------------------------------

    def _key(self, device: Device, pool: str, slot: str) -> str:
        """What a device is known by: what it was known by, or its identity, where no other has that."""
        key = unit_key(device)
        unit = self._units.get(key)
        if unit is None or device.key in unit.slots or (unit.slot == slot and unit.pool == pool):
            return key
        return f"{key}@{place(device)}"

    def _devices_of(self, key: str) -> list[str]:
        """What the devices of a unit are known by, those included that go along."""
        unit = self._units.get(key)
        if unit is None:
            return []
        return [device for own in unit.slots for device in (own, *self._along.get(own, ()))]

    def _slots_of(self, key: str) -> set[str]:
        unit = self._units[key]
        along = {slot for own in unit.slots for slot in self._along.get(own, {}).values()}
        return {unit.slot, *unit.slots.values(), *along} - {""}

    def _names(self, key: str, naming: Naming, holder: InstanceName | None) -> bool:
        """Whether an instance other than the holder may have an entry for any device of a unit."""
        return any(name != holder for slot in self._slots_of(key) for name in naming(slot))

    def _member(self, instance: Instance) -> _Member:
        if not self._rules.leases:
            return _Member(instance)
        claims, problems = claims_of(instance.id, instance.claims, self._rules.pools, self._rules.keys)
        return _Member(instance, claims, problems)

    def _silence(self, name: InstanceName) -> str:
        """Why an instance asks for nothing; empty where it may ask."""
        member = self._members.get(name)
        if member is None:
            return f"{name} is gone"
        if not member.instance.here:
            return f"{name} is on another member of the cluster"
        stopped = not member.instance.running
        keeps = any(self._rules.pools[claim.pool].keep_stopped for claim in member.claims)
        return f"{name} is stopped" if stopped and not keeps else ""

    def _why_useless(self, key: str, naming: Naming) -> str:
        """Why nothing comes of the lease of a device; empty where something may."""
        if key not in self._units:
            return "its device is gone"
        device = self.devices.get(key)
        if device is None or not device.unfit or self._names(key, naming, None):
            return ""
        return f"it cannot be put in: {device.unfit}"

    def _asking(self, unprocessed: Sequence[Device]) -> list[Asking]:
        """The claims of all instances that may have something now, in no order."""
        claims = [
            (member.instance, claim)
            for member in self._members.values()
            if member.instance.here
            for claim in member.claims
        ]
        known = {(instance.id, claim.name) for instance, claim in claims}
        self._order = {name: order for name, order in self._order.items() if name in known}
        new = [
            (instance.created, instance.id, claim.name)
            for instance, claim in claims
            if (instance.id, claim.name) not in self._order
        ]
        for _, instance_name, claim_name in sorted(new):
            self._order[instance_name, claim_name] = self._ordered
            self._ordered += 1
        gets = {
            name: member.instance.running and not _has_any_of(member.instance, unprocessed)
            for name, member in self._members.items()
        }
        return [
            Asking(instance.id, claim, self._order[instance.id, claim.name], gets[instance.id])
            for instance, claim in claims
            if instance.running or self._rules.pools[claim.pool].keep_stopped
        ]

    def _adopted(self, leases: Mapping[str, Lease]) -> dict[str, Lease]:
        """What instances have already by entries of ours, of what was met for the first time."""
        units = {key for key in self._new_units if key not in leases and key not in self._releasing}
        free = (key for key in self._units if key not in leases and key not in self._releasing)
        of_slot = {
            slot: key for key in (free if self._new_members else units) for slot in self._slots_of(key)
        }
        names = self._members if units else self._new_members
        found: dict[str, Lease] = {}
        for name in sorted(names, key=self._precedence):
            member = self._members.get(name)
            for entry in _own(member.instance) if member is not None else ():
                key = of_slot.get(entries.slot_of(entry))
                if key is not None and (name in self._new_members or key in units):
                    found.setdefault(key, Lease(name, entry.config.get(entries.MARK_CLAIM, "")))
        self._new_units.clear()
        self._new_members.clear()
        return found

    def _precedence(self, name: InstanceName) -> tuple[bool, str, InstanceName]:
        """Those that run come first, then the older."""
        member = self._members.get(name)
        if member is None:
            return True, "", name
        return not member.instance.running, member.instance.created, name


def _serves(instance: Instance) -> tuple[bool, bool]:
    return instance.running, instance.here


def _has_any_of(instance: Instance, unprocessed: Sequence[Device]) -> bool:
    """Whether the instance may have one of these devices by an entry of ours."""
    return bool(unprocessed and of_unprocessed({own.name: own for own in _own(instance)}, unprocessed))


def _own(instance: Instance) -> Iterator[Entry]:
    """The entries of ours that were made for this instance, and not for one that it is a copy of."""
    mark = entries.mark_for(instance.id)
    for entry in instance.entries.values() if instance.here else ():
        if entries.is_ours(entry) and entry.config.get(entries.MARK_INSTANCE) == mark:
            yield entry
