"""What those inside a container are told of a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hotplugd.model.values import Device


@dataclass(frozen=True, slots=True)
class UdevRecord:
    """A device of which programs inside are to find the record of udev's database.

    links  the paths of links to its node inside
    """

    device: Device
    links: tuple[str, ...] = ()


UeventAction = Literal["add", "remove"]


@dataclass(frozen=True, slots=True)
class Uevent:
    """What is to be told of a device.

    path    where its node is, or was, inside
    kernel  the kernel's own variables of the device, as lines: see `properties.kernel_lines`
    """

    action: UeventAction
    device: Device
    path: str
    kernel: str = ""
