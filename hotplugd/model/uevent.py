"""What those inside a container are told of a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hotplugd.model.values import Device

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
