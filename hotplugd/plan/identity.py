"""What stays of a device when it is enumerated again, and what tells it from others. Pure."""

from __future__ import annotations

from hotplugd.model.names import is_serial
from hotplugd.model.text import quoted
from hotplugd.model.values import Device
from hotplugd.rules.keys import KERNEL, MAC, PATH, PORT, SERIAL
from hotplugd.rules.udev_serial import as_udev


def identity(device: Device) -> str:
    """What stays of a device when it is enumerated again: its serial, its port, its path or its name.

    That of a network interface is its permanent address; without one, that of its hardware and its name.

    A serial that is a placeholder (`is_serial`) identifies nothing.
    """
    shared = shared_identity(device)
    if device.subsystem != "net" or device.attrs.get("permanent_address"):
        return shared
    return f"{shared}/{quoted(device.kernel)}"


def shared_identity(device: Device) -> str:
    """The identity that all network interfaces of one device have in common."""
    for mac in MAC.values(device):
        return f"mac:{quoted(mac)}"
    serial = next(iter(SERIAL.values(device)), "")
    if is_serial(serial):
        return f"serial:{quoted(serial)}"
    for key in (PORT, PATH, KERNEL):
        for value in key.values(device):
            return f"{key.name}:{quoted(value)}"
    return f"syspath:{device.syspath}"


def model(device: Device) -> str:
    """The model's name as udev has it, of the device or the USB device that it hangs from; or empty."""
    for each in (device, *filter(None, (device.usb,))):
        for text in (each.properties.get("ID_MODEL", ""), each.attrs.get("product", "")):
            if text:
                return text
    return device.properties.get("ID_MODEL_FROM_DATABASE", "")


def serial_before(device: Device) -> str:
    """The serial number of a USB device as udevd writes it, or empty where that is the same or there is none.

    What people decided before serial numbers were the kernel's is kept by it.
    """
    said = next(iter(SERIAL.values(device)), "") if device.is_usb_device else ""
    return written if (written := as_udev(said)) != said else ""


def hardware(device: Device) -> Device:
    """The piece that has the serial number: a tty has its cable's, a partition its disk's."""
    if device.usb is not None:
        return device.usb
    serial = own_serial(device)
    piece = device
    for above in device.ancestors():
        if above.subsystem == "nvme" or (serial and own_serial(above) == serial):
            piece = above
    return piece


def own_serial(device: Device) -> str:
    """The serial number, or for other than USB devices a value in its place; empty where there is none.

    ID_SERIAL of a USB device without a serial number is made of the vendor and the model alone.
    """
    for serial in SERIAL.values(device):
        return serial
    if device.usb is not None:
        return ""
    others = (device.attrs.get(name, "") for name in ("serial", "vpd_pg80", "cid", "uniq"))
    return device.properties.get("ID_SERIAL", "") or next(filter(None, others), "")


def apart(one: Device, other: Device) -> tuple[str, str, str]:
    """The match key by which rules can tell two devices apart by their place, and each one's value with it.

    What stays over a boot comes first: in `port` is a bus's number, which the next boot may give to another.
    """
    one, other = hardware(one), hardware(other)
    for key in (PATH, PORT):
        for value, others in zip(key.values(one), key.values(other), strict=False):
            if value != others:
                return key.name, f"{key.name} {quoted(value)}", f"{key.name} {quoted(others)}"
    return PATH.name, one.syspath, other.syspath
