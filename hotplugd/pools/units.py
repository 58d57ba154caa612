"""Which devices pools have: what is leased as one, and what it is known by. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hotplugd.model.values import Device
from hotplugd.plan.desired import Wants
from hotplugd.plan.kinds.registry import kind_for
from hotplugd.plan.overrides import told_of
from hotplugd.pools import edl
from hotplugd.pools.devices import PoolDevice, PoolDevices
from hotplugd.pools.unit_key import key_before, place, unit_key
from hotplugd.rules.ruleset import RuleSet


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


class PoolUnits:
    """The devices of all pools, as the rules judge them.

    devices    what may be given to somebody
    new        what was met for the first time since the last allocation
    went       what is no more since the last allocation, as it was
    left       why devices that are there are of no pool any more, since the last allocation
    awaited    what leased devices that are absent are known by, and those whose health is not as any other's
    not_given  why a device is given to nobody who has it not, in whichever mode, by what it is known by and
               its pool
    phone_at   what a pool's leased phone is known by that was the last one in a device's socket; or empty
    was        a leased device that is absent as it was, by what it is known by; None where nobody knows
    """

    def __init__(
        self,
        rules: RuleSet,
        not_given: Callable[[str, str, Device], str],
        phone_at: Callable[[Device, str], str],
        was: Callable[[str], Device | None],
    ) -> None:
        self.devices = PoolDevices()
        self.new: set[str] = set()
        self.went: dict[str, PoolDevice] = {}
        self.left: dict[str, str] = {}
        self.awaited: frozenset[str] = frozenset()
        self._rules = rules
        self._not_given = not_given
        self._phone_at = phone_at
        self._was = was
        # Of a unit that another has the identity of: the other's key, by its own.
        self._twin_of: dict[str, str] = {}
        # The keys of units that are phones in emergency download mode.
        self._in_edl: set[str] = set()
        self._units: dict[str, _Unit] = {}
        # The unit of each device that a pool's rule is about, and those that go along with it.
        self._unit_of: dict[str, str] = {}
        self._anchor_of: dict[str, str] = {}
        self._along: dict[str, dict[str, str]] = {}

    def __bool__(self) -> bool:
        return bool(self._units)

    def __contains__(self, key: object) -> bool:
        return key in self._units

    def __iter__(self) -> Iterator[str]:
        return iter(self._units)

    def set_rules(self, rules: RuleSet) -> None:
        """Take these rules from now on; every device has to be told anew."""
        self._rules = rules
        # A selector may mean other locations now.
        before, self.devices = self.devices, PoolDevices()
        for device in before:
            if device.pool in rules.pools and rules.leases:
                self.devices.put(device)

    def judged(self, found: Wants, owner: str = "") -> bool:
        """A device is there, and the rules say this of it. Returns whether it matters for any pool.

        owner  whom it belongs to by an entry that is not ours, or empty
        """
        # What somebody decided by hand is of no pool meanwhile.
        attach = found.rule.attach if found.rule is not None and found.override is None else None
        device = found.device
        if attach is None or attach.pool not in self._rules.pools or not self._rules.leases:
            if (key := self._unit_of.get(device.key)) is not None:
                self.left[key] = _why_of_none(found)
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
        if edl.mode(device) and self._is_another(device):
            # Nobody heard that the phone went before it was back in this way.
            self.gone(device.key)
        key = self._key(device, attach.pool, slot, entry)
        if self._unit_of.get(device.key) != key:
            self.gone(device.key)
        if key not in self._units:
            self._units[key] = _Unit(attach.pool, slot, entry)
            self.new.add(key)
        unit = self._units[key]
        is_new = unit.slots.get(device.key) != device.slot
        # Where it was enumerated again, it has no entry of before.
        unit.slot, unit.entry = slot, entry
        unit.slots[device.key], self._unit_of[device.key] = device.slot, key
        unfit = found.unfit or owner
        if min(unit.slots) == device.key:
            unit.pool = attach.pool
            not_given = self._not_given(key, unit.pool, device)
            in_edl = edl.why_not_given(device, known=unit_key(device) != key)
            (self._in_edl.add if in_edl else self._in_edl.discard)(key)
            was = self._before_edl(key) if in_edl else None
            is_new |= self.devices.put(PoolDevice(key, attach.pool, device, unfit, not_given, in_edl, was))
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
                self.new.discard(name)
                self._in_edl.discard(name)
                self._twin_of.pop(name, None)
                if (device := self.devices.get(name)) is not None:
                    self.went[name] = device
                self.devices.drop(name)
        return anchor is not None or name is not None

    @property
    def in_edl(self) -> dict[str, PoolDevice]:
        """The phones that are in emergency download mode, by their keys."""
        return {key: known for key in sorted(self._in_edl) if (known := self.devices.get(key)) is not None}

    @property
    def twins(self) -> Iterator[tuple[PoolDevice, PoolDevice]]:
        """Those of one identity: the one that was there first, and the one that came."""
        for key, other in sorted(self._twin_of.items()):
            first, came = self.devices.get(other), self.devices.get(key)
            if first is not None and came is not None:
                yield first, came

    def key_of(self, device: Device) -> str:
        """What a pool's device is known by in leases; empty for others."""
        return self._unit_of.get(device.key, "")

    def by_key_before(self) -> dict[str, str]:
        """What devices are known by, by what an earlier hotplugd knew them by where that is another."""
        found = ((key_before(each.key, each.device), each.key) for each in self.devices)
        return {before: key for before, key in found if before not in self._units}

    def devices_of(self, key: str) -> list[str]:
        """What the devices of a unit are known by, those included that go along."""
        unit = self._units.get(key)
        if unit is None:
            return []
        return [device for own in unit.slots for device in (own, *self._along.get(own, ()))]

    def own_slots(self, key: str) -> list[str]:
        """The slots of a unit's devices without those that go along."""
        unit = self._units.get(key)
        return [slot for slot in (unit.slot, *unit.slots.values()) if slot] if unit is not None else []

    def slots_of(self, key: str) -> set[str]:
        """The slots of a unit's devices, those included that go along."""
        unit = self._units.get(key)
        if unit is None:
            return set()
        along = {slot for own in unit.slots for slot in self._along.get(own, {}).values()}
        return {unit.slot, *unit.slots.values(), *along} - {""}

    def _key(self, device: Device, pool: str, slot: str, entry: str) -> str:
        """What a device is known by: what it was known by, or its identity, where no other has that.

        entry  the id that its entry is for: devices of one entry are one, whatever pools rules say
        """
        whole = device.pci if entry != device.slot else None
        key = unit_key(whole or device)
        known = self._unit_of.get(device.key)
        before = key_before(key, device)
        if before != key and before in self.awaited and not self._is_own_of_another(before):
            # An earlier hotplugd has kept that by udev's form of the serial number.
            known = before
        if known in (key, f"{key}@{place(device)}", before):
            return known
        if edl.mode(device) and (phone := self._phone_in_edl(device, pool)):
            return phone
        if (own := f"{key}@{place(device)}") in self.awaited:
            self._twin_of[own] = key
            return own
        unit = self._units.get(key)
        if unit is None or device.key in unit.slots or unit.entry == entry:
            return key
        if unit.slot == slot and unit.pool == pool:
            return key
        self._twin_of[own] = key
        return own

    def _phone_in_edl(self, device: Device, pool: str) -> str:
        """What the phone is known by that a device in emergency download mode is; or empty."""
        if known := self._unit_of.get(device.key, ""):
            # The phone that it was is back in this way, and is not absent any more.
            return known
        phone = self._phone_at(device, pool)
        return phone if phone not in self._units else ""

    def _before_edl(self, key: str) -> Device | None:
        """A phone in emergency download mode as it was before; None where nobody knows."""
        before = self.devices.get(key) or self.went.get(key)
        return before.lasting if before is not None else self._was(key)

    def _is_own_of_another(self, key: str) -> bool:
        """Whether another device is known by this, or, being absent, says this serial number itself."""
        was = self._was(key)
        return key in self._units or (was is not None and unit_key(was) == key)

    def _is_another(self, device: Device) -> bool:
        """Whether what is known by the same was enumerated before this."""
        known = self._unit_of.get(device.key)
        return known is not None and self._units[known].slots[device.key] != device.slot


def _why_of_none(found: Wants) -> str:
    """Why a device that is there is of no pool."""
    if found.override is not None:
        return f"its device was {told_of(found.override)}"
    return "no rule puts its device into a pool that is served here"
