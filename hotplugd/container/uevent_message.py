"""Uevents for those inside a container, in the two forms in which programs hear of devices. Pure.

The kernel's form is what `libusb` without udev, `mdev` and udevd itself read: `ACTION@DEVPATH`, then
`KEY=VALUE`, each ended by a NUL (Linux: lib/kobject_uevent.c). The kernel puts SEQNUM at its end.

libudev's form is what udevd tells programs that use libudev: a header to filter by, and the properties
(systemd: src/libsystemd/sd-device/device-monitor.c, `monitor_netlink_header`).

Keys and values may come from devices, which may be hostile. A property is told when its key is one that a
udev rule could have written and its value is printable text: what ends a property or a line is neither. What
says which device is meant comes before everything else and is said once.
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from hotplugd.model.text import printable
from hotplugd.model.uevent import Uevent

# The kernel adds its SEQNUM, and all must fit into 2048 bytes with the netlink header (UEVENT_BUFFER_SIZE).
_KERNEL_MOST: Final = 2000
# libudev receives into a buffer of 8192 bytes.
_LIBUDEV_MOST: Final = 8192
_HEADER: Final = struct.Struct("=8s4sIII4s4sQ")
_BIG_ENDIAN: Final = struct.Struct(">I")
_MAGIC: Final = 0xFEEDCAFE
_KEY: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# What says which device it is: told once, and never as others have it.
_NAMES: Final = frozenset(
    {"ACTION", "DEVPATH", "SUBSYSTEM", "MAJOR", "MINOR", "DEVNAME", "DEVTYPE", "SEQNUM"}
)
# True of the host's node, links, udevd, service manager and of ours; nothing of it is inside.
_HOSTS: Final = frozenset({"DEVLINKS", "TAGS", "CURRENT_TAGS", "DEVMODE", "DEVUID", "DEVGID", "DEVPATH_OLD"})
_HOSTS_OWN: Final = ("HOTPLUGD_", "SYSTEMD_", "SYNTH_")
_BITS: Final = 0xFFFFFFFF


def kernel_form(uevent: Uevent) -> bytes:
    """The uevent as the kernel sends it, but for SEQNUM. Raises ValueError where it cannot be told."""
    told = _identity(uevent, uevent.path.removeprefix("/dev/"))
    head = f"{uevent.action}@{told['DEVPATH']}\0".encode()
    return head + _properties(told, _lines(uevent.kernel), _KERNEL_MOST - len(head))


def libudev_form(uevent: Uevent, sequence: int) -> bytes:
    """The uevent as udevd tells it to programs. sequence: its SEQNUM, 1 or more. Raises as `kernel_form`."""
    device = uevent.device
    told = {**_identity(uevent, uevent.path), "SEQNUM": str(sequence)}
    properties = _properties(told, device.properties.items(), _LIBUDEV_MOST - _HEADER.size)
    header = _HEADER.pack(
        b"libudev",
        _BIG_ENDIAN.pack(_MAGIC),
        _HEADER.size,
        _HEADER.size,
        len(properties),
        _hash(device.subsystem),
        _hash(device.devtype),
        0,  # of tags, and there are none
    )
    return header + properties


def murmur2(data: bytes) -> int:
    """MurmurHash2 of 32 bits with seed 0, which Austin Appleby gave to the public domain.

    Words are read in the machine's byte order, as systemd does.
    """
    factor = 0x5BD1E995
    value = len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], sys.byteorder) * factor & _BITS
        word = (word ^ word >> 24) * factor & _BITS
        value = value * factor & _BITS ^ word
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * factor & _BITS
    value = (value ^ value >> 13) * factor & _BITS
    return value ^ value >> 15


def _hash(text: str) -> bytes:
    """What filters compare a subsystem or devtype by; 0 for none."""
    return _BIG_ENDIAN.pack(murmur2(text.encode("utf-8", "surrogateescape")) if text else 0)


def _identity(uevent: Uevent, name: str) -> dict[str, str]:
    """The properties that say what happened to which device. Raises ValueError where they cannot be told."""
    device = uevent.device
    number = device.devnum
    told = {
        "ACTION": uevent.action,
        "DEVPATH": device.syspath.removeprefix("/sys"),
        "SUBSYSTEM": device.subsystem,
        **({"MAJOR": str(number.major), "MINOR": str(number.minor)} if number is not None else {}),
        "DEVNAME": name,
        **({"DEVTYPE": device.devtype} if device.devtype else {}),
    }
    for key, value in told.items():
        if not value or not value.isprintable():
            raise ValueError(f"its {key} '{printable(value)}' cannot be told")
    return told


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        key, equals, value = line.partition("=")
        if equals:
            yield key, value


def _properties(first: Mapping[str, str], more: Iterable[tuple[str, str]], room: int) -> bytes:
    """As many properties as there is room for, each ended by a NUL; of several with one key, the first."""
    told = {key: f"{key}={value}\0".encode() for key, value in first.items()}
    room -= sum(map(len, told.values()))
    if room < 0:
        raise ValueError("its names are too long to be told")
    for key, value in more:
        if key in told or not is_fit(key, value):
            continue
        property_ = f"{key}={value}\0".encode()
        if len(property_) <= room:
            told[key] = property_
            room -= len(property_)
    return b"".join(told.values())


def is_fit(key: str, value: str) -> bool:
    """Whether a property may be told. Bytes that are no UTF-8 are surrogates here, and not printable."""
    return (
        _KEY.fullmatch(key) is not None
        and key not in _NAMES
        and key not in _HOSTS
        and not key.startswith(_HOSTS_OWN)
        and value.isprintable()
    )
