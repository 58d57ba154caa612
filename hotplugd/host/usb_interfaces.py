"""The interfaces of a USB device, and the host's drivers that have them, as sysfs shows them."""

from __future__ import annotations

import os
from typing import Final

from hotplugd.host import sysfs
from hotplugd.model.values import UsbInterface

_INTERFACE: Final = ":"  # 1-4:1.0; what is plugged into a hub is 1-4.2
# What registers the drivers of serial cables for them (Linux: drivers/usb/serial/usb-serial.c).
_SERIAL: Final = "usbserial"


def interfaces(syspath: str) -> list[UsbInterface]:
    """The interfaces of the USB device at this syspath; none where there is no USB device. Raises OSError."""
    return [
        UsbInterface(
            f"{syspath}/{name}",
            sysfs.name_of_link(f"{syspath}/{name}/driver"),
            _module(f"{syspath}/{name}"),
        )
        for name in sysfs.names(syspath)
        if name.startswith(os.path.basename(syspath) + _INTERFACE)
    ]


def _module(interface: str) -> str:
    """The module of the driver that has an interface; empty where it is built into the kernel.

    Of a serial cable's it is that of the driver which its port has.
    """
    module = sysfs.name_of_link(f"{interface}/driver/module")
    if module != _SERIAL:
        return module
    below = (sysfs.name_of_link(f"{interface}/{name}/driver/module") for name in sysfs.names(interface))
    return next(filter(None, below), module)
