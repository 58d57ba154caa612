"""udev: the only file that knows pyudev.

Two groups of the kernel's uevent socket are listened to, before anything is listed:

- udevd's: devices count once udevd has processed them. Before that they lack the properties that rules ask
  for, and would fall through to a later, broader rule.
- the kernel's own, for removals alone: they come earlier, and still come when udevd hangs.

The same removal is thus heard twice, and the two groups are not in step. Each uevent carries the kernel's
sequence number, which tells a late message about a device that is gone from one about its successor.

What was lost (an overflow, a broken socket) is found again by opening new sockets and listing.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from sys import intern
from typing import Any, Final, Protocol

import pyudev
from pyudev._util import udev_list_iterate

from hotplugd import netslot, nic, sysfs
from hotplugd.entry import slot_prefix
from hotplugd.host import in_use
from hotplugd.hush import hush
from hotplugd.memory import checked
from hotplugd.model import Device, Devnum, Texts

_BUFFER: Final = 64 << 20
_ONE_TURN: Final = 128
# Of the kernel's own uevents removals alone are read; these are most of the others.
_UNHEARD: Final = ("add", "change", "bind")
# Sockets that break again are opened again no more often than this, in seconds.
_PAUSE: Final = 0.25
# The kernel tells of a removal while the device is still in sysfs; after so many seconds it is not.
_ON_ITS_WAY: Final = 1.0
# What reading one device may raise: it went meanwhile, or its strings are not what strings are.
_UNREADABLE: Final = (OSError, ValueError, pyudev.DeviceNotFoundError)

# Read of every USB device: none of these takes the device's lock, so none blocks when it is wedged
# (Linux: drivers/usb/core/sysfs.c).
_USB_ATTRS: Final = ("idVendor", "idProduct", "serial", "bDeviceClass")
_NET_ATTRS: Final = ("address", "type")


class Sink(Protocol):
    """Who hears of devices."""

    def device(self, device: Device) -> None:
        """The device is there, as udevd has it."""

    def no_device(self, syspath: str) -> None:
        """The device is gone."""

    def listed_devices(self, devices: list[Device], unsettled: list[Device]) -> None:
        """All devices there are, and those that udevd has not processed."""


class Udev:
    """Listens to udev for one event loop. libudev's objects belong to one thread: the loop's.

    attrs     the sysfs attributes that rules ask for
    lost      called when something was not heard or read, with what was the matter
    """

    def __init__(self, attrs: frozenset[str], sink: Sink, lost: Callable[[str], None]) -> None:
        self._attrs = attrs
        self._sink = sink
        self._lost = lost
        self._context: Any = pyudev.Context()
        self._monitors: list[Any] = []
        self._known: dict[str, Device] = {}
        # The sequence number of the last uevent about each, and at the last listing for those not heard of.
        self._heard: dict[str, int] = {}
        self._listed = 0
        self._gone: dict[str, int] = {}
        self._above: dict[str, Device] = {}
        self._restarted = float("-inf")
        self._short = False
        self._again: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Listen, then list. Raises OSError where no uevent socket can be had."""
        loop = asyncio.get_running_loop()
        self.stop()
        self._restarted = time.monotonic()
        try:
            for source in ("udev", "kernel"):
                monitor: Any = pyudev.Monitor.from_netlink(self._context, source)
                self._monitors.append(monitor)
                with suppress(OSError):  # without CAP_NET_ADMIN the default has to do
                    monitor.set_receive_buffer_size(_BUFFER)
                if source == "kernel":
                    hush(monitor.fileno(), _UNHEARD)
                monitor.start()
                loop.add_reader(monitor.fileno(), self._read, monitor, source)
        except OSError:
            self.stop()
            raise
        self.refresh()

    def stop(self) -> None:
        """Listen no more."""
        loop = asyncio.get_running_loop()
        for monitor in self._monitors:
            loop.remove_reader(monitor.fileno())
        self._monitors.clear()
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def ask_for(self, attrs: frozenset[str]) -> None:
        """From now on rules ask for these attributes."""
        if attrs != self._attrs:
            self._attrs = attrs
            self.refresh()

    def refresh(self) -> None:
        """List all devices, now or as soon as they can be read."""
        try:
            self.list()
        except OSError as error:
            self._list_later(f"the devices cannot be listed: {error}")
        else:
            self._short = False

    def list(self) -> None:
        """Tell the sink of every device there is. Raises OSError, and tells nothing, where files run out."""
        sysfs.see_room()
        start = sysfs.sequence_now()
        self._above.clear()
        known: dict[str, Device] = {}
        unsettled: list[Device] = []
        for found in self._context.list_devices():
            sysfs.see_room()
            try:
                if not _can_matter(found):
                    continue
                device = self._snapshot(found, listing=True) if found.is_initialized else None
            except _UNREADABLE as error:
                self._lost(f"a device that cannot be read: {error}")
                # If it is gone the kernel says so; if not, what is known of it is still so.
                if (before := self._known.get(found.sys_path)) is not None:
                    known[found.sys_path] = before
                continue
            if device is not None:
                known[device.syspath] = device
            elif (before := self._known.get(found.sys_path)) is not None and _same_number(found, before):
                # udevd lost its database: what it said of the device is still so.
                known[found.sys_path] = before
            else:
                unsettled.append(_bare(found))
        # What is gone stays gone: udevd may still tell of it from before.
        self._known = known
        self._heard.clear()
        self._listed = start
        self._sink.listed_devices(list(known.values()), unsettled)

    def restore(self, device: Device) -> Device | None:
        """An interface that is away, with the devices above it as they are; None where they are gone."""
        above = netslot.above_of(device.syspath)
        if above == netslot.VIRTUAL:
            return device
        if sysfs.inode(above) != netslot.number_above(device.slot):
            return None
        try:
            parent = self._parent(pyudev.Devices.from_sys_path(self._context, above))
            return checked(replace(device, parent=parent))
        except _UNREADABLE:
            return None

    # --- messages ---------------------------------------------------------------------------------------

    def _read(self, monitor: Any, source: str) -> None:
        # Not `poll`, which makes a poll object for each message, and answers ENOBUFS without reading: the
        # socket would stay readable for ever. A message cut short raises ValueError: something was lost.
        try:
            for _ in range(_ONE_TURN):
                message = monitor._receive_device()  # noqa: SLF001
                if message is None:
                    return
                self._hear(message, source)
        except (OSError, ValueError) as error:
            self._lost(str(error) or type(error).__name__)
            self._start_again()

    def _hear(self, message: Any, source: str) -> None:
        try:
            if source == "udev":
                self._from_udevd(message)
            elif message.action == "remove":
                self._removed(message.sys_path, message.sequence_number, early=True)
        except _UNREADABLE as error:
            self._lost(f"an event of a device that cannot be read: {error}")

    def _list_later(self, reason: str) -> None:
        if not self._short:
            self._short = True
            self._lost(reason)
        if self._again is None:
            self._again = asyncio.get_running_loop().call_later(_PAUSE, self._list_again)

    def _list_again(self) -> None:
        self._again = None
        self.refresh()

    def _start_again(self) -> None:
        self.stop()
        pause = max(0.0, self._restarted + _PAUSE - time.monotonic())
        self._again = asyncio.get_running_loop().call_later(pause, self._try_again)

    def _try_again(self) -> None:
        self._again = None
        try:
            self.start()
        except OSError as error:
            self._lost(str(error))
            self._start_again()

    def _from_udevd(self, message: Any) -> None:
        syspath: str = message.sys_path
        sequence: int = message.sequence_number
        if message.action == "remove":
            self._removed(syspath, sequence, early=False)
            return
        if sequence and sequence <= self._gone.get(syspath, -1):
            return
        try:
            sysfs.see_room()
        except OSError as error:
            self._list_later(f"an event of {syspath} cannot be judged: {error}")
            return
        self._gone.pop(syspath, None)
        # All that is said of a device is read once, in its snapshot, but for what may have had another name.
        moved = message.action == "move" or message.subsystem == "net"
        if moved and (old := _properties(message).get("DEVPATH_OLD")):
            self._removed("/sys" + old, sequence, early=False)
        above = self._forget_above(syspath)
        if _can_matter(message):
            device = self._snapshot(message, listing=False)
            self._known[syspath] = device
            self._heard[syspath] = sequence
            self._sink.device(device)
        if above is not None and self._parent(message) != above:
            self._refresh_below(syspath)

    def _removed(self, syspath: str, sequence: int, *, early: bool) -> None:
        if syspath in self._known and sequence and sequence < self._heard.get(syspath, self._listed):
            # Of an earlier device of that name; or it was on its way out while everything was listed.
            asyncio.get_running_loop().call_later(_ON_ITS_WAY, self._see_whether_gone, syspath)
            return
        if early and sequence:
            # udevd may still be busy with what came before, and tell us of the device once more.
            self._gone[syspath] = sequence
        elif not early and sequence >= self._gone.get(syspath, 0):
            self._gone.pop(syspath, None)
        self._forget_above(syspath)
        self._heard.pop(syspath, None)
        if self._known.pop(syspath, None) is not None:
            self._sink.no_device(syspath)

    def _see_whether_gone(self, syspath: str) -> None:
        if syspath in self._known and not os.path.exists(syspath):
            del self._known[syspath]
            self._heard.pop(syspath, None)
            self._forget_above(syspath)
            self._sink.no_device(syspath)

    def _forget_above(self, syspath: str) -> Device | None:
        """What was kept of a device as one above others is old, and of those between it and them."""
        for between in [each for each in self._above if each.startswith(syspath + "/")]:
            del self._above[between]
        return self._above.pop(syspath, None)

    def _refresh_below(self, syspath: str) -> None:
        """Something above these devices changed, which rules may ask for by `parent`."""
        for below in [each for each in self._known if each.startswith(syspath + "/")]:
            with suppress(*_UNREADABLE):
                found = pyudev.Devices.from_sys_path(self._context, below)
                if found.is_initialized:
                    device = self._snapshot(found, listing=False)
                    self._known[below] = device
                    self._sink.device(device)

    # --- snapshots --------------------------------------------------------------------------------------

    def _snapshot(self, found: Any, *, listing: bool) -> Device:
        device = self._described(found)
        used = in_use(device)
        if device.subsystem == "net":
            return replace(device, in_use=used, slot=_net_slot(device))
        if device.devnum is None:
            return replace(device, in_use=used)
        return replace(device, in_use=used, slot=self._slot(device, listing=listing))

    def _described(self, found: Any) -> Device:
        above = found.parent
        bare = _bare(found)
        properties = _properties(found)
        return replace(
            bare,
            # One text, and not two that are equal.
            node=properties.get("DEVNAME", bare.node) if bare.node else "",
            slot=f"p-{bare.kernel}-{sysfs.inode(bare.syspath)}" if bare.subsystem == "pci" else "",
            driver=_driver(found, properties),
            properties=Texts(properties),
            attrs=self._read_attrs(bare, properties),
            parent=self._parent(above) if above is not None else None,
        )

    def _parent(self, found: Any) -> Device | None:
        """The chain of devices from here up, each read once for as long as nothing is heard of it."""
        syspath: str = found.sys_path
        if (cached := self._above.get(syspath)) is not None:
            return cached
        if not found.subsystem:
            above = found.parent
            return self._parent(above) if above is not None else None
        device = self._described(found)
        if device.subsystem == "block":
            device = replace(device, in_use=in_use(device))
        self._above[syspath] = device
        return device

    def _slot(self, device: Device, *, listing: bool) -> str:
        """An id for this enumeration of the device, `c-189-3-123456`: the one that our udev rule gave it.

        Without the rule its last part is the time at which udevd first saw the device, in µs since boot, or
        where it keeps nothing of the device, the number that sysfs gave its folder.
        While we hear of it without a gap the device keeps its slot, also if udevd forgets that time.
        """
        assert device.devnum is not None
        prefix = slot_prefix(device.devnum)
        born = device.properties.get("USEC_INITIALIZED", "")
        named = device.properties.get("HOTPLUGD_SLOT", "")
        if not (named.startswith(prefix) and named.removeprefix(prefix).isdecimal()):
            named = ""
        before = self._known.get(device.syspath)
        if before is not None and before.devnum == device.devnum:
            slot = before.slot
            if slot in (named, prefix + born) or not (named or (listing and born)):
                return slot
        return named or prefix + (born if born.isdecimal() else f"i{sysfs.inode(device.syspath)}")

    def _read_attrs(self, device: Device, properties: Mapping[str, str]) -> Texts:
        more = _USB_ATTRS if device.is_usb_device else _NET_ATTRS if device.subsystem == "net" else ()
        names = {*self._attrs, *more} if more else self._attrs
        found = {name: text for name in names if (text := sysfs.attribute(device.syspath, name)) is not None}
        if found.get("serial") == (serial := properties.get("ID_SERIAL_SHORT", "")):
            found["serial"] = serial  # one text, and not two that are equal
        if device.is_usb_device and (peer := sysfs.peer(device.syspath)):
            found["peer"] = peer
        if device.subsystem == "net" and (address := nic.permanent_address(device.kernel)):
            found["permanent_address"] = address
        return Texts(found)


