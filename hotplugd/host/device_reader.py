"""A device as it is now: what sysfs says of it, and what udevd's database does.

An event only says that there is something to look at. So a device has the same properties whatever it was
read for: an event of its own or of one below it, or a listing of all devices.

What decides where a device goes is the kernel's: its number (`dev`), its name, subsystem and driver (its
folder and the links there), what is above it (the folders). See `properties` for the rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from hotplugd.aio.shortage import is_short
from hotplugd.host import netif, netns, sysfs, usb_descriptors
from hotplugd.host.in_use import use_of
from hotplugd.host.node_slot import complete, is_of_earlier, node_slot
from hotplugd.host.properties import DATABASE, kernel, path_below, record, record_name
from hotplugd.model import nic_slot
from hotplugd.model.entry import slot_for
from hotplugd.model.values import Device, Devnum, Texts, kept_once

_TOP: Final = frozenset({"/sys/devices", "/sys", "/"})
# A rule could attach what has a node, or is a network interface or a PCI device.
_WITHOUT_NODE: Final = frozenset({"net", "pci"})
_LISTED: Final = ("/sys/dev/char", "/sys/dev/block", "/sys/class/net", "/sys/bus/pci/devices")

# Read of every USB device. Only `serial` takes the device's lock (Linux: drivers/usb/core/sysfs.c), for which
# udevd has waited, too.
_USB_ATTRS: Final = ("idVendor", "idProduct", "serial", "bDeviceClass", "maxchild")
# What stands for udev's name of the model until udevd has processed a USB device.
_MODEL: Final = "product"
_NET_ATTRS: Final = ("address", "type")


@dataclass(frozen=True, slots=True)
class Seen:
    """A device that a rule could attach. settled: udevd has processed it; else it has no properties yet."""

    device: Device
    settled: bool


@dataclass(frozen=True, slots=True)
class Plugged:
    """A USB device that udevd has not processed. folder: the number of its folder in sysfs."""

    device: Device
    folder: int


def all_syspaths() -> Iterator[str]:
    """Every device with a number, every network interface, every PCI device. Raises OSError."""
    found: set[str] = set()
    for folder in _LISTED:
        try:
            names = os.listdir(folder)
        except FileNotFoundError:  # no PCI bus
            continue
        for name in names:
            try:
                target = os.readlink(f"{folder}/{name}")
            except OSError as error:  # it went, or is no device: bonding_masters
                if is_short(error):
                    raise
                continue
            found.add(os.path.normpath(f"{folder}/{target}"))
    yield from sorted(found)


def without_node(name: str, attrs: frozenset[str]) -> list[Device]:
    """The devices that no rule can attach and that have this kernel's name, or are at this path in sysfs.

    attrs  the sysfs attributes that rules ask for. Raises OSError.
    """
    reader = Reader(attrs)
    if name.startswith("/sys/"):
        paths = {os.path.realpath(name)}
    elif "/" in name:
        return []
    else:
        folders = [f"/sys/class/{each}" for each in sysfs.names("/sys/class")]
        folders += [f"/sys/bus/{each}/devices" for each in sysfs.names("/sys/bus")]
        paths = {os.path.realpath(f"{each}/{name}") for each in folders if os.path.lexists(f"{each}/{name}")}
    found = (reader.above(path) for path in sorted(paths) if sysfs.name_of_link(f"{path}/subsystem"))
    return [each for each in found if each is not None and each.syspath in paths]


def usb_devices(folder: str = DATABASE) -> list[Device]:
    """The USB devices that are plugged in, with what udevd says of them. Raises OSError.

    folder  udevd's database
    """
    reader = Reader(frozenset(), folder)
    links = (f"/sys/bus/usb/devices/{name}" for name in sysfs.names("/sys/bus/usb/devices"))
    paths = [*map(os.path.realpath, links)]
    found = zip(paths, map(reader.above, paths), strict=True)
    return [each for path, each in found if each is not None and each.is_usb_device and each.syspath == path]


def matters(syspath: str) -> bool:
    """Whether there is such a device, and a rule could attach it."""
    return os.path.exists(f"{syspath}/dev") or sysfs.name_of_link(f"{syspath}/subsystem") in _WITHOUT_NODE


def record_of(device: Device) -> str:
    """What udevd calls the device's file in its database."""
    sysname = os.path.basename(device.syspath)
    return record_name(device.subsystem, sysname, device.devnum, device.properties.get("IFINDEX", ""))


