"""Which rule takes a USB device, before udevd has processed it. Pure.

A verdict is three-valued: True, False, or None for unknown. It is one only where udevd can say nothing that
changes it: `MatchKey.early` says what is the kernel's. Whatever is asked of another device than a USB device
is unknown, since udevd may not have processed that one either.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from hotplugd.model.values import Device
from hotplugd.rules.keys import MatchKey, kernels
from hotplugd.rules.match import AnyOf, KeyTest, Match, Not, Parent, Test
from hotplugd.rules.ruleset import Attach, Decision, RuleSet
from hotplugd.rules.template import TemplateError, key_named


def early_decision(rules: RuleSet, device: Device) -> Decision | None:
    """The decision that `RuleSet.decide` makes once udevd has processed the device, whatever udevd says.

    None where that is not known yet, or no rule takes the device.
    """
    for position in rules.early_index.candidates(device):
        rule = rules.rules[position]
        if not rule.enabled:
            continue
        verdict = early_verdict(rule.match, device)
        if verdict:
            return Decision(rule)
        if verdict is None or _may_go_along(rule.attach, device):
            return None
    return None


def early_verdict(match: Match, device: Device) -> bool | None:
    """Whether the device will meet the match; None where that is not known yet."""
    return _all(_test(test, device) for test in match.tests)


def is_kernels(match: Match) -> bool:
    """Whether the verdict on every USB device is known: the match asks only for what is the kernel's."""
    return all(isinstance(test, KeyTest) and test.key.early is kernels for test in match.tests)


def is_known_early(key: MatchKey, device: Device) -> bool:
    """Whether the first of the key's values is known, or that there is none."""
    if key.early is None or not device.is_usb_device:
        return False
    return bool(key.values(device)) or key.early(device)


def renders_early(attach: Attach, device: Device, keys: tuple[MatchKey, ...]) -> bool:
    """Whether the templates of a rule's `attach` are known to give what they will."""
    try:
        named = [key_named(name, keys) for name in attach.template_keys()]
    except TemplateError:
        return False
    return all(is_known_early(key, device) for key in named)


def _may_go_along(attach: Attach | None, device: Device) -> bool:
    """Whether the rule may take the device along with one above it."""
    companions = attach.companions if attach is not None else ()
    return any(early_verdict(companion.match, device) is not False for companion in companions)


def _test(test: Test, device: Device) -> bool | None:
    if isinstance(test, KeyTest):
        return _key_test(test, device)
    if isinstance(test, Parent):
        return _any(early_verdict(test.match, above) for above in device.ancestors())
    if isinstance(test, AnyOf):
        return _any(early_verdict(branch, device) for branch in test.branches)
    if isinstance(test, Not):
        verdict = early_verdict(test.match, device)
        return None if verdict is None else not verdict
    assert_never(test)


def _key_test(test: KeyTest, device: Device) -> bool | None:
    early = test.key.early
    if early is None or not device.is_usb_device:
        return None
    if test.holds(device):
        return True
    return False if early(device) else None


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    found: bool | None = True
    for verdict in verdicts:
        if verdict is False:
            return False
        if verdict is None:
            found = None
    return found


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    found: bool | None = False
    for verdict in verdicts:
        if verdict is True:
            return True
        if verdict is None:
            found = None
    return found
