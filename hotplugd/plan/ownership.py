"""Devices that instances have by entries that are not ours: which instance has one, and what is told. Pure.

A device that the server gives to a running instance by such an entry goes to no other one. The entries of a
stopped instance reserve nothing: once it starts, two instances have the device, and a problem says so.
`foreign_entries` says which devices an entry takes.
"""

from __future__ import annotations

import posixpath
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
from hotplugd.plan.foreign_entries import Shape, alone, given, selectors_on, taken_by
from hotplugd.plan.kinds.kind import EntrySelector, Want
from hotplugd.plan.overrides import BY_HAND

_NOTHING: Final[Mapping[EntrySelector, Owner]] = MappingProxyType({})
# The type of entry by which a server finds nodes by udev's properties.
_BY_PROPERTIES: Final = "unix-hotplug"
# udev(7) makes links below /dev alone; /proc can lead there.
_LINKS: Final = ("/dev/", "/proc/")
# What is no link to a USB device there: the kernel's own names, which udevd does not replace by links, and
# names that the rules of systemd give block devices.
_NO_LINKS: Final = tuple(
    f"/dev/{name}"
    for name in (
        "bus/usb/",
        "char/",
        "block/",
        "disk/",
        "dri/",
        "snd/",
        "net/tun",
        "kvm",
        "fuse",
        "loop",
        "dm-",
    )
)
# The selectors of entries that name a node by a path.
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
    """The owners of each selector. A device is looked up by its selectors: no search."""

    def __init__(self) -> None:
        self._owners: dict[EntrySelector, dict[InstanceName, Owner]] = {}
        self._shapes: dict[str, dict[Shape, int]] = {}
        # How many selectors may take a USB device by what udev says of it.
        self.by_udev = 0

    def __bool__(self) -> bool:
        return bool(self._owners)

    def put(self, selector: EntrySelector, owner: Owner) -> None:
        if selector not in self._owners:
            shapes = self._shapes.setdefault(selector[0], {})
            shapes[given(selector)] = shapes.get(given(selector), 0) + 1
            self.by_udev += _goes_by_udev(selector)
        self._owners.setdefault(selector, {})[owner.instance] = owner

    def drop(self, selector: EntrySelector, name: InstanceName) -> None:
        del self._owners[selector][name]
        if self._owners[selector]:
            return
        del self._owners[selector]
        self.by_udev -= _goes_by_udev(selector)
        shapes = self._shapes[selector[0]]
        shapes[given(selector)] -= 1
        if not shapes[given(selector)]:
            del shapes[given(selector)]

    def at(self, paths: Iterable[str]) -> Iterator[Owner]:
        """The owners that take any node at one of these paths."""
        for selector in product(_NODES, paths):
            yield from self._owners.get(selector, {}).values()

    def of(self, device: Device, names: Iterable[InstanceName] | None = None) -> Iterator[Owner]:
        """The owners that take the device. names: only these instances; None for all."""
        for selector in selectors_on(device, self._shapes) if self._owners else ():
            owners = self._owners.get(selector, {})
            if names is None:
                yield from owners.values()
            else:
                yield from (owners[name] for name in names if name in owners)


class Owners:
    """Who owns what by the foreign entries of all instances: running ones now, others once they run.

    by_instance  the owners of each instance, by what they take
    """

    def __init__(self) -> None:
        self.by_instance: dict[
            InstanceName, tuple[Mapping[EntrySelector, Owner], Mapping[EntrySelector, Owner]]
        ] = {}
        self._now, self._later = _Index(), _Index()

    def learned(
        self, name: InstanceName, instance: Instance | None, *, restarts: bool = False
    ) -> frozenset[EntrySelector]:
        """Take note of an instance as it is, None where it is gone. Returns the selectors that changed.

        restarts  it has just stopped, and may start again at once: it keeps devices that only one can have
        """
        before = self.by_instance.pop(name, (_NOTHING, _NOTHING))
        after = (_NOTHING, _NOTHING) if instance is None else _split(instance, restarts=restarts)
        if any(after):
            self.by_instance[name] = after
        changed: set[EntrySelector] = set()
        for index, old, new in zip((self._now, self._later), before, after, strict=True):
            for selector in [gone for gone in old if gone not in new]:
                index.drop(selector, name)
            for selector, owner in new.items():
                if old.get(selector) != owner:
                    index.put(selector, owner)
            changed |= {selector for selector, _ in old.items() ^ new.items()}
        return frozenset(changed)

    def has_alone(self, instance: Instance) -> bool:
        """Whether the instance is known to have a device that only one instance can have at a time."""
        now, _ = self.by_instance.get(instance.id, (_NOTHING, _NOTHING))
        return any(alone(instance, selector) for selector in now)

    @property
    def may_go_by_udev(self) -> bool:
        """Whether an entry may take a USB device by a property or a link of udev's."""
        return bool(self._now.by_udev or self._later.by_udev)

    def naming(self, paths: Iterable[str]) -> Iterator[Owner]:
        """The owners to whom the server gives any node at one of these paths now."""
        return self._now.at(paths)

    def now(self, device: Device) -> Iterator[Owner]:
        """The owners to whom the server gives the device now."""
        return self._now.of(device)

    def later(self, device: Device, names: Iterable[InstanceName] | None = None) -> Iterator[Owner]:
        """The owners to whom the server gives the device once they start. names: only these instances."""
        return self._later.of(device, names)


