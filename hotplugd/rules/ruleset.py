"""Rules, and which of them takes a device: the first that matches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from hotplugd.model.values import Device
from hotplugd.rules.gpu_nodes import tell_apart
from hotplugd.rules.hubs import NO_HUBS, Hubs
from hotplugd.rules.index import Index
from hotplugd.rules.keys import ATTR, KEYS, LOCATION, MAC, MatchKey, kernels, keys_with
from hotplugd.rules.match import AnyOf, Failure, Match, Parent, unmet
from hotplugd.rules.pool_health import Ready
from hotplugd.rules.pools import Pool
from hotplugd.rules.template import parse_template
from hotplugd.rules.twins import is_place_or_mac, is_serial, names_place, names_serial


@dataclass(frozen=True, slots=True)
class Companion:
    """Devices below the one that a rule takes and that go along with it. path, links: as in `Attach`."""

    match: Match
    path: str | None = None
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attach:
    """Where a device goes, and as what. Everything was checked when it was read.

    to           names of instances, or templates of names; none of a pool's device
    project      the project of those instances
    path         the node's path inside, or a template of it; None for the host's own
    links        the paths of links inside that lead to the node, templates of them, or udev's folders of
                 links (`udev_links`)
    kind         what the device goes in as; None where that follows from the device
    name         a network interface's name inside, or a template of it; None for the host's own
    uid, gid     numbers inside
    user, group  names, to be looked up inside
    mode         four octal digits ("0660")
    force        attach even what a guard rail keeps on the host
    share        whether it may be in several instances at once; None where that follows from the device
    companions   which devices below it go along (`with`)
    udev         whether programs inside find its record of udev's database, where no udevd runs inside
    pool         the pool that the device is of, whose leases say where it goes; empty where `to` says it
    ready        how it is found out inside whether it is ready, where that is not as its pool says
    """

    to: tuple[str, ...] = ()
    project: str = "default"
    path: str | None = None
    links: tuple[str, ...] = ()
    kind: str | None = None
    name: str | None = None
    uid: int | None = None
    gid: int | None = None
    user: str | None = None
    group: str | None = None
    mode: str | None = None
    force: bool = False
    share: bool | None = None
    companions: tuple[Companion, ...] = ()
    udev: bool = False
    pool: str = ""
    ready: Ready | None = None

    def template_keys(self) -> frozenset[str]:
        """The match keys and properties that its templates name."""
        places: tuple[Attach | Companion, ...] = (self, *self.companions)
        once = [each for each in (self.name, *(one.path for one in places)) if each is not None]
        templates = (*self.to, *once, *(link for one in places for link in one.links))
        return frozenset(
            part.text for template in templates for part in parse_template(template) if part.is_key
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, from line `line` of `file`. attach is None where the rule says to ignore the device.

    keys     the registry that its templates name keys of
    enabled  whether it takes devices at all
    _relies  see `names_serial`; None where that depends on the device
    """

    name: str
    match: Match
    attach: Attach | None
    file: str
    line: int
    keys: tuple[MatchKey, ...] = field(default=KEYS, repr=False, compare=False)
    description: str = field(default="", compare=False)
    enabled: bool = True
    _relies: bool | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        named = self.attach.template_keys() if self.attach is not None else frozenset()
        relies: bool | None = self._uses_serial(named) and not self._uses_place(named)
        branches = any(isinstance(test, (AnyOf, Parent)) for test in self.match.tests)
        if branches and (any(map(names_serial, named)) or any(map(is_serial, self.match.key_tests()))):
            relies = None
        object.__setattr__(self, "_relies", relies)

    def names_serial(self, device: Device | None = None) -> bool:
        """Whether only the serial number tells this rule's devices apart, so that it must not come twice.

        That is so when the rule uses the serial (its `match` requires one, at the top, in every branch of
        some `any`, or of a `parent`; or a template names it) and not the place (no `port`, `path` or
        `mac` required likewise, and none in a template).

        device  one that the rule takes, or takes along: of an `any` only the branches that it meets count
        """
        if self._relies is not None:
            return self._relies
        if device is not None:
            about = (one for one in (device, *device.ancestors()) if unmet(self.match, one) is None)
            device = next(about, None)
        named = self.attach.template_keys() if self.attach is not None else frozenset()
        return self._uses_serial(named, device) and not self._uses_place(named, device)

    def with_hubs(self, hubs: Hubs) -> Rule:
        """The rule with the locations that these hubs give devices."""
        keys = keys_with(hubs, self.keys)
        location = next((key for key in keys if key.name == LOCATION.name), LOCATION)
        match = self.match.with_key(location)
        if self.attach is None:
            return replace(self, match=match, keys=keys)
        along = tuple(replace(each, match=each.match.with_key(location)) for each in self.attach.companions)
        return replace(self, match=match, attach=replace(self.attach, companions=along), keys=keys)

    def value(self, key: MatchKey, device: Device) -> str:
        """The first value that a device has of a key, as this rule has it; empty where there is none."""
        own = next((each for each in self.keys if each.name == key.name), key)
        return next(iter(own.values(device)), "")

    def _uses_serial(self, named: frozenset[str], device: Device | None = None) -> bool:
        return any(map(names_serial, named)) or self.match.requires(is_serial, device)

    def _uses_place(self, named: frozenset[str], device: Device | None = None) -> bool:
        apart = (key.name for key in self.keys if key.place or key.name == MAC.name)
        told = not named.isdisjoint(apart) or any(map(names_place, named))
        return told or self.match.requires(is_place_or_mac, device)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says to a device. failed: the first condition that is not met; None: it matches."""

    rule: Rule
    failed: Failure | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The rule that takes a device, be it to attach or to ignore it.

    anchor     the device above that the rule is about and that this one goes along with; None where the rule
               is about the device itself
    companion  what in the rule's `with` lets it go along; None likewise
    """

    rule: Rule
    anchor: Device | None = None
    companion: Companion | None = None


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules in the order in which they count.

    hubs          those whose ports have names; each rule knows them by `Rule.with_hubs`
    pools         by name
    leases        whether devices of pools are leased
    attrs         the sysfs attributes that any rule looks at
    users, groups the names that any rule's `attach` uses
    has_parent    whether any rule looks at ancestors
    has_with      whether any rule takes devices along
    parts_gpus    whether any rule takes some nodes of a GPU and not the others
    early_index   finds the rules that may decide of a device before udevd has processed it
    """

    rules: tuple[Rule, ...] = ()
    hubs: Hubs = NO_HUBS
    pools: Mapping[str, Pool] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    leases: bool = True
    attrs: frozenset[str] = field(init=False, repr=False, compare=False)
    users: frozenset[str] = field(init=False, repr=False, compare=False)
    groups: frozenset[str] = field(init=False, repr=False, compare=False)
    has_parent: bool = field(init=False, repr=False, compare=False)
    has_with: bool = field(init=False, repr=False, compare=False)
    parts_gpus: bool = field(init=False, repr=False, compare=False)
    index: Index = field(init=False, repr=False, compare=False)
    early_index: Index = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        attaches = [rule.attach for rule in self.rules if rule.attach is not None]
        matches = [rule.match for rule in self.rules]
        below = [companion.match for attach in attaches for companion in attach.companions]
        names = {test.key.name for match in (*matches, *below) for test in match.key_tests()}
        prefix = f"{ATTR.name}."
        attrs = frozenset(name.removeprefix(prefix) for name in names if name.startswith(prefix))
        object.__setattr__(self, "attrs", attrs)
        object.__setattr__(self, "users", frozenset(attach.user for attach in attaches if attach.user))
        object.__setattr__(self, "groups", frozenset(attach.group for attach in attaches if attach.group))
        object.__setattr__(self, "has_parent", any(rule.match.has_parent() for rule in self.rules))
        object.__setattr__(self, "has_with", bool(below))
        own = (rule.match for rule in self.rules if rule.enabled)
        object.__setattr__(self, "parts_gpus", tell_apart((*own, *below)))
        object.__setattr__(self, "index", Index.of(matches))
        # What goes along with another device need not meet the match.
        alone = [
            rule.match if rule.attach is None or not rule.attach.companions else None for rule in self.rules
        ]
        object.__setattr__(self, "early_index", Index.of(alone, lambda key: key.early is kernels))

    @classmethod
    def of(cls, rules: Iterable[Rule], hubs: Hubs, pools: Iterable[Pool] = ()) -> RuleSet:
        """These rules and pools, with the locations that these hubs give devices."""
        named = tuple(rule.with_hubs(hubs) for rule in rules) if hubs.hubs else tuple(rules)
        return cls(named, hubs, MappingProxyType({pool.name: pool for pool in pools}))

    def without_leases(self) -> RuleSet:
        """A copy of these rules in which no pool leases devices."""
        return replace(self, leases=False)

    @property
    def serves_pools(self) -> bool:
        """Whether there are pools, and their devices are leased."""
        return bool(self.pools) and self.leases

    @property
    def keys(self) -> tuple[MatchKey, ...]:
        """The registry with the locations that these hubs give devices."""
        return keys_with(self.hubs)

    def decide(self, device: Device) -> Decision | None:
        """What takes the device: the first rule that matches it, or that takes it along; None: none does.

        A device goes along where one above it goes, unless an earlier rule is about the device itself.
        """
        first = self._first(device)
        taken = None if first is None else Decision(self.rules[first])
        if not self.has_with:
            return taken
        best = len(self.rules) if first is None else first
        for above in device.ancestors():
            position = self._first(above)
            if position is None or position >= best:
                continue
            attach = self.rules[position].attach
            for companion in attach.companions if attach is not None else ():
                if unmet(companion.match, device) is None:
                    best, taken = position, Decision(self.rules[position], above, companion)
                    break
        return taken

    def _first(self, device: Device) -> int | None:
        for position in self.index.candidates(device):
            rule = self.rules[position]
            if rule.enabled and unmet(rule.match, device) is None:
                return position
        return None

    def explain(self, device: Device) -> tuple[Verdict, ...]:
        """What each rule says, in order, up to the first that takes it. One that is off may match as well."""
        verdicts: list[Verdict] = []
        for rule in self.rules:
            test = unmet(rule.match, device)
            verdicts.append(Verdict(rule, test.failure(device) if test is not None else None))
            if test is None and rule.enabled:
                break
        return tuple(verdicts)
