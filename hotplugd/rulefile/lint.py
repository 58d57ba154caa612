"""Warns of rules that can never decide, or may decide otherwise than meant. It warns of certainties alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from types import MappingProxyType
from typing import Final

from hotplugd.model.text import printable
from hotplugd.model.values import Device
from hotplugd.rulefile.build import BuiltRule
from hotplugd.rulefile.bus_numbers import bus_patterns, bus_warning, path_of_port
from hotplugd.rulefile.diagnostics import Diagnostic
from hotplugd.rulefile.lint_matches import hardly
from hotplugd.rulefile.udev_values import twofold, written_as_udev
from hotplugd.rules.index import Fact, Index
from hotplugd.rules.keys import (
    DEVTYPE,
    ID,
    KERNEL,
    PRODUCT_ID,
    SUBSYSTEM,
    UDEV_INTERFACES,
    VENDOR_ID,
    MatchKey,
)  # fmt: skip
from hotplugd.rules.match import AnyOf, KeyTest, Match, Not, Parent, Test
from hotplugd.rules.pattern import Pattern
from hotplugd.rules.template import key_named, parse_template
from hotplugd.rules.twins import is_place, is_serial, names_place, names_serial

_MOST_COMPARISONS: Final = 50_000
# The most pairs of patterns to compare: two rules with 1,000 patterns each have a million.
_MOST_PAIRS: Final = 500_000
_MOST_BRANCHES: Final = 32
# The most ids that a list of vendors and a list of products stand for.
_MOST_IDS: Final = 1_000
_NOWHERE: Final[Mapping[str, str]] = MappingProxyType({})


def lint(
    written: Sequence[BuiltRule],
    controllers: Mapping[str, str] = _NOWHERE,
    subsystems: Collection[str] = (),
    plugged: Collection[Device] = (),
) -> Iterator[Diagnostic]:
    """Warnings about rules, which are given in the order in which they count.

    controllers  the host's USB controllers in sysfs by the number of each bus; none where nobody looked
    subsystems   those that the host has; likewise
    plugged      the USB devices that are plugged in; likewise
    """
    index = Index.of([built.rule.match for built in written])
    sizes = [_size(built.rule.match) for built in written]
    comparisons = pairs = 0
    otherwise = twofold(plugged)
    for position, built in enumerate(written):
        match, size = built.rule.match, sizes[position]
        own = size.pairs(size)
        pairs += own if pairs + own <= _MOST_PAIRS else 0
        if pairs + own <= _MOST_PAIRS and (reason := _never(match)):
            message = f"rule '{built.rule.name}' can never match: {reason}"
            yield built.source.diagnostic("warning", built.span, message)
            continue
        doubts = (*_doubts(built), *_told_by_the_device(built), *_places(built, controllers))
        # One by one: no more are made than are shown.
        doubts += (*written_as_udev(match, otherwise),)
        for message, hint in chain(doubts, hardly(built.rule, subsystems)):
            yield built.source.diagnostic("warning", built.span, f"rule '{built.rule.name}' {message}", hint)
        for earlier in index.filed_under(_one_of_each(match)) if built.rule.enabled else ():
            comparisons += 1
            pairs += size.pairs(sizes[earlier])
            if earlier >= position or comparisons > _MOST_COMPARISONS or pairs > _MOST_PAIRS:
                break
            if written[earlier].rule.enabled and implies(match, written[earlier].rule.match):
                yield _unreachable(built, written[earlier])
                break


@dataclass(frozen=True, slots=True)
class _Size:
    """The patterns of a match and of all in it, with those that follow from them.

    searched  of how many each is looked for: those with wildcards, or all where there are matches in it
    """

    patterns: int
    searched: int

    def pairs(self, other: _Size) -> int:
        """How many patterns have to be compared where this one may imply the other."""
        return self.patterns * (1 + other.searched)


def _size(match: Match) -> _Size:
    every = [pattern for test in match.key_tests() for pattern in test.patterns]
    vendors, products = (
        sum(len(test.patterns) for test in match.key_tests() if test.key is key)
        for key in (VENDOR_ID, PRODUCT_ID)
    )
    size = len(every) + (vendors * products if vendors * products <= _MOST_IDS else 0)
    is_flat = all(isinstance(test, KeyTest) for test in match.tests)
    return _Size(size, sum(1 for pattern in every if pattern.wild) if is_flat else size)


def _unreachable(late: BuiltRule, early: BuiltRule) -> Diagnostic:
    return late.source.diagnostic(
        "warning",
        late.span,
        f"rule '{late.rule.name}' can never be reached: rule '{early.rule.name}' takes all its devices",
        "the first rule that matches decides; move the narrower one up",
        early.source.related(early.span, "this rule takes them"),
    )


def _doubts(written: BuiltRule) -> Iterator[tuple[str, str]]:
    """What rules for USB devices, meant or not, cannot have."""
    match, attach = written.rule.match, written.rule.attach
    if not _is_for_usb_devices(match):
        return
    kernel = match.test_of(KERNEL)
    if kernel is not None and not any(map(_may_be_usb_name, kernel.patterns)):
        yield (
            "means USB devices, whose kernel names are like 1-4.2",
            "add `subsystem`, such as `subsystem: tty`",
        )
    if attach is not None and attach.path is not None:
        hint = "take `path` out; for the serial port of a cable add `subsystem: tty`"
        yield "has a `path`, but the node of a USB device keeps its own, where libusb looks for it", hint


def _told_by_the_device(written: BuiltRule) -> Iterator[tuple[str, str]]:
    """Where what a device says of itself decides more than it should, or is not all that it says."""
    match, attach = written.rule.match, written.rule.attach
    if any(test.key.name == "property.ID_USB_INTERFACES" for test in match.key_tests()):
        message = (
            f"asks for ID_USB_INTERFACES, of which udev keeps {UDEV_INTERFACES}, and a device can have more"
        )
        yield message, "write `interface`, which has all: `interface: ff:42:01`"
    if attach is None or match.requires(is_place):
        return
    for template in attach.to:
        if chosen := _chosen(template, match, written.rule.keys):
            hint = (
                f"add `path` or `port`, or a list of `{chosen}`; or give the instances for such devices "
                f"names of their own, as in `to: phone-{{{chosen}}}`"
            )
            yield f"lets the device choose its instance by '{{{chosen}}}' in '{printable(template)}'", hint
            return


def _chosen(template: str, match: Match, registry: Sequence[MatchKey]) -> str:
    """A key in a name's template that is whatever the device says; empty where that does no harm.

    Where the name begins or ends in fixed text with a dash (`phone-{serial}`), it can only choose among those
    that are named so.
    """
    parts = parse_template(template)
    names = [part.text for part in parts if part.is_key]
    keys = [key_named(name, registry) for name in names]
    before, after = ("" if part.is_key else part.text for part in (parts[0], parts[-1]))
    if (
        before.endswith("-")
        or after.startswith("-")
        or any(key.place or names_place(key.name) for key in keys)
    ):
        return ""
    usb = _is_for_usb_devices(match)  # their kernel names are those of their ports
    chosen = {
        key.name
        for key in keys
        if not key.form.has_colons and not (usb and key.name == KERNEL.name) and not _is_listed(key, match)
    }
    return next((name for name in names if name in chosen), "")


def _is_listed(key: MatchKey, match: Match) -> bool:
    """Whether the rule says which values of a key it takes, one by one."""

    def lists(test: KeyTest) -> bool:
        same = test.key.name == key.name or (names_serial(key.name) and is_serial(test))
        part = test.key.name == ID.name and key.name in (VENDOR_ID.name, PRODUCT_ID.name)
        return test.is_exact and (same or part)

    return match.requires(lists)


def _places(written: BuiltRule, controllers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Where a bus's number is asked for, and it may be another's after a boot."""
    rule = written.rule
    below = [companion.match for companion in rule.attach.companions] if rule.attach is not None else []
    for match in (rule.match, *below):
        if message := bus_warning(match, controllers):
            path = path_of_port(next(bus_patterns(match))[1], controllers)
            if path and not _is_for_usb_devices(match):
                path += ":*"  # of what hangs from the USB device, after its interface
            hint = f'it stays in `path`, such as "{path}"' if path else "it stays in `path`"
            yield message, f"{hint}; `hotplugd explain` says it of what is plugged in"
            return