def _can_matter(found: Any) -> bool:
    """Whether a rule could attach it: it has a node, or is a network interface or a PCI device."""
    return found.device_node is not None or found.subsystem in ("net", "pci")


def _net_slot(device: Device) -> str:
    """An id for this enumeration of an interface, which stays while it is in an instance and when it is back.

    See `netslot`.
    """
    if not nic.can_move(device.syspath):
        return ""
    above, own = netslot.above_of(device.syspath), sysfs.inode(device.syspath)
    return str(netslot.NetSlot(sysfs.boot(), own if above == netslot.VIRTUAL else sysfs.inode(above), own))


def _bare(found: Any) -> Device:
    return Device(
        syspath=found.sys_path,
        subsystem=intern(found.subsystem or ""),
        kernel=found.sys_name,
        devtype=intern(found.device_type or ""),
        node=found.device_node or "",
        devnum=_devnum(found),
    )


def _properties(found: Any) -> dict[str, str]:
    """Udev's properties. Bytes that are no UTF-8 come out as surrogates.

    Through pyudev's own binding: its mapping raises UnicodeDecodeError, and devices do put such bytes into
    their names (input and HID names are cut after so many bytes, not characters).
    """
    library = found._libudev  # noqa: SLF001
    entry = library.udev_device_get_properties_list_entry(found)
    return {os.fsdecode(name): os.fsdecode(value or b"") for name, value in udev_list_iterate(library, entry)}


