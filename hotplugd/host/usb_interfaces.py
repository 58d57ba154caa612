"""The interfaces of a USB device, and the host's drivers that have them, as sysfs shows them."""

from __future__ import annotations

import os
from typing import Final

from hotplugd.host import sysfs
from hotplugd.model.values import UsbInterface

_INTERFACE: Final = ":"  # 1-4:1.0; what is plugged into a hub is 1-4.2


def interfaces(syspath: str) -> list[UsbInterface]:
    """Those of the USB device at this syspath; none of what is no USB device. Raises OSError."""
    return [
        UsbInterface(
            f"{syspath}/{name}",
            sysfs.name_of_link(f"{syspath}/{name}/driver"),
            # A driver that is built into the kernel has none.
            sysfs.name_of_link(f"{syspath}/{name}/driver/module"),
        )
        for name in sysfs.names(syspath)
        if name.startswith(os.path.basename(syspath) + _INTERFACE)
    ]
