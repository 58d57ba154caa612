"""What an event says of the device that it is about. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hotplugd.model import entry as entries
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, Entry
from hotplugd.plan.identity import identity, model
from hotplugd.rules.keys import PORT, SERIAL

# Prefixes of an identity that are fields of events, too: `serial:R5C001`.
_NAMED: Final = (SERIAL.name, PORT.name)


ABOUT: Final = "about"
"""The field of an event that holds the device itself; it is spread into texts when the event is written."""

HUBS: Final = "hubs"
"""The field of an event that gives the hubs whose ports have names: the event says which one is meant."""

Fields = dict[str, object]


def spread(event: Mapping[str, object]) -> Fields:
    """An event with what tells of its device in place of the device, the name of its port included."""
    device, hubs = event.get(ABOUT), event.get(HUBS)
    rest = {name: value for name, value in event.items() if name not in (ABOUT, HUBS)}
    if not isinstance(device, Device):
        return rest
    location = hubs().location(device) if callable(hubs) else ""
    return {**about(device), **({"location": location} if location else {}), **rest}


def about(device: Device) -> dict[str, str]:
    """The fields that tell a device from others, without empty ones.

    `slot` is the enumeration that is meant: the next one of the same device has another.
    """
    known_by = identity(device)
    found = {"device": str(device), "identity": known_by}
    kind, _, value = known_by.partition(":")
    if kind == SERIAL.name:
        found["serial"] = value
    else:
        for text in SERIAL.values(device)[:1]:
            found["serial"] = quoted(text)
    for text in PORT.values(device)[:1]:
        found["port"] = quoted(text)
    if text := model(device):
        found["model"] = quoted(text)
    if device.slot:
        found["slot"] = device.slot
    return found


def about_entry(entry: Entry) -> Fields:
    """The fields of a device that is gone, as far as its entry in an instance tells."""
    marked = entry.config.get(entries.MARK_DEVICE, "")
    found = {"device": entry.config.get(entries.MARK_NODE) or entries.slot_of(entry), "identity": marked}
    kind, _, value = marked.partition(":")
    if kind in _NAMED:
        found[kind] = value
    found["slot"] = entries.slot_of(entry)
    return {name: text for name, text in found.items() if text}


def is_worth_telling(device: Device) -> bool:
    """Whether it is told of that a device comes and goes that no rule attaches: whether it is what somebody
    plugs into a USB port. All else comes with that, or with what a rule attaches, or never comes or goes: a
    host has hundreds of such devices, and each is announced at every boot.
    """
    # A root hub is called usb1, and comes with its controller.
    return device.is_usb_device and not device.kernel.startswith("usb")
