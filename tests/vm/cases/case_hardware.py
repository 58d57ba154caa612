"""Hardware of other kinds than phones: how it arrives in udev, and by rules in containers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from glob import glob
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.wait import eventually
from tests.vm.machine import (
    DEADLINE,
    Adapter,
    Disk,
    Display,
    Keyboard,
    Machine,
    PciAdapter,
    Refused,
    Renderer,
    Serial,
    UsbAdapter,
    VirtioAdapter,
)

Launch = Callable[..., Container]

MAC = "52:54:00:12:34:56"
RULES = """
rules:
  - name: stick
    match: {subsystem: block, devtype: disk, serial: STICK1}
    attach: {to: c1}
  - name: second-partition
    match: {subsystem: block, devtype: partition, serial: STICK1, property: {ID_PART_ENTRY_NUMBER: "2"}}
    attach: {to: c2, path: /dev/data}
  - name: cable
    match: {subsystem: tty, serial: CABLE1}
    attach: {to: c1, path: /dev/ttyCable, group: dialout, mode: "0660"}
  - name: keys
    match: {subsystem: [input, hidraw], serial: KEYS1}
    attach: {to: c2}
"""


def udev(path: Path | str) -> dict[str, str]:
    """What udevd knows of what is at this path of sysfs or /dev; empty until it does."""
    done = subprocess.run(
        ["udevadm", "info", "--query=property", str(path)], capture_output=True, text=True, check=False
    )
    found = dict(each.partition("=")[::2] for each in done.stdout.splitlines())
    return found if "USEC_INITIALIZED" in found else {}


def says(path: Path | str, expected: Mapping[str, str]) -> dict[str, str]:
    """Wait until udevd says this of it. Returns everything that it says."""

    def found() -> dict[str, str]:
        answer = udev(path)
        assert {key: answer.get(key) for key in expected} == expected
        return answer

    return eventually(found, DEADLINE, pause=0.05)


def parents(path: Path) -> list[str]:
    """The subsystems from a device to the bus it hangs from, its own first."""
    chain = (each / "subsystem" for each in (path, *path.parents))
    return [each.resolve().name for each in chain if each.exists()]


def nodes(container: Container) -> set[str]:
    """What a container has of what the rules above attach."""
    wanted = ("/dev/sd", "/dev/data", "/dev/ttyCable", "/dev/input/", "/dev/hidraw")
    return {path for path in container.nodes() if path.startswith(wanted)}


def arrives(container: Container, path: str, source: str = "") -> None:
    """Wait until a container has the host's node at this path, `source` where that is another one."""
    number = Path(source or path).stat().st_rdev

    def there() -> bool:
        seen = container.look(path)
        return seen is not None and os.makedev(seen.major, seen.minor) == number

    eventually(there, DEADLINE, pause=0.05)


@contextmanager
def named(adapter: Adapter) -> Iterator[Path]:
    """The adapter's interface, plugged in and with the name that udevd gives it."""
    adapter.plug()

    def renamed() -> Path:
        # While udevd renames it a listing of the folder may miss it.
        found = adapter.find("net/*")
        assert len(found) == 1
        assert udev(found[0]).get("ID_NET_NAME") == found[0].name
        return found[0]

    yield eventually(renamed, DEADLINE, pause=0.05)
    adapter.unplug()


def test_what_is_no_request_is_answered(machine: Machine) -> None:
    assert "line of JSON" in machine.say(b"plug something")
    assert "an object" in machine.say(b"[]")
    assert "expected text as name" in machine.say(b'{"number": 0}')
    assert "toaster" in machine.say(b'{"number": 0, "name": "x", "kind": "toaster", "port": 1}')
    assert "and found x too" in machine.say(b'{"number": 0, "name": "y", "x": 1}')
    with pytest.raises(Refused, match="nothing here is called 'nobody'"):
        machine.pull("nobody")
    with pytest.raises(Refused, match="small letters"):
        machine.plug("../up", "usb-kbd", 1)
    with pytest.raises(Refused, match="port for usb-kbd, and found 99"):
        machine.plug("keys", "usb-kbd", 99)
    with pytest.raises(Refused, match="mac"):
        machine.plug("net", "e1000e", 1, "no address")
    # What was refused left nothing behind.
    machine.plug("net", "e1000e", 1, MAC)
    with pytest.raises(Refused, match="plugged in already"):
        machine.plug("net", "e1000e", 2, MAC)
    with pytest.raises(Refused, match="slot 0 function 0"):
        machine.plug("other", "virtio-net-pci", 1)


def test_an_adapter_on_pci(machine: Machine) -> None:
    with named(PciAdapter(machine, 1, MAC)) as path:
        found = says(path, {"ID_NET_NAME_MAC": "enx525400123456", "ID_NET_DRIVER": "e1000e", "ID_BUS": "pci"})
        assert (found["ID_VENDOR_ID"], found["ID_MODEL_ID"]) == ("0x8086", "0x10d3")
        assert found["ID_NET_NAME"] == found["ID_NET_NAME_PATH"]
        assert found["ID_PATH"] == f"pci-{path.parents[1].name}"
        assert "ID_SERIAL" not in found
        assert (path / "address").read_text().strip() == MAC
        assert (path / "addr_assign_type").read_text().strip() == "0"
        assert parents(path) == ["net", "pci", "pci"]


