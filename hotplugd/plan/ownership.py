"""Devices that instances have by entries that are not ours: which instance has one, and what is told. Pure.

A device that the server gives to a running instance by such an entry goes to no other one. The entries of a
stopped instance reserve nothing: once it starts, two instances have the device, and a problem says so.
`foreign_entries` says which devices an entry takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType
from typing import Final

from hotplugd.model.entry import is_ours, target_of
from hotplugd.model.problem import Problem
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, Instance, InstanceName
from hotplugd.plan.desired import Wants
from hotplugd.plan.foreign_entries import Shape, alone, claims_on, given, taken_by
from hotplugd.plan.kinds.kind import Claim, Want
from hotplugd.plan.overrides import BY_HAND

_NOTHING: Final[Mapping[Claim, Owner]] = MappingProxyType({})
# The claims of entries that name a node by a path.
_NODES: Final = ("char", "block", "node")


@dataclass(frozen=True, slots=True)
class Owner:
    """The instance and the entry to which a device belongs.

    target     where the entry puts it inside, if it says so
    inherited  whether the entry is a profile's
    """

    instance: InstanceName
    entry: str
    target: str = ""
    inherited: bool = False

    def __str__(self) -> str:
        return f"its entry '{quoted(self.entry)}', which is not ours"

    @property
    def where(self) -> str:
        """Where somebody has to look for the entry, if not in the instance."""
        return "; the entry comes from a profile" if self.inherited else ""


class _Index:
    """The owners of each claim. A device is looked up by its claims: no search."""

    def __init__(self) -> None:
        self._holders: dict[Claim, dict[InstanceName, Owner]] = {}
        self._shapes: dict[str, dict[Shape, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._holders)

    def put(self, claim: Claim, holder: Owner) -> None:
        if claim not in self._holders:
            shapes = self._shapes.setdefault(claim[0], {})
            shapes[given(claim)] = shapes.get(given(claim), 0) + 1
        self._holders.setdefault(claim, {})[holder.instance] = holder

    def drop(self, claim: Claim, name: InstanceName) -> None:
        del self._holders[claim][name]
        if self._holders[claim]:
            return
        del self._holders[claim]
        shapes = self._shapes[claim[0]]
        shapes[given(claim)] -= 1
        if not shapes[given(claim)]:
            del shapes[given(claim)]

    def at(self, paths: Iterable[str]) -> Iterator[Owner]:
        """The owners that take any node at one of these paths."""
        for claim in product(_NODES, paths):
            yield from self._holders.get(claim, {}).values()

    def of(self, device: Device, names: Iterable[InstanceName] | None = None) -> Iterator[Owner]:
        """The owners that take the device. names: only these instances; None for all."""
        for claim in claims_on(device, self._shapes) if self._holders else ():
            holders = self._holders.get(claim, {})
            if names is None:
                yield from holders.values()
            else:
                yield from (holders[each] for each in names if each in holders)


class Claims:
    """The claims of the foreign entries of all instances: running ones have the devices now, others later."""

    def __init__(self) -> None:
        self._by_instance: dict[InstanceName, tuple[Mapping[Claim, Owner], Mapping[Claim, Owner]]] = {}
        self._now, self._later = _Index(), _Index()

    def learned(
        self, name: InstanceName, instance: Instance | None, *, restarts: bool = False
    ) -> frozenset[Claim]:
        """Take note of an instance as it is, None where it is gone. Returns the claims that changed.

        restarts  it has just stopped, and may start again at once: it keeps devices that only one can have
        """
        before = self._by_instance.pop(name, (_NOTHING, _NOTHING))
        after = (_NOTHING, _NOTHING) if instance is None else _split(instance, restarts=restarts)
        if any(after):
            self._by_instance[name] = after
        changed: set[Claim] = set()
        for index, old, new in zip((self._now, self._later), before, after, strict=True):
            for claim in [each for each in old if each not in new]:
                index.drop(claim, name)
            for claim, holder in new.items():
                if old.get(claim) != holder:
                    index.put(claim, holder)
            changed |= {claim for claim, _ in old.items() ^ new.items()}
        return frozenset(changed)

    def has_alone(self, instance: Instance) -> bool:
        """Whether the instance is known to have a device that only one instance can have at a time."""
        now, _ = self._by_instance.get(instance.id, (_NOTHING, _NOTHING))
        return any(alone(instance, claim) for claim in now)

    def naming(self, paths: Iterable[str]) -> Iterator[Owner]:
        """The owners to whom the server gives any node at one of these paths now."""
        return self._now.at(paths)

    def now(self, device: Device) -> Iterator[Owner]:
        """The owners to whom the server gives the device now."""
        return self._now.of(device)

    def later(self, device: Device, names: Iterable[InstanceName] | None = None) -> Iterator[Owner]:
        """The owners to whom the server gives the device once they start. names: only these instances."""
        return self._later.of(device, names)


def met(devices: Iterable[Device], claims: AbstractSet[Claim]) -> list[Device]:
    """The devices that any of the claims takes."""
    shapes: dict[str, set[Shape]] = {}
    for claim in claims:
        shapes.setdefault(claim[0], set()).add(given(claim))
    return [each for each in devices if not claims.isdisjoint(claims_on(each, shapes))]


def withheld(found: Wants, claims: Claims, *, attached: bool = False) -> Wants:
    """The wants of a device, and what is to be said of others' entries that take it too.

    An attached device stays, and a problem tells of the other instance. A device that is not attached stays
    out if another instance has it.
    """
    if not found.wants or found.rule is None or _may_be_shared(found.wants[0]):
        return found
    targets = dict.fromkeys(want.instance for want in found.wants)

    def counts(holder: Owner) -> bool:
        # Two entries of one instance have a path each; the planner resolves those at the same path.
        return not (attached and holder.instance in targets and holder.target)

    now = next(filter(counts, claims.now(found.device)), None)
    if now is not None:
        return _with(found, _both(found, now)) if attached else _without(found, now)
    own = next(filter(counts, claims.later(found.device, targets)), None)
    if own is not None and not attached:
        # The instance has the device already, and two entries for one device disturb each other.
        return _without(found, own)
    later = own or next(filter(counts, claims.later(found.device)), None)
    if later is None:
        return found
    message, harmless = _afterwards(found, later)
    return _with(found, message, guard=harmless)


def owner(device: Device, claims: Claims) -> str:
    """Whom a device of a pool belongs to by an entry that is not ours; empty where to nobody."""
    now = next(claims.now(device), None)
    return f"it belongs to {now.instance} by {now}; take that out{now.where}" if now is not None else ""


def _without(found: Wants, owner: Owner) -> Wants:
    has_way = not _is_one(found.wants[0]) and found.rule is not None and found.rule.name != BY_HAND
    way = "; `share: true` in the rule attaches it all the same" if has_way else ""
    said = _with(found, f"it belongs to {owner.instance} by {owner}; take that out{way}{owner.where}")
    return replace(said, wants=())


def _with(found: Wants, message: str, *, guard: bool = False) -> Wants:
    assert found.rule is not None
    problem = Problem(str(found.device), found.rule.name, message, guard)
    return replace(found, problems=(*found.problems, problem))


def _both(found: Wants, other: Owner) -> str:
    """The message for a device that we have attached and another instance has too."""
    if any(want.instance == other.instance for want in found.wants):
        return f"{other.instance} has it twice, by our entry and by {other}; take that out{other.where}"
    way = "" if _is_one(found.wants[0]) else ", or write `share: true` in the rule if both may have it"
    return (
        f"it is in {_where(found)}, and {other.instance} has it too, by {other}; take that out{way}"
        f"{other.where}"
    )


def _where(found: Wants) -> str:
    return " and ".join(dict.fromkeys(str(want.instance) for want in found.wants))


def _afterwards(found: Wants, other: Owner) -> tuple[str, bool]:
    """The message for an instance that would take the device once it starts, and whether nothing is wrong
    until then.
    """
    who, more = f"{other.instance}, which does not run,", other.where
    if any(want.instance == other.instance for want in found.wants):
        return f"{who} has it twice once it starts, by our entry and by {other}; take that out{more}", False
    if _is_one(found.wants[0]):
        return (
            f"{who} cannot start while it is in {_where(found)}: it needs it for {other}; take that out{more}"
        ), False
    return f"{who} gets it too once it starts, by {other}{more}", True


def _is_one(want: Want) -> bool:
    """Whether only one can have it at a time."""
    return want.kind.single


def _may_be_shared(want: Want) -> bool:
    if _is_one(want) or want.attach.pool:
        return False
    return want.attach.share if want.attach.share is not None else want.kind.shared


def _split(instance: Instance, *, restarts: bool) -> tuple[Mapping[Claim, Owner], Mapping[Claim, Owner]]:
    """The claims of the instance's foreign entries that count now, and those that count once it runs."""
    if not instance.here:
        return _NOTHING, _NOTHING
    found = {
        claim: Owner(instance.id, each.name, target_of(each), each.name not in instance.entries)
        for each in (*instance.inherited.values(), *instance.entries.values())
        if not is_ours(each)
        for claim in taken_by(each, instance.kind)
    }
    if instance.running or not found:
        return found, _NOTHING
    if not restarts:
        return _NOTHING, found
    held = {claim: holder for claim, holder in found.items() if alone(instance, claim)}
    return held, {claim: holder for claim, holder in found.items() if claim not in held}
