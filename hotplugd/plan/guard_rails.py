"""Devices that stay on the host: hubs, devices that the host uses or that may hide interfaces. Pure."""

from __future__ import annotations

from typing import Final

from hotplugd.model.values import CANNOT_TELL, Device
from hotplugd.plan.kinds.kind import Want
from hotplugd.rules.keys import INTERFACE, hidden_interfaces

# The host may use devices of these subsystems, or disks behind them: checked before each attach.
_USABLE: Final = frozenset(
    {"block", "net", "drm", "pci", "usb", "scsi_generic", "bsg", "mtd", "nvme", "nvme-generic"}
)


def may_be_used(want: Want) -> bool:
    """Whether the host may use the device, and the rule has no `force`."""
    return not want.attach.force and not want.device.away and want.device.subsystem in _USABLE


def is_hub(device: Device) -> bool:
    """Whether it is a USB hub: the kernel found ports on it, or its own or an interface's class says so.

    The class is 09 with any subclass and protocol. The kernel's driver takes some by their ids alone, and
    what root tells it to (Linux: drivers/usb/core/hub.c, hub_id_table).
    """
    if not device.is_usb_device:
        return False
    return (
        device.attrs.get("maxchild", "0") != "0"
        or device.attrs.get("bDeviceClass") == "09"
        or any(each.startswith("09:") for each in INTERFACE.values(device))
    )


def guard_rail(device: Device) -> str:
    """Why this device stays on the host, or empty."""
    if is_hub(device):
        return "it is a USB hub, through which the host reaches other devices"
    if device.in_use:
        unknown = device.in_use.startswith(CANNOT_TELL)
        return device.in_use if unknown else f"the host uses it: {device.in_use}"
    if fault := hidden_interfaces(device):
        return f"its USB descriptors may hide interfaces from the rules: {fault}"
    return ""


def why_on_host(device: Device, anchor: Device | None) -> str:
    """Why the device, or the one that it would go along with, stays on the host; or empty."""
    if why := guard_rail(device):
        return why
    if anchor is not None and (why := guard_rail(anchor)):
        return f"{anchor}, with which it would go, is kept: {why}"
    return ""
