"""The records of udev's database that programs in a container read of a device. Pure.

libudev reads a device's record once anybody asks for a property of its own, a link or a tag of it, or whether
udev has processed it (systemd: src/libsystemd/sd-device/sd-device.c, `device_read_db_internal_filename`):
lines `E:KEY=VALUE` are properties, `S:` links below /dev, `I:` when udev processed it first, `G:` tags that
it had at any time, `Q:` those that it has, and `V:` is the form's version. What the kernel says of a device
libudev takes from sysfs, and no record may say it.

Which records: the device's, and those of the devices above it of its subsystem that have no node, as input5
is above event3 and js0, and card0 above pcmC0D0p: they are parts of what was attached, and programs ask them
for properties, too (libinput: src/evdev.c, `evdev_device_get_udev_tags`). What is further above, such as the
USB device and its hub, is the host's, and none of its records is needed: udev's rules import what is to be
known of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from hotplugd.container.udev_database_helper import MARK
from hotplugd.container.uevent_message import is_fit
from hotplugd.model.uevent import UdevRecord
from hotplugd.model.values import Device

_LAST: Final = MARK.decode()
_MOST: Final = 16 << 10
_TAG: Final = re.compile("[A-Za-z0-9_-]{1,64}", re.ASCII)
# Who asks for these acts for the host: its service manager, and our own udev rule.
_HOSTS_TAGS: Final = frozenset({"systemd"})
_OURS: Final = "hotplugd"
# Properties that libudev reads from sysfs's uevent file.
_KERNELS: Final = frozenset(
    {"DRIVER", "BUSNUM", "DEVNUM", "PRODUCT", "TYPE", "INTERFACE", "IFINDEX", "DISKSEQ", "PARTN", "MODALIAS"}
)
# The property whose value has a line of its own.
_BORN: Final = "USEC_INITIALIZED"


def device_id(device: Device) -> str:
    """What udev calls the device's file in its database (systemd: sd-device.c, `sd_device_get_device_id`)."""
    if device.devnum is not None:
        return f"{device.devnum.kind[0]}{device.devnum.major}:{device.devnum.minor}"
    return f"+{device.subsystem}:{device.syspath.rpartition('/')[2]}"


def texts(record: UdevRecord) -> dict[str, str]:
    """The records that are to be there for a device, by their names."""
    found = {device_id(record.device): _text(record.device, record.links)}
    for above in record.device.ancestors():
        if above.devnum is not None or above.is_usb_device or above.subsystem != record.device.subsystem:
            break
        found[device_id(above)] = _text(above, ())
    return found


def _text(device: Device, links: tuple[str, ...]) -> str:
    lines = list(_lines(device, links))
    room = _MOST - len(_LAST) - 1
    kept = []
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            break
        kept.append(line)
    return "".join(f"{line}\n" for line in (*kept, _LAST))


def _lines(device: Device, links: tuple[str, ...]) -> Iterator[str]:
    properties = device.properties
    yield "V:1"
    # Without it libudev says that udev has not processed the device.
    born = properties.get(_BORN, "")
    yield f"I:{born if born.isascii() and born.isdecimal() else '1'}"
    yield from (f"S:{link.removeprefix('/dev/')}" for link in links if _is_link(link))
    tags = sorted(_tags(properties))
    yield from (f"G:{tag}" for tag in tags)
    yield from (f"Q:{tag}" for tag in tags)
    for key, value in properties.items():
        if is_fit(key, value) and key not in _KERNELS and key != _BORN:
            yield f"E:{key}={value}"


def _is_link(path: str) -> bool:
    return path.startswith("/dev/") and path.isprintable() and " " not in path


def _tags(properties: Mapping[str, str]) -> Iterator[str]:
    said = properties.get("CURRENT_TAGS", properties.get("TAGS", ""))
    for tag in dict.fromkeys(said.split(":")):
        if _TAG.fullmatch(tag) and tag not in _HOSTS_TAGS and not tag.startswith(_OURS):
            yield tag