def test_an_adapter_whose_interface_is_on_virtio(machine: Machine) -> None:
    with named(VirtioAdapter(machine, 2, MAC)) as path:
        found = says(path, {"ID_NET_NAME_MAC": "enx525400123456", "ID_NET_DRIVER": "virtio_net"})
        assert found["ID_NET_NAME"] == found["ID_NET_NAME_PATH"]
        assert parents(path) == ["net", "virtio", "pci", "pci"]


def test_an_adapter_on_usb(machine: Machine) -> None:
    with named(UsbAdapter(machine, 3, MAC)) as path:
        assert path.name == "enx525400123456"
        found = says(path, {"ID_NET_NAME_MAC": path.name, "ID_BUS": "usb", "ID_VENDOR_ID": "0525"})
        assert found["ID_NET_DRIVER"] == found["ID_USB_DRIVER"] == "cdc_ether"
        assert found["ID_PATH"].endswith("-usb-0:3:1.0")
        assert found["ID_SERIAL_SHORT"]
        assert (path / "address").read_text().strip() == MAC
        assert parents(path) == ["net", "usb", "usb", "usb", "pci"]


def test_a_stick_has_its_partitions_and_its_content(machine: Machine) -> None:
    stick = Disk(machine)
    stick.plug()
    disk, first, second = stick.nodes
    says(disk, {"DEVTYPE": "disk", "ID_SERIAL_SHORT": "STICK1", "ID_PART_TABLE_TYPE": "dos"})
    for number, node in enumerate((first, second), 1):
        wanted = {"DEVTYPE": "partition", "ID_SERIAL_SHORT": "STICK1", "ID_PART_ENTRY_NUMBER": str(number)}
        found = says(node, wanted)
        assert found["ID_PATH"].endswith("-usb-0:1:1.0-scsi-0:0:0:0")
    Path(second).write_bytes(b"kept")
    stick.unplug()
    stick.plug()
    with Path(stick.nodes[2]).open("rb") as file:
        assert file.read(4) == b"kept"


def test_a_display_adapter_and_one_that_renders(machine: Machine) -> None:
    display, renderer = Display(machine), Renderer()
    with closing(renderer):
        for _ in range(2):
            display.plug()
            renderer.plug()
            for address, *cards in ((display.address, display.node), (renderer.address, *renderer.nodes)):
                for each in cards:
                    wanted = {"SUBSYSTEM": "drm", "DEVTYPE": "drm_minor", "ID_PATH": f"pci-{address}"}
                    says(each, {**wanted, "DEVNAME": each})
            display.unplug()
            renderer.unplug()
            eventually(lambda: not glob("/dev/dri/[cr]*"), DEADLINE, pause=0.05)


def test_a_cable_and_a_keyboard(machine: Machine) -> None:
    cable, keys = Serial(machine, 4), Keyboard(machine, 5)
    cable.plug()
    keys.plug()
    says(cable.node, {"SUBSYSTEM": "tty", "ID_VENDOR_ID": "0403", "ID_SERIAL_SHORT": "CABLE1"})
    says(keys.event, {"SUBSYSTEM": "input", "ID_INPUT_KEYBOARD": "1", "ID_SERIAL_SHORT": "KEYS1"})
    # Of a raw node udevd knows no serial number: that is its USB device's.
    assert "ID_SERIAL_SHORT" not in says(keys.hidraw, {"SUBSYSTEM": "hidraw"})
    (raw,) = keys.find("hidraw/hidraw*")
    assert parents(raw) == ["hidraw", "hid", "usb", "usb", "usb", "pci"]


def test_a_stick_goes_in_by_rule_and_comes_out(machine: Machine, launch: Launch, daemon: StartDaemon) -> None:
    whole, part = launch("c1"), launch("c2")
    running = daemon(RULES)
    stick = Disk(machine)
    for port in (1, 2):
        stick.port = port
        stick.plug()
        disk, _, second = stick.nodes
        arrives(whole, disk)
        arrives(part, "/dev/data", second)
        assert (nodes(whole), nodes(part)) == ({disk}, {"/dev/data"})
        stick.unplug()
        eventually(lambda: not nodes(whole) | nodes(part), DEADLINE, pause=0.05)
    assert running.status()["problems"] == []


def test_a_cable_and_a_keyboard_go_in_by_rule_and_come_out(
    machine: Machine, launch: Launch, daemon: StartDaemon
) -> None:
    first, second = launch("c1"), launch("c2")
    running = daemon(RULES)
    cable, keys = Serial(machine, 4), Keyboard(machine, 5)
    cable.plug()
    keys.plug()
    arrives(first, "/dev/ttyCable", cable.node)
    arrives(second, keys.event)
    arrives(second, keys.hidraw)
    seen = first.look("/dev/ttyCable")
    assert seen is not None
    assert (seen.mode, seen.gid) == (0o660, 20)
    assert (nodes(first), nodes(second)) == ({"/dev/ttyCable"}, {keys.event, keys.hidraw})
    cable.unplug()
    keys.unplug()
    eventually(lambda: not nodes(first) | nodes(second), DEADLINE, pause=0.05)
    assert running.status()["problems"] == []
