"""What sysfs says of devices, read without udev."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

_MOST: Final = 4096


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


def boot() -> str:
    """The first 8 digits of the number of this boot, in hex: what sysfs numbers it numbers anew with each."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii")[:8]


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
