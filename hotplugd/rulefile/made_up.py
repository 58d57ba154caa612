"""Devices made up from values of match keys, for rule tests and for what is not plugged in. Pure.

Each has what a real one of its kind has besides: a node with a number, and for what hangs from a USB device
that device above it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Final

from hotplugd.model.text import quoted
from hotplugd.model.values import Descriptors, Device, Devnum
from hotplugd.rulefile.made_up_node import node_of
from hotplugd.rulefile.made_up_place import (
    Place,
    above,
    place_of,
    unknown_port,
    where_it_is,
    without_revision,
)
from hotplugd.rules.hubs import NO_HUBS, Hubs
from hotplugd.rules.keys import (
    ATTR,
    DEVTYPE,
    DRIVER,
    ID,
    INTERFACE,
    KERNEL,
    LOCATION,
    MAC,
    PATH,
    PORT,
    PRODUCT_ID,
    PROPERTY,
    SERIAL,
    SUBSYSTEM,
    VENDOR_ID,
    keys_with,
)  # fmt: skip
from hotplugd.rules.subsystems import NODELESS

Values = Mapping[str, Sequence[str]]
"""By the name of a match key, `property.NAME` or `attr.NAME`: the values that the device is to have."""

# Keys of a USB device, which what hangs from it has, too.
_USB: Final = (
    ID.name, VENDOR_ID.name, PRODUCT_ID.name, SERIAL.name, PORT.name, LOCATION.name, INTERFACE.name
)  # fmt: skip
# A socket has a name at either speed.
_SEVERAL: Final = {INTERFACE.name: 1 << 10, PORT.name: 2}
_PROPERTIES: Final = {
    VENDOR_ID.name: "ID_VENDOR_ID", PRODUCT_ID.name: "ID_MODEL_ID", SERIAL.name: "ID_SERIAL_SHORT",
}  # fmt: skip
_ID: Final = ("ID_VENDOR_ID", "ID_MODEL_ID")
# What a USB device has in sysfs; its properties are as udev makes them.
_USB_ATTRS: Final = {"ID_VENDOR_ID": "idVendor", "ID_MODEL_ID": "idProduct", "ID_SERIAL_SHORT": "serial"}
_NAMES: Final = (
    *_USB, SUBSYSTEM.name, DEVTYPE.name, KERNEL.name, DRIVER.name, PATH.name, MAC.name
)  # fmt: skip
_GROUPS: Final = (f"{PROPERTY.name}.", f"{ATTR.name}.")
_PORT: Final = re.compile(r"usb[0-9]+|[0-9]+-[0-9]+(?:\.[0-9]+)*", re.ASCII)
_SLOT: Final = "c-0-0-00000000-0"
_ROOT: Final = "/sys/devices/made-up"


class MadeUpError(ValueError):
    """A device that cannot be made up. The message is printable; hint says what to write, or is empty.

    key  the name that is wrong, or empty
    """

    def __init__(self, message: str, hint: str = "", key: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.key = key


def values_of(text: str) -> dict[str, tuple[str, ...]]:
    """The values in `id=18d1:4ee7 serial=X property.ID_MODEL="Pixel 8"`; `interface` may come several times,
    and `port` twice.

    Raises MadeUpError.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise MadeUpError(f"{error} in '{quoted(text)}'", "close the quotes") from None
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not value:
            hint = "write key=value, as in 'id=18d1:4ee7 serial=X port=1-4'"
            raise MadeUpError(f"'{quoted(word)}' is no key with a value", hint)
        found[key] = (*found.get(key, ()), value)
    if not found:
        raise MadeUpError("no keys and values", "such as 'id=18d1:4ee7 serial=X port=1-4'")
    return found


def made_up(values: Values, parent: Device | None = None, name: str = "it", hubs: Hubs = NO_HUBS) -> Device:
    """A device with these values. Raises MadeUpError.

    parent  the device above it, or above the USB device that it hangs from
    name    part of its path in sysfs, which tells several apart
    hubs    those whose ports have names
    """
    for key, texts in values.items():
        _see_known(key)
        if len(texts) > _SEVERAL.get(key, 1):
            raise MadeUpError(f"several values of '{quoted(key)}'", "a device has one of it", key)
    first = {key: texts[0] for key, texts in values.items() if texts}
    place = place_of(values, hubs)
    if place is None:
        location = first[LOCATION.name]
        hint = unknown_port(location, hubs)
        raise MadeUpError(f"no port is called '{quoted(location)}'", hint, LOCATION.name)
    subsystem = first.get(SUBSYSTEM.name, "usb")
    devtype = first.get(DEVTYPE.name, "usb_device" if subsystem == "usb" else "")
    whole = (subsystem, devtype) == ("usb", "usb_device")
    over = parent
    if not whole and (place.revision or not set(_USB).isdisjoint(values)):
        over = _usb(values, place, parent, f"{_ROOT}/{name}")
    path = f"{over.syspath if over is not None else _ROOT}/{name}"
    found = replace(
        _usb(values, place, over, path) if whole else Device(path, subsystem, ""), devtype=devtype
    )
    kernel = first.get(KERNEL.name, place.port if whole else name)
    node, number = _node(subsystem, kernel)
    return _checked(
        replace(
            found,
            subsystem=subsystem,
            kernel=kernel,
            driver=first.get(DRIVER.name, "usb" if whole else ""),
            properties={**found.properties, **_properties(first)},
            attrs={**found.attrs, **_attrs(first)},
            parent=found.parent if whole else over,
            slot=_SLOT,
            node=node,
            devnum=number,
        ),
        values,
        hubs,
    )


