"""What tells that a USB port or device does not do well, as the kernel says it in sysfs.

All of it may be read without privileges. That a device could not be enumerated is no uevent, and the kernel's
log is not for us (CAP_SYSLOG); since Linux 6.5 the port says in which state it was left.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SYSFS: Final = Path("/sys/bus/usb/devices")

# A hub's interface, 1-0:1.0 for that of a controller; its ports, usb1-port4 or 1-2.1-port4; a device.
_HUB: Final = re.compile(r"(?P<bus>\d+)-(?P<below>[\d.]+):\d+\.\d+", re.ASCII)
_PORT: Final = re.compile(r".+-port(\d+)", re.ASCII)
_DEVICE: Final = re.compile(r"\d+-[\d.]+", re.ASCII)
_MOST_DIGITS: Final = 20
_LONGEST: Final = 64

_BEGUN: Final = frozenset({"attached", "powered", "reconnecting", "unauthenticated", "default", "addressed"})
"""The states of a device that is being enumerated (kernel: include/uapi/linux/usb/ch9.h)."""


@dataclass(frozen=True, slots=True)
class UsbSigns:
    """What was seen in one look. Ports are called as a device in them is: 1-2.1.4.

    over_currents  how often since the boot a port was switched off for drawing too much power; no zeros
    unfinished     the ports without a device in which one was being enumerated last, and the state of that
    unconfigured   the devices that have no configuration, and are authorized to have one
    """

    over_currents: dict[str, int] = field(default_factory=dict)
    unfinished: dict[str, str] = field(default_factory=dict)
    unconfigured: frozenset[str] = frozenset()


def usb_signs(folder: Path = SYSFS) -> UsbSigns:
    """Look at all USB ports and devices. Raises OSError where nothing can be read. Blocks.

    They are `over_current_count` and `state` of each port, and `bConfigurationValue` and `authorized` of
    each device (kernel: Documentation/ABI/testing/sysfs-bus-usb and stable/sysfs-bus-usb).
    """
    found, unconfigured = UsbSigns(), set[str]()
    for each in folder.iterdir():
        if (hub := _HUB.fullmatch(each.name)) is not None:
            for name, port in _ports(each, hub):
                if count := _count(port):
                    found.over_currents[name] = count
                if (state := _text(port, "state")) in _BEGUN and not _has_device(port):
                    found.unfinished[name] = state
        elif _DEVICE.fullmatch(each.name) and _is_unconfigured(each):
            unconfigured.add(each.name)
    return UsbSigns(found.over_currents, found.unfinished, frozenset(unconfigured))


def _ports(interface: Path, hub: re.Match[str]) -> Iterator[tuple[str, Path]]:
    for port in interface.glob("*-port*"):
        if (number := _PORT.fullmatch(port.name)) is not None:
            below = "" if hub["below"] == "0" else f"{hub['below']}."
            yield f"{hub['bus']}-{below}{number[1]}", port


def _is_unconfigured(device: Path) -> bool:
    """Whether it has no configuration; one that nobody has authorized is to have none."""
    return _text(device, "bConfigurationValue") == "" and _text(device, "authorized") == "1"


def _has_device(port: Path) -> bool:
    """Whether one is in the socket: a device that fails by USB 3 may come up by USB 2."""
    return any((each / "device").is_symlink() for each in (port, port / "peer"))


def _count(port: Path) -> int:
    text = _text(port, "over_current_count") or ""
    return int(text) if text.isdecimal() and len(text) < _MOST_DIGITS else 0


def _text(folder: Path, name: str) -> str | None:
    """What an attribute says; None where there is none: it was pulled meanwhile, or the kernel is older."""
    try:
        with (folder / name).open(encoding="ascii") as file:
            return file.read(_LONGEST).strip()
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return None
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.EIO):
            return None
        raise