def _devnum(found: Any) -> Devnum | None:
    number: int = found.device_number
    if not number or found.device_node is None:
        return None
    kind: Any = "block" if found.subsystem == "block" else "char"
    return Devnum(kind, os.major(number), os.minor(number))


def _same_number(found: Any, device: Device) -> bool:
    return _devnum(found) == device.devnum


def _driver(found: Any, properties: dict[str, str]) -> str:
    return properties.get("DRIVER") or intern(found.driver or "")


class _Nobody:
    """Who only looks, and hears nothing."""

    def device(self, device: Device) -> None: ...

    def no_device(self, syspath: str) -> None: ...

    def listed_devices(self, devices: list[Device], unsettled: list[Device]) -> None: ...


def restored(attrs: frozenset[str], device: Device) -> Device | None:
    """See `Udev.restore`."""
    return Udev(attrs, _Nobody(), lambda _: None).restore(device)


def listed(attrs: frozenset[str]) -> tuple[tuple[Device, ...], tuple[Device, ...]]:
    """All devices there are, once: those that udevd has processed, and those that it has not.

    attrs  the sysfs attributes that rules ask for
    """
    found: list[tuple[tuple[Device, ...], tuple[Device, ...]]] = []

    class _Once(_Nobody):
        def listed_devices(self, devices: list[Device], unsettled: list[Device]) -> None:
            found.append((tuple(devices), tuple(unsettled)))

    Udev(attrs, _Once(), lambda _: None).list()
    return found[0]
