"""Suggests rules that take a device and no other device that is plugged in. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Final

from hotplugd.model.names import is_serial
from hotplugd.model.text import counted, printable
from hotplugd.model.values import Device
from hotplugd.plan.desired import wants
from hotplugd.plan.identity import hardware, model
from hotplugd.rulefile.bus_numbers import lasting_paths
from hotplugd.rulefile.load import parse
from hotplugd.rules.hubs import NO_HUBS, Hubs
from hotplugd.rules.keys import (
    DEVTYPE,
    ID,
    KERNEL,
    LOCATION,
    MAC,
    PATH,
    PORT,
    SERIAL,
    SUBSYSTEM,
    VENDOR_ID,
    MatchKey,
)  # fmt: skip
from hotplugd.rules.match import unmet
from hotplugd.rules.pattern import literally

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_NAME: Final = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME: Final = 40
_MANY: Final = 2

Condition = tuple[str, tuple[str, ...]]
"""A match key's name, and the values of which the device has one."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A suggested rule.

    match   its conditions
    why     what it identifies the device by, and what follows from that
    others  other devices that are plugged in and that it takes
    rule    the rule as YAML, for a file of rules
    problems  why the device stays on the host all the same: the host uses it, or nothing of it can go in
    """

    match: tuple[Condition, ...]
    why: str
    others: tuple[Device, ...]
    rule: str
    problems: tuple[str, ...]


def suggestions(device: Device, devices: Iterable[Device], to: str, hubs: Hubs = NO_HUBS) -> list[Suggestion]:
    """Rules that take the device, the best first; those that take others of the devices, too, come last.

    to    the instance where it is to go
    hubs  whose ports have names, which the files of rules say beside the suggested one
    """
    every = [each for each in devices if each.syspath != device.syspath]
    found = []
    location = hubs.location(device)
    for match, why in _candidates(device, every, location):
        text = _yaml(_name(device), match, to)
        # Whether the rule without `location` takes the device.
        rest = tuple(each for each in match if each[0] != LOCATION.name)
        loaded = parse(f"rules:\n{_yaml(_name(device), rest, to)}", "suggestion")
        if loaded.errors or unmet(loaded.rules.rules[0].match, device) is not None:
            continue
        rule = loaded.rules.rules[0]
        others = tuple(
            each
            for each in every
            if unmet(rule.match, each) is None and (rest == match or hubs.location(each) == location)
        )
        problems = tuple(each.message for each in wants(loaded.rules, device).problems)
        found.append(Suggestion(match, why, others, text, problems))
    return sorted(found, key=lambda each: bool(each.others))


def _candidates(
    device: Device, others: Sequence[Device], location: str
) -> Iterator[tuple[tuple[Condition, ...], str]]:
    kind = _kind(device)
    ids = _values(ID, device)
    serial = next(iter(SERIAL.values(device)), "")
    # A phone's serial number stays in all of its modes, and its product id does not.
    by_serial = (*kind, *_values(VENDOR_ID, device), *_values(SERIAL, device))
    if (macs := _values(MAC, device)) and device.attrs.get("permanent_address"):
        yield (*kind, *macs), "its permanent address, wherever it is plugged in"
    if serial:
        doubt = _doubt(serial, device, others)
        if not doubt:
            yield by_serial, "its serial number, wherever it is plugged in"
    if location and ids:
        yield (*kind, *ids, (LOCATION.name, (location,))), "its model and the port where it is plugged in"
    if paths := lasting_paths(device):
        place = (PATH.name, paths)
        yield (
            (*kind, *ids, place),
            "its model and where it is plugged in; another of the model there is taken",
        )
        yield (*kind, place), "where it is plugged in, whatever is plugged in there"
    elif ports := PORT.values(device):
        yield (*kind, *ids, (PORT.name, ports[:1])), "its model and its port, whose bus may be renumbered"
    if serial and (doubt := _doubt(serial, device, others)):
        yield by_serial, f"its serial number, but {doubt}"
    if ids:
        yield (*kind, *ids), "its model alone; every other one that is plugged in is taken as well"
    if not (serial or ids or paths):
        yield (
            (*kind, (KERNEL.name, (device.kernel,))),
            "the kernel's name, which may be another's after a boot",
        )


def _doubt(serial: str, device: Device, others: Iterable[Device]) -> str:
    """Why a serial number does not identify a device; empty where it does."""
    if serial and not is_serial(serial):
        return "it is what makers write who number nothing"
    own = hardware(device).syspath
    same = [
        other for other in others if serial in SERIAL.values(other)[:1] and hardware(other).syspath != own
    ]
    return f"{counted(len(same), 'other device')} that is plugged in has the same" if same else ""


def _kind(device: Device) -> tuple[Condition, ...]:
    """The conditions that select one device of a piece of hardware; none for a USB device itself."""
    if device.is_usb_device:
        return ()
    conditions = [(SUBSYSTEM.name, (device.subsystem,))]
    if device.devtype and device.subsystem in ("block", "usb"):
        conditions.append((DEVTYPE.name, (device.devtype,)))
    return tuple(conditions)


def _values(key: MatchKey, device: Device) -> tuple[Condition, ...]:
    values = key.values(device)[:1]
    return ((key.name, values),) if values else ()


def _name(device: Device) -> str:
    text = f"{model(device) or device.subsystem}-{next(iter(SERIAL.values(device)), '') or device.kernel}"
    return _NAME.sub("-", text.lower()).strip("-")[:_LONGEST_NAME].strip("-") or "device"


def _yaml(name: str, match: Sequence[Condition], to: str) -> str:
    conditions = ", ".join(f"{key}: {_listed(values)}" for key, values in match)
    return f"  - name: {_scalar(name)}\n    match: {{{conditions}}}\n    attach: {{to: {_scalar(to)}}}\n"


def _listed(values: Sequence[str]) -> str:
    texts = [_scalar(literally(value)) for value in values]
    return texts[0] if len(texts) < _MANY else f"[{', '.join(texts)}]"


def _scalar(text: str) -> str:
    """A text as YAML: in double quotes unless it is a word that means itself."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else dumps(text)


_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def taken_too(suggestion: Suggestion) -> str:
    """The other devices that the rule takes, in words; empty where there are none."""
    if not suggestion.others:
        return ""
    names = ", ".join(printable(str(other)) for other in suggestion.others[:3])
    more = f" and {len(suggestion.others) - 3} more" if len(suggestion.others) > 3 else ""  # noqa: PLR2004
    return f"it takes {names}{more}, too"
