"""A network interface, which leaves the host while an instance has it.

How the server reads entries (all of them while the instance runs):

| type | in | takes |
|---|---|---|
| nic | both | of nictype physical the interface `parent`, or the one of its `vlan`; macvlan, ipvlan, routed and sriov hang from it, sriov also by `pci` instead; the parent of a managed `network` is not known here |
| infiniband | both | the interface `parent` |
"""  # noqa: E501

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from hotplugd.model import nic_slot
from hotplugd.model.entry import MARK_SEEN
from hotplugd.model.nic_snapshot import remember
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, Entry, Inside, Instance
from hotplugd.plan.kinds.kind import BOTH, EntrySelector, Facts, Kind, Reading, Want
from hotplugd.plan.kinds.reading import by_interface, pci_address
from hotplugd.rules.ruleset import Attach

_HANGING: Final = frozenset({"physical", "macvlan", "ipvlan", "routed", "sriov"})
_NAME: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{1,14}", re.ASCII)


def _nic_selectors(config: Mapping[str, str]) -> Iterator[EntrySelector]:
    if config.get("nictype") not in _HANGING:
        return
    yield from by_interface(config)
    if config.get("parent") and config.get("vlan"):
        yield ("nic", f"{config['parent']}.{config['vlan']}")
    if config["nictype"] == "sriov" and config.get("pci"):
        yield ("pci", pci_address(config["pci"]))


def _nic(device: Device) -> Facts:
    return ((device.kernel,),) if device.subsystem == "net" else None


class Nic(Kind):
    """See the top of this file."""

    name = "nic"
    doc = "the network interface, which leaves the host"
    subsystems = frozenset({"net"})
    single = True
    leaves = BOTH
    has_name = True
    readings = MappingProxyType(
        {"nic": Reading(BOTH, _nic_selectors), "infiniband": Reading(BOTH, by_interface)}
    )
    facts = MappingProxyType({"nic": _nic})

    def fault(self, device: Device) -> str:
        """Some interfaces are none that can leave the host."""
        if device.subsystem != "net":
            return f"`as: nic` is for network interfaces, and it is of subsystem '{quoted(device.subsystem)}'"
        if not device.slot:
            return device.stays or "the kernel keeps it in the network namespace in which it was made"
        return ""

    def target(self, device: Device, attach: Attach, path: str) -> str:
        """The name that the rule says, or the host's own."""
        return attach.name or device.kernel

    def target_fault(self, device: Device, attach: Attach, target: str) -> str:
        """Why an interface's name on the host is no good; whoever had it last may have given it any."""
        if attach.name is not None and (not _NAME.fullmatch(target) or target in ("..", "lo")):
            return (
                f"'{quoted(target)}' is no name for a network interface: 2 to 15 letters, digits, _ . and -, "
                f"with no dash first"
            )
        if _NAME.fullmatch(device.kernel):
            return ""
        return (
            f"its name '{quoted(device.kernel)}' is not made of 2 to 15 letters, digits, _ . and -, with no "
            f"dash first, and the server takes no other; rename it on the host"
        )

    def barred(self, want: Want, instance: Instance, actual: Entry | None) -> str:
        """A virtual machine is given the device that an interface belongs to, on a bus."""
        device, who = want.device, instance.id
        if instance.kind == "container" or device.away or device.pci is not None or device.usb is not None:
            return ""
        return (
            f"{who} is a virtual machine, and of network interfaces only those of PCI and USB devices can go "
            f"into one, no veth, dummy, VLAN or the like; put it into a bridge that {who} is on"
        )

    def body(self, want: Want, instance: Instance, actual: Entry | None) -> dict[str, str]:
        """By its name on the host, and what rules can match on for as long as the host does not see it."""
        return {
            "type": "nic",
            "nictype": "physical",
            "parent": want.device.kernel,
            "name": want.target,
            MARK_SEEN: remember(want.device),
        }

    def observed(self, want: Want, inside: Inside) -> str | None:
        """The interface of that name, by the number of its folder in sysfs where that was to be seen."""
        if inside.interfaces is None:
            return None
        if want.target not in inside.interfaces:
            return "missing"
        slot = nic_slot.read(want.device.slot)
        if inside.folders is None or slot is None:
            return ""
        folder = inside.folders.get(want.target)
        if folder is None:
            # Its container does not show sysfs, or shows another's.
            return None
        return "" if folder.number == slot.own else "another interface"

    def is_veiled(self, want: Want, inside: Inside) -> bool:
        """Its container shows no sysfs of its own."""
        return inside.folders is not None and want.target not in inside.folders