def name_of(syspath: str) -> str:
    """The name of the device at this syspath, as messages have it."""
    with suppress(OSError):
        return str(_bare(syspath) or syspath)
    return syspath


class Reader:
    """Reads devices, and those above them once for as long as nothing is heard of them.

    attrs   the sysfs attributes that rules ask for
    folder  udevd's database
    gone    of each file in the database: the time that is in it for a device that is gone, until udevd has
            taken the file away. By that, another device with that number is not taken for it.
    """

    def __init__(self, attrs: frozenset[str], folder: str = DATABASE) -> None:
        self.attrs = attrs
        self.gone: dict[str, str] = {}
        self._folder = folder
        self._above: dict[str, Device] = {}

    def read(self, syspath: str, before: Device | None, *, listing: bool) -> Seen | None:
        """The device as it is; None where there is none, or none that a rule could attach.

        before  the device as it was known until now. Raises OSError where no file can be opened, whatever it
                was to be opened for: half of what a device is like is another device.
        """
        bare = _bare(syspath)
        if bare is None or (bare.devnum is None and bare.subsystem not in _WITHOUT_NODE):
            return None
        name = record_of(bare)
        said = record(name, self._folder)
        born = said.get("USEC_INITIALIZED", "") if said is not None else ""
        is_old = said is not None and before is not None and is_of_earlier(said, before)
        if said is None or (born and self.gone.get(name) == born) or is_old:
            # Of a device without a number udevd keeps a file only where it has something to say.
            if said is not None or bare.subsystem != "pci" or listing:
                return Seen(replace(bare, properties={}), settled=False)
            said = {}
        device = self._described(bare, said)
        used = use_of(device)
        if device.subsystem == "net":
            stays = netns.why_it_stays(device.syspath)
            device = replace(device, in_use=used, slot="" if stays else _net_slot(device), stays=stays)
        elif device.devnum is None:
            device = replace(device, in_use=used)
        else:
            device = replace(device, in_use=used, slot=node_slot(device, before, listing=listing))
        return Seen(device, settled=True)

    def plugged(self, syspath: str, sequence: int) -> Plugged | None:
        """A USB device that the kernel has just announced, without those above it; None where it is gone.

        Of udevd's database nothing is read: what it has may be of an earlier device with the number.

        sequence  the number of the kernel's event, which names the enumeration as our udev rule will
        Keeps to files and to what is its own, so that a thread may do it. Raises as `read` does.
        """
        folder = sysfs.inode(syspath)
        bare = _bare(syspath)
        if bare is None or bare.devnum is None or not bare.is_usb_device:
            return None
        attrs = self._read_attrs(bare, bare.properties)
        if (model := sysfs.attribute(syspath, _MODEL)) is not None:
            attrs.setdefault(_MODEL, model)
        device = replace(
            bare,
            slot=slot_for(bare.devnum, sysfs.boot(), str(sequence)),
            attrs=attrs,
            descriptors=usb_descriptors.read(syspath),
            early=True,
        )
        # Another may have come in its place meanwhile. The kernel takes away a device's attributes before it
        # announces that it goes, `dev` before those read here (Linux: drivers/base/core.c, device_del).
        is_whole = sysfs.attribute(syspath, "dev") is not None and sysfs.inode(syspath) == folder
        return Plugged(device, folder) if is_whole else None

    def completed(self, device: Device) -> Device:
        """What `plugged` has read, with the devices above it and the host's use. Raises as `read` does."""
        whole = replace(
            device,
            properties=Texts(device.properties),
            attrs=Texts(device.attrs),
            parent=self.above(os.path.dirname(device.syspath)),
        )
        return replace(whole, in_use=use_of(whole))

    def above(self, syspath: str) -> Device | None:
        """The nearest device that is at or above this folder, and has a subsystem. Raises as `read` does."""
        while syspath not in _TOP:
            if (cached := self._above.get(syspath)) is not None:
                return cached
            if (bare := _bare(syspath)) is not None:
                device = self._described(bare, record(record_of(bare), self._folder) or {})
                if device.subsystem == "block":
                    device = replace(device, in_use=use_of(device))
                self._above[syspath] = device
                return device
            syspath = os.path.dirname(syspath)
        return None

    def has_above(self, syspath: str) -> bool:
        """Whether the device is kept as one above others."""
        return syspath in self._above

    def forget_above(self, syspath: str) -> Device | None:
        """Forget a device that was read as a parent, and the parents between it and its children."""
        for between in [each for each in self._above if each.startswith(syspath + "/")]:
            del self._above[between]
        return self._above.pop(syspath, None)

    def forget_all(self) -> None:
        """Forget all devices that were read as parents."""
        self._above.clear()

    def _described(self, bare: Device, said: dict[str, str]) -> Device:
        """The device with its properties, its attributes and its parents."""
        above = self.above(os.path.dirname(bare.syspath))
        if above is not None and not bare.is_usb_device and (usb := above.usb) is not None:
            path_below(said, usb.properties.get("ID_PATH", ""))
        complete(said)
        properties = {**bare.properties, **said}
        return replace(
            bare,
            slot=_pci_slot(bare) if bare.subsystem == "pci" else "",
            properties=Texts(properties),
            attrs=Texts(self._read_attrs(bare, properties)),
            parent=above,
            descriptors=usb_descriptors.read(bare.syspath) if bare.is_usb_device else None,
        )

    def _read_attrs(self, device: Device, properties: Mapping[str, str]) -> dict[str, str]:
        more = _USB_ATTRS if device.is_usb_device else _NET_ATTRS if device.subsystem == "net" else ()
        names = {*self.attrs, *more} if more else self.attrs
        found = {name: text for name in names if (text := sysfs.attribute(device.syspath, name)) is not None}
        if found.get("serial") == (serial := properties.get("ID_SERIAL_SHORT", "")):
            found["serial"] = serial  # one text, and not two that are equal
        if device.is_usb_device and (peer := sysfs.peer(device.syspath)):
            found["peer"] = peer
        if device.subsystem == "net" and (address := netif.permanent_address(device.kernel)):
            found["permanent_address"] = address
        return found


