"""A PCI device, for virtual machines.

How the server reads entries: `pci` in virtual machines that run takes the PCI device at `address`, and so
whatever hangs from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from hotplugd.model.entry import MARK_SEEN
from hotplugd.model.nic_snapshot import remember
from hotplugd.model.values import Device, Entry, Instance
from hotplugd.plan.kinds.kind import MACHINES, EntrySelector, Facts, Kind, Reading, Want
from hotplugd.plan.kinds.reading import pci_address


def _pci_selectors(config: Mapping[str, str]) -> Iterator[EntrySelector]:
    if config.get("address"):
        yield ("pci", pci_address(config["address"]))


def _pci(device: Device) -> Facts:
    return ((device.pci.kernel,),) if device.pci is not None else None


class PciKind(Kind):
    """What goes in by the address of a PCI device: one itself, and a GPU.

    A virtual machine takes it from its driver on the host, which ends the devices that the driver had made.
    """

    leaves = MACHINES

    def fault(self, device: Device) -> str:
        """What is no PCI device has no address."""
        if device.pci is None or not device.pci.slot:
            return f"`as: {self.name}` is for what is a PCI device or a function of one, and it is none"
        return ""

    def slot(self, device: Device) -> str:
        """The PCI device's: a card and its render node are one entry."""
        return device.pci.slot if device.pci is not None else device.slot

    def seen(self, want: Want, instance: Instance) -> dict[str, str]:
        """The mark that says what rules can match on, for as long as the host does not see it."""
        return {MARK_SEEN: remember(want.device)} if instance.kind in self.leaves else {}

    def address(self, want: Want) -> str:
        """The address of its PCI device."""
        assert want.device.pci is not None
        return want.device.pci.kernel


class Pci(PciKind):
    """See the top of this file."""

    name = "pci"
    doc = "the PCI device, for virtual machines"
    subsystems = frozenset({"pci"})
    single = True
    readings = MappingProxyType({"pci": Reading(MACHINES, _pci_selectors)})
    facts = MappingProxyType({"pci": _pci})

    def barred(self, want: Want, instance: Instance, actual: Entry | None) -> str:
        """Containers share the host's drivers, and some servers plug PCI devices only into what is off."""
        who = instance.id
        if instance.kind == "container":
            return (
                f"{who} is a container, and PCI devices go into virtual machines alone; "
                f"the kernel's own device of it can go in, or with `as: gpu` a GPU"
            )
        if instance.running and actual is None and not instance.server.plugs_pci:
            return only_at_start(self.name, instance)
        return ""

    def fixed(self, instance: Instance) -> str:
        """Likewise out of what is off."""
        if instance.kind == "virtual-machine" and instance.running and not instance.server.plugs_pci:
            return only_in_the_end(self.name, instance)
        return ""

    def body(self, want: Want, instance: Instance, actual: Entry | None) -> dict[str, str]:
        """By its address."""
        return {"type": "pci", "address": self.address(want), **self.seen(want, instance)}


def only_at_start(name: str, instance: Instance) -> str:
    """Why a virtual machine that runs cannot be given a device of this kind."""
    return (
        f"{instance.id} is a virtual machine that runs, and its server can give it a {name} only while it "
        f"does not; stop it, and the device is there at the next start"
    )


def only_in_the_end(name: str, instance: Instance) -> str:
    """Why a virtual machine that runs cannot lose a device of this kind."""
    return (
        f"{instance.id} is a virtual machine that runs, and its server can take a {name} out only while it "
        f"does not; stop it, and the device is back on the host"
    )
