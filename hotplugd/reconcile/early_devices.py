"""Takes note of USB devices before udevd has processed them, where what becomes of them is known."""

from __future__ import annotations

from hotplugd.model.values import Device
from hotplugd.reconcile.reconciler import Reconciler


def take_early(reconciler: Reconciler, device: Device) -> bool:
    """Take note of a device that was just plugged in, as the kernel has it. Returns whether that was done.

    Else, and once udevd has processed it in any case, it is told by `Reconciler.device`.
    """
    inventory = reconciler.inventory
    if not (inventory.devices_listed and inventory.instances_listed) or device.syspath in inventory.devices:
        return False
    if not reconciler.assignments.is_decided(device):
        return False
    reconciler.device(device)
    return True
