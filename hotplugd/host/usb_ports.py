"""The ports of USB hubs, with something in them or not, as sysfs has them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from hotplugd.host import sysfs

_PORT: Final = re.compile(r"(?:usb[0-9]+|[0-9]+-[0-9.]+)-port([0-9]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class UsbPort:
    """A port of a hub (Documentation/ABI/testing/sysfs-bus-usb).

    peer        the name that a device in the same socket has on the controller's other bus, or empty
    connection  `hotplug`, `hardwired`, `not used` or `unknown`, as the firmware says it
    """

    peer: str = ""
    connection: str = ""


def ports_of(syspath: str) -> dict[int, UsbPort]:
    """The ports of the hub at this path by their numbers; none where the kernel does not show them.

    Raises OSError where no file can be opened.
    """
    ports: dict[int, UsbPort] = {}
    for interface in sysfs.names(syspath):
        if ":" not in interface:
            continue
        for name in sysfs.names(f"{syspath}/{interface}"):
            if port := _PORT.fullmatch(name):
                folder = f"{syspath}/{interface}/{name}"
                ports[int(port[1])] = UsbPort(
                    sysfs.in_port(sysfs.name_of_link(f"{folder}/peer")),
                    sysfs.attribute(folder, "connect_type") or "",
                )
    return ports