def _bare(syspath: str) -> Device | None:
    """What the kernel says of a device; None where there is none, or none that has a subsystem."""
    subsystem = sysfs.name_of_link(f"{syspath}/subsystem")
    if not subsystem:
        return None
    found = kernel(syspath, subsystem)
    if found is None:
        return None
    name = found.pop("DEVNAME", "")
    node = name if not name or name.startswith("/") else f"/dev/{name}"
    number = _number(syspath, subsystem, found) if node else None
    driver = sysfs.name_of_link(f"{syspath}/driver") or found.get("DRIVER", "")
    properties = {
        "DEVPATH": syspath.removeprefix("/sys"),
        "SUBSYSTEM": subsystem,
        **({"DEVNAME": node} if number is not None else {}),
        **found,
        **({"DRIVER": driver} if driver else {}),
    }
    if number is None:
        properties.pop("MAJOR", None)
        properties.pop("MINOR", None)
    return Device(
        syspath=syspath,
        subsystem=kept_once(subsystem),
        kernel=os.path.basename(syspath).replace("!", "/"),  # as libudev has it
        devtype=kept_once(found.get("DEVTYPE", "")),
        driver=kept_once(driver),
        node=node if number is not None else "",
        devnum=number,
        properties=properties,
    )


def _number(syspath: str, subsystem: str, found: Mapping[str, str]) -> Devnum | None:
    """The number of its node, where `dev` and `uevent` say the same."""
    text = sysfs.attribute(syspath, "dev") or ""
    major, _, minor = text.partition(":")
    if not text or (major, minor) != (found.get("MAJOR"), found.get("MINOR")):
        return None
    return Devnum("block" if subsystem == "block" else "char", int(major), int(minor))


def _pci_slot(device: Device) -> str:
    return f"p-{device.kernel}-{sysfs.boot()}-{sysfs.inode(device.syspath)}"


def _net_slot(device: Device) -> str:
    """An id for this enumeration of an interface, which stays while it is in an instance and when it is back.

    See `model.nic_slot`.
    """
    above, own = nic_slot.above_of(device.syspath), sysfs.inode(device.syspath)
    return str(nic_slot.NetSlot(sysfs.boot(), own if above == nic_slot.VIRTUAL else sysfs.inode(above), own))
