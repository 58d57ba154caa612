"""The leases of all pools: what is known of devices and instances, and what follows from it. Pure.

Devices are told as the rules judge them, instances as the server has them; `settle` makes the allocation from
that. An entry of ours is a lease's record: what an instance has when it, or the device, is met for the first
time is its own if its claims say so. Afterwards the leases here count, and not the entries: a snapshot that
is restored brings entries back whose leases are over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hotplugd.model import entry as entries
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, Instance, InstanceName
from hotplugd.plan.allocate import NO_ALLOCATION, Allocation, Ended, allocate
from hotplugd.plan.claimants import PoolClaimants
from hotplugd.plan.cordons import NO_CORDONS, Cordon, Cordons
from hotplugd.plan.desired import Wants
from hotplugd.plan.expected import cannot_be_met, too_few
from hotplugd.plan.health import UNKNOWN, Health
from hotplugd.plan.kinds.registry import kind_for
from hotplugd.plan.lease import Lease
from hotplugd.plan.overrides import told_of
from hotplugd.plan.pool_devices import PoolDevice, PoolDevices
from hotplugd.plan.unit_key import place, unit_key
from hotplugd.rules.ruleset import RuleSet

Naming = Callable[[str], Iterable[InstanceName]]
"""The instances that may have an entry of ours for the device with a slot, now or soon."""


@dataclass(slots=True)
class _Unit:
    """What is leased as one: a device with what goes along with it, or a GPU's two nodes.

    slot   the id of the enumeration that tells it from another of its identity
    entry  that of its entry, or of its last device's
    slots  of its devices, by what these are known by
    """

    pool: str
    slot: str
    entry: str
    slots: dict[str, str] = field(default_factory=dict)


class Leasing:
    """What is leased to whom.

    allocation  what `settle` made last
    cordons     what people have taken out of use
    """

    def __init__(self, rules: RuleSet) -> None:
        self.allocation: Allocation = NO_ALLOCATION
        self.devices = PoolDevices()
        self.cordons: Cordons = NO_CORDONS
        self._health: dict[str, Health] = {}
        self._rules = rules
        self._units: dict[str, _Unit] = {}
        # The unit of each device that a pool's rule is about, and those that go along with it.
        self._unit_of: dict[str, str] = {}
        self._anchor_of: dict[str, str] = {}
        self._along: dict[str, dict[str, str]] = {}
        self._claimants = PoolClaimants(rules)
        self._releasing: set[str] = set()
        # What was met for the first time since the last allocation.
        self._new_units: set[str] = set()
        # Why devices that are there are of no pool any more, since the last allocation.
        self._left: dict[str, str] = {}

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
        self._claimants.set_rules(rules)

    # --- what is told -----------------------------------------------------------------------------------

    def judged(self, found: Wants, owner: str = "") -> bool:
        """A device is there, and the rules say this of it. Returns whether it matters for any pool.

        owner  whom it belongs to by an entry that is not ours, or empty
        """
        # What somebody decided by hand is of no pool meanwhile.
        attach = found.rule.attach if found.rule is not None and found.override is None else None
        device = found.device
        if attach is None or attach.pool not in self._rules.pools or not self._rules.leases:
            self._left[self._unit_of.get(device.key, "")] = _why_of_none(found)
            return self.gone(device.key)
        if found.anchor is not None:
            if self._anchor_of.get(device.key) != found.anchor.key:
                self.gone(device.key)
                self._anchor_of[device.key] = found.anchor.key
            along = self._along.setdefault(found.anchor.key, {})
            is_new = along.get(device.key) != device.slot
            along[device.key] = device.slot
            return is_new
        slot = kind_for(device, attach.kind).slot(device)
        entry = kind_for(device, attach.kind, parted=self._rules.parts_gpus).slot(device)
        key = self._key(device, attach.pool, slot, entry)
        if self._unit_of.get(device.key) != key:
            self.gone(device.key)
        if key not in self._units:
            self._units[key] = _Unit(attach.pool, slot, entry)
            self._new_units.add(key)
        unit = self._units[key]
        is_new = unit.slots.get(device.key) != device.slot
        # Where it was enumerated again, it has no entry of before.
        unit.slot, unit.entry = slot, entry
        unit.slots[device.key], self._unit_of[device.key] = device.slot, key
        unfit = found.unfit or owner
        if min(unit.slots) == device.key:
            unit.pool = attach.pool
            not_given = self._not_given(key, device)
            is_new |= self.devices.put(PoolDevice(key, attach.pool, device, unfit, not_given))
        return is_new

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
        return self._claimants.learned(name, instance)

    def brings(self, name: InstanceName) -> bool:
        """Whether the instance may have leases that are not known yet, by the entries that it came with."""
        return bool(self._units) and self._claimants.brings(name)

    def set_cordons(self, cordons: Cordons) -> bool:
        """Take what is cordoned from now on. Returns whether that matters for any device or instance."""
        before, self.cordons = self.cordons, cordons
        self._judge_given(tuple(self.devices))
        return before != cordons

    def set_health(self, key: str, health: Health) -> bool:
        """A device, by what it is known by in leases, is of this health from now on. Returns whether that is
        new. It stays so while the device is away.
        """
        before = self.health(key)
        if health == UNKNOWN:
            self._health.pop(key, None)
        else:
            self._health[key] = health
        known = self.devices.get(key)
        self._judge_given([known] if known is not None else [])
        return before != health

    def health(self, key: str) -> Health:
        """The health of a device, by what it is known by in leases."""
        return self._health.get(key, UNKNOWN)

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
        before, came = self.allocation.leases, frozenset(self._new_units)
        leases = {**before, **self._adopted(before, naming)}
        useless = ((key, lease, self._why_useless(key, naming)) for key, lease in before.items())
        gone = tuple(Ended(key, lease, why) for key, lease, why in useless if why)
        for over in gone:
            del leases[over.key]
        self._left.clear()
        asking = self._claimants.asking(unprocessed, self.cordons)
        self.devices.forget_others(asked.claim for asked in asking)
        self._releasing = {
            key for key in self._releasing if key in self._units and self._names(key, naming, None)
        }
        ended, new = [*gone], set[str]()
        while True:
            made = allocate(self.devices, asking, leases, self._releasing, self._claimants.silence)
            if busy := {key for key in made.new if self._names(key, naming, made.leases[key].instance)}:
                # Somebody has it, or may get it, without a lease: it is given once that is over.
                self._releasing |= busy
                continue
            leases = {**made.leases}
            new.update(made.new)
            # An entry without a claim's name was no lease.
            ended += (over for over in made.ended if over.lease.claim)
            self._releasing |= {over.key for over in made.ended if self._names(over.key, naming, None)}
            if not made.ended:
                # What ended may be free at once, and was not in that allocation.
                break
        self.allocation = Allocation(leases, tuple(sorted(new)), tuple(ended), made.claims)
        # What goes along with a device that came back meanwhile may have been judged before that.
        changed = {key for key in {*before, *leases} if key in came or before.get(key) != leases.get(key)}
        return [device for key in sorted(changed) for device in self._devices_of(key)]

    def state(self, key: str) -> str:
        """Whether a device is `free`, `leased`, `releasing` or `cordoned`. One that is cordoned and that
        somebody has yet is `leased` or `releasing`.
        """
        if key in self.allocation.leases:
            return "leased"
        if key in self._releasing:
            return "releasing"
        return "cordoned" if self._cordon_of(key) is not None else "free"

    def key_of(self, device: Device) -> str:
        """What a pool's device is known by in leases; empty for others."""
        return self._unit_of.get(device.key, "")

    def problems(self) -> list[Problem]:
        """Which claims cannot be read, which cannot be had, and which pools have too few devices."""
        if not self._rules.leases:
            return []
        return [
            *self._claimants.problems(),
            *cannot_be_met(self.allocation),
            *too_few(self._rules, self.devices),
        ]

    # --- within: who is given nothing --------------------------------------------------------------------

    def _cordon_of(self, key: str) -> Cordon | None:
        known = self.devices.get(key)
        return self.cordons.of_device(key, known.device, self._rules.keys) if known is not None else None

    def _not_given(self, key: str, device: Device) -> str:
        """Why a device is given to nobody who has it not; empty where it is given."""
        cordon = self.cordons.of_device(key, device, self._rules.keys)
        return str(cordon) if cordon is not None else self.health(key).not_given

    def _judge_given(self, devices: Iterable[PoolDevice]) -> None:
        for known in devices:
            self.devices.put(replace(known, not_given=self._not_given(known.key, known.device)))

    # --- within -----------------------------------------------------------------------------------------

    def _key(self, device: Device, pool: str, slot: str, entry: str) -> str:
        """What a device is known by: what it was known by, or its identity, where no other has that.

        entry  the id that its entry is for: devices of one entry are one, whatever pools rules say
        """
        whole = device.pci if entry != device.slot else None
        key = unit_key(whole or device)
        known = self._unit_of.get(device.key)
        if known in (key, f"{key}@{place(device)}"):
            return known
        unit = self._units.get(key)
        if unit is None or device.key in unit.slots or unit.entry == entry:
            return key
        if unit.slot == slot and unit.pool == pool:
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

    def _why_useless(self, key: str, naming: Naming) -> str:
        """Why nothing comes of the lease of a device; empty where something may."""
        if key not in self._units:
            return self._left.get(key, "its device is gone")
        device = self.devices.get(key)
        if device is None or not device.unfit or self._names(key, naming, None):
            return ""
        return f"it cannot be put in: {device.unfit}"

    def _adopted(self, leases: Mapping[str, Lease], naming: Naming) -> dict[str, Lease]:
        """What instances have already by entries of ours, of what was met for the first time."""
        units = {key for key in self._new_units if key not in leases and key not in self._releasing}
        new = self._claimants.new
        free = (key for key in self._units if key not in leases)
        of_slot = {slot: key for key in (free if new else units) for slot in self._slots_of(key)}
        found: dict[str, Lease] = {}
        for name, entry in self._claimants.entries(only_new=not units) if of_slot else ():
            key = of_slot.get(entries.slot_of(entry))
            if key is None or not (name in new or key in units):
                continue
            # As long as nobody could tell what the instance has, that was not given to others.
            if key not in self._releasing or not self._names(key, naming, name):
                found.setdefault(key, Lease(name, entry.config.get(entries.MARK_CLAIM, "")))
        self._new_units.clear()
        new.clear()
        return found


def _why_of_none(found: Wants) -> str:
    """Why a device that is there is of no pool."""
    if found.override is not None:
        return f"its device was {told_of(found.override)}"
    return "no rule puts its device into a pool that is served here"
