"""The lab's pieces are real: what the other tests rest on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pyudev

from hotplugd.model.entry import slot_links, slot_made, slot_node
from tests.support.lab.container import Container
from tests.support.lab.inside import Seen
from tests.support.lab.kernel import Console, Zram
from tests.support.lab.server import Server
from tests.support.lab.udevd import another_rule, slot_said, trigger
from tests.support.lab.usb import SERIAL, Phone, Usb
from tests.support.lab.wait import NotInTime, eventually

_LISTENER = """
import pyudev, select, sys
context = pyudev.Context()
monitors = {name: pyudev.Monitor.from_netlink(context, name) for name in ("udev", "kernel")}
for monitor in monitors.values():
    monitor.start()
for device in context.list_devices(subsystem="usb", DEVTYPE="usb_device"):
    serial = device.properties.get("ID_SERIAL_SHORT", "-")
    print("list", device.sys_name, device.is_initialized, serial, flush=True)
print("listening", flush=True)
while True:
    for name, monitor in monitors.items():
        if select.select([monitor.fileno()], [], [], 0.02)[0]:
            device = monitor.poll(0)
            serial = device.properties.get("ID_SERIAL_SHORT", "-")
            print(name, device.action, device.sys_name, device.is_initialized, serial, flush=True)
"""


@pytest.fixture
def monitor(udevd: None) -> pyudev.Monitor:
    listening = pyudev.Monitor.from_netlink(pyudev.Context())
    listening.start()
    return listening


def _hear(monitor: pyudev.Monitor, action: str, syspath: str) -> pyudev.Device:
    heard: list[pyudev.Device] = []

    def announced() -> bool:
        while (device := monitor.poll(0)) is not None:
            if (device.action, device.sys_path) == (action, syspath):
                heard.append(device)
                return True
        return False

    eventually(announced)
    return heard[0]


def _links(device: pyudev.Device) -> list[Path]:
    slot = slot_said(device.properties)
    return [Path(each) for each in (*slot_links(slot), slot_node(slot), slot_made(slot))]


def _make_links(device: pyudev.Device) -> list[Path]:
    """As a daemon makes them that is killed afterwards."""
    first, second, node, made = links = _links(device)
    made.parent.mkdir(exist_ok=True)
    made.write_text(f"HOTPLUGD_LINK={first.name}\n")
    for link in (first, second):
        link.symlink_to(node)
    node.symlink_to(str(device.device_node))
    return links


class TestKernelDevices:
    def test_a_console_comes_and_goes_with_udev_events(
        self, console: Console, monitor: pyudev.Monitor
    ) -> None:
        console.plug()
        assert _hear(monitor, "add", console.syspath).device_node == console.node
        console.unplug()
        assert _hear(monitor, "remove", console.syspath).subsystem == "vc"

    def test_two_consoles_are_two(self, consoles: Callable[[int], list[Console]]) -> None:
        assert len({each.number for each in consoles(5)}) == 5

    def test_a_zram_disk_comes_and_goes_with_udev_events(self, zram: Zram, monitor: pyudev.Monitor) -> None:
        zram.plug()
        assert _hear(monitor, "add", zram.syspath).device_node == zram.node
        zram.unplug()
        assert _hear(monitor, "remove", zram.syspath).subsystem == "block"


class TestRuleFile:
    """rules/99-hotplugd.rules, as udevd carries it out."""

    def test_links_that_were_made_go_with_the_device_and_no_others_do(
        self, consoles: Callable[[int], list[Console]], monitor: pyudev.Monitor
    ) -> None:
        console, other = consoles(2)
        other.plug()
        kept = _make_links(_hear(monitor, "add", other.syspath))
        for _ in range(10):
            console.plug()
            made = _make_links(_hear(monitor, "add", console.syspath))
            console.unplug()
            _hear(monitor, "remove", console.syspath)
            eventually(lambda made=made: not any(os.path.lexists(each) for each in made))  # type: ignore[misc]
        assert all(each.exists() for each in kept)
        other.unplug()
        eventually(lambda: not any(os.path.lexists(each) for each in kept))

    def test_nothing_is_made_for_what_nobody_attaches(
        self, console: Console, monitor: pyudev.Monitor
    ) -> None:
        console.plug()
        device = _hear(monitor, "add", console.syspath)
        assert not any(os.path.lexists(each) for each in _links(device))

    def test_each_plug_has_a_name_of_its_own(self, console: Console, monitor: pyudev.Monitor) -> None:
        """By the number of the kernel's event, which hotplugd hears before udevd has processed the device."""
        slots = set()
        for _ in range(5):
            console.plug()
            heard = _hear(monitor, "add", console.syspath)
            slots.add(slot := heard.properties["HOTPLUGD_SLOT"])
            assert slot == f"c-7-{128 + console.number}-boot-{heard.sequence_number}"
            console.unplug()
            _hear(monitor, "remove", console.syspath)
        assert len(slots) == 5

    @pytest.mark.parametrize("action", ["change", "add"])
    def test_the_name_stays_what_it_is_when_udevd_looks_again(
        self, console: Console, monitor: pyudev.Monitor, action: str
    ) -> None:
        console.plug()
        made = _make_links(_hear(monitor, "add", console.syspath))
        trigger(f"--action={action}", console.syspath)
        assert _links(_hear(monitor, action, console.syspath)) == made
        assert all(each.exists() for each in made)
        console.unplug()
        eventually(lambda: not any(os.path.lexists(each) for each in made))

    @pytest.mark.alone
    def test_what_a_program_of_udevds_says_is_not_the_name(
        self, console: Console, monitor: pyudev.Monitor
    ) -> None:
        forged = f'ACTION!="remove", KERNEL=="vcsa{console.number}", ENV{{HOTPLUGD_SLOT}}="c-1-1-boot-1"\n'
        with another_rule("60-persistent-v4l-as-if.rules", forged):
            console.plug()
            slot = _hear(monitor, "add", console.syspath).properties["HOTPLUGD_SLOT"]
            assert slot.startswith(f"c-7-{128 + console.number}-")
            trigger(console.syspath)
            assert _hear(monitor, "change", console.syspath).properties["HOTPLUGD_SLOT"] == slot
            console.unplug()
            assert _hear(monitor, "remove", console.syspath).properties["HOTPLUGD_SLOT"] == slot

    def test_a_disks_name_says_that_it_is_one(self, zram: Zram, monitor: pyudev.Monitor) -> None:
        zram.plug()
        device = _hear(monitor, "add", zram.syspath)
        assert device.properties["HOTPLUGD_SLOT"].startswith("b-")

    @pytest.mark.usefixtures("udevd")
    def test_what_was_there_before_the_rule_has_a_name_too(self) -> None:
        device = pyudev.Devices.from_device_file(pyudev.Context(), "/dev/vcs1")
        assert device.properties["HOTPLUGD_SLOT"].startswith("c-7-1-")

    @pytest.mark.usefixtures("udevd")
    def test_what_is_never_passed_has_none(self) -> None:
        for node in ("/dev/null", "/dev/tty1", "/dev/ptmx"):
            device = pyudev.Devices.from_device_file(pyudev.Context(), node)
            assert "HOTPLUGD_SLOT" not in device.properties


