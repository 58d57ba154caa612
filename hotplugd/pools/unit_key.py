"""What a device of a pool is known by, also after it was enumerated again. Pure."""

from __future__ import annotations

from hotplugd.model.text import quoted
from hotplugd.model.values import Device
from hotplugd.plan.identity import hardware, identity, serial_before
from hotplugd.rules.keys import PATH, PORT, SERIAL


def unit_key(device: Device) -> str:
    """What stays of it over a boot, and which part of its hardware it is: an adapter with two ttys is two
    devices.
    """
    if hardware(device) is device:
        return _lasting(device)
    interface = next(
        (above.kernel.partition(":")[2] for above in device.ancestors() if above.devtype == "usb_interface"),
        "",
    )
    part = device.properties.get("PARTN", "")
    return "/".join(filter(None, (_lasting(device), interface, device.subsystem, part)))


def key_before(key: str, device: Device) -> str:
    """What a device was known by before serial numbers were the kernel's: the same, or with udevd's form."""
    serial = f"{SERIAL.name}:{quoted(next(iter(SERIAL.values(device)), ''))}"
    before = serial_before(device)
    if not before or not key.startswith(serial):
        return key
    return f"{SERIAL.name}:{quoted(before)}{key.removeprefix(serial)}"


def _lasting(device: Device) -> str:
    """The identity; by its path where that is a port, since another boot may give the bus's number to another
    controller, and cordons and quarantines outlast a boot.
    """
    known_by = identity(device)
    if not known_by.startswith(f"{PORT.name}:"):
        return known_by
    # The last one also says on which of a controller's two buses.
    path = next(reversed(PATH.values(device)), "")
    return f"{PATH.name}:{quoted(path)}" if path else known_by


def place(device: Device) -> str:
    """Where it is plugged in, which tells it from another of the same identity."""
    return next((value for key in (PATH, PORT) for value in key.values(device)), device.syspath)
