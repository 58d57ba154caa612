"""Which USB devices go in before udevd has processed them: those whose place is known by then."""

from __future__ import annotations

from hotplugd.model.values import Device
from hotplugd.reconcile.reconciler import Reconciler


def goes_early(reconciler: Reconciler, device: Device) -> bool:
    """Whether a device that was just plugged in, as the kernel has it, may be told to the reconciler now.

    Once udevd has processed it, it is told in any case.
    """
    inventory = reconciler.inventory
    if not (inventory.devices_listed and inventory.instances_listed) or device.syspath in inventory.devices:
        return False
    return reconciler.assignments.is_decided(device)