class TestServer:
    def test_a_container_runs_and_has_a_dev_of_its_own(self, container: Container) -> None:
        assert container.run("stat", "-c", "%t:%T", "/dev/null").output == "1:3\n"
        seen = container.look("/dev/null")
        assert seen is not None
        assert seen.number == "c 1:3"
        assert "/dev/null" in container.nodes()
        assert container.look("/dev/no-such-node") is None

    def test_a_link_inside_is_not_followed_on_the_host(self, container: Container) -> None:
        container.run("ln", "-s", "/dev/null", "/dev/planted")
        assert container.look("/dev/planted") is None

    def test_a_node_that_the_server_attaches_is_seen(self, container: Container, console: Console) -> None:
        console.plug()
        entry = {"type": "unix-char", "source": console.node, "path": "/dev/here", "mode": "0640"}
        container.patch({"devices": {"mine": {**entry, "uid": "7", "gid": "20"}}})
        seen = container.look("/dev/here")
        assert seen == Seen("char", 7, 128 + console.number, 0o640, 7, 20)
        container.remove_device("mine")
        assert container.look("/dev/here") is None
        assert "mine" not in container.devices

    def test_copies_snapshots_and_new_names(self, server: Server, container: Container) -> None:
        container.patch({"config": {"user.mark": "yes"}})
        container.snapshot("before")
        container.patch({"config": {"user.mark": "no"}})
        copy = container.copy(f"{container.name}-copy")
        copy.rename(f"{container.name}-renamed")
        copy.start()
        container.restore("before")
        assert container.own_config["user.mark"] == "yes"
        assert {copy.name, container.name} <= {each.name for each in server.containers()}
        assert copy.run("true").code == 0

    def test_containers_outlive_a_crash_of_the_server(self, own_server: Server) -> None:
        container = own_server.launch()
        pid = container.pid
        own_server.kill()
        assert container.look("/dev/null") is not None
        own_server.start()
        container.forget_pid()
        assert container.pid == pid

    @pytest.mark.usefixtures("udevd")
    def test_nothing_is_left_of_a_server_that_crashed(self) -> None:
        with Server() as server:
            server.launch()
            server.kill()
        assert not server.folder.exists()
        assert str(server.folder) not in Path("/proc/self/mountinfo").read_text()
        assert not any(f"{server.folder}/" in words for words in _command_lines())


