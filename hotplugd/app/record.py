"""A record of devices: a file with all that rules can see of each, to try rules by elsewhere or later."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

from hotplugd import __version__
from hotplugd.model.text import quoted
from hotplugd.model.values import Descriptors, Device, Devnum

FORMAT: Final = 1
# Attributes that are recorded though no rule in force uses them.
ATTRS: Final = frozenset(
    {
        "manufacturer", "product", "serial", "bcdDevice", "bMaxPower", "speed", "version", "removable",
        "bInterfaceNumber", "bInterfaceClass", "vendor", "device", "class", "model", "rev", "size", "ro",
        "address", "type", "dev_id", "dev_port", "name", "uniq", "wwid",
    }
)  # fmt: skip
_DEEPEST: Final = 64
_TEXTS: Final = ("syspath", "subsystem", "kernel", "devtype", "driver", "node", "slot", "in_use")


class NoRecord(ValueError):
    """A text is no record. The message is printable."""


def record(devices: Iterable[Device]) -> str:
    """The record of devices, and of those above them."""
    chosen = list(devices)
    every = {each.syspath: each for each in chosen}
    above = {ancestor.syspath: ancestor for device in chosen for ancestor in device.ancestors()}
    document = {
        "hotplugd": __version__,
        "format": FORMAT,
        "devices": [_written(each) for each in every.values()],
        "above": [_written(each) for path, each in above.items() if path not in every],
    }
    return json.dumps(document, indent=1) + "\n"


def _written(device: Device) -> dict[str, object]:
    number, said = device.devnum, device.descriptors
    return {
        **{name: getattr(device, name) for name in _TEXTS},
        "devnum": [number.kind, number.major, number.minor] if number is not None else None,
        "properties": dict(device.properties),
        "attrs": dict(device.attrs),
        "parent": device.parent.syspath if device.parent is not None else None,
        "interfaces": list(said.interfaces) if said is not None else None,
        "fault": said.fault if said is not None else "",
    }


def recorded(text: str) -> list[Device]:
    """The devices of a record. Raises NoRecord."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NoRecord(f"no JSON: {quoted(str(error))}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise NoRecord(f"expected what `hotplugd record` writes, of format {FORMAT}")
    try:
        own = {str(each["syspath"]): each for each in document["devices"]}
        every = {**{str(each["syspath"]): each for each in document["above"]}, **own}
        made: dict[str, Device] = {}
        return [_read(path, every, made, 0) for path in own]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise NoRecord(f"it is damaged: {type(error).__name__} {quoted(str(error))}") from None


def _read(
    path: str, every: Mapping[str, Mapping[str, object]], made: dict[str, Device], depth: int
) -> Device:
    if path in made:
        return made[path]
    if depth > _DEEPEST:
        raise ValueError("devices hang from each other in a circle")
    said = every[path]
    parent = _read(str(said["parent"]), every, made, depth + 1) if said["parent"] is not None else None
    syspath, subsystem, kernel, devtype, driver, node, slot, in_use = (str(said[name]) for name in _TEXTS)
    device = Device(
        syspath,
        subsystem,
        kernel,
        devtype,
        driver,
        node,
        slot=slot,
        in_use=in_use,
        devnum=_number(said["devnum"]),
        properties=_texts(said["properties"]),
        attrs=_texts(said["attrs"]),
        parent=parent,
        descriptors=_descriptors(said),
    )
    made[path] = device
    return device


def _number(said: object) -> Devnum | None:
    if said is None:
        return None
    if not isinstance(said, list):
        raise TypeError("devnum")
    kind, major, minor = said
    return Devnum("block" if kind == "block" else "char", int(major), int(minor))


def _texts(said: object) -> dict[str, str]:
    if not isinstance(said, dict):
        raise TypeError("properties or attrs")
    return {str(name): str(text) for name, text in said.items()}


def _descriptors(said: Mapping[str, object]) -> Descriptors | None:
    interfaces = said["interfaces"]
    if interfaces is None:
        return None
    if not isinstance(interfaces, list):
        raise TypeError("interfaces")
    return Descriptors(tuple(map(str, interfaces)), str(said["fault"]))