def _node(subsystem: str, kernel: str) -> tuple[str, Devnum | None]:
    """The node that such a device has, and its number; network interfaces, PCI devices and some have none."""
    if subsystem in ("net", "pci") or subsystem in NODELESS:
        return "", None
    if subsystem == "usb":
        return "/dev/bus/usb/001/002", Devnum("char", 189, 1)
    return node_of(subsystem, kernel), Devnum("block" if subsystem == "block" else "char", 240, 0)


def _usb(values: Values, place: Place, parent: Device | None, path: str) -> Device:
    """The USB device with those of the values that are a USB device's."""
    own = {key: texts[0] for key, texts in values.items() if texts and key in _USB}
    interfaces = tuple(each.lower() for each in values.get(INTERFACE.name, ()))
    there = {"ID_PATH": place.path} if place.path else {}
    properties = _properties(own)
    attrs = {_USB_ATTRS[name]: text for name, text in properties.items()}
    return Device(
        path, "usb", place.port, "usb_device", "usb", properties={**there, **properties},
        attrs={**attrs, **({"peer": place.peer} if place.peer else {})}, parent=above(place, parent, path),
        descriptors=Descriptors(interfaces),
    )  # fmt: skip


def _properties(first: Mapping[str, str]) -> dict[str, str]:
    prefix = _GROUPS[0]
    own = {key.removeprefix(prefix): text for key, text in first.items() if key.startswith(prefix)}
    named = {_PROPERTIES[key]: text for key, text in first.items() if key in _PROPERTIES}
    if (path := first.get(PATH.name)) is not None:
        named["ID_PATH"] = without_revision(path)[0]
    if (both := first.get(ID.name)) is not None:
        named |= dict(zip(_ID, both.split(":"), strict=False))
    return {**named, **own}


def _attrs(first: Mapping[str, str]) -> dict[str, str]:
    prefix = _GROUPS[1]
    own = {key.removeprefix(prefix): text for key, text in first.items() if key.startswith(prefix)}
    if (mac := first.get(MAC.name)) is not None:
        own |= {"address": mac, "permanent_address": mac}
    return own


def _see_known(key: str) -> None:
    if key in _NAMES or (key.startswith(_GROUPS) and not key.endswith(".")):
        return
    if key.rstrip(".") in (PROPERTY.name, ATTR.name):
        hint = f"a name belongs to it: {PROPERTY.name}.ID_MODEL or {ATTR.name}.product"
        raise MadeUpError(f"unknown key '{quoted(key)}'", hint, key)
    close = get_close_matches(key.lower(), _NAMES, 1)
    groups = "property.NAME and attr.NAME"
    hint = f"did you mean '{close[0]}'?" if close else f"keys: {', '.join(sorted(_NAMES))}, {groups}"
    raise MadeUpError(f"unknown key '{quoted(key)}'", hint, key)


def _checked(device: Device, values: Values, hubs: Hubs) -> Device:
    """The device, where it has the values as rules read them: `id: 18d1` would be none."""
    for port in values.get(PORT.name, ()):
        if not _PORT.fullmatch(port):
            hint = f"written as {PORT.form.value}: 1-4.2"
            raise MadeUpError(f"no device can have '{quoted(port)}' as its {PORT.name}", hint, PORT.name)
    if device.is_usb_device and device.kernel and not _PORT.fullmatch(device.kernel):
        hint = "that is its port, such as 1-4.2; of others write the subsystem, too, such as subsystem=tty"
        raise MadeUpError(f"no USB device is called '{quoted(device.kernel)}'", hint, KERNEL.name)
    for key in keys_with(hubs):
        wanted = [each.lower() if key.form.is_hex else each for each in values.get(key.name, ())]
        has = key.values(device)
        if missing := next((each for each in wanted if each not in has), None):
            hint = f"written as {key.form.value}" if key.form.is_hex else ""
            if key.name == MAC.name and device.subsystem != "net":
                hint = "network interfaces alone have one: write subsystem=net"
            elif key.name == LOCATION.name:
                hint = where_it_is(missing, hubs)
            raise MadeUpError(f"no device can have '{quoted(missing)}' as its {key.name}", hint, key.name)
    return device