def _is_for_usb_devices(match: Match) -> bool:
    subsystem, devtype = match.test_of(SUBSYSTEM), match.test_of(DEVTYPE)
    return (
        subsystem is not None
        and devtype is not None
        and (subsystem.is_exact and subsystem.exact == {"usb"})
        and (devtype.is_exact and devtype.exact == {"usb_device"})
    )


def _may_be_usb_name(pattern: Pattern) -> bool:
    return any(text[:1].isdigit() or text.startswith("usb") for text in pattern.exact) or any(
        first is None or first.has("u") or any(map(first.has, "0123456789"))
        for first in (alternative[0] for alternative in pattern.wild)
    )


# --- what follows from what -----------------------------------------------------------------------------


def implies(match: Match, other: Match, *, by_branches: bool = True) -> bool:
    """Whether every device that meets `match` certainly meets `other`.

    by_branches  where that is not certain of the whole, look at each branch of `any` (once: time is bounded)
    """
    if all(_implies_test(match, test, by_branches=by_branches) for test in other.tests):
        return True
    test = next((test for test in match.tests if isinstance(test, AnyOf)), None)
    if test is None or not by_branches or len(test.branches) > _MOST_BRANCHES:
        return False
    return all(implies(branch, other, by_branches=False) for branch in _expanded(match, test))


