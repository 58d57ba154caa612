"""The slot of a device with a node: from our udev rule, or without it from sysfs and /dev/hotplugd."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from typing import Final

from hotplugd.host import sysfs
from hotplugd.model.entry import in_full, is_slot, slot_for, slot_links, slot_named, slot_prefix
from hotplugd.model.values import Device

_KEY: Final = "HOTPLUGD_SLOT"


def complete(properties: MutableMapping[str, str]) -> None:
    """Have udev's property of the slot be the slot: our rule cannot read the boot's id."""
    if (named := properties.get(_KEY)) is not None:
        properties[_KEY] = in_full(named, sysfs.boot())


def has_number(device: Device) -> bool:
    """Whether our udev rule, in its present version, has named the enumeration of the device."""
    return device.slot == device.properties.get(_KEY) and f"-{sysfs.boot()}-" in device.slot


def is_of_earlier(said: Mapping[str, str], device: Device) -> bool:
    """Whether what udevd's database has is an earlier device's, and udevd has yet to process this one.

    said  its properties, as the database has them
    """
    if not device.early or device.devnum is None:
        return False
    named = slot_named(in_full(said.get(_KEY, ""), sysfs.boot()), device.devnum, sysfs.boot())
    return bool(named) and _sequence(named) < _sequence(device.slot)


def _sequence(slot: str) -> int:
    """The number of the kernel's event in a slot that our udev rule names."""
    return int(slot.rpartition("-")[2])


def node_slot(device: Device, before: Device | None, *, listing: bool) -> str:
    """An id for this enumeration of the device, `c-189-3-1a2b3c4d-4711`: by our udev rule's number.

    Without the rule its last part is `i` and the number that sysfs gave its folder.
    While we hear of it without a gap the device keeps its slot, also if udevd forgets what it was; and so it
    does where version 1 called it otherwise, by whose links it may be attached.

    before   the device as it was known until now
    listing  whether something may have been missed since
    """
    number = device.devnum
    assert number is not None
    named = slot_named(device.properties.get(_KEY, ""), number, sysfs.boot())
    if before is not None and before.devnum == number and (before.slot == named or not (named or listing)):
        return before.slot
    if named:
        return named
    token = f"i{sysfs.inode(device.syspath)}"
    for older in (device.properties.get("USEC_INITIALIZED", ""), token):
        slot = slot_prefix(number) + older
        if is_slot(slot) and any(map(os.path.lexists, slot_links(slot))):
            return slot
    return slot_for(number, sysfs.boot(), token)
