"""Compares devices with the `match` of a rule, test by test. The only matcher there is.

A Match is a tuple of tests, all of which must hold. `unmet` returns the first that does not hold: decisions
need no more, and explanations ask that test for its Failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from hotplugd.model.text import printable
from hotplugd.model.values import Device
from hotplugd.rules.keys import DEVTYPE, SUBSYSTEM, MatchKey
from hotplugd.rules.pattern import Pattern


@dataclass(frozen=True, slots=True)
class Failure:
    """The first condition that a device does not meet: its key, what the rule wants, what the device has.

    key  dotted where it is nested: `serial`, `property.ID_FS_TYPE`, `parent.driver`, `any`, `not`
    """

    key: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.key}: wants {self.wanted}, has {self.found}"


@dataclass(frozen=True, slots=True)
class KeyTest:
    """One key, and the patterns of which one must match one of the device's values.

    implied  not written in the rule: a rule without `subsystem` means USB devices
    """

    key: MatchKey
    patterns: tuple[Pattern, ...]
    implied: bool = False
    exact: frozenset[str] = field(init=False, repr=False, compare=False)
    _wild: tuple[Pattern, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        exact = frozenset().union(*(pattern.exact for pattern in self.patterns))
        object.__setattr__(self, "exact", exact)
        object.__setattr__(self, "_wild", tuple(pattern for pattern in self.patterns if pattern.wild))

    @property
    def is_exact(self) -> bool:
        """Whether no pattern has wildcards, so that `exact` has all values that match."""
        return not self._wild

    def matches(self, value: str) -> bool:
        """Whether a pattern matches this value."""
        return value in self.exact or any(pattern.matches(value) for pattern in self._wild)

    def holds(self, device: Device) -> bool:
        """Whether the device meets it."""
        return any(map(self.matches, self.key.values(device)))

    def failure(self, device: Device) -> Failure:
        """Why not."""
        wanted = _either(pattern.text for pattern in self.patterns)
        if self.implied:
            wanted += ", since the rule names no subsystem"
        values = self.key.values(device)
        return Failure(self.key.name, wanted, _listed(values) if values else "none")

    def __str__(self) -> str:
        return f"{self.key.name}: {_either(pattern.text for pattern in self.patterns)}"


@dataclass(frozen=True, slots=True)
class Parent:
    """Some device above must meet the match."""

    match: Match

    def holds(self, device: Device) -> bool:
        """Whether the device meets it."""
        return any(unmet(self.match, above) is None for above in device.ancestors())

    def failure(self, device: Device) -> Failure:
        """The failure of the ancestor that meets the most tests."""
        furthest, reason = -1, Failure("parent", f"a device above it with {self.match}", "none above it")
        for above in device.ancestors():
            test = unmet(self.match, above)
            if test is not None and (step := self.match.tests.index(test)) > furthest:
                inner = test.failure(above)
                furthest = step
                reason = Failure(
                    f"parent.{inner.key}", inner.wanted, f"{inner.found} (of {printable(above.kernel)})"
                )
        return reason

    def __str__(self) -> str:
        return f"parent: {{{self.match}}}"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of the matches must be met."""

    branches: tuple[Match, ...]

    def holds(self, device: Device) -> bool:
        """Whether the device meets it."""
        return any(unmet(branch, device) is None for branch in self.branches)

    def failure(self, device: Device) -> Failure:
        """Why not."""
        failures = [
            f"{number}. {test.failure(device)}"
            for number, branch in enumerate(self.branches, 1)
            if (test := unmet(branch, device)) is not None
        ]
        return Failure("any", f"one of {len(self.branches)}", "; ".join(failures))

    def __str__(self) -> str:
        return f"any: [{', '.join(f'{{{branch}}}' for branch in self.branches)}]"


@dataclass(frozen=True, slots=True)
class Not:
    """The match must not be met."""

    match: Match

    def holds(self, device: Device) -> bool:
        """Whether the device meets it."""
        return unmet(self.match, device) is not None

    def failure(self, device: Device) -> Failure:
        """Why not."""
        values = [
            f"{test.key.name} {_listed(test.key.values(device))}"
            for test in self.match.tests
            if isinstance(test, KeyTest)
        ]
        return Failure("not", f"anything but {{{self.match}}}", ", ".join(values) or "just that")

    def __str__(self) -> str:
        return f"not: {{{self.match}}}"


