"""Made-up USB devices: umockdev for what udev says of them, real character nodes for what LXD passes on.

What holds with umockdev 0.17.16 and libudev 252:

- A process with `environment` sees the made-up tree alone, by enumeration and by events. The tree is
  changed from outside; nothing in the seeing process needs to know.
- `add_device` announces the device itself; no `uevent(…, "add")` is needed, which would be a second one.
- Both groups of the uevent socket, udev's and the kernel's, get every message, and the same one: with
  SEQNUM (counted by the sender from 1) and with all properties. Over the kernel's group too a device is
  `is_initialized`, which it is not in life. There is no /sys/kernel/uevent_seqnum.
- In an event a device is initialised. In an enumeration it only is when udev's database has it, and the
  database is not a part of the tree: it is /run/udev/data of the machine. So each device gets its real
  file there, under a number of a bus that no machine has, and enumeration gives ID_* from there.
- Newer versions have the database in the tree. It is written to both places.
- Nodes below /dev are the machine's, so that a server outside the tree finds them: made here with mknod,
  of the USB major number, for buses that do not exist. Opening one gives ENODEV, which is harmless.
- /proc, /run and sockets are the real ones.
- Events go through a unix datagram socket for each listening socket. When one is full the sender aborts, so
  the queue, of 10 messages as Linux has it, is made longer while there is a tree. It has the length that held
  when the listening process opened its socket.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from tests.support.lab.claims import Claim, claims

_HERE = Path(__file__).parents[3]
_NODES = Path("/dev/bus/usb")
_DATABASE = "run/udev/data"
_USB_MAJOR = 189
_TTY_MAJOR = 188
_INPUT_MAJOR = 13
_HUB_CLASS = "09"
_QUEUE = Path("/proc/sys/net/unix/max_dgram_qlen")
_LONG_ENOUGH = 4096

ADB = "ff:42:01"
FASTBOOT = "ff:42:03"
SERIAL = "ff:ff:ff"


@dataclass(frozen=True, slots=True)
class Phone:
    """What a USB device says of itself. serial is empty where it has none; interfaces as in rules."""

    vendor: str = "18d1"
    product: str = "4ee7"
    serial: str = ""
    interfaces: Sequence[str] = (ADB,)
    device_class: str = "00"
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plugged:
    """A device in the tree: where it is in sysfs, its node and number, and the tty that hangs from it."""

    phone: Phone
    port: str
    syspath: str
    node: str
    major: int
    minor: int
    below: tuple[Plugged, ...] = ()

    @property
    def number(self) -> str:
        """As `c 189:3`."""
        return f"c {self.major}:{self.minor}"


class Usb:
    """One bus with a root hub. A port is given as in `1-4.2`, without the bus: `4.2` hangs from a hub in `4`.

    bus  such that its numbers are nobody's
    """

    def __init__(self, bus: int = 0) -> None:
        self._undo = ExitStack()
        if not bus:
            bus, claim = _reserve_bus()
            self._undo.callback(claim.close)
        self.bus = bus
        self._devnum = 0
        self._there: dict[str, Plugged] = {}
        self._properties: dict[str, dict[str, str]] = {}
        self._bed: subprocess.Popen[str] | None = None
        self.root = Path()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.close)
            self._lengthen_queue()
            self._bed = subprocess.Popen(
                ["umockdev-wrapper", sys.executable, "-m", "tests.support.lab.usb_bed"],
                cwd=_HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            )  # fmt: skip
            self.root = Path(str(self._read()))
            self._add_root_hub()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process see this tree instead of the machine's devices."""
        preload = " ".join(["libumockdev-preload.so.0", *os.environ.get("LD_PRELOAD", "").split()])
        return {**os.environ, "LD_PRELOAD": preload, "UMOCKDEV_DIR": str(self.root)}

    def plug(self, phone: Phone, port: str, *, bus: int = 0, processed: bool = True) -> Plugged:
        """Plug a device in. It has a number that no device on this bus had before.

        bus        another than the first: `add_bus`
        processed  whether udevd has processed it; else it has once `change` says so
        """
        self._devnum += 1
        bus = bus or self.bus
        name = f"{bus}-{port}"
        assert name not in self._there, f"there is something in port {name} already"
        devnum = self._devnum
        minor = (bus - 1) * 128 + devnum - 1
        node = f"{_NODES}/{bus:03}/{devnum:03}"
        above = self._parent_of(port, bus)
        return self._plug(phone, name, above, node, minor, devnum, processed=processed)

    def there(self, name: str) -> Plugged:
        """What the kernel calls by this name."""
        return self._there[name]

    def add_bus(self) -> int:
        """The controller's other bus, for USB 3. Returns its number."""
        bus, claim = _reserve_bus()
        self._undo.callback(claim.close)
        hub = Phone(vendor="1d6b", product="0003", interfaces=("09:00:00",), device_class=_HUB_CLASS)
        above = str(Path(self._there[f"usb{self.bus}"].syspath).parent)
        self._plug(hub, f"usb{bus}", above, f"{_NODES}/{bus:03}/001", (bus - 1) * 128, 1)
        return bus

    def lead_out(self, hub: str, count: int, *, peers: Mapping[int, str] = MappingProxyType({})) -> None:
        """A hub has ports, which sysfs shows.

        hub    its name: `usb500`, `500-4`
        peers  by number the folder of the same socket's port on the other hub: `usb501-port1`
        """
        syspath = self._there[hub].syspath
        folder = Path(f"{self.root}{syspath}")
        (folder / "maxchild").write_text(f"{count}\n")
        for number in range(1, count + 1):
            port = folder / f"{hub}:1.0" / f"{hub}-port{number}"
            port.mkdir()
            (port / "connect_type").write_text("hotplug\n")
            if number in peers:
                (port / "peer").symlink_to(f"../{peers[number]}")

    def over_current(self, hub: str, number: int, count: int) -> None:
        """A port of a hub, which `lead_out` shows, drew too much power so often by now; the kernel says so as
        port_over_current_notify does in its drivers/usb/core/hub.c.
        """
        interface = f"{self._there[hub].syspath}/{hub}:1.0"
        port = f"{interface}/{hub}-port{number}"
        Path(f"{self.root}{port}", "over_current_count").write_text(f"{count}\n")
        said = {
            "DEVTYPE": "usb_interface", "INTERFACE": "9/0/0", "DRIVER": "hub",
            "OVER_CURRENT_PORT": port.removeprefix("/sys"), "OVER_CURRENT_COUNT": str(count),
        }  # fmt: skip
        self._ask("change", interface, said, "change")

    def in_port(self, plugged: Plugged, port: str) -> None:
        """Sysfs shows which port of its hub a device is in: `usb500-port4`, `500-4-port2`."""
        hub = port.partition("-port")[0]
        folder = f"{self._there[hub].syspath}/{hub}:1.0/{port}"
        Path(f"{self.root}{plugged.syspath}/port").symlink_to(f"{self.root}{folder}")
        self.change(plugged)

    def bind(self, plugged: Plugged, interface: int, driver: str, module: str = "") -> str:
        """The host's driver has an interface; one without module is built into the kernel.

        Returns the interface's syspath.
        """
        syspath = f"{plugged.syspath}/{plugged.port}:1.{interface}"
        folder = self.root / "sys/bus/usb/drivers" / driver
        folder.mkdir(parents=True, exist_ok=True)
        if module:
            (folder / "module").symlink_to(f"/sys/module/{module}")
        Path(f"{self.root}{syspath}/driver").symlink_to(f"{self.root}/sys/bus/usb/drivers/{driver}")
        return syspath

    def plug_radio(self, phone: Phone, port: str, name: str) -> Plugged:
        """Plug a Bluetooth adapter in: the same, with a device called `name` that has no node."""
        plugged = self.plug(phone, port)
        interface = f"{plugged.syspath}/{plugged.port}:1.0"
        self._ask("add", "bluetooth", name, interface, {}, {"DEVTYPE": "host"})
        return plugged

    def plug_serial(self, phone: Phone, port: str, tty: str) -> Plugged:
        """Plug a USB serial adapter in: the same, with a tty (such as `ttyUSB90`) on its first interface."""
        plugged = self.plug(phone, port)
        interface = f"{plugged.syspath}/{plugged.port}:1.0"
        minor = 128 + self._devnum
        converter = self._ask("add", "usb-serial", tty, interface, {}, {"DRIVER": "ftdi_sio"})
        properties = {
            "DEVNAME": f"/dev/{tty}", "MAJOR": str(_TTY_MAJOR), "MINOR": str(minor),
            **self._udev_properties(phone, plugged.port), "ID_BUS": "usb",
        }  # fmt: skip
        self._database(_TTY_MAJOR, minor, properties)
        self._node(f"/dev/{tty}", _TTY_MAJOR, minor)
        syspath = str(self._ask("add", "tty", tty, converter, {"dev": f"{_TTY_MAJOR}:{minor}"}, properties))
        child = Plugged(phone, plugged.port, syspath, f"/dev/{tty}", _TTY_MAJOR, minor)
        whole = Plugged(
            phone, plugged.port, plugged.syspath, plugged.node, plugged.major, plugged.minor, (child,)
        )
        self._there[plugged.port] = whole
        return whole

    def plug_keyboard(self, phone: Phone, port: str, name: str, number: int) -> Plugged:
        """Plug a keyboard in of this name: the same, with an input device and its node `event<number>`.

        The kernel has the name in its `uevent` files as it is.
        """
        plugged = self.plug(phone, port)
        product = f"{phone.vendor}:{phone.product}"
        hid = self._ask(
            "add", "hid", f"0003:{product}.{number:04}", f"{plugged.syspath}/{plugged.port}:1.0", {},
            {"HID_ID": "0003:0:0", "HID_NAME": name, "HID_PHYS": "usb", "HID_UNIQ": "", "MODALIAS": "hid:b3"},
        )  # fmt: skip
        above = self._ask(
            "add", "input", f"input{number}", hid, {"name": name},
            {"PRODUCT": "3/0/0/0", "NAME": f'"{name}"', "PHYS": '"usb"', "MODALIAS": "input:b3"},
        )  # fmt: skip
        minor = 64 + number
        node = f"/dev/input/event{number}"
        properties = {
            "DEVNAME": node, "MAJOR": str(_INPUT_MAJOR), "MINOR": str(minor),
            **self._udev_properties(phone, plugged.port),
        }  # fmt: skip
        self._database(_INPUT_MAJOR, minor, properties)
        self._node(node, _INPUT_MAJOR, minor)
        syspath = str(
            self._ask("add", "input", f"event{number}", above, {"dev": f"{_INPUT_MAJOR}:{minor}"}, properties)
        )
        return Plugged(phone, plugged.port, syspath, node, _INPUT_MAJOR, minor)

    def unplug(self, plugged: Plugged) -> None:
        """Pull a device out, what hangs from it first."""
        for name in [each for each in self._there if each.startswith(plugged.port + ".")]:
            self.unplug(self._there[name])
        self._there.pop(plugged.port, None)
        for child in plugged.below:
            self._take_node(child)
            self._ask("remove", child.syspath)
            self._ask("remove", str(Path(child.syspath).parent))
        for index in range(len(plugged.phone.interfaces)):
            self._ask("remove", f"{plugged.syspath}/{plugged.port}:1.{index}")
        self._take_node(plugged)
        self._ask("remove", plugged.syspath)

    def change(self, plugged: Plugged, action: str = "change", /, **properties: str) -> None:
        """udevd has processed the device again and has these properties besides, or has them anew."""
        known = self._properties[plugged.syspath]
        known.update(properties)
        self._database(plugged.major, plugged.minor, known)
        self._ask("change", plugged.syspath, known, action)

    def announce(self, plugged: Plugged, action: str = "add", /, **variables: str) -> None:
        """The kernel says this of a device once more, with these variables; udevd has not processed it."""
        said = {**self._properties[plugged.syspath], **variables}
        self._ask("change", plugged.syspath, said, action)

    def says(self, plugged: Plugged, attr: str, raw: bytes) -> None:
        """The kernel has these very bytes in a sysfs attribute of the device, and tells of a change."""
        Path(f"{self.root}{plugged.syspath}", attr).write_bytes(raw)
        self.change(plugged)

    def close(self) -> None:
        """Take the tree, its nodes and its entries in udev's database away."""
        bed, self._bed = self._bed, None
        with self._undo:
            if bed is not None:
                with bed:
                    assert bed.stdin is not None
                    with suppress(BrokenPipeError):
                        bed.stdin.close()
                    bed.wait(60)  # a thousand devices take a while to go
                if self.root != Path():
                    shutil.rmtree(self.root, ignore_errors=True)

    # --- inner workings ---------------------------------------------------------------------------------

    def _lengthen_queue(self) -> None:
        before = _QUEUE.read_text()
        if int(before) < _LONG_ENOUGH:
            _QUEUE.write_text(str(_LONG_ENOUGH))
            self._undo.callback(_QUEUE.write_text, before)

    def _add_root_hub(self) -> None:
        controller = self._ask("add", "pci", "0000:00:14.0", "", {}, {"DRIVER": "xhci_hcd"})
        self._devnum += 1
        hub = Phone(vendor="1d6b", product="0002", interfaces=("09:00:00",), device_class=_HUB_CLASS)
        node = f"{_NODES}/{self.bus:03}/001"
        name = f"usb{self.bus}"
        self._plug(hub, name, str(controller), node, (self.bus - 1) * 128, 1)

    def _parent_of(self, port: str, bus: int) -> str:
        above = port.rpartition(".")[0]
        return self._there[f"{bus}-{above}" if above else f"usb{bus}"].syspath

    def _plug(
        self,
        phone: Phone,
        name: str,
        parent: str,
        node: str,
        minor: int,
        devnum: int,
        *,
        processed: bool = True,
    ) -> Plugged:
        attrs = {
            "idVendor": phone.vendor, "idProduct": phone.product, "bDeviceClass": phone.device_class,
            "busnum": str(minor // 128 + 1), "devnum": str(devnum), "dev": f"{_USB_MAJOR}:{minor}",
            **({"serial": phone.serial} if phone.serial else {}),
        }  # fmt: skip
        properties = {
            "DEVTYPE": "usb_device", "DRIVER": "usb", "DEVNAME": node,
            "MAJOR": str(_USB_MAJOR), "MINOR": str(minor),
            "BUSNUM": f"{minor // 128 + 1:03}", "DEVNUM": f"{devnum:03}",
            "PRODUCT": f"{int(phone.vendor, 16):x}/{int(phone.product, 16):x}/100",
            **self._udev_properties(phone, name),
        }  # fmt: skip
        # The node and the database are there before the event is, as udevd has it.
        self._node(node, _USB_MAJOR, minor)
        if processed:
            self._database(_USB_MAJOR, minor, properties)
        syspath = str(self._ask("add", "usb", name, parent, attrs, properties))
        self._properties[syspath] = properties
        plugged = Plugged(phone, name, syspath, node, _USB_MAJOR, minor)
        self._there[name] = plugged
        for index, interface in enumerate(phone.interfaces):
            numbers = interface.split(":")
            keys = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
            kind = "/".join(str(int(number, 16)) for number in numbers)
            self._ask(
                "add", "usb", f"{name}:1.{index}", syspath, dict(zip(keys, numbers, strict=True)),
                {"DEVTYPE": "usb_interface", "INTERFACE": kind},
            )  # fmt: skip
        return plugged

    def _udev_properties(self, phone: Phone, name: str) -> dict[str, str]:
        """What udevd's own rules would add."""
        flat = "".join(f"{each.replace(':', '')}:" for each in phone.interfaces)
        return {
            "USEC_INITIALIZED": str(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000),
            "ID_VENDOR_ID": phone.vendor,
            "ID_MODEL_ID": phone.product,
            "ID_USB_INTERFACES": f":{flat}",
            "ID_PATH": f"pci-0000:00:14.0-usb-0:{name.rpartition('-')[2]}",
            **({"ID_SERIAL_SHORT": phone.serial} if phone.serial else {}),
            **phone.properties,
        }

    def _node(self, node: str, major: int, minor: int) -> None:
        path = Path(node)
        for folder in reversed(path.parents):
            if not folder.exists():
                folder.mkdir(mode=0o755)
                self._undo.callback(_remove_empty, folder)
        os.mknod(path, stat.S_IFCHR | 0o660, os.makedev(major, minor))
        self._undo.callback(path.unlink, missing_ok=True)

    def _database(self, major: int, minor: int, properties: Mapping[str, str]) -> None:
        lines = [f"I:{properties['USEC_INITIALIZED']}\n"]
        lines += [
            f"E:{key}={value}\n" for key, value in properties.items() if key.startswith(("ID_", "HOTPLUGD_"))
        ]
        for root in (Path("/"), self.root):
            path = root / _DATABASE / f"c{major}:{minor}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.fsencode("".join(lines)))
            self._undo.callback(path.unlink, missing_ok=True)

    def _take_node(self, plugged: Plugged) -> None:
        Path(plugged.node).unlink(missing_ok=True)
        for root in (Path("/"), self.root):
            (root / _DATABASE / f"c{plugged.major}:{plugged.minor}").unlink(missing_ok=True)

    def _ask(self, *request: object) -> object:
        assert self._bed is not None
        assert self._bed.stdin is not None
        self._bed.stdin.write(json.dumps(request) + "\n")
        self._bed.stdin.flush()
        return self._read()

    def _read(self) -> object:
        assert self._bed is not None
        assert self._bed.stdout is not None
        line = self._bed.stdout.readline()
        if not line:
            raise RuntimeError(f"the made-up USB tree's process ended with {self._bed.wait(10)}")
        answer: object = json.loads(line)
        return answer


def _reserve_bus() -> tuple[int, Claim]:
    """The number of a bus that neither the machine nor another test has, and what holds it."""
    for number, claim in claims("usb", range(500, 900)):
        if not Path(f"{_NODES}/{number:03}").exists():
            return number, claim
        claim.close()
    raise AssertionError("expected a free USB bus in 500 to 899, and found none")


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
