"""Sees to it that nothing is open any more of a device that an instance had, before another one gets it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hotplugd.host.sysfs import name_of_link
from hotplugd.host.usb_actions import UsbActions
from hotplugd.model.values import CANNOT_TELL, Device


async def revoke(
    usb: UsbActions,
    used: Callable[[Device], Awaitable[str]],
    held: Callable[[Device], Awaitable[str]],
    device: Device,
) -> str:
    """Why a process may still have the device open; empty where none has.

    A USB device is revoked, unless the host began to use it: to unbind its driver would take a mounted disk
    away. Another, or one that cannot be revoked, may not be open.

    used  tells how the host uses a device
    held  tells which process has a device open
    """
    failed = ""
    if device.is_usb_device:
        if how := await used(device):
            return how if how.startswith(CANNOT_TELL) else f"the host uses it: {how}"
        failed = await usb.revoke(device)
        if not failed:
            return ""
        if not name_of_link(f"{device.syspath}/driver"):
            # A device without a driver cannot be revoked, nor used.
            return f"it could not be revoked: {failed}"
    open_in = await held(device)
    return f"{open_in}; it could not be revoked: {failed}" if open_in and failed else open_in
