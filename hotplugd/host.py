"""What the host itself uses: mounts, swap, disks that other disks or pools are made of, the console's GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import Final

from hotplugd import nic
from hotplugd.model import Device

_ESCAPES = {r"\040": " ", r"\011": "\t", r"\012": "\n", r"\134": "\\"}


_ZFS: Final = "/proc/spl/kstat/zfs"


def in_use(device: Device) -> str:
    """Why the host needs this device itself; empty where it does not. See the functions for each kind."""
    match device.subsystem:
        case "block":
            return _disk(device)
        case "net":
            return nic.in_use(device.kernel, device.syspath)
        case "drm":
            return _gpu(device)
        case "pci":
            return _gpu(device) or _below(device)
        case _:
            return ""


def _below(device: Device) -> str:
    """Whether the host uses a disk or a network interface of this PCI device."""
    for subsystem in ("block", "net"):
        for link in sorted(glob(f"/sys/class/{subsystem}/*")):
            syspath = os.path.realpath(link)
            if syspath.startswith(device.syspath + "/"):
                name = os.path.basename(link)
                if used := in_use(Device(syspath, subsystem, name)):
                    return used if name in used else f"{name}: {used}"
    return ""


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


def _disk(device: Device) -> str:
    """Whether it is mounted, swapped on, or part of another disk or a pool.

    A disk is in use when one of its partitions is. Read from proc(5)'s mountinfo and swaps, from the
    `holders` folders of sysfs (LVM, RAID, crypt, multipath, bcache), and for ZFS, which holds its disks in no
    such way, from the pools that are imported: a member's label is its pool's name (blkid(8)).
    """
    if device.properties.get("ID_FS_TYPE") == "zfs_member":
        pool = device.properties.get("ID_FS_LABEL", "")
        if pool.strip(".") and "/" not in pool and os.path.isdir(f"{_ZFS}/{pool}"):
            return f"{device.kernel} is part of the ZFS pool {pool}"
    mounts, swaps = _mounts(), _swaps()
    for syspath in (device.syspath, *_partitions(device.syspath)):
        name = os.path.basename(syspath)
        with suppress(OSError):
            number = Path(syspath, "dev").read_text("ascii").strip()
            if number in mounts:
                return f"{name} is mounted on {mounts[number]}"
        if f"/dev/{name}" in swaps:
            return f"{name} is swap space"
        with suppress(OSError):
            for holder in sorted(os.listdir(f"{syspath}/holders")):
                return f"{name} is part of {holder}"
    return ""


def _text(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text("utf-8", "replace")
    return ""


def _partitions(syspath: str) -> Iterator[str]:
    with suppress(OSError):
        for below in os.scandir(syspath):
            if below.is_dir(follow_symlinks=False) and Path(below.path, "partition").exists():
                yield below.path


def _mounts() -> dict[str, str]:
    """Where each device number, as `major:minor`, is mounted."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
            fields = line.split(" ")
            place = _unescaped(fields[4])
            found.setdefault(fields[2], place)
            # btrfs and others have a number of their own there: take that of what was mounted, too.
            source = fields[fields.index("-") + 2]
            if source.startswith("/dev/"):
                with suppress(OSError):
                    number = os.stat(_unescaped(source)).st_rdev
                    found.setdefault(f"{os.major(number)}:{os.minor(number)}", place)
    for member in glob("/sys/fs/btrfs/*/devices/*/dev"):
        with suppress(OSError):
            found.setdefault(Path(member).read_text("ascii").strip(), "a btrfs of several disks")
    return found


def _unescaped(text: str) -> str:
    for escape, character in _ESCAPES.items():
        text = text.replace(escape, character)
    return text


def _swaps() -> set[str]:
    with suppress(OSError):
        lines = Path("/proc/swaps").read_text("utf-8", "surrogateescape").splitlines()[1:]
        return {os.path.realpath(line.split()[0]) for line in lines if line.split()}
    return set()