def _expanded(match: Match, test: AnyOf) -> Iterator[Match]:
    """For each branch of `any`, what must hold where it is the one that is met."""
    rest = tuple(other for other in match.tests if other is not test)
    return (Match((*rest, *branch.tests)) for branch in test.branches)


def _implies_test(match: Match, test: Test, *, by_branches: bool) -> bool:
    if isinstance(test, KeyTest):
        return any(_covers(test, known) for known in _known(match))
    if isinstance(test, AnyOf):
        return any(implies(match, branch, by_branches=by_branches) for branch in test.branches)
    if isinstance(test, Parent):
        return any(
            isinstance(own, Parent) and implies(own.match, test.match, by_branches=by_branches)
            for own in match.tests
        )
    return any(
        isinstance(own, Not) and implies(test.match, own.match, by_branches=by_branches)
        for own in match.tests
    )


def _covers(test: KeyTest, known: KeyTest) -> bool:
    """Whether one of the test's patterns takes every value that the known patterns take."""
    return test.key.name == known.key.name and all(
        _literally(known_pattern, test) or any(pattern.covers(known_pattern) for pattern in test.patterns)
        for known_pattern in known.patterns
    )


def _literally(pattern: Pattern, test: KeyTest) -> bool:
    return not pattern.wild and all(map(test.matches, pattern.exact))


def _known(match: Match) -> Iterator[KeyTest]:
    """The tests of single keys, and what follows from them: an id has a vendor and a product in it."""
    for test in match.tests:
        if isinstance(test, KeyTest):
            yield test
    identity = match.test_of(ID)
    if identity is not None and identity.is_exact:
        for key, part in ((VENDOR_ID, 0), (PRODUCT_ID, 1)):
            texts = sorted({text.split(":")[part] for text in identity.exact})
            yield KeyTest(key, tuple(map(Pattern.of, texts)))
    vendor, product_id = match.test_of(VENDOR_ID), match.test_of(PRODUCT_ID)
    if vendor is None or product_id is None or not (vendor.is_exact and product_id.is_exact):
        return
    if len(vendor.exact) * len(product_id.exact) <= _MOST_IDS:
        pairs = product(sorted(vendor.exact), sorted(product_id.exact))
        yield KeyTest(ID, tuple(Pattern.of(":".join(pair)) for pair in pairs))


def _one_of_each(match: Match) -> Iterator[Fact]:
    """One exact value of every key: what implies the match must be filed under one of them, or under none."""
    for test in _known(match):
        for value in sorted(test.exact)[:1]:
            yield test.key.name, value
    for nested in match.tests:
        if isinstance(nested, AnyOf):
            yield from _one_of_each(nested.branches[0])


# --- what cannot be -------------------------------------------------------------------------------------


def _never(match: Match) -> str:
    """Why no device can meet the match, or empty."""
    known = list(_known(match))
    for position, test in enumerate(known):
        for other in known[:position]:
            if test.key.single and other.key.name == test.key.name and _exclude(test, other):
                return f"{_plain(test)} and {_plain(other)} exclude each other"
    for nested in match.tests:
        if isinstance(nested, Not) and implies(match, nested.match):
            return "what `not` says follows from the rest of the match"
        if isinstance(nested, Parent) and (reason := _never(nested.match)):
            return f"in `parent`, {reason}"
        if isinstance(nested, AnyOf) and len(nested.branches) <= _MOST_BRANCHES:
            reasons = [_never(branch) for branch in _expanded(match, nested)]
            if all(reasons):
                return f"in every branch of `any`, {reasons[0]}"
    return ""


def _exclude(one: KeyTest, other: KeyTest) -> bool:
    return (one.is_exact and not any(map(other.matches, one.exact))) or (
        other.is_exact and not any(map(one.matches, other.exact))
    )


def _plain(test: KeyTest) -> str:
    return printable(str(test))
