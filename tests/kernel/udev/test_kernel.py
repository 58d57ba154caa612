"""Devices of the kernel's own, through the udevd of the machine."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hotplugd.host.list_once import listed
from hotplugd.host.udev import Udev
from hotplugd.model.values import Devnum
from tests.kernel.udev.bench import Heard, until, with_udev
from tests.support.lab.kernel import Console, Zram
from tests.support.lab.udevd import settle, slot_said, trigger

pytestmark = pytest.mark.usefixtures("root", "udevd")

# Other tests plug and unplug these.
_MOVING = ("/virtual/vc/", "/virtual/block/", "/virtual/tty/", "/net/")


def _steady(syspaths: Iterator[str]) -> set[str]:
    return {each for each in syspaths if not any(part in each for part in _MOVING)}


def _numbered() -> Iterator[str]:
    """Every device with a number, as sysfs has them."""
    for kind in ("char", "block"):
        for entry in os.scandir(f"/sys/dev/{kind}"):
            yield os.path.realpath(entry.path)


class TestListing:
    def test_every_device_with_a_node_is_listed_before_anything_is_heard(self, console: Console) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            console.plug()
            assert heard.calls == [("listed", "")]
            found = {**heard.devices, **heard.unprocessed}
            assert _steady(_numbered()) == _steady(each.syspath for each in found.values() if each.devnum)
            await until(lambda: console.syspath in heard.devices)

        with_udev(script)

    def test_what_is_listed_is_what_udevd_said(self, console: Console) -> None:
        console.plug()
        settle()
        found = {each.syspath: each for each in listed(frozenset({"dev", "no-such"}))[0]}
        device = found[console.syspath]
        assert (device.subsystem, device.kernel, device.node) == ("vc", f"vcsa{console.number}", console.node)
        number = Path(console.node).stat().st_rdev
        assert device.devnum == Devnum("char", os.major(number), os.minor(number))
        assert device.attrs == {"dev": f"{os.major(number)}:{os.minor(number)}"}
        assert device.slot == slot_said(device.properties)
        assert device.parent is None

    def test_a_device_that_udev_keeps_nothing_of_has_one_slot_for_all_who_list(self) -> None:
        one, other = ({each.node: each for each in listed(frozenset())[0]} for _ in range(2))
        for node, number in (("/dev/null", "1-3"), ("/dev/tty1", "4-1"), ("/dev/ptmx", "5-2")):
            assert one[node].slot.startswith(f"c-{number}-")
            assert one[node].slot == other[node].slot

    def test_new_attributes_are_read_and_the_same_ones_are_not_read_again(self, zram: Zram) -> None:
        zram.plug()
        settle()

        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            assert heard.devices[zram.syspath].attrs == {}
            udev.ask_for(frozenset({"removable"}))
            assert heard.devices[zram.syspath].attrs == {"removable": "0"}
            assert heard.listings == 2
            udev.ask_for(frozenset({"removable"}))
            assert heard.listings == 2

        with_udev(script)

    def test_a_disk_that_the_host_swaps_on_is_listed_as_in_use(self, zram: Zram) -> None:
        zram.plug()
        settle()
        Path(zram.syspath, "disksize").write_text("16M")
        with ExitStack() as undo:
            subprocess.run(["mkswap", zram.node], check=True, capture_output=True)
            subprocess.run(["swapon", zram.node], check=True)
            undo.callback(subprocess.run, ["swapoff", zram.node], check=True)
            found = {each.syspath: each for each in listed(frozenset())[0]}
            assert found[zram.syspath].in_use == f"{zram.name} is swap space"


class TestEvents:
    def test_what_is_plugged_is_told_with_the_slot_that_udevd_gave_it(self, console: Console) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            console.plug()
            await until(lambda: console.syspath in heard.devices)
            device = heard.devices[console.syspath]
            assert device.slot == slot_said(device.properties)

        with_udev(script)

    def test_what_is_pulled_is_told_once_though_it_is_heard_twice(self, console: Console) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            for _ in range(5):
                console.plug()
                await until(lambda: console.syspath in heard.devices)
                console.unplug()
                await until(lambda: console.syspath not in heard.devices)
            settle()
            # All of udevd's messages so far were sent before this console's.
            console.plug()
            await until(lambda: console.syspath in heard.devices)
            assert heard.of(console.syspath) == ["device", "no_device"] * 5 + ["device"]

        with_udev(script)

    def test_each_plug_has_a_slot_of_its_own_and_the_same_number(self, console: Console) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            plugs = []
            for _ in range(5):
                console.plug()
                plugs.append(await until(lambda: heard.devices.get(console.syspath)))
                console.unplug()
                await until(lambda: console.syspath not in heard.devices)
            assert len({each.slot for each in plugs if each}) == 5
            assert len({each.devnum for each in plugs if each}) == 1

        with_udev(script)

    @pytest.mark.parametrize("action", ["change", "add"])
    def test_a_slot_stays_what_it_is_when_udevd_looks_again(self, console: Console, action: str) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            console.plug()
            before = await until(lambda: heard.devices.get(console.syspath))
            assert before
            trigger(f"--action={action}", console.syspath)
            await until(lambda: heard.of(console.syspath) == ["device"] * 2)
            assert heard.devices[console.syspath].slot == before.slot
            udev.list()
            assert heard.devices[console.syspath].slot == before.slot
            assert {each.slot for each in listed(frozenset())[0] if each.node == console.node} == {
                before.slot
            }

        with_udev(script)

    def test_a_disk_is_a_block_device(self, zram: Zram) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            zram.plug()
            disk = await until(lambda: heard.devices.get(zram.syspath))
            assert disk
            assert disk.devnum is not None
            assert (disk.devnum.kind, disk.devtype, disk.node) == ("block", "disk", zram.node)
            assert disk.slot.startswith(f"b-{disk.devnum.major}-{disk.devnum.minor}-")
            assert disk.in_use == ""
            zram.unplug()
            await until(lambda: zram.syspath not in heard.devices)

        with_udev(script)

    def test_a_network_interface_with_a_new_name_is_another_device(self) -> None:
        old, new = f"hpo{os.getpid()}", f"hpn{os.getpid()}"

        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            with ExitStack() as undo:
                _ip("add", old, "type", "veth", "peer", "name", f"hpp{os.getpid()}")
                undo.callback(_ip, "del", f"hpp{os.getpid()}")
                one = await until(lambda: heard.devices.get(f"/sys/devices/virtual/net/{old}"))
                assert one
                assert (one.subsystem, one.devnum, one.node) == ("net", None, "")
                assert one.slot.startswith("n-")
                _ip("set", old, "name", new)
                two = await until(lambda: heard.devices.get(f"/sys/devices/virtual/net/{new}"))
                assert two
                assert two.kernel == new
                assert two.slot == one.slot
                assert one.syspath not in heard.devices
            await until(lambda: two.syspath not in heard.devices)

        with_udev(script)

    def test_nothing_is_told_any_more_once_it_has_stopped(self, console: Console) -> None:
        before = sorted(os.listdir("/proc/self/fd"))

        async def script(udev: Udev, heard: Heard) -> None:
            udev.start()
            udev.stop()
            console.plug()
            settle()
            await asyncio.sleep(0.05)
            assert heard.of(console.syspath) == []

        with_udev(script)
        assert sorted(os.listdir("/proc/self/fd")) == before

    def test_starting_again_listens_once(self, console: Console) -> None:
        async def script(udev: Udev, heard: Heard) -> None:
            for _ in range(3):
                udev.start()
            console.plug()
            await until(lambda: console.syspath in heard.devices)
            settle()
            udev.list()
            assert heard.of(console.syspath) == ["device"]

        with_udev(script)


def _ip(*words: str) -> None:
    subprocess.run(["ip", "link", *words], check=True)
