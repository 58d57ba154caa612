"""Finds the device that a user's name means, and words the error for none or several. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from hotplugd.model.text import natural, quoted
from hotplugd.model.values import Device
from hotplugd.plan.identity import identity, model
from hotplugd.rules.hubs import NO_HUBS, Hubs
from hotplugd.rules.keys import KERNEL, MAC, PATH, PORT, SERIAL
from hotplugd.rules.match import AnyOf, KeyTest, Match, Parent
from hotplugd.rules.ruleset import Attach, Rule, RuleSet

# The keys by whose values people name a device.
_NAMES: Final = (SERIAL, PORT, PATH, MAC, KERNEL)
_MOST: Final = 8


def named(name: str, devices: Iterable[Device], real: str = "", hubs: Hubs = NO_HUBS) -> list[Device]:
    """The devices that a name may mean.

    name  a node, a path in sysfs, the kernel's name, a serial number, an identity, or a USB device's location
    real  where a path leads, links followed
    """
    everything = list(devices)
    paths = {name, real or name}
    found = [each for each in everything if not paths.isdisjoint((each.node, each.syspath, each.kernel))]
    found = found or [each for each in everything if name in (identity(each), *SERIAL.values(each))]
    return found or [each for each in everything if each.is_usb_device and hubs.location(each) == name]


def described(device: Device) -> str:
    """The device, and what tells it from others: its serial, model and port. Printable."""
    told = [f"serial {quoted(each)}" for each in SERIAL.values(device)[:1]]
    told += [quoted(each) for each in (model(device),) if each]
    told += [f"port {quoted(each)}" for each in PORT.values(device)[:1]]
    return f"{device} ({', '.join(told)})" if told else str(device)


def each_of(found: Iterable[Device]) -> list[str]:
    """A line for each of several devices, with a name that only it has."""
    every = sorted(found, key=lambda each: natural(each.syspath))
    lines = [described(each) + (f" at {quoted(each.syspath)}" if each.node else "") for each in every[:_MOST]]
    return [*lines, f"and {len(every) - _MOST} more"] if len(every) > _MOST else lines


def several(name: str, number: int, what: str = "devices") -> str:
    """The error for a name that several devices have, before `each_of` them. what: what kind of devices"""
    return f"{number} {what} are called {quoted(name)}; name one by its node or path:"


def missing(name: str, real: str, unprocessed: Iterable[Device], rules: RuleSet) -> str:
    """The error for a name that no device has that udevd has processed. name, real: as `named` takes them"""
    waiting = named(name, unprocessed, real, rules.hubs)
    return not_processed(waiting[0]) if waiting else absent(name, rules)


def not_processed(device: Device) -> str:
    """The error for a device that is there and that udevd has not processed."""
    return f"{device} is there, but udevd has not processed it (yet); `udevadm trigger {device}` asks for it"


def rule_for(name: str, rules: RuleSet) -> str:
    """The rule that names a device of this name, where it is and what it does; empty where none names it."""
    rule = next((each for each in rules.rules if each.enabled and _names(each, name)), None)
    if rule is None:
        return ""
    does = "would ignore it" if rule.attach is None else f"is for it: it goes to {_where(rule.attach)}"
    return f"rule '{rule.name}' ({rule.file}:{rule.line}) {does}"


def absent(name: str, rules: RuleSet) -> str:
    """The error for a name that no device has: whether a rule names it, and which names there are."""
    if rule := rule_for(name, rules):
        return f"no device {quoted(name)} is plugged in; {rule}; `hotplugd devices --all` lists what is there"
    return (
        f"no device {quoted(name)} is plugged in: expected a node, a path in /sys, the kernel's name, a "
        f"serial number or a location; `hotplugd devices --all` lists what is there"
    )


def without_device(name: str, number: str) -> str:
    """The error for a node of which the kernel has no device. number: the node's, as `char 195:255`"""
    told = (
        f"{quoted(name)} is a node, {number}, of which the kernel has no device in /sys: a program made it, "
        f"udev does not know it, and no rule can take it"
    )
    nvidia = "; a rule with `as: gpu` for the card puts such nodes of NVIDIA's in with it"
    return told + (nvidia if name.startswith("/dev/nvidia") else "")


def _names(rule: Rule, name: str) -> bool:
    return any(
        test.key in _NAMES
        and test.matches(name)
        and all(pattern.text.strip("*?") for pattern in test.patterns)
        for test in _wanted(rule.match)
    )


def _wanted(match: Match) -> Iterator[KeyTest]:
    """The tests of keys in a match, except those in `not`."""
    for test in match.tests:
        if isinstance(test, KeyTest):
            yield test
        elif isinstance(test, AnyOf):
            for branch in test.branches:
                yield from _wanted(branch)
        elif isinstance(test, Parent):
            yield from _wanted(test.match)


def _where(attach: Attach) -> str:
    return f"an instance of pool '{attach.pool}'" if attach.pool else ", ".join(attach.to)
