"""What sysfs says of devices, read without udev.

Every function raises OSError where descriptors or memory ran out: an existing file would seem to be missing.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from hotplugd.aio.shortage import is_short

_MOST: Final = 4096
_CHUNK: Final = 1 << 16


def read(path: str) -> bytes | None:
    """All of a file, or None where there is none to read."""
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
        if is_short(error):
            raise
    except ValueError:  # not a valid file name
        pass
    return None


def name_of_link(path: str) -> str:
    """The last part of what a link in sysfs leads to, or empty: a subsystem's name, a driver's."""
    try:
        return os.path.basename(os.readlink(path))
    except (OSError, ValueError) as error:
        if is_short(error):
            raise
        return ""


def names(folder: str) -> list[str]:
    """What is in a folder, sorted; nothing where there is none.

    glob(3), and Python's, find nothing where no file can be opened.
    """
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def attribute(syspath: str, name: str) -> str | None:
    """A sysfs attribute as text, or None where there is none to read."""
    try:
        file = os.open(f"{syspath}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        if is_short(error):
            raise
        return None
    try:
        # A driver may answer with any error, and with the same each time.
        raw = os.read(file, _MOST)
    except OSError:
        return None
    finally:
        os.close(file)
    return raw.decode("utf-8", "surrogateescape").rstrip("\n \t\0")


def see_room() -> None:
    """Raises OSError where no file can be opened."""
    os.close(os.open("/sys", os.O_PATH | os.O_CLOEXEC))


def peer(syspath: str) -> str:
    """The name that a device in this physical port has at the other USB speed, or empty.

    `port` links to the hub's port, and `peer` there to the same socket's port on the other hub
    (Documentation/ABI/testing/sysfs-bus-usb). Ports are called `usb2-port4` or `2-4-port2`.
    """
    if port := name_of_link(f"{syspath}/port/peer"):
        return in_port(port)
    # `port` is made after the device is announced. The ports are in the folder of the hub's interface.
    hub, name = os.path.dirname(syspath), os.path.basename(syspath)
    above = os.path.basename(hub)
    number = name.removeprefix(f"{above}.") if not above.startswith("usb") else name.partition("-")[2]
    if not number.isdecimal():
        return ""
    links = (f"{hub}/{each}/{above}-port{number}/peer" for each in names(hub) if ":" in each)
    return in_port(next(filter(None, map(name_of_link, links)), ""))


def in_port(port: str) -> str:
    """The name of a device in a port: 2-4 in `usb2-port4`, 2-4.2 in `2-4-port2`; empty for no port."""
    hub, _, number = port.partition("-port")
    if not hub:
        return ""
    return f"{hub[3:]}-{number}" if hub.startswith("usb") else f"{hub}.{number}"


def usb_controllers() -> dict[str, str]:
    """The path of the USB host controller of each bus, by the bus's number; none where there is no USB.

    A USB 3 controller has two buses. Of several, which is which in the numbers depends on the order of their
    drivers (Linux: drivers/usb/core/hcd.c, usb_register_bus).
    """
    controllers: dict[str, str] = {}
    for name in names("/sys/bus/usb/devices"):
        if name.startswith("usb") and name[3:].isdecimal():
            controllers[name[3:]] = os.path.dirname(os.path.realpath(f"/sys/bus/usb/devices/{name}"))
    return controllers


def usb_hubs() -> dict[str, tuple[str, str]]:
    """By the port of each USB hub that is plugged in: which USB its bus is for (1, 2 or 3), and `peer`."""
    ports: dict[str, tuple[str, str]] = {}
    for name in names("/sys/bus/usb/devices"):
        syspath = os.path.realpath(f"/sys/bus/usb/devices/{name}")
        if name[:1].isdecimal() and (attribute(syspath, "maxchild") or "0") != "0":
            root = f"/sys/bus/usb/devices/usb{name.partition('-')[0]}"
            ports[name] = (attribute(root, "idProduct") or "").lstrip("0"), peer(syspath)
    return ports


def subsystems() -> frozenset[str]:
    """The names of the kernel's buses and classes on this host."""
    return frozenset((*names("/sys/bus"), *names("/sys/class")))


def sequence_now() -> int:
    """The number of the kernel's latest uevent, 0 where it does not say."""
    with suppress(ValueError):
        return int(read("/sys/kernel/uevent_seqnum") or b"0")
    return 0


def inode(syspath: str) -> int:
    """The number of the device's folder: the kernel gives none twice (Linux: fs/kernfs/dir.c)."""
    try:
        return os.stat(syspath).st_ino
    except OSError as error:
        if is_short(error):
            raise
        return time.time_ns()


@cache
def boot() -> str:
    """The first eight digits of this boot's id: what carries them is of no other boot (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii")[:8]


def number_without_device(path: str) -> str:
    """The number of a node of which sysfs has no device, as `char 195:255`; else empty.

    Some drivers have programs make their nodes, and register none (NVIDIA's: nvidia-modprobe).
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        if is_short(error):
            raise
        return ""
    kind = {stat.S_IFCHR: "char", stat.S_IFBLK: "block"}.get(stat.S_IFMT(status.st_mode), "")
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return "" if not kind or os.path.exists(f"/sys/dev/{kind}/{number}") else f"{kind} {number}"
