"""Which devices there are: by events, in whatever order they come, and by listings.

An event only says that a device has to be looked at: its properties are read from sysfs and udevd's database
(`device_reader`), and an event about a device that sysfs does not have is ignored.

A removal is announced twice, by the kernel and by udevd, at different times. Each event has the kernel's
sequence number, by which a late event about a device that is gone is told from one about its successor. A
device can make udevd announce anything (`properties`), so only the kernel's removal of another device counts.
The kernel announces a removal before it takes the device out of sysfs. So after a read of sysfs, the removals
of earlier devices are in the socket, and they are taken before the result of the read.

Some time after an event all known devices are compared with sysfs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from hotplugd.host import sysfs
from hotplugd.host.away import on_host
from hotplugd.host.device_reader import Plugged, Reader, Seen, all_syspaths, matters
from hotplugd.host.known_device import Known, is_same, still
from hotplugd.host.node_slot import has_number
from hotplugd.host.plugs import Plugs
from hotplugd.host.removals import Removals
from hotplugd.host.udevd import Backlog
from hotplugd.host.uevent import Event
from hotplugd.host.waiting import Gate, Waiting
from hotplugd.model.values import Device

# Seconds from an event to the comparison: by then a device whose removal was heard has left sysfs.
_COMPARED: Final = 1.0


class Sink(Protocol):
    """Hears of devices."""

    def device(self, device: Device) -> None:
        """The device is there, as udevd has it."""

    def no_device(self, syspath: str) -> None:
        """The device is gone."""

    def listed_devices(self, devices: list[Device], unprocessed: list[Device]) -> None:
        """All devices there are, and those that udevd has not processed."""


class Present:
    """The devices that there are.

    has_numbers  whether our udev rule numbers enumerations
    plugs        the USB devices that are being read before udevd has processed them

    reader    reads devices
    catch_up  has all events heard that the kernel has sent
    gate      holds off what comes and goes all the time; None where nothing does
    short     called with the reason where no file can be opened to read a device that no event is about
    """

    def __init__(
        self,
        reader: Reader,
        sink: Sink,
        backlog: Backlog,
        catch_up: Callable[[], None],
        gate: Gate | None = None,
        short: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.reader = reader
        self._sink = sink
        self._backlog = backlog
        self._catch_up = catch_up
        self._waiting = Waiting(self._read_again, gate)
        self._short = short
        self._known: dict[str, Known] = {}
        # The number of the last uevent about each device that is read later.
        self._later: dict[str, int] = {}
        self._listed = 0
        self.has_numbers = False
        self.plugs = Plugs()
        self._removals = Removals(reader)
        self._comparing: asyncio.TimerHandle | None = None

    def list(self, *, wait: bool) -> None:
        """Tell the sink of every device there is. Raises OSError, and tells nothing, where files run out.

        wait  whether events follow, so that those that udevd has not processed are waited for
        """
        self.plugs.missed()
        sysfs.see_room()
        start = sysfs.sequence_now()
        self.reader.forget_all()
        known: dict[str, Known] = {}
        unprocessed: list[Device] = []
        held: list[str] = []
        for syspath in all_syspaths():
            sysfs.see_room()
            before = self._known.get(syspath)
            seen = self.reader.read(syspath, still(before), listing=True)
            if seen is None:
                continue
            if seen.settled:
                if self._waiting.was_read(seen.device):
                    held.append(syspath)
                else:
                    known[syspath] = Known(seen.device, sysfs.inode(syspath))
            elif before is not None and is_same(seen, before):
                # udevd lost its database: what it said of the device is still so.
                known[syspath] = replace(before, sequence=None)
            else:
                unprocessed.append(seen.device)
        self._later = dict.fromkeys((*held, *(self._later.keys() - known.keys())), start)
        for syspath in self._known.keys() - known.keys():
            if syspath not in self._waiting:
                self._forget_later(syspath)
        # What is gone stays gone: udevd may still tell of it from before.
        self._known = known
        self._listed = start
        # udevd keeps nothing of PCI devices that it has nothing to say of.
        waiting = [each.syspath for each in unprocessed if each.subsystem != "pci"]
        waiting += [each.device.syspath for each in known.values() if each.device.early]
        self.has_numbers = any(has_number(each.device) for each in known.values())
        self._backlog.only(set(waiting))
        if wait:
            for syspath in waiting:
                self._backlog.add(syspath, found=True)
        self._sink.listed_devices([each.device for each in known.values()], unprocessed)

    def restore(self, device: Device) -> Device | None:
        """What is away, with the devices above it as they are; None where they are gone.

        Raises OSError where no file can be opened; then all is listed again soon.
        """
        try:
            return on_host(device, self.reader)
        except OSError as error:
            self._short(f"what {device} hangs from cannot be read: {error}")
            raise

    def stop(self) -> None:
        """Compare and read nothing any more."""
        self._waiting.clear()
        if self._comparing is not None:
            self._comparing.cancel()
            self._comparing = None

    # --- events -----------------------------------------------------------------------------------------

    def heard(self, event: Event) -> None:
        """Take note of an event. Raises OSError, and has taken no note of it, where no file can be opened."""
        if event.action == "remove":
            self._removed(event.syspath, event.sequence, early=event.source == "kernel")
        elif event.source == "udev":
            self._processed(event)
        elif event.action == "add":
            self._added(event)

    def plugged(self, read: Plugged, sequence: int, decides: Callable[[Device], bool]) -> None:
        """What was just plugged in was read. Raises OSError, and has taken no note of it.

        decides  whether it goes by that; else it waits for udevd
        """
        syspath = read.device.syspath
        device = self.reader.completed(read.device)
        self._catch_up()
        known = syspath in self._known or syspath in self._waiting
        if known or not self.plugs.is_announced(read, sequence) or not decides(device):
            return
        if self._waiting.was_read(device):
            self._later[syspath] = sequence
        else:
            self._known[syspath] = Known(device, read.folder, sequence)
            self._sink.device(device)

    def is_early(self, syspath: str) -> bool:
        """Whether the device goes by what the kernel alone says of it."""
        return syspath in self._known and self._known[syspath].device.early

    def _processed(self, event: Event) -> None:
        syspath = event.syspath
        if self._removals.is_late(event.syspath, event.sequence):
            return
        sysfs.see_room()
        self._compare_soon()
        if self._waits(event):
            return
        above = self.reader.forget_above(syspath)
        seen = self.reader.read(syspath, still(self._known.get(syspath)), listing=False)
        self._catch_up()
        if self._removals.is_late(event.syspath, event.sequence):
            return  # what was read may be its successor's
        self._removals.forget(syspath)
        if event.before:
            self._removed(event.before, event.sequence, early=False)
        self._later.pop(syspath, None)
        self._take(syspath, seen, event.sequence)
        self._look_below(syspath, above)

    def _look_below(self, syspath: str, above: Device | None) -> None:
        if above is not None and self.reader.above(syspath) != above:
            for below, known in [each for each in self._known.items() if each[0].startswith(syspath + "/")]:
                # Rules may ask for what changed by `parent`.
                self._look_at(below, still(known), known.sequence)

    def _waits(self, event: Event) -> bool:
        """Whether the device is read later: it is held off, or changes all the time."""
        syspath = event.syspath
        # An event of one that was read before udevd had processed it is no second plug.
        plugged = event.action == "add" and self._later.get(syspath) != event.sequence
        if not self._waiting.said(syspath, plugged=plugged, known=self._is_known(syspath)):
            return False
        self._removals.forget(syspath)
        if event.before:
            self._removed(event.before, event.sequence, early=False)
        self._backlog.done(syspath)
        self._later[syspath] = event.sequence
        return True

    def _read_again(self, syspath: str) -> None:
        """The time has come to read a device that was to be read later."""
        if self._waiting.said(syspath, plugged=False, known=self._is_known(syspath)):
            return
        known = self._known.get(syspath)
        sequence = self._later.get(syspath, known.sequence if known is not None else None)
        gone = self._removals.of(syspath)
        above = self.reader.forget_above(syspath)
        try:
            sysfs.see_room()
            seen = self.reader.read(syspath, still(known), listing=False)
        except OSError as error:
            self._short(f"{syspath} cannot be read: {error}")
            return
        self._catch_up()
        # What was gone before was another: a removal of this one would have ended the waiting.
        if self._removals.of(syspath) == gone:
            self._later.pop(syspath, None)
            self._take(syspath, seen, sequence)
            self._look_below(syspath, above)

    def _is_known(self, syspath: str) -> bool:
        return syspath in self._known or self.reader.has_above(syspath)

    def _added(self, event: Event) -> None:
        last = self._last(event.syspath)
        if last is not None and event.sequence <= last:
            return
        if matters(event.syspath):
            self._backlog.add(event.syspath)

    def _removed(self, syspath: str, sequence: int, *, early: bool) -> None:
        self._compare_soon()
        if early:
            self.plugs.gone(syspath)
        known = self._known.get(syspath)
        last = self._last(syspath)
        if last is not None and 0 < sequence < last:
            return  # of an earlier device of that name; or it was on its way out while everything was listed
        if not early and last is not None and os.path.isdir(syspath):
            return  # a device may have udevd say this of another; where it is so the kernel says it, too
        self._forget_later(syspath)
        self._backlog.done(syspath)
        if early and sequence:
            # udevd may still be busy with what came before, and tell us of the device once more.
            self._removals.note(syspath, known.device if known is not None else None, sequence)
        elif not early and not self._removals.is_later(syspath, sequence):
            self._removals.forget(syspath)
        self.reader.forget_above(syspath)
        if known is not None:
            self._drop(syspath)

    # --- what is known ----------------------------------------------------------------------------------

    def _take(self, syspath: str, seen: Seen | None, sequence: int | None) -> None:
        """Believe what was read."""
        before = self._known.get(syspath)
        if seen is None:
            # It is not in sysfs (yet, or any more), or has no number.
            self._forget_later(syspath)
            self._backlog.done(syspath)
            if before is not None:
                self._drop(syspath)
        elif seen.settled:
            self._backlog.done(syspath)
            if self._waiting.was_read(seen.device):
                self._later[syspath] = self._listed if sequence is None else sequence
                if before is not None:
                    self._drop(syspath)  # an earlier device, whose removal was not heard
                return
            self._known[syspath] = Known(seen.device, sysfs.inode(syspath), sequence)
            self._sink.device(seen.device)
        elif before is None or not is_same(seen, before):
            # What was said is about an earlier device, or udevd failed to process this one (it sets the
            # property UDEV_WORKER_FAILED), as where it may not open a disk. Of a plug the kernel tells.
            self._backlog.add(syspath, found=True)
            if before is not None:
                self._drop(syspath)

    def _look_at(self, syspath: str, before: Device | None, sequence: int | None) -> None:
        try:
            seen = self.reader.read(syspath, before, listing=False)
        except OSError as error:
            self._short(f"{syspath} cannot be read: {error}")
        else:
            self._take(syspath, seen, sequence)

    def _compare_soon(self) -> None:
        if self._comparing is None:
            self._comparing = asyncio.get_running_loop().call_later(_COMPARED, self._compare)

    def _compare(self) -> None:
        """See that what is known is still in sysfs, and is what it was."""
        self._comparing = None
        for syspath, known in list(self._known.items()):
            try:
                folder = os.stat(syspath).st_ino
            except FileNotFoundError:
                folder = 0
            except OSError:
                self._compare_soon()
                return
            if folder != known.folder:
                self._removals.note(syspath, known.device, 0)
                self._forget_later(syspath)
                self.reader.forget_above(syspath)
                self._drop(syspath)
                self._look_at(syspath, None, None)

    def _forget_later(self, syspath: str) -> None:
        """The device is gone: there is nothing to read later."""
        self._later.pop(syspath, None)
        self._waiting.gone(syspath)

    def _last(self, syspath: str) -> int | None:
        """The number of the last uevent about a device that is there; None where none is known of."""
        if (known := self._known.get(syspath)) is None or syspath in self._later:
            return self._later.get(syspath)
        return self._listed if known.sequence is None else known.sequence

    def _drop(self, syspath: str) -> None:
        del self._known[syspath]
        self._sink.no_device(syspath)