Test = KeyTest | Parent | AnyOf | Not


@dataclass(frozen=True, slots=True)
class Match:
    """Tests that must all hold, in the order in which the rule has them."""

    tests: tuple[Test, ...]

    def test_of(self, key: MatchKey) -> KeyTest | None:
        """The test of a key in this match itself, not in a nested one."""
        return next(
            (test for test in self.tests if isinstance(test, KeyTest) and test.key.name == key.name), None
        )

    def key_tests(self) -> Iterator[KeyTest]:
        """All tests of keys in the match, nested ones included."""
        for test in self.tests:
            if isinstance(test, KeyTest):
                yield test
            elif isinstance(test, AnyOf):
                for branch in test.branches:
                    yield from branch.key_tests()
            else:
                yield from test.match.key_tests()

    def requires(self, wanted: Callable[[KeyTest], bool], device: Device | None = None) -> bool:
        """Whether every device that meets the match meets a wanted test of a key, also one in a `parent`.

        device  a device that meets the match: of each `any` only the branches that it meets count
        """
        return any(_requires(test, wanted, device) for test in self.tests)

    def has_parent(self) -> bool:
        """Whether the match or a nested one has a `parent`."""
        return any(
            isinstance(test, Parent)
            or (isinstance(test, AnyOf) and any(branch.has_parent() for branch in test.branches))
            or (isinstance(test, Not) and test.match.has_parent())
            for test in self.tests
        )

    def with_key(self, key: MatchKey) -> Match:
        """The match with this key in place of the key with its name, in nested matches too."""
        if all(test.key.name != key.name for test in self.key_tests()):
            return self
        return Match(tuple(_with_key(test, key) for test in self.tests))

    def __str__(self) -> str:
        return ", ".join(map(str, self.tests))


def _with_key(test: Test, key: MatchKey) -> Test:
    if isinstance(test, KeyTest):
        return replace(test, key=key) if test.key.name == key.name else test
    if isinstance(test, AnyOf):
        return AnyOf(tuple(branch.with_key(key) for branch in test.branches))
    return replace(test, match=test.match.with_key(key))


def _requires(test: Test, wanted: Callable[[KeyTest], bool], device: Device | None) -> bool:
    if isinstance(test, KeyTest):
        return wanted(test)
    if isinstance(test, Parent):
        if device is None:
            return test.match.requires(wanted)
        met = (above for above in device.ancestors() if unmet(test.match, above) is None)
        return any(test.match.requires(wanted, above) for above in met)
    if isinstance(test, AnyOf):
        branches = [branch for branch in test.branches if device is None or unmet(branch, device) is None]
        return all(branch.requires(wanted, device) for branch in branches)
    return False


def unmet(match: Match, device: Device) -> Test | None:
    """The first test that the device does not meet; None where it meets them all."""
    return next((test for test in match.tests if not test.holds(device)), None)


_USB = KeyTest(SUBSYSTEM, (Pattern.of("usb"),), implied=True)
_USB_DEVICE = KeyTest(DEVTYPE, (Pattern.of("usb_device"),), implied=True)


def with_default_subsystem(match: Match, *, has_devtype: bool = False) -> Match:
    """The match of a rule as it is meant: without `subsystem` it means USB devices.

    Where only branches of `any` name a subsystem, the default goes into the branches that name none.
    `devtype` alone keeps the subsystem's default and replaces the devtype's.
    """
    if match.test_of(SUBSYSTEM) is not None:
        return match
    has_devtype = has_devtype or match.test_of(DEVTYPE) is not None
    if any(isinstance(test, AnyOf) and _names_subsystem(test) for test in match.tests):
        return Match(
            tuple(
                AnyOf(
                    tuple(with_default_subsystem(branch, has_devtype=has_devtype) for branch in test.branches)
                )
                if isinstance(test, AnyOf)
                else test
                for test in match.tests
            )
        )
    return Match((_USB, *match.tests) if has_devtype else (_USB, _USB_DEVICE, *match.tests))


def _names_subsystem(test: AnyOf) -> bool:
    return any(
        branch.test_of(SUBSYSTEM) is not None
        or any(isinstance(inner, AnyOf) and _names_subsystem(inner) for inner in branch.tests)
        for branch in test.branches
    )


def _either(texts: Iterator[str]) -> str:
    return " or ".join(f"'{printable(text)}'" for text in texts)


def _listed(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{printable(value)}'" for value in values)
