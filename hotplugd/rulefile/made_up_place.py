"""Where a USB device that is made up is plugged in, and what is above it there. Pure.

What one value says follows for the others: a location has a path and a port, but for the number of the bus,
which a boot gives. Where no `port` is written that is 0, which no bus has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final

from hotplugd.model.text import quoted
from hotplugd.model.values import Device
from hotplugd.rules.hubs import Hubs, place_below
from hotplugd.rules.keys import LOCATION, PATH, PORT

_REVISION: Final = re.compile(r"-usbv([123])-", re.ASCII)
# Of what hangs from a USB device, too: `…-usb-0:4.2:1.0`.
_USB_PATH: Final = re.compile(r".*-usb-[0-9]+:[0-9]+(?:\.[0-9]+)*", re.ASCII)
_NO_BUS: Final = "0-"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a USB device is; empty texts where nothing says so.

    port      the kernel's name, and `peer` what the same socket is called at the other speed
    path      udev's ID_PATH
    revision  of USB, of the root hub: 1, 2 or 3
    serial    of the hub that it is in, whose name is `hub`
    """

    port: str = ""
    peer: str = ""
    path: str = ""
    revision: str = ""
    serial: str = ""
    hub: str = ""


def place_of(values: Mapping[str, Sequence[str]], hubs: Hubs) -> Place | None:
    """The place of the USB device that the values say, be they of what hangs from it; None where no port is
    called as they say.
    """
    port, peer = (*values.get(PORT.name, ())[:2], "", "")[:2]
    path, revision = without_revision(next(iter(values.get(PATH.name, ())), ""))
    path = found[0] if (found := _USB_PATH.match(path)) is not None else ""
    location = next(iter(values.get(LOCATION.name, ())), "")
    if not location:
        return Place(port, peer, path, revision)
    places = list(_places(location, port, hubs))
    if not places:
        return None
    place = next((each for each in places if path == each.path or _own(port) == _own(each.port)), places[0])
    return replace(place, port=port or place.port, peer=peer, path=path or place.path)


def where_it_is(location: str, hubs: Hubs) -> str:
    """What to write of a port besides its name, where other values do not fit it."""
    ends = [
        each.port.removeprefix(each.hub) if each.serial else f"-{_own(each.port)}"
        for each in _places(location, "", hubs)
    ]
    return f"its port ends in {' or '.join(ends)}; write such a port, or none"


def unknown_port(location: str, hubs: Hubs) -> str:
    """What to write in place of the name of a port that no hub has."""
    close = get_close_matches(location, hubs.locations, 1)
    if close:
        return f"did you mean '{quoted(close[0])}'?"
    if not hubs.hubs:
        return "the section `hubs` of rule files gives ports names, and there is none"
    return f"hubs with names: {', '.join(quoted(each.name) for each in hubs.hubs)}"


def without_revision(path: str) -> tuple[str, str]:
    """A path as udev has it, and the revision of USB that it says, if any: `usbv3` is `usb` and 3."""
    found = _REVISION.search(path)
    return (_REVISION.sub("-usb-", path), found[1]) if found is not None else (path, "")


def above(place: Place, parent: Device | None, folder: str) -> Device | None:
    """The device above one in this place; parent is above all of that, but for the root hub."""
    found = parent
    if place.revision:
        number = {"idProduct": f"000{place.revision}"}
        found = _below(Device(f"{folder}/usb", "usb", "usb0", "usb_device", attrs=number), found)
    if place.serial:
        number = {"serial": place.serial}
        found = Device(f"{folder}/hub", "usb", place.hub, "usb_device", "usb", attrs=number, parent=found)
    return found


def _below(top: Device, device: Device | None) -> Device:
    """The device with this one above all others."""
    return top if device is None else replace(device, parent=_below(top, device.parent))


def _places(location: str, port: str, hubs: Hubs) -> Iterator[Place]:
    """The places of the port of this name. port: what the device in it is called, where that is known."""
    if (named := hubs.named(location)) is None:
        return
    hub, below = named
    for each in hub.paths:
        path, revision = without_revision(place_below(each, below))
        yield Place(f"{_NO_BUS}{path.rpartition(':')[2]}", "", path, revision)
    if hub.serial:
        name = port or f"{_NO_BUS}1.{below}"
        yield Place(name, serial=hub.serial, hub=name.removesuffix(f".{below}"))


def _own(port: str) -> str:
    """The ports from the root hub on."""
    return port.partition("-")[2]
