"""Drivers of the host that have the interfaces of a USB device which goes into an instance. Pure.

A program inside that speaks to the device by libusb cannot claim an interface that a driver has, unless it
detaches the driver itself (Linux: drivers/usb/core/devio.c, usbfs_ioctl with USBDEVFS_DISCONNECT).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from hotplugd.model.text import quoted
from hotplugd.model.values import Device, UsbInterface
from hotplugd.plan.desired import Wants
from hotplugd.rules.keys import PRODUCT_ID, VENDOR_ID

# Drivers of hubs, and of a program that has the device now, are none that anybody wants away.
_OTHERS: Final = frozenset({"hub", "usbfs", ""})
# What else a host has needs these, so they are kept off one device alone.
_NEEDED: Final = frozenset(
    {"usbhid", "usb-storage", "uas", "cdc_acm", "cdc_ether", "cdc_ncm", "snd-usb-audio", "btusb", "uvcvideo"}
)


# What tells a driver to leave a model alone (Linux: Documentation/admin-guide/kernel-parameters.txt,
# usb-storage.quirks; include/linux/hid.h, HID_QUIRK_IGNORE).
_QUIRKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "usb-storage": "usb-storage quirks={vendor}:{product}:i",
        "uas": "usb-storage quirks={vendor}:{product}:i",
        "usbhid": "usbhid quirks=0x{vendor}:0x{product}:0x0004",
    }
)
_FILE: Final = "/etc/modprobe.d/hotplugd.conf"


def held_by_drivers(wanted: Wants, interfaces: Iterable[UsbInterface], others: Iterable[Wants]) -> list[str]:
    """Which of the device's interfaces the host's drivers have, and how to keep them off, where the device's
    own node goes into an instance and nothing that the driver makes of the interface does.

    interfaces  those of the device
    others      where all devices go
    """
    device = wanted.device
    if not wanted.wants or not device.is_usb_device:
        return []
    taken = [each.device.syspath for each in others if each.wants]
    by_driver: dict[tuple[str, str], list[str]] = {}
    for each in interfaces:
        used = any(path.startswith(f"{each.syspath}/") for path in taken)
        if each.driver not in _OTHERS and not used:
            name = each.syspath.rpartition("/")[2]
            by_driver.setdefault((each.driver, each.module), []).append(name)
    return [_told(device, names, *driver) for driver, names in by_driver.items()]


def _told(device: Device, names: list[str], driver: str, module: str) -> str:
    which = f"interfaces {', '.join(map(quoted, names))} are"
    if len(names) == 1:
        which = f"interface {quoted(names[0])} is"
    return (
        f"its {which} the host's driver's, {quoted(driver)}: a program inside that asks for that by libusb "
        f"is told that it is busy, unless it detaches the driver itself; {_way(device, driver, module)}"
    )


def _way(device: Device, driver: str, module: str) -> str:
    """How the driver is kept off."""
    if driver not in _NEEDED and module:
        return (
            f"to keep the driver off, write `blacklist {quoted(module)}` into {_FILE}, run "
            f"`modprobe -r {quoted(module)}`, and plug the device in again"
        )
    vendor, product = (next(iter(key.values(device)), "") for key in (VENDOR_ID, PRODUCT_ID))
    if driver in _QUIRKS:
        option = _QUIRKS[driver].format(vendor=vendor, product=product)
        return f"to keep the driver off this model, write `options {option}` into {_FILE}, and start anew"
    unbind = f"/sys/bus/usb/drivers/{quoted(driver)}/unbind"
    rule = ", ".join(
        (
            'ACTION=="bind", SUBSYSTEM=="usb"',
            f'DRIVER=="{quoted(driver)}"',
            f'ATTRS{{idVendor}}=="{vendor}", ATTRS{{idProduct}}=="{product}"',
            f"RUN+=\"/bin/sh -c 'echo $kernel >{unbind}'\"",
        )
    )
    return f"to keep the driver off this model, write a udev rule: {rule}"
