"""The part of a device that its entry keeps while the device is not on the host, for rules to match.

A network interface moves: while it is in an instance the host's udev knows nothing of it. So does what a
virtual machine has by its PCI device. Pure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from hotplugd.model.entry import MARK_SEEN, slot_of
from hotplugd.model.values import Device, Entry

# Values that hold for one moment alone.
_PASSING: Final = frozenset({"USEC_INITIALIZED", "SEQNUM", "TAGS", "CURRENT_TAGS", "DEVPATH", "ACTION"})
# Properties that udevd copies from the USB device to its interfaces.
_OF_USB: Final = ("ID_VENDOR_ID", "ID_MODEL_ID", "ID_SERIAL_SHORT", "ID_USB_INTERFACES")
_TEXTS: Final = ("syspath", "kernel", "devtype", "driver")
_SUBSYSTEM: Final = "subsystem"
# The driver of the PCI device that it is made of, which is another while a virtual machine has that.
_ABOVE: Final = "driver_above"
_MAPS: Final = ("properties", "attrs")


def remember(device: Device) -> str:
    """The device as a mark: what rules can match on, but for the devices above it."""
    texts = {key: getattr(device, key) for key in _TEXTS}
    if device.subsystem != "net":
        texts[_SUBSYSTEM] = device.subsystem
    if device.subsystem != "net" and device.parent is not None and device.parent is device.pci:
        texts[_ABOVE] = device.parent.driver
    return json.dumps(
        {**texts, "properties": _kept(device.properties), "attrs": _kept(device.attrs)},
        separators=(",", ":"),
        sort_keys=True,
    )


def recall(entry: Entry) -> Device | None:
    """The network interface that an entry of ours was made for, as it was then and away now.

    None where the entry has no valid snapshot: marks can be edited. Rules match the interface by it, though
    it proves nothing.
    """
    return recall_as(entry, "net")


def recall_as(entry: Entry, subsystem: str) -> Device | None:
    """As `recall`, of a device of this subsystem; where that is empty of the one that the entry says."""
    snapshot = _read(entry)
    if snapshot is None:
        return None
    said = snapshot.get(_SUBSYSTEM, "net")
    if not isinstance(said, str):
        return None
    properties, attrs = (_texts(snapshot.get(key)) for key in _MAPS)
    texts = _texts({key: snapshot.get(key) for key in _TEXTS})
    if properties is None or attrs is None or texts is None:
        return None
    syspath = texts["syspath"]
    if not syspath.startswith("/sys/devices/") or ".." in syspath.split("/") or not _is_a_path(syspath):
        return None
    return Device(
        syspath=syspath,
        subsystem=subsystem or said,
        kernel=texts["kernel"],
        devtype=texts["devtype"],
        driver=texts["driver"],
        properties=properties,
        attrs=attrs,
        slot=slot_of(entry),
        away=True,
    )


def driver_above(entry: Entry) -> str:
    """The driver that the PCI device had of which the entry's device is made; empty where it does not say."""
    snapshot = _read(entry)
    return str(snapshot.get(_ABOVE, "")) if snapshot is not None else ""


def left_from(entry: Entry) -> str:
    """The syspath that the entry's interface had on the host, as the entry says; empty where it does not."""
    snapshot = _read(entry)
    return str(snapshot.get("syspath", "")) if snapshot is not None else ""


def checked(device: Device) -> Device:
    """The device without values that contradict the USB device that it hangs from."""
    usb = device.usb
    if usb is None:
        return device
    own = {key: usb.properties[key] for key in _OF_USB if key in usb.properties and key in device.properties}
    return replace(device, properties={**device.properties, **own})


def _read(entry: Entry) -> dict[str, object] | None:
    try:
        snapshot = json.loads(entry.config.get(MARK_SEEN, ""))
    except (ValueError, RecursionError):
        return None
    return snapshot if isinstance(snapshot, dict) else None


def _kept(texts: Mapping[str, str]) -> dict[str, str]:
    return {key: text for key, text in texts.items() if key not in _PASSING and text.isprintable()}


def _is_a_path(text: str) -> bool:
    """Whether a text can be encoded as a path: JSON can have lone surrogates, which cannot."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _texts(found: object) -> dict[str, str] | None:
    if isinstance(found, dict) and all(isinstance(each, str) for each in (*found, *found.values())):
        return found
    return None
