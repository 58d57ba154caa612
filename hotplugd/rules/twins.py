"""What tells a rule's devices apart: what they say of themselves, or where they are plugged in.

What a device says of itself another one can say, too; a port and a path are the kernel's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from hotplugd.model.values import Device, printable
from hotplugd.rules.keys import values
from hotplugd.rules.match import KeyTest, Match
from hotplugd.rules.pattern import Pattern

# A USB port or an interface there, and a PCI address, as kernel names: wildcards may stand in them.
_PLACED: Final = re.compile(
    r"[0-9*?\[\]]+-[0-9.*?\[\]-]+(:[0-9.*?\[\]]+)?|[0-9a-f*?]{1,4}:[0-9a-f*?]{1,2}:[0-9a-f*?]{1,2}\.[0-7*?]"
)
_PORT: Final = re.compile(r"[0-9]+-[0-9.*?\[\]-]+(:[0-9.*?\[\]]+)?")
_NUMBERED: Final = {
    "port": re.compile(rf"^({_PORT.pattern}|usb[0-9]+)$"),
    "kernel": re.compile(rf"^({_PORT.pattern}|usb[0-9]+)$"),
    "attr.busnum": re.compile("[0-9]"),
    "property.BUSNUM": re.compile("[0-9]"),
    "property.DEVNAME": re.compile("bus/usb/[0-9]"),
    "property.DEVPATH": re.compile("/usb[0-9]"),
}
_PCI: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_BRACKETS: Final = re.compile(r"\[[^]]*\]")
_BOTH: Final = 2
_SERIAL_ATTRS: Final = frozenset({"uniq", "vpd_pg80", "cid"})


def is_serial(test: KeyTest) -> bool:
    """Whether it asks for the serial number, under whichever of its names."""
    group, _, name = test.key.partition(".")
    if group == "property":
        by_id = name == "DEVLINKS" and any("/by-id/" in pattern.text for pattern in test.patterns)
        return "SERIAL" in name or name in ("UNIQ", "HID_UNIQ") or by_id
    if group == "attr":
        last = name.rpartition("/")[2]
        return "serial" in last or last in _SERIAL_ATTRS
    return test.key == "serial"


def is_place(test: KeyTest) -> bool:
    """Whether it asks where the device is plugged in."""
    if any(pattern.text == "*" for pattern in test.patterns):
        return False
    group, _, name = test.key.partition(".")
    if group == "property":
        by_path = name == "DEVLINKS" and all("/by-path/" in pattern.text for pattern in test.patterns)
        return (
            name.startswith("ID_PATH")
            or name in ("DEVPATH", "ID_NET_NAME_PATH", "ID_NET_NAME_SLOT")
            or by_path
        )
    if group == "attr":
        return name.rpartition("/")[2] == "devpath"
    if test.key in ("kernel", "port"):
        return all(map(_is_placed, test.patterns))
    return test.key == "path"


def is_place_or_mac(test: KeyTest) -> bool:
    """Whether it asks for the place, or for an interface's address, in which two of one serial differ."""
    return test.key == "mac" or is_place(test)


def buses(match: Match) -> Iterator[tuple[str, str]]:
    """Each pattern anywhere in it that has the number of a USB bus in it, with its key, as it was written."""
    for test in match.key_tests():
        key = test.key.rpartition(".")[2]
        if (numbered := _NUMBERED.get(test.key)) is not None:
            for pattern in test.patterns:
                yield from ((key, each) for each in pattern.text.split("|") if numbered.search(each))


def _is_placed(pattern: Pattern) -> bool:
    """Whether each alternative is a port's or a PCI device's name, with a digit that is no wildcard."""
    return all(
        _PLACED.fullmatch(each) is not None and any(map(str.isdigit, _BRACKETS.sub("", each)))
        for each in pattern.text.split("|")
    )


def bus_warning(match: Match, controllers: Mapping[str, str]) -> str:
    """What is doubtful about the ports in it on a host with these controllers; or empty.

    controllers  in sysfs, by the number of each bus of theirs; none where nobody looked
    """
    count = len(set(controllers.values()))
    named = next(buses(match), None)
    if named is None or count <= 1:
        return ""
    key, pattern = named
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
    """What `path` can say to mean the device's socket, whatever number its bus has; nothing without a path.

    A socket for USB 3 is two ports, and one path for each.
    """
    found = values(device, "path")
    usb = device.usb
    if len(found) < _BOTH or usb is None:
        return found[:1]
    own, peer = (each.partition("-")[2] for each in (usb.kernel, usb.attrs.get("peer", "")))
    before, _, after = found[1].partition("-usbv")
    revision, _, rest = after.partition("-0:")
    if not peer or not rest.startswith(own):
        return found[1:]
    other = {"2": "3", "3": "2"}.get(revision, "")
    return (found[1], f"{before}-usbv{other}-0:{peer}{rest.removeprefix(own)}") if other else found[1:]
