"""USB devices that are being read since the kernel announced them, and whether these are what was read.

A thread may be long in reading, or begin late. By then the device may be gone, and another in its place.
"""

from __future__ import annotations

from hotplugd.host import sysfs
from hotplugd.host.device_reader import Plugged


class Plugs:
    """The number of the kernel's `add` of each device that is being read, by its syspath."""

    def __init__(self) -> None:
        self._reading: dict[str, int] = {}

    def __contains__(self, syspath: object) -> bool:
        return syspath in self._reading

    def read(self, syspath: str, sequence: int) -> None:
        """The kernel has announced the device by the event with this number: it is read from now on."""
        self._reading[syspath] = sequence

    def done(self, syspath: str, sequence: int) -> None:
        """What that event announced is not being read any more."""
        if self._reading.get(syspath) == sequence:
            del self._reading[syspath]

    def gone(self, syspath: str) -> None:
        """The kernel has announced that the device goes."""
        self._reading.pop(syspath, None)

    def missed(self) -> None:
        """Something was not heard: any of them may be gone."""
        self._reading.clear()

    def is_announced(self, read: Plugged, sequence: int) -> bool:
        """Whether what was read is what that event announced, and is there. Raises as `sysfs.inode` does."""
        syspath = read.device.syspath
        return self._reading.get(syspath) == sequence and sysfs.inode(syspath) == read.folder
