"""Which processes have a device's node open."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hotplugd.model.values import Devnum, InstanceName

# The control group that liblxc makes for what runs inside (lxc.container.conf(5): lxc.cgroup.dir.container).
_PAYLOAD: Final = re.compile(r"/lxc\.payload\.([^/\s]+)")

_FLAGS: Final = re.compile(r"^flags:\s*([0-7]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, order=True)
class Holder:
    """A process. instance: the container that it runs in, as its server calls it; empty: the host."""

    pid: int
    command: str
    instance: str = ""

    def __str__(self) -> str:
        where = f" in {self.instance}" if self.instance else ""
        return f"{self.command} (process {self.pid}{where})"


def cgroup_name(name: InstanceName) -> str:
    """What the control groups call an instance (LXD: project.Instance)."""
    return name.name if name.project == "default" else f"{name.project}_{name.name}"


def holders(number: Devnum) -> list[Holder]:
    """Who has a node with this number open, on the host or in a container, by process number.

    Processes that may not be looked at are left out: root sees all. By proc(5), /proc/pid/fd.
    """
    found: list[Holder] = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        # A process that ends meanwhile holds nothing any more.
        with suppress(OSError):
            if any(_is_open(pid, each, number) for each in os.listdir(f"/proc/{pid}/fd")):
                found.append(holder(pid))
    return sorted(found)


def _is_open(pid: str, descriptor: str, number: Devnum) -> bool:
    with suppress(OSError):
        status = os.stat(f"/proc/{pid}/fd/{descriptor}")
        kind = stat.S_ISBLK if number.kind == "block" else stat.S_ISCHR
        is_node = kind(status.st_mode) and status.st_rdev == os.makedev(number.major, number.minor)
        return is_node and not _is_path(pid, descriptor)
    return False


def _is_path(pid: str, descriptor: str) -> bool:
    """Whether it was opened with O_PATH, as hotplugd's own are: the device is not open by that (open(2)).

    By proc(5), /proc/pid/fdinfo: `flags`, in octal. Raises OSError.
    """
    flags = _FLAGS.search(Path("/proc", pid, "fdinfo", descriptor).read_text("ascii", "replace"))
    return flags is not None and bool(int(flags[1], 8) & os.O_PATH)


def holder(pid: str) -> Holder:
    """The process, and the container that it is in. Raises OSError where it has ended."""
    command = Path("/proc", pid, "comm").read_text("utf-8", "replace").strip()
    inside = _PAYLOAD.search(Path("/proc", pid, "cgroup").read_text("utf-8", "replace"))
    return Holder(int(pid), command, inside[1] if inside else "")
