"""What people decide by hand about single devices, in place of the rules. Pure.

    Overrides x Device -> Override | None     `Overrides.of`

An override is about a device, and not about one enumeration of it: it holds after a replug and a boot. So it
is kept by what stays of the device (`Lasting`): the serial number where no other device that is there has it,
else the place, together with what the device says of itself: another device at that place is not meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from hotplugd.model.asker import Asker
from hotplugd.model.text import printable, quoted
from hotplugd.model.values import Device, InstanceName
from hotplugd.plan.identity import hardware, identity, serial_before
from hotplugd.rules.keys import ID, KERNEL, KEYS, MAC, PATH, PORT, SERIAL, MatchKey
from hotplugd.rules.match import Match
from hotplugd.rules.ruleset import Attach, Decision, Rule

BY_HAND: Final = "by hand"
"""What stands in place of a rule's name where no rule takes a device that somebody attached."""

MOST: Final = 1000
"""So many devices can have an override at a time."""

_NOTHING: Final[Mapping[Lasting, Override]] = MappingProxyType({})
_UNIQUE: Final = (f"{SERIAL.name}:", f"{MAC.name}:")
_DIGITS: Final = re.compile(r"\d+", re.ASCII)
_VIRTUAL: Final = "/sys/devices/virtual/"
# A node's slot, with the first digits of the boot's id: see `model.entry.slot_for`.
_OF_BOOT: Final = re.compile(r"[cb]-\d+-\d+-([0-9a-f]{8})-.+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Lasting:
    """What stays of a device, and tells it from the others that are there.

    identity   `serial:…`, `mac:…`, or where it is: `path:…`, `port:…`, `kernel:…`
    subsystem  of one piece of hardware several devices have the same serial number: a USB device and its tty
    part       which of these it is: the number of its USB interface, of its partition, or its kind of name
    id         vendor:product of what has to be at the place; empty where the identity is a serial number
    serial     likewise, its serial number
    boot       the first digits of the boot's id where the identity holds during that boot alone: the kernel
               gives a virtual device's name to any other at the next one
    """

    identity: str
    subsystem: str
    part: str = ""
    id: str = ""
    serial: str = ""
    boot: str = ""

    @property
    def is_unique(self) -> bool:
        """Whether it is what the device says of itself, wherever it is plugged in."""
        return self.identity.startswith(_UNIQUE)


@dataclass(frozen=True, slots=True)
class Override:
    """What somebody decided about one device.

    of        which device
    instance  where it goes; None: nowhere
    since     when that was decided: ISO 8601, UTC
    by        who decided it
    device    what the device was called then; model and port likewise
    """

    of: Lasting
    instance: InstanceName | None
    since: str
    by: Asker
    device: str = ""
    model: str = ""
    port: str = ""

    @property
    def attaches(self) -> bool:
        """Whether it puts the device into an instance; else it keeps the device out of all."""
        return self.instance is not None


@dataclass(frozen=True, slots=True)
class Overrides:
    """All overrides, by what they are about."""

    by_device: Mapping[Lasting, Override] = field(default_factory=lambda: _NOTHING)

    @classmethod
    def made_of(cls, overrides: Iterable[Override]) -> Overrides:
        """These; of several about one device the last."""
        return cls({each.of: each for each in overrides})

    def __bool__(self) -> bool:
        return bool(self.by_device)

    def __iter__(self) -> Iterator[Override]:
        return iter(self.by_device.values())

    def __len__(self) -> int:
        return len(self.by_device)

    def of(self, device: Device) -> Override | None:
        """What was decided about this device: about its place, or else about its serial number."""
        if not self.by_device:
            return None
        return next((self.by_device[each] for each in ever(device) if each in self.by_device), None)

    def about(self, device: Device, anchor: Device | None) -> list[Override]:
        """All that was decided about a device: about its place, its serial number, the device with which it
        goes along (anchor), and the USB device that it hangs from.
        """
        above = [each for each in (device, anchor, device.usb) if each is not None]
        keys = dict.fromkeys(key for each in above for key in ever(each))
        return [self.by_device[each] for each in keys if each in self.by_device]

    def decided(self, device: Device, anchor: Device | None) -> Override | None:
        """What was decided about a device, or about one above it that holds for this one, too.

        anchor  the device with which it goes along
        What hangs from a USB device that is kept out stays out, too.
        """
        if not self.by_device:
            return None
        if (own := self.of(device)) is not None:
            return own
        if anchor is not None and (of_anchor := self.of(anchor)) is not None:
            return of_anchor
        usb = device.usb
        of_usb = self.of(usb) if usb is not None and usb is not device else None
        return of_usb if of_usb is not None and not of_usb.attaches else None

    def with_one(self, override: Override, device: Device) -> Overrides:
        """A copy with one more override, in place of the device's earlier one.

        What was decided about its place would come before what is decided about its serial number now.
        """
        keys = lasting(device)
        before = keys[: keys.index(override.of)] if override.of in keys else ()
        over = (*before, override.of, *ever(device)[len(keys) :])
        kept = {key: each for key, each in self.by_device.items() if key not in over}
        return Overrides({**kept, override.of: override})

    def without(self, of: Lasting) -> Overrides:
        """A copy without the override of this device."""
        return Overrides({key: each for key, each in self.by_device.items() if key != of})

    def named(self, name: str) -> list[Override]:
        """The overrides of devices of this name, present or not: by their identity, what
        follows its colon, and the serial number, node or port that the device had.
        """
        return [
            each
            for each in self
            if name
            in (
                each.of.identity,
                each.of.identity.partition(":")[2],
                *filter(None, (each.of.serial, each.device, each.port)),
            )
        ]


NONE: Final = Overrides()


def lasting(device: Device) -> tuple[Lasting, ...]:
    """What an override about this device may be kept by: its place, and its serial number if it has one."""
    part = _part(device)
    told = printable(next(iter(SERIAL.values(device)), ""))
    ident = printable(next(iter(ID.values(device)), ""))
    place = Lasting(_place(device), device.subsystem, part, ident, told, _boot(device))
    known_by = identity(device)
    if not known_by.startswith(_UNIQUE):
        return (place,)
    if known_by.startswith(SERIAL.name):
        # `identity` cuts long values for display; this compares whole ones.
        known_by = f"{SERIAL.name}:{told}"
    return place, Lasting(known_by, device.subsystem, part)


def ever(device: Device) -> tuple[Lasting, ...]:
    """What an override about this device may be kept by: as `lasting`, and then as that was before serial
    numbers were the kernel's.
    """
    now, before = lasting(device), serial_before(device)
    place, *serial = now
    then = (replace(place, serial=before), *(replace(each, identity=f"serial:{before}") for each in serial))
    return (*now, *then) if before else now


def kept_by(device: Device, devices: Iterable[Device]) -> Lasting | None:
    """What an override about this device is kept by, so that none of the other devices is meant by it.

    devices  all that there are
    Returns None where nothing tells it from another one.
    """
    others = {
        each
        for other in devices
        if other.key != device.key and other.subsystem == device.subsystem and not _are_one(device, other)
        for each in ever(other)
    }
    # udevd has yet to name the place of what it has not processed.
    may_be = (each for each in reversed(lasting(device)) if each.is_unique or not device.early)
    return next((each for each in may_be if each not in others), None)


def meant(found: Sequence[Device], taken: Iterable[Device]) -> list[Device]:
    """Which of several devices of one name are meant, where all are one piece of hardware.

    taken  those that a rule or an override is about
    """
    pieces = {hardware(each).syspath for each in found}
    if len(found) < 2 or len(pieces) > 1:  # noqa: PLR2004
        return list(found)
    keys = {each.key for each in taken}
    about = [each for each in found if each.key in keys]
    return about or [each for each in found if each.syspath in pieces] or list(found)


def overridden(
    taken: Decision | None, override: Override, keys: tuple[MatchKey, ...] = KEYS
) -> Decision | None:
    """What takes the device instead: the rule that took it, for the instance that somebody chose and without
    `force`, or one without options. None where the device is to be in none.

    keys  the registry of the rules in force
    """
    if override.instance is None:
        return None
    to, project = (override.instance.name,), override.instance.project
    if taken is None or taken.rule.attach is None:
        return Decision(Rule(BY_HAND, Match(()), Attach(to, project), "", 0, keys))
    attach = replace(taken.rule.attach, to=to, project=project, force=False, pool="")
    return replace(taken, rule=replace(taken.rule, attach=attach))


def told_of(override: Override) -> str:
    """What an override says, as part of a sentence about its device."""
    what = f"attached to {override.instance} by hand" if override.attaches else "detached by hand"
    return f"{what} ({quoted(override.since)}, {override.by})"


def _are_one(device: Device, other: Device) -> bool:
    """Whether both are nodes of one GPU, which go into an instance together."""
    return device.subsystem == "drm" and device.pci is not None and device.pci == other.pci


def _place(device: Device) -> str:
    for key in (PATH, PORT, KERNEL):
        for value in key.values(device):
            return f"{key.name}:{printable(value)}"
    return f"syspath:{device.syspath}"


def _boot(device: Device) -> str:
    found = _OF_BOOT.fullmatch(device.slot)
    is_virtual = device.syspath.startswith(_VIRTUAL) and not PATH.values(device)
    return found[1] if found is not None and is_virtual else ""


def _part(device: Device) -> str:
    """What tells a device from the others of its hardware and subsystem, whatever number it has now."""
    if device.subsystem in ("usb", "net", "pci", "drm") and device.devtype != "usb_interface":
        return ""
    if device.subsystem == "block":
        number = device.properties.get("PARTN", "")
        return f"{device.devtype} {quoted(number)}".rstrip()
    steps = (each.kernel for each in (device, *device.ancestors()) if each.devtype == "usb_interface")
    _, _, interface = next(steps, "").partition(":")
    return f"{_DIGITS.sub('#', quoted(device.kernel))} {interface}".rstrip()
