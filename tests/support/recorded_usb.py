"""USB devices as the kernel and udevd say them: figures of real ones, and of some that are made up.

`recorded_usb.jsonl` has one device a line. `kernel` is what sysfs and the kernel's uevents say of it, `udev`
what udevd said of it afterwards, and `source` where both were published. Most are recordings of umockdev,
which have sysfs and udev's database side by side. Those of checkbox have the kernel's uevents of the device
and of the interfaces in its active configuration (`active`), and a serial number only where the kernel's HID
driver names it. In the lines of systemd 252 the kernel's side is made up, and the other is what `udevadm
test-builtin usb_id` printed of it (tests/kernel/udev/test_usb_id.py does that again).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.sysfs_tree import Tree

MEASURED: Final = "systemd 252"
_FILE: Final = Path(__file__).with_name("recorded_usb.jsonl")
# An endpoint's descriptor.
_ENDPOINT: Final = bytes([7, 5, 0x81, 2, 0, 2, 0])


@dataclass(frozen=True, slots=True)
class Recorded:
    """A USB device, from both sides.

    kind            what it is
    source          where both sides were published, or how udev's was measured
    port            as the kernel names it
    attrs           of sysfs; `serial` is udev's where the kernel's was not recorded
    configurations  the interfaces of each, `class:subclass:protocol` in hex, each as often as it is there
    is_whole        whether the kernel's side has all configurations
    udev            udev's properties
    """

    kind: str
    source: str
    port: str
    attrs: Mapping[str, str]
    configurations: tuple[tuple[str, ...], ...]
    is_whole: bool
    udev: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.kind}, {self.attrs['idVendor']}:{self.attrs['idProduct']}"

    @property
    def serial(self) -> str:
        """The kernel's serial number, or empty."""
        return self.attrs.get("serial", "")

    @property
    def interfaces(self) -> frozenset[str]:
        """All interfaces."""
        return frozenset(each for some in self.configurations for each in some)

    def add(self, tree: Tree, number: int = 9) -> str:
        """Plug it into the tree, with the hubs above it, of which sysfs says no more; returns its syspath.

        number  its device number on the bus
        """
        bus, _, below = self.port.partition("-")
        folders = ["pci0000:00/0000:00:14.0", f"pci0000:00/0000:00:14.0/usb{bus}"]
        ports = below.split(".")
        folders += [f"{bus}-{'.'.join(ports[:count])}" for count in range(1, len(ports))]
        place = ""
        for folder in folders:
            place = folder if not place else f"{place}/{folder.rpartition('/')[2]}"
            if not (tree.root / "devices" / place).exists():
                kind = "usb" if "usb" in place else "pci"
                hub = {"bDeviceClass": "09\n", "maxchild": "16\n"}
                tree.add(place, kind, "DEVTYPE=usb_device\n" if kind == "usb" else "", attrs=hub)
        uevent = f"DEVNAME=bus/usb/{int(bus):03}/{number:03}\nDEVTYPE=usb_device\n"
        attrs = {name: f"{text}\n" for name, text in self.attrs.items()}
        syspath = tree.add(f"{place}/{self.port}", "usb", uevent, f"189:{number - 1}", attrs=attrs)
        Path(syspath, "descriptors").write_bytes(self._descriptors())
        return syspath

    def _descriptors(self) -> bytes:
        vendor, product = (int(self.attrs[name], 16) for name in ("idVendor", "idProduct"))
        ids = vendor.to_bytes(2, "little") + product.to_bytes(2, "little")
        kind = int(self.attrs["bDeviceClass"], 16)
        raw = bytes([18, 1, 0, 2, kind, 0, 0, 64]) + ids + bytes([0, 1, 1, 2, 3, len(self.configurations)])
        for number, some in enumerate(self.configurations, 1):
            own = b"".join(
                bytes([9, 4, at % 256, at // 256, 1, *bytes.fromhex(each.replace(":", "")), 0]) + _ENDPOINT
                for at, each in enumerate(some)
            )
            length = (9 + len(own)).to_bytes(2, "little")
            raw += bytes([9, 2]) + length + bytes([len(some) % 256, number, 0, 0x80, 50]) + own
        return raw


def _recorded(line: str) -> Recorded:
    found = json.loads(line)
    kernel, udev = found["kernel"], found["udev"]
    vendor, product = kernel["id"].split(":")
    attrs = {"idVendor": vendor, "idProduct": product, "bDeviceClass": kernel["class"], "maxchild": "0"}
    attrs |= {name: kernel[name] for name in ("manufacturer", "product") if name in kernel}
    serial = kernel.get("serial", "" if "configurations" in kernel else udev.get("ID_SERIAL_SHORT", ""))
    if serial:
        attrs["serial"] = serial
    whole = kernel.get("configurations")
    return Recorded(
        found["kind"],
        found["source"],
        kernel["port"],
        attrs,
        tuple(_interfaces(some) for some in whole) if whole else _guessed(kernel["active"], udev),
        bool(whole),
        udev,
    )


def _interfaces(texts: list[str]) -> tuple[str, ...]:
    """`03:00:00 x 260` is 260 of them."""
    found: list[str] = []
    for text in texts:
        name, _, count = text.partition(" x ")
        found += [name] * int(count or 1)
    return tuple(found)


def _guessed(active: list[str], udev: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """What is active, and in another configuration what udev has read of the others."""
    six = udev.get("ID_USB_INTERFACES", "").strip(":").split(":")
    more = tuple(
        name for each in six if each and (name := f"{each[:2]}:{each[2:4]}:{each[4:]}") not in active
    )
    return (tuple(active), more) if more else (tuple(active),)


RECORDED: Final = tuple(_recorded(line) for line in _FILE.read_text("utf-8").splitlines())
