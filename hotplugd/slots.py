"""The links below /dev/hotplugd, one pair for each enumeration of each device that is attached.

Our udev rule makes the same links and takes them away with the device, also while no daemon runs. Where the
rule is not installed the daemon does both itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hotplugd.entry import SLOTS, slot_links
from hotplugd.model import Device, Devnum


class AlreadyRunning(Exception):
    """Another hotplugd on this host looks after the same server."""


class SlotError(OSError):
    """A slot's link exists and means something else."""


def devnum_of(status: os.stat_result) -> Devnum | None:
    """The device number of a node; None for what is no device node."""
    if stat.S_ISCHR(status.st_mode):
        return Devnum("char", os.major(status.st_rdev), os.minor(status.st_rdev))
    if stat.S_ISBLK(status.st_mode):
        return Devnum("block", os.major(status.st_rdev), os.minor(status.st_rdev))
    return None


class Slots:
    """Makes and removes links. folder is /dev/hotplugd, which is made where it is missing."""

    def make(self, device: Device) -> None:
        """Make the device's links, or see that they are right.

        Raises SlotError where a link of that name leads to another device, else OSError.
        """
        for link in slot_links(device.slot):
            try:
                os.symlink(device.node, link)
            except FileNotFoundError:
                Path(SLOTS).mkdir(mode=0o755, exist_ok=True)
                os.symlink(device.node, link)
            except FileExistsError:
                found = devnum_of(os.stat(link))
                if found != device.devnum:
                    raise SlotError(f"{link} should lead to {device.devnum} and leads to {found}") from None

    def remove(self, device: Device) -> None:
        """Take the device's links away. Raises OSError."""
        for link in slot_links(device.slot):
            try:
                os.unlink(link)
            except FileNotFoundError:
                continue

    def sweep(self) -> list[str]:
        """Take away links that lead nowhere. Returns their names. Raises OSError.

        They are left over from devices that went while neither we nor our udev rule looked.
        """
        swept: list[str] = []
        for link in os.scandir(SLOTS):
            if link.is_symlink() and not Path(link.path).exists():
                Path(link.path).unlink(missing_ok=True)
                swept.append(link.name)
        return swept


@contextmanager
def lock(server: str) -> Iterator[None]:
    """Be the one hotplugd on this host for `server` (an address) for as long as the context lasts.

    The lock is the kernel's and goes with the process. Its file also keeps the folder from being empty:
    udevd removes an empty folder, and LXD does not notice that.
    Raises AlreadyRunning, or OSError where /dev cannot be written.
    """
    Path(SLOTS).mkdir(mode=0o755, exist_ok=True)
    name = ".lock-" + hashlib.sha256(os.path.realpath(server).encode()).hexdigest()[:16]
    descriptor = os.open(Path(SLOTS, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"another hotplugd on this host looks after {server} already; `hotplugd status` speaks to it"
            ) from None
        yield
    finally:
        os.close(descriptor)
