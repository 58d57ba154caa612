"""The instances that may claim devices of pools: what each of them claims, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from hotplugd.model import entry as entries
from hotplugd.model.lease import Lease
from hotplugd.model.problem import Problem
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, Entry, Instance, InstanceName
from hotplugd.pools.allocate import Asking
from hotplugd.pools.away_leases import Away, Moment
from hotplugd.pools.claims import Claim, ClaimProblem, claims_of
from hotplugd.pools.cordons import NO_CORDONS, Cordons
from hotplugd.rules.ruleset import RuleSet


@dataclass(frozen=True, slots=True)
class _Claimant:
    """An instance, and what it claims."""

    instance: Instance
    claims: tuple[Claim, ...] = ()
    problems: tuple[ClaimProblem, ...] = ()

    @property
    def matters(self) -> bool:
        """Whether it claims anything, or tries to."""
        return bool(self.claims or self.problems)


class PoolClaimants:
    """All instances, as the server has them.

    Claims are in the order in which they were first seen here; of those that were seen together, in the order
    in which their instances were created, and then by name.

    new  those that were met for the first time since `seen` was called
    """

    def __init__(self, rules: RuleSet, order: Sequence[tuple[InstanceName, str]] = ()) -> None:
        """order: the claims that were seen before, and by which names, the first one first."""
        self.new: set[InstanceName] = set()
        self._rules = rules
        self._known: dict[InstanceName, _Claimant] = {}
        self._order = {claim: number for number, claim in enumerate(order)}
        self._ordered = len(order)
        # The same in order; None where that is to be made anew.
        self._in_order: tuple[tuple[InstanceName, str], ...] | None = None
        # One of each pool and selector that asks for what udevd says; None where that is to be made anew.
        self._asking_udev: tuple[Claim, ...] | None = None

    def set_rules(self, rules: RuleSet) -> None:
        """Judge the claims by the pools of these rules from now on."""
        self._rules = rules
        self._known = {name: self._claimant(known.instance) for name, known in self._known.items()}
        self._asking_udev = None

    def learned(self, name: InstanceName, instance: Instance | None) -> bool:
        """An instance is like this; None where there is none. Returns whether it matters for any pool."""
        before = self._known.get(name)
        if instance is None:
            self._known.pop(name, None)
            self._asking_udev = None
            self.new.discard(name)
            return before is not None and before.matters
        if before is None:
            self.new.add(name)
        elif before.instance.claims == instance.claims:
            self._known[name] = _Claimant(instance, before.claims, before.problems)
            return before.matters and _serves(before.instance) != _serves(instance)
        self._known[name], self._asking_udev = self._claimant(instance), None
        return self._known[name].matters or (before is not None and before.matters)

    @property
    def order(self) -> tuple[tuple[InstanceName, str], ...]:
        """The instances and names of all claims, the one that was seen first first."""
        if self._in_order is None:
            self._in_order = tuple(sorted(self._order, key=self._order.__getitem__))
        return self._in_order

    def last(self, lease: Lease) -> None:
        """The claim of this lease is served after all that were seen by now."""
        if (claim := (lease.instance, lease.claim)) in self._order:
            self._order[claim], self._in_order = self._ordered, None
            self._ordered += 1

    def absent(self, now: Moment) -> Iterator[Away]:
        """The leases that all entries of ours are left of, as if their devices were absent from now on."""
        for name in sorted(self._known, key=self._precedence):
            for each in _own(self._known[name].instance):
                if unit := each.config.get(entries.MARK_UNIT, ""):
                    lease = Lease(name, each.config.get(entries.MARK_CLAIM, ""))
                    yield Away(unit, each.config.get(entries.MARK_POOL, ""), lease, "", now)

    def brings(self, name: InstanceName) -> bool:
        """Whether the instance was met for the first time, and has entries of ours: it may have leases."""
        known = self._known.get(name)
        return name in self.new and known is not None and any(_own(known.instance))

    def asking(self, unprocessed: Sequence[Device], cordons: Cordons = NO_CORDONS) -> list[Asking]:
        """The claims of all instances that may have something now.

        unprocessed  devices that udevd has not processed: who has one of them gets nothing more for now
        cordons      what is cordoned: such an instance gets nothing more
        """
        claims = [
            (known.instance, claim)
            for known in self._known.values()
            if known.instance.here
            for claim in known.claims
        ]
        there = {(instance.id, claim.name) for instance, claim in claims}
        before = len(self._order)
        self._order = {name: order for name, order in self._order.items() if name in there}
        new = [
            (instance.created, instance.id, claim.name)
            for instance, claim in claims
            if (instance.id, claim.name) not in self._order
        ]
        if new or len(self._order) != before:
            self._in_order = None
        for _, instance_name, claim_name in sorted(new):
            self._order[instance_name, claim_name] = self._ordered
            self._ordered += 1
        gets = {
            name: known.instance.running and not _has_any_of(known.instance, unprocessed)
            for name, known in self._known.items()
        }
        return [
            Asking(
                instance.id,
                claim,
                self._order[instance.id, claim.name],
                gets[instance.id],
                cordons.of_instance(instance.id),
            )
            for instance, claim in claims
            if instance.running or self._rules.pools[claim.pool].keep_stopped
        ]

    def may_ask_udev(self, pool: str, device: Device) -> bool:
        """Whether udevd has yet to process the device, and decides whether it will do for a claim of it."""
        if not device.early:
            return False
        if self._asking_udev is None:
            every = (
                claim for known in self._known.values() for claim in known.claims if not claim.is_kernels
            )
            self._asking_udev = tuple({(claim.pool, claim.selector): claim for claim in every}.values())
        return any(claim.pool == pool and claim.may_ask_udev(device) for claim in self._asking_udev)

    def silence(self, name: InstanceName) -> str:
        """Why an instance asks for nothing; empty where it may ask."""
        known = self._known.get(name)
        if known is None:
            return f"{name} is gone"
        if not known.instance.here:
            return f"{name} is on another member of the cluster"
        stopped = not known.instance.running
        keeps = any(self._rules.pools[claim.pool].keep_stopped for claim in known.claims)
        return f"{name} is stopped" if stopped and not keeps else ""

    def why_over(self, name: InstanceName, claim: str, pool: str) -> str:
        """Why an instance's claim of this name on this pool asks for nothing more; empty where it may."""
        if why := self.silence(name):
            return why
        known = self._known[name]
        if not known.instance.running:
            return f"{name} is stopped"
        is_there = any((each.name, each.pool) == (claim, pool) for each in known.claims)
        return "" if is_there else f"claim '{quoted(claim)}' is withdrawn"

    def problems(self) -> Iterator[Problem]:
        """Which claims cannot be read."""
        for name, known in sorted(self._known.items()):
            for problem in known.problems if known.instance.here else ():
                yield Problem("", "", f"{name}: {problem}", instance=str(name), claim=problem.name)

    def entries(self, slots: Container[str], *, only_new: bool) -> list[tuple[InstanceName, Entry]]:
        """The entries of ours for these slots, of all instances, or of the new ones: of those that run first,
        then of the older.
        """
        found = [
            (name, entry)
            for name in (self.new if only_new else self._known)
            if (known := self._known.get(name)) is not None
            for entry in _own(known.instance)
            if entries.slot_of(entry) in slots
        ]
        return sorted(found, key=lambda each: self._precedence(each[0]))

    def _claimant(self, instance: Instance) -> _Claimant:
        if not self._rules.leases:
            return _Claimant(instance)
        claims, problems = claims_of(instance.id, instance.claims, self._rules.pools, self._rules.keys)
        return _Claimant(instance, claims, problems)

    def _precedence(self, name: InstanceName) -> tuple[bool, str, InstanceName]:
        known = self._known.get(name)
        if known is None:
            return True, "", name
        return not known.instance.running, known.instance.created, name


def _serves(instance: Instance) -> tuple[bool, bool]:
    return instance.running, instance.here


def _has_any_of(instance: Instance, unprocessed: Sequence[Device]) -> bool:
    """Whether the instance may have one of these devices by an entry of ours."""
    return bool(
        unprocessed and entries.of_unprocessed({own.name: own for own in _own(instance)}, unprocessed)
    )


def _own(instance: Instance) -> Iterator[Entry]:
    """The entries of ours that were made for this instance, and not for one that it is a copy of."""
    mark = entries.mark_for(instance.id)
    for entry in instance.entries.values() if instance.here else ():
        if entries.is_ours(entry) and entry.config.get(entries.MARK_INSTANCE) == mark:
            yield entry
