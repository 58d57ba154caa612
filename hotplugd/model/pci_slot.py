"""Which PCI device an entry of a virtual machine is for, and what the host had made of it. Pure.

A PCI device's slot is `p-<address>-<boot>-<inode of its folder in sysfs>`. A virtual machine that has the
device has taken it from its driver: Linux has `vfio-pci` for its driver meanwhile. So the devices that the
driver had made are gone, a GPU's card and its render node, and the driver that rules may match on is another.
The device is away, as a network interface is that is in a container: rules go on judging what it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from hotplugd.model.entry import MARK_NODE, is_ours, name_for, slot_of
from hotplugd.model.nic_snapshot import driver_above, recall_as
from hotplugd.model.values import Device, Entry, Instance

VFIO: Final = "vfio-pci"

_TYPES: Final = frozenset({"gpu", "pci"})
_SLOT: Final = re.compile(r"p-([0-9A-Fa-f:.]{1,20})-[0-9a-f]{8}-([0-9]{1,20})", re.ASCII)
_NUMBER: Final = "0123456789"


def is_taken(device: Device) -> bool:
    """Whether it is a PCI device without a driver of the host's: a virtual machine's, or nobody's.

    On its way from one driver to the other it has none.
    """
    return device.subsystem == "pci" and device.driver in ("", VFIO)


def is_like(device: Device, other: Device) -> bool:
    """Whether one may be the other, made again by the driver of the same PCI device: numbers may differ."""
    same = device.subsystem == other.subsystem
    return same and device.kernel.rstrip(_NUMBER) == other.kernel.rstrip(_NUMBER)


def entries(instance: Instance) -> Iterator[Entry]:
    """The entries of ours by which a virtual machine has PCI devices; none of a container."""
    if instance.kind == "virtual-machine":
        for entry in instance.entries.values():
            if _is_one(entry) and entry.name == name_for(slot_of(entry)):
                yield entry


def pci_key(slot: str) -> tuple[int, str] | None:
    """The number of a PCI device's folder, and its address, by its slot; None where it is none."""
    found = _SLOT.fullmatch(slot)
    return (int(found[2]), found[1]) if found is not None else None


def entry_for(instance: Instance, device: Device) -> Entry | None:
    """The virtual machine's entry for the PCI device that this is, or is made of, if there is one."""
    if instance.kind != "virtual-machine" or device.pci is None:
        return None
    entry = instance.entries.get(name_for(device.pci.slot))
    return entry if entry is not None and _is_one(entry) else None


def _is_one(entry: Entry) -> bool:
    return entry.config.get("type") in _TYPES and is_ours(entry)


def recalled(entry: Entry) -> Device | None:
    """The device that the entry was made for, as it was then, on its PCI device; None where nothing says so.

    Its slot is the PCI device's own, with its name where it is another device: it has no enumeration now.
    """
    slot = slot_of(entry)
    address = (pci_key(slot) or (0, ""))[1]
    device = recall_as(entry, "")
    if device is None or not address:
        return None
    before, found, _ = f"{device.syspath}/".partition(f"/{address}/")
    if not found:
        return None
    above = Device(f"{before}/{address}", "pci", address, driver=driver_above(entry), slot=slot)
    if device.subsystem == "pci":
        return replace(device, slot=slot) if device.syspath == above.syspath else None
    node = entry.config.get(MARK_NODE, "")
    return replace(
        device,
        slot=f"{slot}-{device.kernel}",
        node=node if node.startswith("/dev/") else "",
        parent=above,
    )
