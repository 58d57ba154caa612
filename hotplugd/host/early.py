"""USB devices as the kernel announces them, read before udevd has processed them.

They are read in threads: sysfs gives a serial number only once the kernel's drivers have looked at the
device, since it takes the device's lock (Linux: drivers/usb/core/sysfs.c, usb_string_attr).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from hotplugd.aio.tasks import Activity
from hotplugd.aio.threads import Threads
from hotplugd.host.present import Present
from hotplugd.host.uevent import Event
from hotplugd.model.values import Device

# Seconds; by then udevd has long processed the device, or hangs at the same lock.
_DEADLINE: Final = 5.0
# So many are read at a time: a device whose driver hangs keeps its thread.
MOST_READ: Final = 16


class Early:
    """Reads what was just plugged in.

    present   where the devices go
    threads   for reading; `MOST_READ` at a time
    activity  what is being read
    decides   called with a device; returns whether it goes by what the kernel says of it alone
    """

    def __init__(
        self, present: Present, threads: Threads, activity: Activity, decides: Callable[[Device], bool]
    ) -> None:
        self._present = present
        self._threads = threads
        self._decides = decides
        self._activity = activity

    def plugged(self, event: Event) -> None:
        """The kernel has announced a USB device."""
        if self._present.has_numbers:
            self._present.plugs.read(event.syspath, event.sequence)
            self._activity.start(partial(self._read, event), lambda _: None)

    def stop(self) -> None:
        """Read nothing any more."""
        self._activity.close()
        self._threads.close()

    async def _read(self, event: Event) -> None:
        reader = self._present.reader
        try:
            plugged = await self._threads.call(
                partial(reader.plugged, event.syspath, event.sequence), _DEADLINE
            )
            if plugged is not None:
                self._present.plugged(plugged, event.sequence, self._decides)
        except OSError:  # no file or thread is left, or it takes too long: udevd tells of the device
            return
        finally:
            self._present.plugs.done(event.syspath, event.sequence)
