"""Hubs whose ports have names, and which of these ports a device is in. Pure.

    Hubs x Device -> location     `Hubs.location`

A socket for USB 3 has two ports, one on each of a controller's two buses, with numbers of their own. It is
named by the number that it has for USB 2, since every hub for USB 3 is one for USB 2 as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from hotplugd.model.values import Device

_SUPER_SPEED: Final = "0003"  # the product number that the kernel gives a root hub for USB 3
_REVISION: Final = re.compile("-usb(v[12])?-")
_BUS: Final = "-usb"


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub as the section `hubs` has it; one of paths and serial is empty.

    paths   of the hub, as udev's ID_PATH; with `usbv3` by the numbers of USB 3. A controller's: its root hub
    serial  the hub's serial number
    ports   the path of each port below the hub (`4.1`), by the port's label
    """

    name: str
    paths: tuple[str, ...]
    serial: str
    ports: Mapping[str, str] = field(hash=False)

    def location(self, label: str) -> str:
        """What the match key `location` calls one of its ports."""
        return f"{self.name}/{label}"

    def places(self) -> Iterator[tuple[str, str]]:
        """Each place of a port that follows from the hub's paths, and the port's label."""
        for path in self.paths:
            for label, below in self.ports.items():
                yield place_below(path, below), label


@dataclass(frozen=True, slots=True)
class Hubs:
    """All hubs that have names, and what follows from them for a device."""

    hubs: tuple[Hub, ...] = ()
    _by_place: Mapping[str, str] = field(init=False, repr=False, compare=False)
    _by_serial: Mapping[tuple[str, str], str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        places = {place: hub.location(label) for hub in self.hubs for place, label in hub.places()}
        serials = {
            (hub.serial, below): hub.location(label)
            for hub in self.hubs
            if hub.serial
            for label, below in hub.ports.items()
        }
        object.__setattr__(self, "_by_place", MappingProxyType(places))
        object.__setattr__(self, "_by_serial", MappingProxyType(serials))

    def location(self, device: Device) -> str:
        """The port that a USB device is in, or that what hangs from it is at; empty where it has no name.

        What is behind a further hub in that port is not in the port itself.
        """
        usb = device.usb
        if usb is None or not self.hubs:
            return ""
        return self.at(sockets(usb)) or (self._by_hubs_serial(usb) if self._by_serial else "")

    def at(self, socket: Iterable[str]) -> str:
        """The name of a port; empty where it has none. socket: as `sockets` calls it"""
        return next((found for place in socket if (found := self._by_place.get(place))), "")

    def places(self, wanted: Callable[[str], bool]) -> list[str]:
        """The places of all ports whose location is wanted, in order; none of hubs that go by a serial."""
        return sorted(place for place, location in self._by_place.items() if wanted(location))

    @property
    def locations(self) -> list[str]:
        """The names of all ports, in the order of the rules."""
        return [hub.location(label) for hub in self.hubs for label in hub.ports]

    def named(self, location: str) -> tuple[Hub, str] | None:
        """The hub whose port is called so, and the path of the port below it; None where none is."""
        return next(
            (
                (hub, below)
                for hub in self.hubs
                for label, below in hub.ports.items()
                if hub.location(label) == location
            ),
            None,
        )

    def _by_hubs_serial(self, usb: Device) -> str:
        for above in usb.ancestors():
            below = usb.kernel.removeprefix(f"{above.kernel}.")
            if above.is_usb_device and (found := self._by_serial.get((_serial(above), below))):
                return found
        return ""


NO_HUBS: Final = Hubs()


def place_below(path: str, below: str) -> str:
    """The place of a port: ID_PATH of what is in it, without the revision where that is not 3.

    path   of its hub, or of the controller
    below  the ports from there on
    """
    path = _REVISION.sub(f"{_BUS}-", path)
    return f"{path}.{below}" if _BUS in path else f"{path}{_BUS}-0:{below}"


def sockets(usb: Device) -> tuple[str, ...]:
    """The places of the socket that a USB device is in: by USB 2, and by USB 3 with `usbv3`.

    One that is not known is left out. Which port of the other bus is the same socket, the kernel says by the
    `peer` of the port, or of one above it: hubs number their ports alike on both buses.
    """
    own = usb.kernel.partition("-")[2]
    other, root = "", usb
    each: Device | None = usb
    while each is not None:
        if each.is_usb_device:
            root = each
            if not other and (peer := each.attrs.get("peer", "")):
                other = peer.partition("-")[2] + usb.kernel.removeprefix(each.kernel)
        each = each.parent
    controller = _controller(root, usb, own)
    if not own or not controller:
        return ()
    slow, fast = (other, own) if root.attrs.get("idProduct") == _SUPER_SPEED else (own, other)
    places = (
        f"{controller}{_BUS}-0:{slow}" if slow else "",
        f"{controller}{_BUS}v3-0:{fast}" if fast else "",
    )
    return tuple(filter(None, places))


def _controller(root: Device, usb: Device, own: str) -> str:
    """ID_PATH of the USB controller; empty where udev does not say it.

    own  the ports from the root hub to the device
    """
    if path := root.properties.get("ID_PATH", ""):
        return path.partition(f"{_BUS}-")[0]
    before, _, ports = usb.properties.get("ID_PATH", "").partition(f"{_BUS}-0:")
    return before if own and ports == own else ""


def _serial(hub: Device) -> str:
    return hub.attrs.get("serial", "").strip()
