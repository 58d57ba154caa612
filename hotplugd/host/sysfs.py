"""What sysfs says of devices, read without udev."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

_MOST: Final = 4096
_CHUNK: Final = 1 << 16
# The process or the machine is short of something: this says nothing of the file.
_SHORT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def read(path: str) -> bytes | None:
    """All of a file, or None where there is none to read. Raises OSError where no file can be opened."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            raw = os.read(file, _CHUNK)
            if len(raw) < _CHUNK:
                return raw
            parts = [raw]
            while more := os.read(file, _CHUNK):
                parts.append(more)
            return b"".join(parts)
        finally:
            os.close(file)
    except OSError as error:
        if error.errno in _SHORT:
            raise
    except ValueError:  # no name of a file
        pass
    return None


def name_of_link(path: str) -> str:
    """The last part of what a link in sysfs leads to, or empty: a subsystem's name, a driver's."""
    try:
        return os.path.basename(os.readlink(path))
    except (OSError, ValueError):
        return ""


def attribute(syspath: str, name: str) -> str | None:
    """A sysfs attribute as text, or None where there is none to read."""
    try:
        file = os.open(f"{syspath}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            raw = os.read(file, _MOST)
        finally:
            os.close(file)
    except (OSError, ValueError):
        return None
    return raw.decode("utf-8", "surrogateescape").rstrip("\n \t\0")


def see_room() -> None:
    """Raises OSError where no file can be opened: then what is there looks like what is not.

    libudev takes a device above that it cannot open for none, and rules would judge by half of what is so.
    """
    os.close(os.open("/sys", os.O_PATH | os.O_CLOEXEC))


def peer(syspath: str) -> str:
    """The name that a device in this physical port has at the other USB speed, or empty.

    `port` links to the hub's port, and `peer` there to the same socket's port on the other hub
    (Documentation/ABI/testing/sysfs-bus-usb). Ports are called `usb2-port4` or `2-4-port2`.
    """
    try:
        name = os.path.basename(os.readlink(f"{syspath}/port/peer"))
    except OSError:
        return ""
    hub, _, port = name.partition("-port")
    return f"{hub[3:]}-{port}" if hub.startswith("usb") else f"{hub}.{port}"


def usb_controllers() -> dict[str, str]:
    """The path of the USB host controller of each bus, by the bus's number; none where there is no USB.

    A USB 3 controller has two buses. Of several, which is which in the numbers depends on the order of their
    drivers (Linux: drivers/usb/core/hcd.c, usb_register_bus).
    """
    found: dict[str, str] = {}
    with suppress(OSError):
        for name in os.listdir("/sys/bus/usb/devices"):
            if name.startswith("usb") and name[3:].isdecimal():
                found[name[3:]] = os.path.dirname(os.path.realpath(f"/sys/bus/usb/devices/{name}"))
    return found


def sequence_now() -> int:
    """The number of the kernel's latest uevent, 0 where it does not say."""
    with suppress(OSError, ValueError):
        return int(Path("/sys/kernel/uevent_seqnum").read_text("ascii"))
    return 0


def inode(syspath: str) -> int:
    """The number of the device's folder: the kernel gives none twice (Linux: fs/kernfs/dir.c)."""
    try:
        return os.stat(syspath).st_ino
    except OSError:
        return time.time_ns()


@cache
def boot() -> str:
    """The first eight digits of this boot's id: what carries them is of no other boot (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii")[:8]
