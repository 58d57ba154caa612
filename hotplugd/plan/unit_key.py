"""What a device of a pool is known by, also after it was enumerated again. Pure."""

from __future__ import annotations

from hotplugd.model.values import Device
from hotplugd.plan.identity import hardware, identity
from hotplugd.rules.keys import PATH, PORT


def unit_key(device: Device) -> str:
    """The identity, and which part of its hardware it is: an adapter with two ttys is two devices."""
    if hardware(device) is device:
        return identity(device)
    interface = next(
        (above.kernel.partition(":")[2] for above in device.ancestors() if above.devtype == "usb_interface"),
        "",
    )
    part = device.properties.get("PARTN", "")
    return "/".join(filter(None, (identity(device), interface, device.subsystem, part)))


def place(device: Device) -> str:
    """Where it is plugged in, which tells it from another of the same identity."""
    return next((value for key in (PATH, PORT) for value in key.values(device)), device.syspath)
