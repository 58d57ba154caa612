"""What the host itself uses: disks, network interfaces, the console's GPU, and what these hang from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

from hotplugd.aio.shortage import is_short
from hotplugd.host import disks, netif, sysfs
from hotplugd.model.values import CANNOT_TELL, Device

# What is another way to disks.
_LEADING: Final = frozenset({"usb", "pci", "scsi_generic", "bsg", "mtd", "nvme", "nvme-generic"})
# What the folder of a USB interface has below it that is no disk and no network interface.
_NODES: Final = ("ep_", "power", "tty", "usbmisc", "sound", "input", "video4linux", "hidraw", "0003:")


def in_use(device: Device) -> str:
    """Why the host needs this device itself; empty where it does not. See the functions for each kind.

    Where that cannot be told it is not free either, and what is in the way is said.
    """
    try:
        return use_of(device)
    except OSError as error:
        return f"{CANNOT_TELL}: {error}"


def use_of(device: Device) -> str:
    """Likewise, but raises OSError where no file can be opened: that says nothing, and is soon over."""
    try:
        return _in_use(device)
    except (OSError, ValueError) as error:
        if is_short(error):
            raise
        return f"{CANNOT_TELL}: {error}"


def in_use_by_anybody(device: Device, inside: str = "") -> str:
    """Likewise, and whether a disk that it leads to is mounted by any process. May take a while.

    inside  what the control groups call the container in which a mount does not count
    """
    if found := in_use(device):
        return found
    try:
        return disks.mounted_elsewhere(disks_of(device), inside)
    except (OSError, ValueError) as error:
        return f"{CANNOT_TELL}: {error}"


def disks_of(device: Device) -> dict[str, str]:
    """The disk that it is, or those to which it is another way: numbers and names, with those of partitions.

    Of most devices there are none, which is soon seen. Raises OSError where that cannot be told.
    """
    if device.subsystem == "block":
        return disks.numbers(device)
    is_usb = device.subsystem == "usb"
    if device.subsystem not in _LEADING or (is_usb and not _is_more(device)):
        return {}
    below = (each for path in _ways(device) for each in _devices_below(path) if each.subsystem == "block")
    return {number: name for each in below for number, name in disks.numbers(each).items()}


def _in_use(device: Device) -> str:
    ask = _BY_SUBSYSTEM.get(device.subsystem)
    return ask(device) if ask is not None else ""


def _usb(device: Device) -> str:
    """Whether the host uses a disk or a network interface of this USB device."""
    return _below(device.syspath) if _is_more(device) else ""


def _is_more(device: Device) -> bool:
    """Whether it is a USB device of which a driver has made anything but nodes; of most not, soon seen."""
    if not device.is_usb_device:
        return False
    with suppress(FileNotFoundError):  # it went
        for interface in filter(lambda each: ":" in each.name, _folders(device.syspath)):
            if not all(each.name.startswith(_NODES) for each in _folders(interface.path)):
                return True
    return False


def _folders(path: str) -> list[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]


def _another_way(device: Device) -> str:
    """Whether the host uses the disk to which this is another way."""
    return next(filter(None, map(_below, _ways(device))), "")


def _ways(device: Device) -> list[str]:
    """Where the disks are to which this leads: below it, or beside."""
    if device.subsystem in ("usb", "pci", "mtd"):
        return [device.syspath]
    return [device.syspath, os.path.realpath(f"{device.syspath}/device")]


def _below(syspath: str) -> str:
    """Whether the host uses a disk or a network interface of this device."""
    for each in _devices_below(syspath):
        if used := _in_use(each):
            return used if each.kernel in used else f"{each.kernel}: {used}"
    return ""


def _devices_below(syspath: str) -> Iterator[Device]:
    for subsystem in ("block", "net"):
        folder = f"/sys/class/{subsystem}"
        for name in sorted(os.listdir(folder)):
            try:
                found = os.path.normpath(f"{folder}/{os.readlink(f'{folder}/{name}')}")
            except OSError as error:  # it went, or is no device: bonding_masters
                if is_short(error):
                    raise
                continue
            if found.startswith(syspath + "/"):
                yield Device(found, subsystem, name)


def _gpu(device: Device) -> str:
    """Whether the console is on this GPU: its framebuffer's device is it, or the one that it is a part of.

    Read from sysfs: /sys/class/graphics/fb*/device, and vtconsole for whether the console is on framebuffers.
    """
    consoles = (each for each in sysfs.names("/sys/class/vtconsole") if each.startswith("vtcon"))
    if not any("frame buffer" in _text(f"/sys/class/vtconsole/{each}/name") for each in consoles):
        return ""
    for framebuffer in (each for each in sysfs.names("/sys/class/graphics") if each.startswith("fb")):
        owner = os.path.realpath(f"/sys/class/graphics/{framebuffer}/device")
        if device.syspath == owner or device.syspath.startswith(owner + "/"):
            return f"the console is on it, by {framebuffer}"
    return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except FileNotFoundError:  # it went
        return ""


_BY_SUBSYSTEM: Final[Mapping[str, Callable[[Device], str]]] = MappingProxyType(
    {
        "block": disks.in_use,
        "net": lambda device: netif.in_use(device.syspath),
        "drm": _gpu,
        "pci": lambda device: _gpu(device) or _below(device.syspath),
        "usb": _usb,
        "scsi_generic": _another_way,
        "bsg": _another_way,
        "mtd": _another_way,
        "nvme": _another_way,
        "nvme-generic": _another_way,
    }
)