class TestPhones:
    def test_a_phone_is_real_enough(self, usb: Usb) -> None:
        first = usb.plug(Phone(serial="1A"), "1")
        assert Path(first.node).stat().st_rdev == os.makedev(first.major, first.minor)
        with subprocess.Popen(
            [sys.executable, "-c", _LISTENER], env=usb.environment, stdout=subprocess.PIPE, text=True
        ) as listener:
            assert listener.stdout is not None
            lines = (line.strip() for line in listener.stdout)
            try:
                assert f"list usb{usb.bus} True -" in _until(lines, f"list {usb.bus}-1 True 1A")
                _until(lines, "listening")
                second = usb.plug(Phone(), "2")
                _until(lines, f"udev add {usb.bus}-2 True -")
                usb.change(first, ID_SERIAL_SHORT="9Z")
                _until(lines, f"udev change {usb.bus}-1 True 9Z")
                usb.unplug(first)
                # As in life, udev's properties are gone by then.
                _until(lines, f"udev remove {usb.bus}-1 True -")
                usb.unplug(second)
                _until(lines, f"kernel remove {usb.bus}-2 True -")
            finally:
                listener.kill()
        assert not Path(first.node).exists()

    def test_a_hub_takes_along_what_hangs_from_it(self, usb: Usb) -> None:
        hub = usb.plug(Phone("1d6b", "0002", interfaces=("09:00:00",), device_class="09"), "3")
        phone = usb.plug(Phone(serial="2B"), "3.1")
        cable = usb.plug_serial(Phone("0403", "6001", "A5", (SERIAL,)), "3.2", f"ttyUSB{usb.bus}")
        assert phone.syspath == f"{hub.syspath}/{usb.bus}-3.1"
        assert Path(cable.below[0].node).is_char_device()
        usb.unplug(hub)
        assert not any(Path(each.node).exists() for each in (hub, phone, cable, *cable.below))


def _until(lines: Iterator[str], wanted: str) -> list[str]:
    before = []
    for line in lines:
        before.append(line)
        if line == wanted:
            return before
    raise AssertionError(f"expected {wanted!r}, and heard {before}")


def _command_lines() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                found.append((entry / "cmdline").read_bytes().decode(errors="replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def test_what_does_not_happen_is_reported_with_what_was_seen_last() -> None:
    with pytest.raises(NotInTime, match="answered 0"):
        eventually(lambda: 0, 0.02)
