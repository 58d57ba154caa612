"""The instances that may claim devices of pools: what each of them claims, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

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

    new       those that were met for the first time since `seen` was called
    late      those of them that nobody knew of before, since their projects could not be listed
    """

    def __init__(self, rules: RuleSet, order: Sequence[tuple[InstanceName, str]] = ()) -> None:
        """order: the claims that were seen before, and by which names, the first one first."""
        self.new: set[InstanceName] = set()
        self.late: set[InstanceName] = set()
        self._rules = rules
        self._known: dict[InstanceName, _Claimant] = {}
        self._order = {claim: number for number, claim in enumerate(order)}
        self._ordered = len(order)
        # The same in order; None where that is to be made anew.
        self._in_order: tuple[tuple[InstanceName, str], ...] | None = None
        # One of each pool and selector that asks for what udevd says; None where that is to be made anew.
        self._asking_udev: tuple[Claim, ...] | None = None
        # The projects of which the server could not tell yet, once it was asked for all.
        self._unlisted: frozenset[str] = frozenset()
        self._was_listed = False
        # The instances of those of which it has told, be it that there is none.
        self._told: set[InstanceName] = set()

    def set_rules(self, rules: RuleSet) -> None:
        """Judge the claims by the pools of these rules from now on."""
        self._rules = rules
        self._known = {name: self._claimant(known.instance) for name, known in self._known.items()}
        self._asking_udev = None

    def learned(self, name: InstanceName, instance: Instance | None) -> bool:
        """An instance is like this; None where there is none. Returns whether it matters for any pool."""
        before, was_unknown = self._known.get(name), self.is_unknown(name)
        if was_unknown:
            self._told.add(name)
        if instance is None:
            self._known.pop(name, None)
            self._asking_udev = None
            self.new.discard(name)
            return was_unknown or (before is not None and before.matters)
        if was_unknown:
            self.late.add(name)
        if before is None:
            self.new.add(name)
        elif before.instance.claims == instance.claims:
            self._known[name] = _Claimant(instance, before.claims, before.problems)
            return before.matters and _serves(before.instance) != _serves(instance)
        self._known[name], self._asking_udev = self._claimant(instance), None
        return self._known[name].matters or (before is not None and before.matters)

    def is_another(self, instance: Instance) -> bool:
        """Whether this is not the instance that is known by its name, but was made after that was deleted."""
        before = self._known.get(instance.id)
        was = _moment(before.instance.created) if before is not None else None
        return was is not None and instance.here and _moment(instance.created) not in (None, was)

    def forget(self, name: InstanceName) -> None:
        """There is no such instance any more, nor is one of its name served in its turn."""
        self.learned(name, None)
        self._order = {claim: order for claim, order in self._order.items() if claim[0] != name}
        self._in_order = None

    def unlisted(self, projects: Collection[str]) -> bool:
        """The server could not tell which instances these projects have. Returns whether that is another
        answer than before: of a project that was listed once everything is known.
        """
        before, first = self._unlisted, not self._was_listed
        self._unlisted, self._was_listed = frozenset(projects) if first else before & {*projects}, True
        self._told = {name for name in self._told if name.project in self._unlisted}
        return before != self._unlisted

    def is_unknown(self, name: InstanceName) -> bool:
        """Whether nobody knows if there is such an instance, and what it claims."""
        return name.project in self._unlisted and name not in self._told

    def why_unlisted(self, pool: str) -> str:
        """Why nobody knows which instances may have devices of a pool; empty where that is known."""
        found = self._rules.pools.get(pool) if self._unlisted else None
        if found is None or found.project not in self._unlisted:
            return ""
        return f"project '{quoted(found.project)}' was not listed yet"

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

    def absent(self, now: Moment, *, only_late: bool = False) -> Iterator[Away]:
        """The leases that all entries of ours are left of, as if their devices were absent from now on."""
        names = self.late & self._known.keys() if only_late else self._known
        own = ((name, each) for name in names for each in self._own(name))
        left = ((name, each) for name, each in own if each.config.get(entries.MARK_UNIT, ""))
        for holder, each in self._newest_first(left):
            lease = Lease(holder, each.config.get(entries.MARK_CLAIM, ""))
            yield Away(each.config[entries.MARK_UNIT], each.config.get(entries.MARK_POOL, ""), lease, "", now)

    def runs(self, name: InstanceName) -> bool:
        """Whether the instance is known to run."""
        return (known := self._known.get(name)) is not None and known.instance.running

    def lacks(self, name: InstanceName, slots: Iterable[str]) -> bool:
        """Whether the instance is known to have no entry of ours for any of these slots."""
        if (known := self._known.get(name)) is None or not known.instance.here:
            return False
        # By name: anybody can write as many entries as they like.
        names, there = (each for slot in slots for each in entries.names_for(slot)), known.instance.entries
        return not any(_is_own(there[each], entries.mark_for(name)) for each in names if each in there)

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
        self._order = {
            claim: order
            for claim, order in self._order.items()
            if claim in there or self.is_unknown(claim[0])
        }
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
            name: known.instance.running
            and name.project not in self._unlisted
            and not _has_any_of(known.instance, unprocessed)
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
            if _may_run(instance) or self._rules.pools[claim.pool].keep_stopped
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
            return "" if self.is_unknown(name) else f"{name} is gone"
        if not known.instance.here:
            return f"{name} is on another member of the cluster"
        stopped = not _may_run(known.instance)
        keeps = any(self._rules.pools[claim.pool].keep_stopped for claim in known.claims)
        return f"{name} is stopped" if stopped and not keeps else ""

    def why_over(self, name: InstanceName, claim: str, pool: str) -> str:
        """Why an instance's claim of this name on this pool asks for nothing more; empty where it may."""
        known = self._known.get(name)
        if (why := self.silence(name)) or known is None:
            return why
        if not known.instance.running:
            return f"{name} is stopped"
        is_there = any((each.name, each.pool) == (claim, pool) for each in known.claims)
        return "" if is_there else f"claim '{quoted(claim)}' is withdrawn"

    def problems(self) -> Iterator[Problem]:
        """Which claims cannot be read, and of which pools nobody knows the instances."""
        for pool in self._rules.pools.values() if self._unlisted else ():
            if why := self.why_unlisted(pool.name):
                what = "so nobody knows who has which device of it: none is given, and no lease of it ends"
                message = f"pool '{pool.name}': {why}, {what}, until the project is listed"
                yield Problem("", "", message, pool=pool.name)
        for name, known in sorted(self._known.items()):
            for problem in known.problems if known.instance.here else ():
                yield Problem("", "", f"{name}: {problem}", instance=str(name), claim=problem.name)

    def entries(self, slots: Container[str], *, only_new: bool) -> list[tuple[InstanceName, Entry]]:
        """The entries of ours for these slots, of all instances, or of the new ones: as `_newest_first`
        sorts them.
        """
        names = self.new & self._known.keys() if only_new else self._known
        return self._newest_first(
            (name, each) for name in names for each in self._own(name) if entries.slot_of(each) in slots
        )

    def _own(self, name: InstanceName) -> Iterator[Entry]:
        return _own(self._known[name].instance)

    def _newest_first(self, found: Iterable[tuple[InstanceName, Entry]]) -> list[tuple[InstanceName, Entry]]:
        """The entry that was made last comes first, then those of instances that run, then of the older."""
        by_name = sorted(found, key=lambda each: self._precedence(each[0]))
        return sorted(by_name, key=lambda each: each[1].config.get(entries.MARK_SINCE, ""), reverse=True)

    def _claimant(self, instance: Instance) -> _Claimant:
        if not self._rules.leases:
            return _Claimant(instance)
        claims, problems = claims_of(instance.id, instance.claims, self._rules.pools, self._rules.keys)
        return _Claimant(instance, claims, problems)

    def _precedence(self, name: InstanceName) -> tuple[bool, str, InstanceName]:
        instance = self._known[name].instance
        return not instance.running, instance.created, name


def _moment(text: str) -> datetime | None:
    """A server's time; None where it is none. Without an offset it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _serves(instance: Instance) -> tuple[bool, bool, bool]:
    return instance.running, instance.restarts, instance.here


def _may_run(instance: Instance) -> bool:
    return instance.running or instance.restarts


def _has_any_of(instance: Instance, unprocessed: Sequence[Device]) -> bool:
    """Whether the instance may have one of these devices by an entry of ours."""
    return bool(
        unprocessed and entries.of_unprocessed({own.name: own for own in _own(instance)}, unprocessed)
    )


def _own(instance: Instance) -> Iterator[Entry]:
    """The entries of ours that were made for this instance, and not for one that it is a copy of."""
    mark = entries.mark_for(instance.id)
    for entry in instance.entries.values() if instance.here else ():
        if _is_own(entry, mark):
            yield entry


def _is_own(entry: Entry, mark: str) -> bool:
    return entries.is_ours(entry) and entry.config.get(entries.MARK_INSTANCE) == mark
