"""A device as it was told, and whether what sysfs has now is still that one."""

from __future__ import annotations

from dataclasses import dataclass

from hotplugd.host import sysfs
from hotplugd.host.device_reader import Seen
from hotplugd.model.values import Device


@dataclass(frozen=True, slots=True)
class Known:
    """A device as it was told to the sink.

    folder    the number of its folder in sysfs: the kernel gives none twice
    sequence  the number of the last uevent about it; None where none came since the last listing
    """

    device: Device
    folder: int
    sequence: int | None = None


def is_same(seen: Seen, known: Known) -> bool:
    """Whether what was read is the device that is known. Raises OSError as `sysfs.inode` does."""
    return seen.device.devnum == known.device.devnum and sysfs.inode(seen.device.syspath) == known.folder


def still(known: Known | None) -> Device | None:
    """The device, unless its folder is another's by now. Raises OSError as `sysfs.inode` does."""
    return known.device if known is not None and sysfs.inode(known.device.syspath) == known.folder else None
