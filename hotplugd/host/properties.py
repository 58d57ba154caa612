"""What the kernel and udevd say of a device, less all that the device itself may have written there.

The kernel puts strings of devices (names, serial numbers) into the `uevent` file of sysfs as they are, with
line ends, and a reader of lines takes what follows for further variables. In that file the kernel's own
variables come first (Linux: drivers/base/core.c, `dev_uevent`), so it is read up to the first one whose value
a device may have chosen.

udevd's database is written by udevd alone, but some of its programs copy strings of devices there (`v4l_id`
prints the name of a camera as it is), and with them any line. So it may not say what is the kernel's to say.
"""

from __future__ import annotations

import os
from typing import Final

from hotplugd.host import sysfs
from hotplugd.model.values import Devnum

DATABASE: Final = "/run/udev/data"

# Variables whose values are numbers, or names that the kernel and its drivers choose.
_SURE: Final = frozenset(
    {
        "MAJOR", "MINOR", "DEVNAME", "DEVMODE", "DEVUID", "DEVGID", "DEVTYPE", "DRIVER",
        "BUSNUM", "DEVNUM", "PRODUCT", "TYPE", "INTERFACE", "IFINDEX", "DISKSEQ", "PARTN",
        "PCI_CLASS", "PCI_ID", "PCI_SUBSYS_ID", "PCI_SLOT_NAME",
        "DVB_ADAPTER_NUM", "DVB_DEVICE_TYPE", "DVB_DEVICE_NUM", "HID_ID", "MODALIAS",
    }
)  # fmt: skip
_FIRMWARE: Final = "OF_"  # from the device tree
# The last variable of each bus that sets it. Some buses make it of names: later lines may be forged.
_LAST: Final = "MODALIAS"
# hid_uevent always writes these, in this order, and no others: a forged one would be there twice.
_HID: Final = ("HID_ID", "HID_NAME", "HID_PHYS", "HID_UNIQ", "MODALIAS")
# Strings of a device that sysfs has as attributes, too: one file each, so none is taken for another.
_ATTRIBUTES: Final = {"input": (("NAME", "name"), ("PHYS", "phys"), ("UNIQ", "uniq"))}
# Properties that only the kernel sets, or that are about one event.
_KERNELS: Final = _SURE | {
    "SUBSYSTEM", "DEVPATH", "DEVPATH_OLD", "ACTION", "SEQNUM", "SYNTH_UUID", "UDEV_DATABASE_VERSION",
    "HID_NAME", "HID_PHYS", "HID_UNIQ", "NAME", "PHYS", "UNIQ",
    "DEVLINKS", "TAGS", "CURRENT_TAGS", "USEC_INITIALIZED",
}  # fmt: skip


def kernel_lines(syspath: str) -> dict[str, str] | None:
    """The variables of the device's `uevent` file that are the kernel's own; None where there is no file.

    Raises OSError where no file can be opened.
    """
    raw = sysfs.read(f"{syspath}/uevent")
    if raw is None:
        return None
    variables: dict[str, str] = {}
    pairs = [line.partition("=") for line in os.fsdecode(raw).removesuffix("\n").split("\n")]
    for at, (key, equals, value) in enumerate(pairs):
        if key == _HID[0] and tuple(each for each, _, _ in pairs[at:]) == _HID:
            variables.update({each: text for each, _, text in pairs[at:]})
            break
        if not equals or (key not in _SURE and not key.startswith(_FIRMWARE)):
            break
        variables.setdefault(key, value)
        if key == _LAST:
            break
    return variables


def kernel(syspath: str, subsystem: str) -> dict[str, str] | None:
    """All properties that the kernel gives a device of this subsystem, but for its number; likewise."""
    found = kernel_lines(syspath)
    if found is not None:
        for key, name in _ATTRIBUTES.get(subsystem, ()):
            if "MAJOR" not in found and (text := sysfs.attribute(syspath, name)) is not None:
                found[key] = f'"{text}"'
    return found


def record_name(subsystem: str, sysname: str, number: Devnum | None, ifindex: str) -> str:
    """What udevd calls the device's file in its database (systemd: sd-device.c, `device_get_device_id`)."""
    if number is not None:
        return f"{number.kind[0]}{number.major}:{number.minor}"
    return f"n{ifindex}" if subsystem == "net" and ifindex else f"+{subsystem}:{sysname}"


def record(name: str, folder: str = DATABASE) -> dict[str, str] | None:
    """The properties that udevd's database has of a device; None where it has no such file.

    udevd writes one for each device with a number or an interface's index, once it has processed it. A
    property that is there twice is nobody's: one of the two was forged. Raises OSError as `kernel_lines`.
    """
    raw = sysfs.read(f"{folder}/{name}")
    if raw is None:
        return None
    properties: dict[str, str] = {}
    twice: set[str] = set()
    lines: dict[str, list[str]] = {}
    for line in os.fsdecode(raw).split("\n"):
        kind, _, text = line.partition(":")
        lines.setdefault(kind, []).append(text)
    for text in lines.get("E", ()):
        key, equals, value = text.partition("=")
        if equals and key not in _KERNELS:
            if key in properties:
                twice.add(key)
            properties[key] = value
    for key in twice:
        del properties[key]
    if (born := lines.get("I", [""])[0]).isdecimal():
        properties["USEC_INITIALIZED"] = born
    _add_lists(properties, lines)
    return properties


def _add_lists(found: dict[str, str], lines: dict[str, list[str]]) -> None:
    if links := lines.get("S"):
        found["DEVLINKS"] = " ".join(f"/dev/{link}" for link in sorted(links))
    for kind, key in (("G", "TAGS"), ("Q", "CURRENT_TAGS")):
        if tags := lines.get(kind):
            found[key] = f":{':'.join(sorted(tags))}:"


def path_below(properties: dict[str, str], above: str) -> None:
    """Take out where it is plugged in, unless that is at the USB device above, whose ID_PATH is `above`.

    udevd's `path_id` makes the path of what hangs from a USB device of that one's path.
    """
    path = properties.get("ID_PATH", "")
    if not (above and (path == above or path.startswith(f"{above}:"))):
        properties.pop("ID_PATH", None)
        path = ""
    if properties.get("ID_PATH_TAG", "") != _tag(path):
        properties.pop("ID_PATH_TAG", None)
    # Only newer versions have it, and it says the same with the bus's version.
    revision = properties.get("ID_PATH_WITH_USB_REVISION", "")
    if revision and revision.replace("-usbv2-", "-usb-").replace("-usbv3-", "-usb-") != path:
        properties.pop("ID_PATH_WITH_USB_REVISION", None)
    # What hangs from ATA has it (systemd: udev-builtin-path_id.c).
    properties.pop("ID_PATH_ATA_COMPAT", None)


def _tag(path: str) -> str:
    """As systemd's `path_id` makes a tag of a path."""
    words = "".join(each if each.isascii() and (each.isalnum() or each == "-") else " " for each in path)
    return "_".join(words.split())
