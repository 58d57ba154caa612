"""Removals that the kernel has announced and udevd has not: udevd may still announce the device itself."""

from __future__ import annotations

from dataclasses import dataclass

from hotplugd.host.device_reader import Reader, record_of
from hotplugd.model.values import Device


@dataclass(frozen=True, slots=True)
class Removal:
    """A device is gone.

    sequence  the number of the kernel's uevent; 0 where none was heard
    record    what udevd calls the device's file in its database; empty where nobody knows
    """

    sequence: int
    record: str


class Removals:
    """The announced removals that udevd has not processed, by the devices' syspaths.

    reader  is told which files of udevd's database are of devices that are gone
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._by_syspath: dict[str, Removal] = {}

    def is_late(self, syspath: str, sequence: int) -> bool:
        """Whether an event with this number is about the device that is gone, and not about its successor."""
        removal = self._by_syspath.get(syspath)
        return removal is not None and 0 < sequence <= removal.sequence

    def is_later(self, syspath: str, sequence: int) -> bool:
        """Whether the device has been removed since the event with this number."""
        removal = self._by_syspath.get(syspath)
        return removal is not None and sequence < removal.sequence

    def of(self, syspath: str) -> Removal | None:
        """The last removal of a device at this syspath; None where udevd has told of it, or there is none."""
        return self._by_syspath.get(syspath)

    def note(self, syspath: str, device: Device | None, sequence: int) -> None:
        """The device is gone: what udevd's database has of it is old, until udevd has caught up.

        device  as it was known; None where it was not
        """
        record = record_of(device) if device is not None else ""
        self._by_syspath[syspath] = Removal(sequence, record)
        if device is not None and (born := device.properties.get("USEC_INITIALIZED")):
            self._reader.gone[record] = born

    def forget(self, syspath: str) -> None:
        """Udevd has caught up with the removal."""
        if (removal := self._by_syspath.pop(syspath, None)) is not None:
            self._reader.gone.pop(removal.record, None)
