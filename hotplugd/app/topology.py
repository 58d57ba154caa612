"""USB as a tree: controllers, sockets, hubs and what is plugged in, with what is free. Pure.

    devices x ports x hubs with names x instances -> TopologyJson     `topology`

A socket for USB 3 is one, though it has a port on each of the controller's two buses; so is a hub for USB 3,
which is a hub on each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

from hotplugd.app.documents import ProblemJson
from hotplugd.host.usb_ports import UsbPort
from hotplugd.model.values import Device
from hotplugd.rules.hubs import Hubs, sockets
from hotplugd.rules.keys import ID, SERIAL

ATTRS: Final = frozenset({"speed", "product", "removable"})
"""The sysfs attributes that it shows."""

_MOST_PORTS: Final = 255  # bNbrPorts has one byte
_DEEPEST: Final = 7  # tiers (USB 3.2, 10.1)
_SUPER_SPEED: Final = "0003"


class PluggedJson(TypedDict):
    """A USB device in a socket. port: the kernel's name. speed: in Mbit/s, or empty. ports: how many it has
    itself; 0 for what is no hub. fixed: whether it cannot be unplugged. instances: `project/name` of those
    that have it, or what hangs from it.
    """

    device: str
    port: str
    id: str
    product: str
    serial: str
    speed: str
    ports: int
    fixed: bool
    instances: list[str]


class SocketJson(TypedDict):
    """A socket. number: on its hub, by USB 2 where it has that. ports: the kernel's names for it, one on
    each bus. path: as the section `hubs` has it; empty where udev does not say it. location: its name, or
    empty. connection: the firmware's word. devices: what is in it; a USB 3 hub is two. free: whether
    something can be plugged in. sockets: those of the hub in it.
    """

    number: int
    ports: list[str]
    path: str
    location: str
    connection: str
    free: bool
    devices: list[PluggedJson]
    sockets: list[SocketJson]


class ControllerJson(TypedDict):
    """A USB controller. path: as the section `hubs` has it. buses: their speeds by their numbers."""

    path: str
    syspath: str
    driver: str
    buses: dict[str, str]
    sockets: list[SocketJson]


class NamedHubJson(TypedDict):
    """A hub that the section `hubs` names, whether it is there or not. locations: of its ports, in the
    section's order.
    """

    name: str
    locations: list[str]


class TopologyJson(TypedDict):
    """`topology --json`. hubs: those with names. problems: why instances are not known, if they are not."""

    controllers: list[ControllerJson]
    hubs: list[NamedHubJson]
    problems: list[ProblemJson]


def topology(
    devices: Iterable[Device],
    ports: Mapping[str, Mapping[int, UsbPort]],
    hubs: Hubs,
    held: Mapping[str, Sequence[str]],
    problems: Sequence[ProblemJson] = (),
) -> TopologyJson:
    """The tree of all USB devices among `devices`.

    ports  of each hub, by its syspath
    held   the instances that have a USB device, or what hangs from it, by its syspath
    """
    usb = {device.kernel: device for device in devices if device.is_usb_device}
    tree = _Tree(usb, ports, hubs, held)
    roots: dict[str, list[Device]] = {}
    for device in usb.values():
        if device.kernel.startswith("usb"):
            roots.setdefault(device.syspath.rpartition("/")[0], []).append(device)
    controllers = [tree.controller(syspath, found) for syspath, found in sorted(roots.items())]
    named: list[NamedHubJson] = [
        {"name": hub.name, "locations": [*map(hub.location, hub.ports)]} for hub in hubs.hubs
    ]
    return {"controllers": controllers, "hubs": named, "problems": [*problems]}


@dataclass(frozen=True, slots=True)
class _Tree:
    """What `topology` is made of. usb: the devices by the kernel's names."""

    usb: Mapping[str, Device]
    ports: Mapping[str, Mapping[int, UsbPort]]
    hubs: Hubs
    held: Mapping[str, Sequence[str]]

    def controller(self, syspath: str, roots: Iterable[Device]) -> ControllerJson:
        """A controller with these root hubs."""
        buses = sorted(roots, key=_by_speed)
        above = buses[0].parent
        paths = (root.properties.get("ID_PATH", "").partition("-usb-")[0] for root in buses)
        return {
            "path": next(filter(None, paths), ""),
            "syspath": syspath,
            "driver": above.driver if above is not None else "",
            "buses": {root.kernel.removeprefix("usb"): root.attrs.get("speed", "") for root in buses},
            "sockets": [*self.sockets(buses, 1)],
        }

    def sockets(self, halves: Sequence[Device], tier: int) -> Iterator[SocketJson]:
        """The sockets of a hub. halves: the hubs that it is, the one for USB 2 first."""
        seen: set[str] = set()
        for hub in halves:
            known = self.ports.get(hub.syspath, {})
            for number in range(1, max((_count(hub), *known)) + 1):
                name = _below(hub, number)
                if name in seen:
                    continue
                port = known.get(number, UsbPort())
                names = [name, *([port.peer] if port.peer else self._alike(hub, halves, number))]
                seen.update(names)
                yield self._socket(hub, number, names, port, tier)

    def _alike(self, hub: Device, halves: Sequence[Device], number: int) -> list[str]:
        """The other half's port of this number, which the kernel takes for the same but at root hubs."""
        if hub.kernel.startswith("usb"):
            return []
        return [_below(other, number) for other in halves if other is not hub and number <= _count(other)]

    def _socket(self, hub: Device, number: int, names: list[str], port: UsbPort, tier: int) -> SocketJson:
        devices = [self.usb[name] for name in names if name in self.usb]
        # A stand-in for the device of an empty socket, to find the socket's location.
        peer = {"peer": names[1]} if names[1:] else {}
        empty = Device(f"{hub.syspath}/{names[0]}", "usb", names[0], "usb_device", attrs=peer, parent=hub)
        inner = [each for each in devices if _count(each)]
        return {
            "number": number,
            "ports": names,
            "path": next(iter(sockets(empty)), ""),
            "location": next(filter(None, map(self.hubs.location, (*devices, empty))), ""),
            "connection": port.connection,
            "free": not devices and port.connection not in ("not used", "hardwired"),
            "devices": [self._plugged(each) for each in devices],
            "sockets": [*self.sockets(inner, tier + 1)] if inner and tier < _DEEPEST else [],
        }

    def _plugged(self, device: Device) -> PluggedJson:
        return {
            "device": str(device),
            "port": device.kernel,
            "id": next(iter(ID.values(device)), ""),
            "product": device.attrs.get("product", ""),
            "serial": next(iter(SERIAL.values(device)), ""),
            "speed": device.attrs.get("speed", ""),
            "ports": _count(device),
            "fixed": device.attrs.get("removable", "") == "fixed",
            "instances": [*self.held.get(device.syspath, ())],
        }


def _by_speed(root: Device) -> tuple[bool, int]:
    number = root.kernel.removeprefix("usb")
    return root.attrs.get("idProduct") == _SUPER_SPEED, int(number) if number.isdecimal() else 0


def _count(hub: Device) -> int:
    """How many ports a device has; 0 for what is no hub."""
    text = hub.attrs.get("maxchild", "")
    return min(int(text), _MOST_PORTS) if text.isascii() and text.isdecimal() else 0


def _below(hub: Device, number: int) -> str:
    """What the kernel calls a device in this port."""
    if hub.kernel.startswith("usb"):
        return f"{hub.kernel.removeprefix('usb')}-{number}"
    return f"{hub.kernel}.{number}"
