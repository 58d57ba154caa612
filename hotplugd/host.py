"""What the host itself uses: disks, network interfaces, the console's GPU, and what these hang from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from glob import glob
from pathlib import Path

from hotplugd import disks, nic
from hotplugd.model import CANNOT_TELL, Device


def in_use(device: Device) -> str:
    """Why the host needs this device itself; empty where it does not. See the functions for each kind.

    Where that cannot be told it is not free either, and what is in the way is said.
    """
    try:
        return _in_use(device)
    except (OSError, ValueError) as error:
        return f"{CANNOT_TELL}: {error}"


def in_use_by_anybody(device: Device, inside: str = "") -> str:
    """Likewise, and whether a disk is mounted by any process. May take a while.

    inside  what the control groups call the container in which a mount does not count
    """
    found = in_use(device)
    try:
        if not found and device.subsystem == "block":
            return disks.mounted_elsewhere(device, inside)
    except (OSError, ValueError) as error:
        return f"{CANNOT_TELL}: {error}"
    return found


def _in_use(device: Device) -> str:
    match device.subsystem:
        case "block":
            return disks.in_use(device)
        case "net":
            return nic.in_use(device.syspath)
        case "drm":
            return _gpu(device)
        case "pci":
            return _gpu(device) or _below(device.syspath)
        case "usb" if device.is_usb_device:
            return _below(device.syspath)
        case "scsi_generic" | "bsg" | "nvme" | "nvme-generic":
            # Another way to the same disk: it is below, or beside.
            return _below(device.syspath) or _below(os.path.realpath(f"{device.syspath}/device"))
        case _:
            return ""


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
            with suppress(OSError):  # it went, or is no device: bonding_masters
                found = os.path.normpath(f"{folder}/{os.readlink(f'{folder}/{name}')}")
                if found.startswith(syspath + "/"):
                    yield Device(found, subsystem, name)


def _gpu(device: Device) -> str:
    """Whether the console is on this GPU: its framebuffer's device is it, or the one that it is a part of.

    Read from sysfs: /sys/class/graphics/fb*/device, and vtconsole for whether the console is on framebuffers.
    """
    if not any("frame buffer" in _text(each) for each in glob("/sys/class/vtconsole/vtcon*/name")):
        return ""
    for framebuffer in sorted(glob("/sys/class/graphics/fb*")):
        owner = os.path.realpath(f"{framebuffer}/device")
        if device.syspath == owner or device.syspath.startswith(owner + "/"):
            return f"the console is on it, by {os.path.basename(framebuffer)}"
    return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except FileNotFoundError:  # it went
        return ""
