"""What tells a device from others, in all of the JSON that names one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypedDict

from hotplugd.model.values import Device
from hotplugd.plan.identity import model
from hotplugd.rules.keys import PORT, SERIAL

Devices = Mapping[str, Device]
NONE: Final[Devices] = MappingProxyType({})


class NamedJson(TypedDict):
    """What tells a device from others, in all that names one; empty where it is not known."""

    serial: str
    model: str
    port: str


def by_name(devices: Iterable[Device]) -> Devices:
    """Devices by what problems, changes and holds call them."""
    return {str(device): device for device in devices}


def named_json(device: Device | None, known_by: str = "") -> NamedJson:
    """What tells a device from others. known_by: its identity, which tells it where it is not there."""
    kind, _, value = known_by.partition(":")
    if device is None:
        return {
            "serial": value if kind == SERIAL.name else "",
            "model": "",
            "port": value if kind == PORT.name else "",
        }
    return {
        "serial": next(iter(SERIAL.values(device)), ""),
        "model": model(device),
        "port": next(iter(PORT.values(device)), ""),
    }
