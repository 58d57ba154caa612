"""What tells the devices of a rule apart: what they say of themselves, or where they are plugged in.

Another device can say the same of itself; a port and a path come from the kernel.
"""

from __future__ import annotations

import re
from typing import Final

from hotplugd.rules.keys import ATTR, KERNEL, MAC, PROPERTY, SERIAL, Form
from hotplugd.rules.match import KeyTest
from hotplugd.rules.pattern import Pattern

# A USB port or an interface there, and a PCI address, as kernel names: wildcards may stand in them.
_KERNEL_PLACE: Final = re.compile(
    r"[0-9*?\[\]]+-[0-9.*?\[\]-]+(:[0-9.*?\[\]]+)?|[0-9a-f*?]{1,4}:[0-9a-f*?]{1,2}:[0-9a-f*?]{1,2}\.[0-7*?]"
)
_BRACKETS: Final = re.compile(r"\[[^]]*\]")
_SERIAL_PROPERTIES: Final = frozenset({"UNIQ", "HID_UNIQ"})
# A device can have udevd say others, also ones that begin like these.
_PLACE_PROPERTIES: Final = frozenset(
    {
        "DEVPATH", "ID_PATH", "ID_PATH_TAG", "ID_PATH_WITH_USB_REVISION", "ID_PATH_ATA_COMPAT",
        "ID_NET_NAME_PATH", "ID_NET_NAME_SLOT",
    }
)  # fmt: skip
_SERIAL_ATTRS: Final = frozenset({"uniq", "vpd_pg80", "cid"})


def names_serial(key: str) -> bool:
    """Whether a key of this name has the serial number: `serial` or one of udev's properties."""
    group, _, name = key.partition(".")
    return key == SERIAL.name or (group == PROPERTY.name and ("SERIAL" in name or name in _SERIAL_PROPERTIES))


def names_place(key: str) -> bool:
    """Whether it is one of udev's properties that say where the device is plugged in."""
    group, _, name = key.partition(".")
    return group == PROPERTY.name and name in _PLACE_PROPERTIES


def is_serial(test: KeyTest) -> bool:
    """Whether it compares the serial number, under whichever of its names."""
    group, _, name = test.key.name.partition(".")
    if group == PROPERTY.name:
        by_id = name == "DEVLINKS" and any("/by-id/" in pattern.text for pattern in test.patterns)
        return names_serial(test.key.name) or by_id
    if group == ATTR.name:
        last = name.rpartition("/")[2]
        return "serial" in last or last in _SERIAL_ATTRS
    return test.key.name == SERIAL.name


def is_place(test: KeyTest) -> bool:
    """Whether it compares where the device is plugged in."""
    if any(pattern.text == "*" for pattern in test.patterns):
        return False
    group, _, name = test.key.name.partition(".")
    if group == PROPERTY.name:
        by_path = name == "DEVLINKS" and all("/by-path/" in pattern.text for pattern in test.patterns)
        return names_place(test.key.name) or by_path
    if group == ATTR.name:
        return name.rpartition("/")[2] == "devpath"
    if test.key.form is Form.PORT or test.key.name == KERNEL.name:
        return all(map(_names_place, test.patterns))
    return test.key.place


def is_place_or_mac(test: KeyTest) -> bool:
    """Whether it compares the place, or an interface's address, in which two of one serial differ."""
    return test.key.name == MAC.name or is_place(test)


def _names_place(pattern: Pattern) -> bool:
    """Whether each alternative is the name of a port or PCI device, with a digit that is no wildcard."""
    return all(
        _KERNEL_PLACE.fullmatch(text) is not None and any(map(str.isdigit, _BRACKETS.sub("", text)))
        for text in pattern.text.split("|")
    )
