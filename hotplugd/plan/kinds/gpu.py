"""A GPU by its PCI address: its card and its render node in a container, the whole in a virtual machine.

An entry of type gpu has one owner and one mode for all nodes. Where rules tell them apart each goes in by
itself, as the node that it is.

How the server reads entries: `gpu` in whatever runs takes every display adapter of PCI, and every card of
drm, by `vendorid`, `productid`, `pci` (the domain and the case do not matter), `id` (the number of the card;
which card a render node is of is not known here); without any all there are. A name of CDI: all of NVIDIA's
or AMD's by `all`; which one else is not known here. mdev, mig and sriov take a part of it, and lose it with
the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from hotplugd.model.values import Device, Entry, Inside, Instance
from hotplugd.plan.kinds.kind import BOTH, CONTAINERS, EntrySelector, Facts, Reading, Want
from hotplugd.plan.kinds.node import NodeKind
from hotplugd.plan.kinds.pci import PciKind, only_at_start, only_in_the_end
from hotplugd.plan.kinds.reading import NUMBER, by_keys, pci_address, some
from hotplugd.rules.ruleset import Attach

_GPUS: Final = frozenset({"", "physical", "mdev", "mig", "sriov", "native-context"})
_GPU: Final = ("vendorid", "productid", "pci", "id")
_CDI_ALL: Final[Mapping[str, str]] = MappingProxyType(
    {"nvidia.com/gpu=all": "10de", "nvidia.com/igpu=all": "10de", "amd.com/gpu=all": "1002"}
)
_DISPLAY: Final = 0x03
_IDS: Final = 2  # vendor and device


def _gpu_selectors(config: Mapping[str, str]) -> Iterator[EntrySelector]:
    if vendor := _CDI_ALL.get(config.get("id", "")):
        yield ("gpu", vendor, "", "", "")
        return
    whole = dict(config)
    if whole.get("pci"):
        whole["pci"] = pci_address(whole["pci"])
    yield from by_keys("gpu", whole, _GPU, known=whole.get("gputype", "") in _GPUS)


def _gpu(device: Device) -> Facts:
    if device.subsystem != "drm" and not (device.subsystem == "pci" and _is_display(device)):
        return None
    pci = device.pci
    ids = pci.properties.get("PCI_ID", "").lower().split(":") if pci is not None else []
    vendor, product = ids if len(ids) == _IDS else ("", "")
    address = pci.kernel if pci is not None else ""
    return some(vendor), some(product), some(address), some(_card(device.kernel))


def _card(kernel: str) -> str:
    """The number by which the server knows a card. That of a render node is another."""
    number = kernel.removeprefix("card")
    return number if number != kernel and NUMBER.fullmatch(number) else ""


def _is_display(device: Device) -> bool:
    """Whether a PCI device is a display adapter, by its class as the kernel writes it: 30000."""
    text = device.properties.get("PCI_CLASS", "")
    return bool(re.fullmatch("[0-9A-Fa-f]{5,6}", text)) and int(text, 16) >> 16 == _DISPLAY


class Gpu(PciKind):
    """See the top of this file."""

    name = "gpu"
    doc = "the GPU that the device is a node of, with its card and its render node"
    subsystems = frozenset({"drm"})
    owned = CONTAINERS
    shared = True
    has_links = True
    has_parts = True
    readings = MappingProxyType({"gpu": Reading(BOTH, _gpu_selectors)})
    facts = MappingProxyType({"gpu": _gpu})

    def takes(self, device: Device) -> bool:
        """The nodes of graphics cards on PCI."""
        return device.pci is not None

    def target(self, device: Device, attach: Attach, path: str) -> str:
        """Where the server puts the node of this device: the host's own path."""
        return device.node

    def barred(self, want: Want, instance: Instance, actual: Entry | None) -> str:
        """No server plugs a GPU into a virtual machine that runs."""
        if instance.kind == "container" or not instance.running or actual is not None:
            return ""
        return only_at_start(self.name, instance)

    def fixed(self, instance: Instance) -> str:
        """Nor takes one out of it."""
        running = instance.kind == "virtual-machine" and instance.running
        return only_in_the_end(self.name, instance) if running else ""

    def body(self, want: Want, instance: Instance, actual: Entry | None) -> dict[str, str]:
        """By its address."""
        return {"type": "gpu", "gputype": "physical", "pci": self.address(want), **self.seen(want, instance)}

    def observed(self, want: Want, inside: Inside) -> str | None:
        """The node that is at the path, by its number."""
        return NodeKind().observed(want, inside)


class GpuNode(NodeKind):
    """One node of a GPU. Rules call it a node."""

    subsystems = frozenset({"drm"})
    shared = True

    def takes(self, device: Device) -> bool:
        """The nodes of graphics cards on PCI."""
        return device.pci is not None

    def serves(self, device: Device) -> bool:
        """A rule's `as: node` means this for them."""
        return device.subsystem == "drm" and device.pci is not None

    def barred(self, want: Want, instance: Instance, actual: Entry | None) -> str:
        """A virtual machine has the whole GPU."""
        if instance.kind == "container":
            return ""
        return f"{instance.id} is a virtual machine, into which a GPU goes as a whole: write `as: gpu`"
