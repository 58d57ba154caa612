"""Devices of pools that udevd has not processed: of which it is known who gets them. Pure.

The same state has to give the same lease then as afterwards. So of such a device it has to be known which one
it is, and whether it will do for each claim.
"""

from __future__ import annotations

from hotplugd.model.names import is_serial
from hotplugd.model.values import Device
from hotplugd.pools import edl
from hotplugd.pools.leasing import Leasing
from hotplugd.pools.unit_key import unit_key
from hotplugd.rules.keys import SERIAL


def is_decided(leasing: Leasing, device: Device, pool: str) -> bool:
    """Whether the pool's lease of a USB device is the one that it has once udevd has processed it.

    What is known in the pool already stays there. What becomes known of it later, a new claim or cordon, is
    heeded by `Leasing`: the device is given to nobody meanwhile, and whoever has it keeps it.
    """
    if pool not in leasing.rules.pools or not leasing.rules.leases:
        return False
    if leasing.key_of(device):
        return True
    return _is_identified(leasing, device) and not leasing.waits_for_udev(device, pool)


def _is_identified(leasing: Leasing, device: Device) -> bool:
    """Whether udev's name of its place says nothing of which device it is.

    That names a device without a serial number, or of a serial number that another has, or had while it was
    leased or in bad health; and a phone in emergency download mode is known by its socket.
    """
    if edl.mode(device) or not is_serial(next(iter(SERIAL.values(device)), "")):
        return False
    key = unit_key(device)
    return leasing.devices.get(key) is None and not any(
        each.startswith(f"{key}@") for each in leasing.awaited
    )
