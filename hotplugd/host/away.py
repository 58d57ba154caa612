"""What is in an instance, and away from the host: whether the host still has what it hangs from."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.host import sysfs
from hotplugd.host.device_reader import Reader
from hotplugd.model import nic_slot
from hotplugd.model.nic_snapshot import checked
from hotplugd.model.values import Device


def on_host(device: Device, reader: Reader) -> Device | None:
    """The device with the devices above it as they are; None where they are gone.

    Raises OSError where no file can be opened.
    """
    number = nic_slot.number_above(device.slot)
    if number is None:
        return _on_pci(device, reader)
    above = nic_slot.above_of(device.syspath)
    if above == nic_slot.VIRTUAL:
        return device
    if sysfs.inode(above) != number:
        return None
    return checked(replace(device, parent=reader.above(above)))


def _on_pci(device: Device, reader: Reader) -> Device | None:
    """What is made of a PCI device, or that one itself, on the bus as it is now.

    The PCI device keeps the driver that it had: rules may match on it, and now it has another.
    """
    pci = device.pci
    there = reader.above(pci.syspath) if pci is not None else None
    if pci is None or there is None or there.slot != pci.slot:
        return None
    if device is pci:
        return replace(device, parent=there.parent)
    return replace(device, parent=replace(there, driver=pci.driver)) if device.parent is pci else device
