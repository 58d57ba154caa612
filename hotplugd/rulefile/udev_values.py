"""Warns of ids and serial numbers that a rule has as udev has them, and not as the device does. Pure.

What udev says is what its usb_id makes of the device, or what any udev rule says in its place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from json import dumps
from typing import Final

from hotplugd.model.text import printable, quoted
from hotplugd.model.values import Device
from hotplugd.rules.keys import ID, PRODUCT_ID, SERIAL, VENDOR_ID
from hotplugd.rules.match import Match, unmet
from hotplugd.rules.pattern import literally
from hotplugd.rules.udev_serial import as_udev

_VENDOR, _PRODUCT, _SERIAL = "ID_VENDOR_ID", "ID_MODEL_ID", "ID_SERIAL_SHORT"
_KEYS: Final = {ID: (_VENDOR, _PRODUCT), VENDOR_ID: (_VENDOR,), PRODUCT_ID: (_PRODUCT,), SERIAL: (_SERIAL,)}
"""By key udev's properties that have it, or each a part of it."""
_NAMES: Final = {key.name: names for key, names in _KEYS.items()}


@dataclass(frozen=True, slots=True)
class Twofold:
    """A USB device of which udev says otherwise. udevs: the same with udev's ids and serial number."""

    device: Device
    udevs: Device


def twofold(devices: Collection[Device]) -> list[Twofold]:
    """Those of the USB devices of which udev says otherwise."""
    found = (Twofold(each, _as_udev_has_it(each)) for each in devices)
    return [each for each in found if any(key.values(each.device) != key.values(each.udevs) for key in _KEYS)]


def written_as_udev(match: Match, devices: Collection[Twofold]) -> Iterator[tuple[str, str]]:
    """What is doubtful about the match of a rule for USB devices, and what to write instead.

    devices  those that are plugged in and of which udev says otherwise
    """
    # Most rules end here: a host may have a thousand such devices, and thousands of rules.
    asked = [(test, _NAMES[test.key.name]) for test in match.key_tests() if test.key.name in _NAMES]
    for each in devices if asked else ():
        found = [pair for pair in asked if pair[0].holds(each.udevs) and not pair[0].holds(each.device)]
        if not found or unmet(match, each.udevs) is not None or unmet(match, each.device) is None:
            continue
        for test, names in found:
            udevs, own = test.key.values(each.udevs)[0], (*test.key.values(each.device), "")[0]
            says = f"says '{printable(own)}'" if own else "says none"
            parts = zip(names, udevs.split(":", 1) if len(names) > 1 else [udevs], strict=True)
            written = ", ".join(f"{name}: {_value(part)}" for name, part in parts)
            hint = f"udev's is `property: {{{written}}}`"
            wanted = f"asks for the {test.key.name} '{printable(udevs)}', as udev writes it"
            there = f"{wanted}, and the device that is there {says}"
            yield there, f"write {_value(own)}; {hint}" if own else hint


def _value(text: str) -> str:
    """The text as a rule has it: YAML, and no pattern, whatever a device says."""
    pattern = literally(text)
    return f"'{text}'" if pattern == quoted(text) and "'" not in text else dumps(pattern)


def _as_udev_has_it(device: Device) -> Device:
    said = device.properties
    own = {name: device.attrs.get(name, "") for name in ("idVendor", "idProduct", "serial")}
    udevs = {
        "idVendor": said.get(_VENDOR, "") or own["idVendor"],
        "idProduct": said.get(_PRODUCT, "") or own["idProduct"],
        # Where udev has none, by a character that it does not take, rules have always had the device's.
        "serial": said.get(_SERIAL, "") or as_udev(own["serial"]) or own["serial"],
    }
    return replace(device, attrs={**device.attrs, **udevs})
