"""Which disks the host uses: what is mounted, swapped on, or part of another disk, a pool or a volume group.

Every function raises OSError or ValueError where that cannot be told: then the disk counts as used.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from hotplugd.aio.shortage import is_short
from hotplugd.host import sysfs
from hotplugd.host.open_files import holder
from hotplugd.model.text import quoted
from hotplugd.model.values import Device

_ESCAPES: Final = {r"\040": " ", r"\011": "\t", r"\012": "\n", r"\134": "\\"}
_BTRFS: Final = "/sys/fs/btrfs"
_ZFS: Final = "/proc/spl/kstat/zfs"
_FIELDS: Final = 10  # of a line of mountinfo, the least (proc(5))
# The process ended, or the device went.
_ENDED: Final = (errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EINVAL)
_OURS: Final = ("/proc/self/mountinfo", "/proc/1/mountinfo")


def in_use(device: Device) -> str:
    """Why the host needs this disk: empty where it does not, and where it is gone.

    A disk is in use when one of its partitions is. Read from mountinfo and swaps (proc(5)), and from the
    `holders` folders of sysfs (LVM, RAID, crypt, multipath, bcache); see `_pool` and `_loops` for what holds
    otherwise.
    """
    if not os.path.isdir(device.syspath):
        return ""
    if pool := _pool(device):
        return f"{device.kernel} is part of the {pool}"
    mounts, swaps = _mounts(), _swaps()
    for syspath in (device.syspath, *_partitions(device.syspath)):
        name = os.path.basename(syspath)
        if (number := _number(syspath)) in mounts:
            return f"{name} is mounted on {mounts[number]}"
        if f"/dev/{name.replace('!', '/')}" in swaps:
            return f"{name} is swap space"
        if above := sysfs.names(f"{syspath}/holders") or _loops(number):
            return f"{name} is part of {above[0]}"
    return ""


def _pool(device: Device) -> str:
    """Which ZFS pool or volume group it is part of, or empty.

    Of ZFS those that are imported: a member's label is its pool's name (blkid(8)). Of LVM, whose volumes need
    not be active, those of which it told udevd that they are whole.
    """
    if device.properties.get("ID_FS_TYPE") == "zfs_member":
        pool = device.properties.get("ID_FS_LABEL", "")
        if pool.strip(".") and "/" not in pool and os.path.isdir(f"{_ZFS}/{pool}"):
            return f"ZFS pool {pool}"
    group = device.properties.get("LVM_VG_NAME_COMPLETE", "")
    return f"volume group {quoted(group)}" if group else ""


def mounted_elsewhere(devices: Mapping[str, str], inside: str = "") -> str:
    """Which of these is mounted in any process's mount namespace, and by whom.

    devices  disks and partitions: their names by their numbers
    inside  what the control groups call the container in which that does not count

    Takes some milliseconds for a hundred processes. The numbers alone count: a file system's source is
    whatever who mounted it says, also without privileges.
    """
    seen: set[bytes] = set()
    for pid in filter(str.isdecimal, os.listdir("/proc") if devices else ()):
        try:
            with Path(f"/proc/{pid}/mountinfo").open("rb") as file:
                # A mount has a number that no other has: by that of the first a namespace is known again.
                first = file.readline()
                if first in seen:
                    continue
                seen.add(first)
                mounts = first + file.read()
            for number, name in devices.items():
                if f" {number} ".encode() in mounts and not _is_of(pid, inside):
                    return f"{name} is mounted by {quoted(str(holder(pid)))}"
        except OSError as error:
            if error.errno not in _ENDED:
                raise
    return ""


def numbers(device: Device) -> dict[str, str]:
    """The names of the disk and its partitions by their numbers, `major:minor`. None where it is gone."""
    if not os.path.isdir(device.syspath):
        return {}
    return {_number(each): os.path.basename(each) for each in (device.syspath, *_partitions(device.syspath))}


def _is_of(pid: str, inside: str) -> bool:
    return bool(inside) and holder(pid).instance == inside


def _number(syspath: str) -> str:
    """Its number, as `major:minor`; none where it is gone."""
    return (sysfs.read(f"{syspath}/dev") or b"gone").decode("ascii").strip()


def _partitions(syspath: str) -> Iterator[str]:
    with os.scandir(syspath) as entries:
        for below in entries:
            if below.is_dir(follow_symlinks=False) and Path(below.path, "partition").exists():
                yield below.path


def _loops(number: str) -> list[str]:
    """The loop devices over the disk of this number: the kernel holds it, and no process (loop(4))."""
    loops = []
    for loop in (each for each in sysfs.names("/sys/block") if each.startswith("loop")):
        path = sysfs.read(f"/sys/block/{loop}/loop/backing_file") or b""
        try:
            status = os.stat(path.decode("utf-8", "surrogateescape").rstrip("\n"))
        except OSError as error:  # the file is gone, or elsewhere
            if is_short(error):
                raise
            continue
        if stat.S_ISBLK(status.st_mode) and number == _as_text(status.st_rdev):
            loops.append(loop)
    return loops


def _as_text(number: int) -> str:
    return f"{os.major(number)}:{os.minor(number)}"


def _mounts() -> dict[str, str]:
    """Where each device number, as `major:minor`, is mounted: in the host's mount namespace, and in ours,
    which a unit makes another.
    """
    mounted: dict[str, str] = {}
    for path in _OURS:
        for line in Path(path).read_text("utf-8", "surrogateescape").splitlines():
            fields = line.split(" ")
            if len(fields) < _FIELDS or "-" not in fields[6:-3]:
                raise ValueError(f"{path} is not as proc(5) has it")
            place = _unescaped(fields[4])
            mounted.setdefault(fields[2], place)
            # btrfs and others have a number of their own there: take that of what was mounted, too.
            source = fields[fields.index("-", 6) + 2]
            if source.startswith("/dev/"):
                with suppress(OSError):  # a name of what is gone, or was renamed
                    mounted.setdefault(_as_text(os.stat(_unescaped(source)).st_rdev), place)
    # A btrfs of several disks is mounted by one of them.
    for pool in sysfs.names(_BTRFS):
        for member in sysfs.names(f"{_BTRFS}/{pool}/devices"):
            if (number_of := sysfs.read(f"{_BTRFS}/{pool}/devices/{member}/dev")) is not None:
                mounted.setdefault(number_of.decode("ascii").strip(), "a btrfs of several disks")
    return mounted


def _unescaped(text: str) -> str:
    for escape, character in _ESCAPES.items():
        text = text.replace(escape, character)
    return text


def _swaps() -> set[str]:
    try:
        lines = Path("/proc/swaps").read_text("utf-8", "surrogateescape").splitlines()[1:]
    except FileNotFoundError:  # a kernel without
        return set()
    return {os.path.realpath(_unescaped(line.split()[0])) for line in lines if line.split()}
