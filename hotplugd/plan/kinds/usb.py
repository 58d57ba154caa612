"""A USB device: its node in a container, the device itself in a virtual machine. Rules call it a node.

How the server reads entries (all of them while the instance runs):

| type | in | takes |
|---|---|---|
| usb | both | every USB device whose idVendor, idProduct and serial (sysfs) are `vendorid`, `productid`, `serial`, and whose numbers, written without leading zeros, are `busnum`, `devnum`; without any of these keys all there are |
| unix-hotplug | containers | every node whose ID_VENDOR_ID and ID_MODEL_ID (udev; four digits; of hidraw the HID's) are `vendorid`, `productid`; whose SUBSYSTEM is `subsystem` (LXD 5.21.4, 6.3); whose USB controller is `pci` (Incus 6.22, 6.0.6), written as the kernel has it, with both ids known. Nodes of USB devices themselves as well, but for servers with `subsystem`. Nothing without any of these keys |
"""  # noqa: E501

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from hotplugd.model.values import Device, Entry, Instance
from hotplugd.plan.kinds.kind import BOTH, CONTAINERS, EntrySelector, Facts, Reading, Want
from hotplugd.plan.kinds.node import NodeKind
from hotplugd.plan.kinds.reading import by_keys, some
from hotplugd.rules.ruleset import Attach

_USB: Final = ("vendorid", "productid", "serial", "busnum", "devnum")
_IDS: Final = MappingProxyType({"vendorid": "idVendor", "productid": "idProduct"})
_ID: Final = re.compile("[0-9a-f]{4}", re.ASCII)
_HOTPLUG: Final = ("vendorid", "productid", "subsystem", "pci")


def _usb_selectors(config: Mapping[str, str]) -> Iterator[EntrySelector]:
    yield from by_keys("usb", config, _USB)


def _hotplug_selectors(config: Mapping[str, str]) -> Iterator[EntrySelector]:
    if any(config.get(key) for key in _HOTPLUG):
        yield from by_keys("unix-hotplug", config, _HOTPLUG)


def _usb(device: Device) -> Facts:
    if not device.is_usb_device:
        return None
    return (
        some(device.attrs.get("idVendor", "")),
        some(device.attrs.get("idProduct", "")),
        some(device.attrs.get("serial", "").strip()),
        some(device.properties.get("BUSNUM", "").lstrip("0")),
        some(device.properties.get("DEVNUM", "").lstrip("0")),
    )


def _hotplug(device: Device) -> Facts:
    if device.devnum is None or not device.node or not device.devnum.major:
        return None
    vendor, product = (_udev(device, name) for name in ("ID_VENDOR_ID", "ID_MODEL_ID"))
    known = bool(vendor and product)
    return (
        some(vendor.rjust(4, "0") if known else ""),
        some(product.rjust(4, "0") if known else ""),
        # Servers that know subsystems give no USB devices themselves by them.
        () if device.subsystem.startswith("usb") else (device.subsystem,),
        some(_controller(device) if known else ""),
    )


def _udev(device: Device, name: str) -> str:
    """The node's own property, or else that of the USB device: udev gives it to most that hang from one."""
    usb = device.usb
    return device.properties.get(name) or (usb.properties.get(name, "") if usb is not None else "")


def _controller(device: Device) -> str:
    """The address of the PCI controller whose USB bus the device is on.

    Incus takes it from the path; a device without a path like that has it above.
    """
    path = device.syspath.removeprefix("/sys")
    above, _, below = path.partition("/usb")
    if path.startswith("/devices/pci") and below:
        return above.rpartition("/")[2]
    buses = device.ancestors() if device.usb is not None else ()
    return next((parent.kernel for parent in buses if parent.subsystem == "pci"), "")


def _number(device: Device, key: str) -> str:
    """A bus or device number as LXD takes it: without leading zeros."""
    found = device.properties.get(key, "").lstrip("0")
    return found if found.isascii() and found.isdecimal() else "0"


def _ids(device: Device) -> dict[str, str]:
    """The ids as a server takes them: four hexadecimal digits each, as the kernel writes them; else none."""
    found = {key: device.attrs.get(name, "") for key, name in _IDS.items()}
    return found if all(_ID.fullmatch(each) for each in found.values()) else {}


class Usb(NodeKind):
    """See the top of this file."""

    subsystems = frozenset({"usb"})
    readings = MappingProxyType(
        {"usb": Reading(BOTH, _usb_selectors), "unix-hotplug": Reading(CONTAINERS, _hotplug_selectors)}
    )
    facts = MappingProxyType({"usb": _usb, "unix-hotplug": _hotplug})

    def takes(self, device: Device) -> bool:
        """USB devices themselves, and not what hangs from them."""
        return device.is_usb_device

    def serves(self, device: Device) -> bool:
        """A rule's `as: node` means this for a USB device."""
        return device.is_usb_device

    def target_fault(self, device: Device, attach: Attach, target: str) -> str:
        """A program finds the node by its path, which is made of its numbers."""
        if attach.path is not None:
            return (
                "a USB device keeps its node's path, where libusb looks for it; take `path` out of the rule"
            )
        return super().target_fault(device, attach, target)

    def barred(self, want: Want, instance: Instance, actual: Entry | None) -> str:
        """A virtual machine is given one of several like devices by its numbers alone."""
        if instance.kind == "container" or instance.server.usb_by_number:
            return ""
        return (
            f"{instance.id} is a virtual machine, and its server cannot tell one USB device from another of "
            f"the same kind (no API extension device_usb_serial: LXD 5.21.2 and Incus 6.0 have it)"
        )

    def body(self, want: Want, instance: Instance, actual: Entry | None) -> dict[str, str]:
        """A node for a container, bus and device number for a virtual machine, with the ids.

        A server goes on giving a virtual machine what has the numbers of an entry that is gone: with the ids
        that is another device of the model at most. Not the serial number: a server does not hear of the
        unplug of what an entry names by that. An entry that was made without ids stays as it is.
        """
        if instance.kind == "container":
            return super().body(want, instance, actual)
        numbers = {
            "type": "usb",
            "busnum": _number(want.device, "BUSNUM"),
            "devnum": _number(want.device, "DEVNUM"),
            "required": "false",
        }
        ids = {} if actual is not None and "vendorid" not in actual.config else _ids(want.device)
        return {**numbers, **ids}
