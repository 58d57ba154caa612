"""Warns of rules that name the number of a USB bus, which another boot may give to another controller."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from hotplugd.model.text import printable
from hotplugd.model.values import Device
from hotplugd.rules.keys import PATH
from hotplugd.rules.match import Match

_PORT: Final = re.compile(r"^([0-9]+-[0-9.*?\[\]-]+(:[0-9.*?\[\]]+)?|usb[0-9]+)$")
_NUMBERED: Final = {
    "port": _PORT,
    "kernel": _PORT,
    "attr.busnum": re.compile("[0-9]"),
    "property.BUSNUM": re.compile("[0-9]"),
    "property.DEVNAME": re.compile("bus/usb/[0-9]"),
    "property.DEVPATH": re.compile("/usb[0-9]"),
}
"""By key: what a pattern with a bus number has in it."""
_PCI: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_BOTH: Final = 2


def bus_patterns(match: Match) -> Iterator[tuple[str, str]]:
    """The patterns anywhere in a match that have a bus number in them, each with its key."""
    for test in match.key_tests():
        numbered = _NUMBERED.get(test.key.name)
        if numbered is not None:
            key = test.key.name.rpartition(".")[2]
            texts = (text for pattern in test.patterns for text in pattern.text.split("|"))
            yield from ((key, text) for text in texts if numbered.search(text))


def bus_warning(match: Match, controllers: Mapping[str, str]) -> str:
    """Why its bus numbers may change on a host with these controllers; or empty.

    controllers  in sysfs, by the number of each bus of theirs; none where nobody looked
    """
    count = len(set(controllers.values()))
    first = next(bus_patterns(match), None)
    if first is None or count <= 1:
        return ""
    key, pattern = first
    return (
        f"goes by a bus number ({key} {printable(pattern)}), and this host has {count} USB controllers, "
        f"which may be numbered otherwise after a boot"
    )


def path_of_port(port: str, controllers: Mapping[str, str]) -> str:
    """ID_PATH of the USB device in a port of one of these controllers; empty where that is unsure."""
    bus, _, rest = port.partition("-")
    above, _, name = controllers.get(bus, "").rpartition("/") if rest else ("", "", "")
    if _PCI.fullmatch(name):
        return f"pci-{name}-usb-0:{rest}"
    return f"platform-{name}-usb-0:{rest}" if above == "/sys/devices/platform" else ""


def lasting_paths(device: Device) -> tuple[str, ...]:
    """The values of `path` that mean the device's socket, whatever number its bus has; none without a path.

    A socket for USB 3 is two ports, and has one path for each.
    """
    paths = PATH.values(device)
    usb = device.usb
    if len(paths) < _BOTH or usb is None:
        return paths[:1]
    own, peer = (port.partition("-")[2] for port in (usb.kernel, usb.attrs.get("peer", "")))
    before, _, after = paths[1].partition("-usbv")
    revision, _, rest = after.partition("-0:")
    if not peer or not rest.startswith(own):
        return paths[1:]
    other = {"2": "3", "3": "2"}.get(revision, "")
    return (paths[1], f"{before}-usbv{other}-0:{peer}{rest.removeprefix(own)}") if other else paths[1:]


def usb3_halves(hubs: Mapping[str, tuple[str, str]], controllers: Mapping[str, str]) -> dict[str, str]:
    """ID_PATH of each USB 3 hub by the numbers of USB 3, and by those of USB 2.

    Without those that mean a hub by either.

    hubs         by the port that each is in: which USB its bus is for, and the socket's port on the other bus
    controllers  as for `bus_warning`
    """
    slow = {path_of_port(port, controllers) for port, (revision, _) in hubs.items() if revision != "3"}
    halves = {
        path_of_port(port, controllers): path_of_port(peer, controllers)
        for port, (revision, peer) in hubs.items()
        if revision == "3"
    }
    return {fast: path for fast, path in halves.items() if fast and path and fast not in slow}
