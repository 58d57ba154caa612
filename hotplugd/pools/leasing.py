"""The leases of all pools: what is known of devices and instances, and what follows from it. Pure.

Devices are told as the rules judge them, instances as the server has them; `settle` makes the allocation from
that. An entry of ours is a lease's record: what an instance has when it, or the device, is met for the first
time is its own if its claims say so. Afterwards the leases here count, and not the entries: a snapshot that
is restored brings entries back whose leases are over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from hotplugd.model.lease import Lease
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, Instance, InstanceName
from hotplugd.plan.desired import Wants
from hotplugd.pools.adopted import adopted, unrecorded
from hotplugd.pools.allocate import NO_ALLOCATION, Allocation, Asking, Ended, allocate
from hotplugd.pools.asked_leases import AskedLeases
from hotplugd.pools.away_leases import NOTHING_KEPT, AwayLeases, KeptLeases, Moment, pool_changed
from hotplugd.pools.claimants import PoolClaimants
from hotplugd.pools.cordons import NO_CORDONS, Cordon, Cordons
from hotplugd.pools.devices import PoolDevice, PoolDevices
from hotplugd.pools.expected import wrong
from hotplugd.pools.health import UNKNOWN, Health
from hotplugd.pools.leaving import NOTHING_OPEN, Leaving, Naming, StillOpen
from hotplugd.pools.restored import restored
from hotplugd.pools.state_since import StateSince
from hotplugd.pools.units import PoolUnits
from hotplugd.rules.ruleset import RuleSet

_NO_TIME: Final = Moment()


class Leasing:
    """What is leased to whom.

    rules       those that decide
    allocation  what `settle` made last
    away        the leases whose devices are absent
    asked       which leases somebody asked to end, or to move, since then
    since       since when each device is what `state` says
    cordons     what people have taken out of use
    leaving     what keeps the devices that are being released
    claimants   the instances, and what they claim
    """

    def __init__(
        self, rules: RuleSet, kept: KeptLeases = NOTHING_KEPT, still_open: StillOpen = NOTHING_OPEN
    ) -> None:
        """kept: of the daemon before, from this boot on."""
        self._still_open = still_open
        self.away = AwayLeases()
        self.asked = AskedLeases()
        self.since = StateSince()
        self.allocation: Allocation = NO_ALLOCATION
        self.cordons: Cordons = NO_CORDONS
        self._health: dict[str, Health] = {}
        self.rules = rules
        self._units = PoolUnits(rules, self._not_given, self._phone_at, self.away.was)
        self.leaving = Leaving(self._units, still_open)
        self.claimants = PoolClaimants(rules, kept.order)
        # Of the daemon before; None once that was looked at.
        self._before: KeptLeases | None = kept
        self._note_awaited()
        self._releasing: set[str] = set()

    @property
    def devices(self) -> PoolDevices:
        """The devices of all pools that are there."""
        return self._units.devices

    @property
    def awaited(self) -> frozenset[str]:
        """What leased devices that are absent are known by, and those whose health is not as any other's."""
        return self._units.awaited

    def set_rules(self, rules: RuleSet) -> None:
        """Take these rules from now on; every device has to be told anew."""
        self.rules = rules
        self._units.set_rules(rules)
        self.claimants.set_rules(rules)

    # --- what is told -----------------------------------------------------------------------------------

    def judged(self, found: Wants, owner: str = "") -> bool:
        """A device is there, and the rules say this of it. Returns whether it matters for any pool.

        owner  whom it belongs to by an entry that is not ours, or empty
        """
        return self._units.judged(found, owner)

    def gone(self, key: str) -> bool:
        """A device is no more, or is of no pool, by what it is known by. Returns whether it was of one."""
        return self._units.gone(key)

    def learned(self, name: InstanceName, instance: Instance | None) -> bool:
        """An instance is like this; None where there is none. Returns whether it matters for any pool."""
        if instance is None or not self.claimants.is_another(instance):
            return self.claimants.learned(name, instance)
        # Nobody heard of the end of the one that had these leases.
        for key, lease in self.allocation.leases.items():
            if lease.instance == name:
                self.asked.release(key, f"{name} was deleted, and another one made of that name")
        self.claimants.forget(name)
        self.claimants.learned(name, instance)
        return True

    def brings(self, name: InstanceName) -> bool:
        """Whether the instance may have leases that are not known yet, by the entries that it came with."""
        return bool(self._units) and self.claimants.brings(name)

    def set_cordons(self, cordons: Cordons) -> bool:
        """Take what is cordoned from now on. Returns whether that matters for any device or instance."""
        before, self.cordons = self.cordons, cordons
        self._judge_given(tuple(self.devices))
        return before != cordons

    def set_health(self, key: str, health: Health) -> bool:
        """A device, by what it is known by in leases, is of this health from now on. Returns whether that is
        new. While the device is away it stays so where it keeps the device from being given.
        """
        before, known = self.health(key), self.devices.get(key)
        if health == UNKNOWN or (known is None and not health.not_given):
            self._health.pop(key, None)
        else:
            self._health[key] = health
        self._note_awaited()
        self._judge_given([known] if known is not None else [])
        return before != self.health(key)

    def health(self, key: str) -> Health:
        """The health of a device, by what it is known by in leases."""
        return self._health.get(key, UNKNOWN)

    # --- what follows -----------------------------------------------------------------------------------

    def holder(self, device: Device) -> Lease | None:
        """The lease of the device that a pool's rule is about, if it has one, and is not in quarantine."""
        if not self.allocation.leases:
            return None
        key = self._units.key_of(device)
        lease = self.allocation.leases.get(key) if self.health(key).state != "quarantined" else None
        return replace(lease, unit=key) if lease is not None else None

    @property
    def is_releasing(self) -> bool:
        """Whether some instance may have a device whose lease is over."""
        return bool(self._releasing)

    def kept(self, boot: str) -> KeptLeases:
        """What is to outlive the daemon; as before while another serves pools. boot: 8 digits of its id"""
        return self._before or self.away.kept(boot, self.claimants.order)

    def next_end(self, now: Moment) -> float | None:
        """In how many seconds the next lease of an absent device ends; None where there is none."""
        return self.away.next_end(self._keep, now)

    def settle(
        self, entries_of: Naming, unprocessed: Sequence[Device] = (), now: Moment = _NO_TIME
    ) -> list[str]:
        """Make the allocation anew. Returns what the devices are known by that have another lease now.

        unprocessed  devices that udevd has not processed: an instance that has one of them gets nothing more
                     before it is known what that is
        entries_of   which instances may have an entry of ours for the device with a slot, now or soon
        """
        naming = self._still_open.or_in(entries_of)
        self._judge_given(self.devices.early)
        before, came = self.allocation.leases, frozenset(self._units.new)
        asking = self.claimants.asking(unprocessed, self.cordons)
        has = adopted(
            self._units,
            self.claimants,
            asking,
            before,
            self._releasing,
            lambda key, name: self._names(key, naming, name),
            (self._before or NOTHING_KEPT).away,
        )
        self._units.new.clear()
        self.claimants.new.clear()
        known = {**before, **self._restored({**before, **has}, asking, now)}
        leases, gone = {**known, **has}, self._over(known, asking, entries_of, now)
        for over in gone:
            del leases[over.key]
        by_hand, new = self.asked.apply(leases)
        self._units.left.clear()
        # What is gone may never come back, and devices may say any serial number.
        stays = {key: one for key, one in self._health.items() if key in self._units or one.not_given}
        self._health = stays
        self._units.went.clear()
        self.devices.forget_others(asked.claim for asked in asking)
        self._releasing = {
            key for key in self._releasing if key in self._units and self._names(key, naming, None)
        }
        ended = [*gone, *by_hand]
        usable = self.away.taken(key for key in leases if self.cordons.get("device", key) is None)
        of_pools = {key: each for key, each in usable.items() if self.cordons.get("pool", each[0]) is None}
        self.devices.set_absent(of_pools)
        # Nobody knows what has become of their instances.
        held = {key: lease for key, lease in leases.items() if self.claimants.is_unknown(lease.instance)}
        while True:
            rest, taken = {key: leases[key] for key in leases.keys() - held}, self._releasing | held.keys()
            made = allocate(self.devices, asking, rest, taken, self.claimants.silence)
            if busy := {key for key in made.new if self._names(key, naming, made.leases[key].instance)}:
                # Somebody has it, or may get it, without a lease: it is given once that is over.
                self._releasing |= busy
                continue
            leases = {**made.leases, **held}
            new.update(made.new)
            # An entry without a claim's name was no lease.
            ended += (over for over in made.ended if over.lease.claim)
            self._releasing |= {over.key for over in made.ended if self._names(over.key, naming, None)}
            if not made.ended:
                # What ended may be free at once, and was not in that allocation.
                break
        self._releasing |= {
            over.key for over in by_hand if over.key not in leases and self._names(over.key, naming, None)
        }
        # What was somebody's without a lease, and has one now.
        self._releasing -= leases.keys()
        self.away.keep_only(leases)
        without_entry = unrecorded(self._units, self.claimants, leases, self.away.unrecorded)
        self.away.note_there(self._units.in_edl, without_entry, leases, now)
        self._note_awaited()
        self.leaving.note(self._releasing, naming)
        self.allocation = Allocation(leases, tuple(sorted(new & leases.keys())), tuple(ended), made.claims)
        self.since.note(((each.key, self.state(each.key)) for each in self.devices), now.day)
        # What goes along with a device that came back meanwhile may have been judged before that.
        changed = {key for key in {*before, *leases} if key in came or before.get(key) != leases.get(key)}
        return [device for key in sorted(changed) for device in self._units.devices_of(key)]

    def state(self, key: str) -> str:
        """Whether a device is `free`, `leased`, `releasing` or `cordoned`. One that is cordoned and that
        somebody has yet, or may have, is `leased` or `releasing`.
        """
        if key in self.allocation.leases:
            return "leased"
        device = self.devices.get(key)
        if key in self._releasing or (device is not None and self.claimants.why_unlisted(device.pool)):
            return "releasing"
        return "cordoned" if self.cordons and self._cordon_of(key) is not None else "free"

    def reason(self, key: str) -> str:
        """Why a device is given to nobody now; empty where it is leased or free."""
        if key in self._releasing:
            return self.leaving.reason(key)
        device = self.devices.get(key)
        if device is not None and self.state(key) == "releasing":
            return f"{self.claimants.why_unlisted(device.pool)}: nobody knows who has it"
        return device.reason if device is not None else ""

    def key_of(self, device: Device) -> str:
        """What a pool's device is known by in leases; empty for others."""
        return self._units.key_of(device)

    def problems(self) -> list[Problem]:
        """Which claims cannot be read, which cannot be had, and which pools have too few devices."""
        if not self.rules.leases:
            return []
        return [*self.claimants.problems(), *wrong(self.rules, self.allocation, self._units, self._health)]

    def waits_for_udev(self, device: Device, pool: str) -> str:
        """Why a device is given to nobody before udevd has processed it; empty where it may be given."""
        waits = device.early and (self.cordons.locations or self.claimants.may_ask_udev(pool, device))
        return "udevd has not processed it" if waits else ""

    # --- within: who is given nothing --------------------------------------------------------------------

    def _cordon_of(self, key: str) -> Cordon | None:
        known, keys = self.devices.get(key), self.rules.keys
        return self.cordons.of_device(key, known.pool, known.device, keys) if known is not None else None

    def _not_given(self, key: str, pool: str, device: Device) -> str:
        """Why a device is given to nobody who has it not; empty where it is given."""
        cordon = self.cordons.of_device(key, pool, device, self.rules.keys)
        return str(cordon or self.health(key).not_given or self.waits_for_udev(device, pool))

    def _judge_given(self, devices: Iterable[PoolDevice]) -> None:
        for known in devices:
            self.devices.put(replace(known, not_given=self._not_given(known.key, known.pool, known.device)))

    def _note_awaited(self) -> None:
        before = self._before.away if self._before is not None else ()
        self._units.awaited = frozenset((*self._health, *(each.key for each in (*before, *self.away))))

    def _phone_at(self, device: Device, pool: str) -> str:
        """See `PoolUnits`."""
        before = self._before.away if self._before is not None else ()
        found = self.away.phone_at(device, pool, before, self._units.went, self.allocation.leases)
        return found if self._keep(pool) else ""

    # --- within -----------------------------------------------------------------------------------------

    def _names(self, key: str, naming: Naming, holder: InstanceName | None) -> bool:
        """Whether an instance other than the holder may have an entry for any device of a unit."""
        return any(name != holder for slot in self._units.slots_of(key) for name in naming(slot))

    def _keep(self, pool: str) -> float:
        found = self.rules.pools.get(pool)
        return found.keep if found is not None and self.rules.leases else 0.0

    def _over(
        self, leases: Mapping[str, Lease], asking: Iterable[Asking], naming: Naming, now: Moment
    ) -> tuple[Ended, ...]:
        """Which of the leases are over for what became of their devices; notes which of these are absent."""
        pools = {(each.instance, each.claim.name): each.claim.pool for each in asking}
        self.away.begin()
        found: list[Ended] = []
        for key, lease in leases.items():
            if key in self._units:
                device = self.devices.get(key)
                why = self.away.comes(key, device.device if device is not None else None)
                why = why or self._why_useless(key, naming)
            elif not (why := self._units.left.get(key, "")):
                went = self._units.went.get(key)
                away = self.away.get(key) or self.away.goes(key, lease, went, now)
                why = self.away.why_over(key, self._keep(away.pool), now)
                why = why or pool_changed(away, pools.get((lease.instance, lease.claim), away.pool))
            if why:
                found.append(Ended(key, lease, why))
        return tuple(found)

    def _restored(
        self, leases: Mapping[str, Lease], asking: Iterable[Asking], now: Moment
    ) -> dict[str, Lease]:
        """The leases of before whose devices are absent, or came back meanwhile. Later those alone that
        entries are left of in instances of projects that could not be listed before.
        """
        kept, self._before = (self._before, None) if self.rules.leases else (None, self._before)
        left = [*self.claimants.absent(now, only_late=kept is None)]
        keys = self._units.by_key_before() if left else {}
        left = [replace(each, key=keys.get(each.key, each.key)) for each in left]
        found = restored((kept or NOTHING_KEPT).away, left, leases, asking, self._keep, self._units)
        self.claimants.late.clear()
        for away in found:
            self.away.restore(away)
        return {away.key: away.lease for away in found}

    def _why_useless(self, key: str, naming: Naming) -> str:
        """Why nothing comes of the lease of a device that is there; empty where something may."""
        if (health := self.health(key)).state == "quarantined":
            return f"it is in quarantine: {health.reason}"
        device = self.devices.get(key)
        if device is None or not device.unfit or self._names(key, naming, None):
            return ""
        return f"it cannot be put in: {device.unfit}"