def _goes_by_udev(selector: EntrySelector) -> bool:
    kind, *texts = selector
    if kind in _NODES:
        path = posixpath.normpath(texts[0])
        # The node of a USB device is none of a block device.
        return kind != "block" and path.startswith(_LINKS) and not path.startswith(_NO_LINKS)
    return kind == _BY_PROPERTIES


def met(devices: Iterable[Device], selectors: AbstractSet[EntrySelector]) -> list[Device]:
    """The devices that any of the selectors takes."""
    shapes: dict[str, set[Shape]] = {}
    for selector in selectors:
        shapes.setdefault(selector[0], set()).add(given(selector))
    return [device for device in devices if not selectors.isdisjoint(selectors_on(device, shapes))]


def withheld(wants: Wants, owners: Owners, *, attached: bool = False) -> Wants:
    """The wants of a device, and what is to be said of others' entries that take it too.

    An attached device stays, and a problem tells of the other instance. A device that is not attached stays
    out if another instance has it.
    """
    if not wants.wants or wants.rule is None or _may_be_shared(wants.wants[0]):
        return wants
    targets = dict.fromkeys(want.instance for want in wants.wants)

    def counts(owner: Owner) -> bool:
        # Two entries of one instance have a path each; the planner resolves those at the same path.
        return not (attached and owner.instance in targets and owner.target)

    now = next(filter(counts, owners.now(wants.device)), None)
    if now is not None:
        return _with(wants, _both(wants, now)) if attached else _without(wants, now)
    own = next(filter(counts, owners.later(wants.device, targets)), None)
    if own is not None and not attached:
        # The instance has the device already, and two entries for one device disturb each other.
        return _without(wants, own)
    later = own or next(filter(counts, owners.later(wants.device)), None)
    if later is None:
        return wants
    message, harmless = _afterwards(wants, later)
    return _with(wants, message, guard=harmless)


def owner(device: Device, owners: Owners) -> str:
    """Whom a device of a pool belongs to by an entry that is not ours; empty where to nobody."""
    now = next(owners.now(device), None)
    return f"it belongs to {now.instance} by {now}; take that out{now.where}" if now is not None else ""


def _without(wants: Wants, owner: Owner) -> Wants:
    has_way = not _is_one(wants.wants[0]) and wants.rule is not None and wants.rule.name != BY_HAND
    way = "; `share: true` in the rule attaches it all the same" if has_way else ""
    said = _with(wants, f"it belongs to {owner.instance} by {owner}; take that out{way}{owner.where}")
    return replace(said, wants=())


def _with(wants: Wants, message: str, *, guard: bool = False) -> Wants:
    assert wants.rule is not None
    problem = Problem(str(wants.device), wants.rule.name, message, guard)
    return replace(wants, problems=(*wants.problems, problem))


def _both(wants: Wants, other: Owner) -> str:
    """The message for a device that we have attached and another instance has too."""
    if any(want.instance == other.instance for want in wants.wants):
        return f"{other.instance} has it twice, by our entry and by {other}; take that out{other.where}"
    way = "" if _is_one(wants.wants[0]) else ", or write `share: true` in the rule if both may have it"
    return (
        f"it is in {_where(wants)}, and {other.instance} has it too, by {other}; take that out{way}"
        f"{other.where}"
    )


def _where(wants: Wants) -> str:
    return " and ".join(dict.fromkeys(str(want.instance) for want in wants.wants))


def _afterwards(wants: Wants, other: Owner) -> tuple[str, bool]:
    """The message for an instance that would take the device once it starts, and whether nothing is wrong
    until then.
    """
    who, more = f"{other.instance}, which does not run,", other.where
    if any(want.instance == other.instance for want in wants.wants):
        return f"{who} has it twice once it starts, by our entry and by {other}; take that out{more}", False
    if _is_one(wants.wants[0]):
        return (
            f"{who} cannot start while it is in {_where(wants)}: it needs it for {other}; take that out{more}"
        ), False
    return f"{who} gets it too once it starts, by {other}{more}", True


def _is_one(want: Want) -> bool:
    """Whether only one can have it at a time."""
    return want.kind.single


def _may_be_shared(want: Want) -> bool:
    if _is_one(want) or want.attach.pool:
        return False
    return want.attach.share if want.attach.share is not None else want.kind.shared


def _split(
    instance: Instance, *, restarts: bool
) -> tuple[Mapping[EntrySelector, Owner], Mapping[EntrySelector, Owner]]:
    """The selectors of the instance's foreign entries that count now, and those that count once it runs."""
    if not instance.here:
        return _NOTHING, _NOTHING
    taken = {
        selector: Owner(instance.id, entry.name, target_of(entry), entry.name not in instance.entries)
        for entry in (*instance.inherited.values(), *instance.entries.values())
        if not is_ours(entry)
        for selector in taken_by(entry, instance.kind)
    }
    if instance.running or not taken:
        return taken, _NOTHING
    if not restarts:
        return _NOTHING, taken
    kept = {selector: owner for selector, owner in taken.items() if alone(instance, selector)}
    return kept, {selector: owner for selector, owner in taken.items() if selector not in kept}
