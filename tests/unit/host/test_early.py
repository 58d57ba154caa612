"""USB devices before udevd has processed them: which are told, and that no other is meant by them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hotplugd.aio.tasks import Activity
from hotplugd.aio.threads import Threads
from hotplugd.host import device_reader, sysfs, udevd, usb_descriptors
from hotplugd.host.device_reader import Reader
from hotplugd.host.early import Early
from hotplugd.host.uevent import Event
from hotplugd.model.values import Descriptors, Device
from tests.kernel.udev.bench import until
from tests.support.sysfs_tree import Tree
from tests.unit.host.test_present import Scene

PORT = "pci0/usb1/1-4"
SLOTTED = "I:5\nE:HOTPLUGD_SLOT=c-188-0-boot-7\n"
DESCRIPTORS = bytes([18, 1, *[0] * 15, 1, 9, 2, 0, 0, 1, 1, 0, 128, 50, 9, 4, 0, 0, 2, 0xFF, 0x42, 1, 0])
Announce = Callable[..., Awaitable[None]]
"""The kernel announces the device at a syspath, by an event with a number, and it is read.

A third argument is called before it is read, while no thread is free.
"""
Script = Callable[[Scene, Announce], Awaitable[None]]


def plug(scene: Scene, number: int = 9, serial: str = "1A2B") -> str:
    """A phone that udevd has not processed. number: its device number on the bus."""
    uevent = f"DEVNAME=bus/usb/001/{number:03}\nDEVTYPE=usb_device\nBUSNUM=001\nDEVNUM={number:03}\n"
    attrs = {"idVendor": "18d1\n", "idProduct": "4ee7\n", "serial": f"{serial}\n", "product": "Pixel 8\n"}
    syspath = scene.tree.add(PORT, "usb", uevent, f"189:{number - 1}", attrs=attrs)
    Path(syspath, "descriptors").write_bytes(DESCRIPTORS)
    return syspath


def says(sequence: int, number: int = 9, serial: str = "1A2B") -> str:
    """The file of udevd's database once it has processed the phone."""
    return f"I:8\nE:ID_SERIAL_SHORT={serial}\nE:HOTPLUGD_SLOT=c-189-{number - 1}-boot-{sequence}\n"


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def run(script: Script, *, numbers: bool = True, decides: bool = True) -> None:
        async def whole() -> None:
            scene = Scene(tmp_path)

            activity = Activity()
            early = Early(scene.present, Threads(2), activity, lambda _: decides)

            async def announce(
                syspath: str, sequence: int, meanwhile: Callable[[], object] = lambda: None
            ) -> None:
                event = Event("kernel", "add", syspath, sequence, plug=True)
                scene.present.heard(event)
                early.plugged(event)
                meanwhile()
                await activity.none()

            try:
                scene.list(monkeypatch, 8, scene.tty(record=SLOTTED if numbers else "I:5\n"))
                await script(scene, announce)
            finally:
                early.stop()
                scene.present.stop()
                scene.backlog.stop()

        asyncio.run(whole())

    return run


def test_it_is_told_as_the_kernel_has_it_and_keeps_its_slot(play: Callable[..., None]) -> None:
    async def script(scene: Scene, announce: Announce) -> None:
        phone = plug(scene)
        # Of a phone that had this number before.
        scene.tree.processed("c189:8", says(3, serial="OTHER"))
        await announce(phone, 20)
        first = scene.devices[phone]
        assert (first.early, first.slot) == (True, f"c-189-8-{sysfs.boot()}-20")
        assert (first.attrs["serial"], first.properties.get("ID_SERIAL_SHORT")) == ("1A2B", None)
        assert first.descriptors is not None
        assert first.descriptors.interfaces == ("ff:42:01",)
        assert scene.present.is_early(phone)
        scene.tree.processed("c189:8", says(20))
        scene.udevd("add", phone, 20)
        then = scene.devices[phone]
        assert (then.early, then.slot, then.properties["ID_SERIAL_SHORT"]) == (False, first.slot, "1A2B")
        assert [what for what, path in scene.told if path == phone] == ["device", "device"]

    play(script)


def test_what_the_host_uses_is_told_so(play: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_reader, "use_of", lambda device: f"it has {device.kernel}")

    async def script(scene: Scene, announce: Announce) -> None:
        await announce(phone := plug(scene), 20)
        assert scene.devices[phone].in_use == "it has 1-4"

    play(script)


def test_without_our_udev_rule_all_wait(play: Callable[..., None]) -> None:
    async def script(scene: Scene, announce: Announce) -> None:
        await announce(phone := plug(scene), 20)
        assert phone not in scene.devices

    play(script, numbers=False)


def test_one_that_is_not_decided_waits(play: Callable[..., None]) -> None:
    async def script(scene: Scene, announce: Announce) -> None:
        await announce(phone := plug(scene), 20)
        assert not scene.present.is_early(phone)
        scene.kernel_said("remove", phone, 21)
        assert ("no_device", phone) not in scene.told

    play(script, decides=False)


def test_one_that_was_removed_while_it_was_read_is_not_told(play: Callable[..., None]) -> None:
    async def script(scene: Scene, announce: Announce) -> None:
        phone = plug(scene)
        scene.kernel.append(Event("kernel", "remove", phone, 21))
        await announce(phone, 20)
        assert phone not in scene.devices

    play(script)


def test_one_that_udevd_was_faster_with_is_not_told_again(play: Callable[..., None]) -> None:
    async def script(scene: Scene, announce: Announce) -> None:
        phone = plug(scene)
        scene.tree.processed("c189:8", says(20))
        scene.udevd("add", phone, 20)
        await announce(phone, 20)
        assert not scene.devices[phone].early

    play(script)


def test_one_that_is_held_off_waits(play: Callable[..., None]) -> None:
    async def script(scene: Scene, announce: Announce) -> None:
        phone = plug(scene)
        scene.gate.read_for[phone] = 10.0
        await announce(phone, 20)
        assert phone not in scene.devices

    play(script)


def test_udevds_event_of_one_that_is_held_off_is_no_second_plug(play: Callable[..., None]) -> None:
    async def script(scene: Scene, announce: Announce) -> None:
        phone = plug(scene)
        scene.gate.read_for[phone] = 10.0
        await announce(phone, 20)
        scene.gate.heard_for[phone] = 10.0
        scene.udevd("add", phone, 20)
        assert scene.gate.plugs == 0

    play(script)


def test_one_that_goes_is_gone(play: Callable[..., None]) -> None:
    async def script(scene: Scene, announce: Announce) -> None:
        phone = plug(scene)
        await announce(phone, 20)
        # udevd's last word on the one before.
        scene.udevd("remove", phone, 19)
        assert phone in scene.devices
        scene.kernel_said("remove", phone, 21)
        assert phone not in scene.devices

    play(script)


def test_a_listing_changes_nothing_and_udevd_is_waited_for(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(scene: Scene, announce: Announce) -> None:
        monkeypatch.setattr(udevd, "_PATIENCE", 0.02)
        phone = plug(scene)
        await announce(phone, 20)
        scene.list(monkeypatch, 20, scene.path("usb/ttyUSB0"), phone)
        assert scene.devices[phone].early
        await until(lambda: scene.waiting == [phone])
        scene.tree.processed("c189:8", says(20))
        scene.udevd("add", phone, 20)
        assert not scene.devices[phone].early

    play(script)


def test_two_that_come_back_with_each_others_numbers_are_two(play: Callable[..., None]) -> None:
    """The second is in the place and has the number of the first, of which udevd still tells."""

    async def script(scene: Scene, announce: Announce) -> None:
        first = plug(scene, 9, "ONE")
        await announce(first, 20)
        scene.tree.processed("c189:8", says(20, serial="ONE"))
        scene.tree.remove(first)
        scene.kernel_said("remove", first, 22)
        second = plug(scene, 9, "TWO")
        await announce(second, 24)
        assert scene.devices[second].slot == f"c-189-8-{sysfs.boot()}-24"
        for action, sequence in (("add", 20), ("bind", 21), ("remove", 22)):
            scene.udevd(action, second, sequence)
            assert (scene.devices[second].attrs["serial"], scene.devices[second].early) == ("TWO", True)
        scene.tree.processed("c189:8", says(24, serial="TWO"))
        scene.udevd("add", second, 24)
        assert (scene.devices[second].early, scene.devices[second].slot[-2:]) == (False, "24")

    play(script)


def test_what_came_in_its_place_before_it_was_read_is_not_taken_for_it(play: Callable[..., None]) -> None:
    """udevd has even caught up with the first one's removal."""

    async def script(scene: Scene, announce: Announce) -> None:
        first = plug(scene, 9, "ONE")

        def swap() -> None:
            scene.tree.remove(first)
            scene.kernel_said("remove", first, 21)
            scene.udevd("remove", first, 21)
            plug(scene, 9, "TWO")

        await announce(first, 20, swap)
        assert first not in scene.devices
        await announce(first, 22)
        assert scene.devices[first].slot == f"c-189-8-{sysfs.boot()}-22"

    play(script)


def test_one_that_udevd_says_is_gone_before_it_was_told_is_not_told(play: Callable[..., None]) -> None:
    async def script(scene: Scene, announce: Announce) -> None:
        phone = plug(scene)
        read = scene.present.reader.completed

        def gone(device: Device) -> Device:
            whole = read(device)
            scene.tree.remove(phone)
            scene.kernel_said("remove", phone, 21)
            scene.udevd("remove", phone, 21)
            return whole

        scene.present.reader.completed = gone  # type: ignore[method-assign]
        await announce(phone, 20)
        assert phone not in scene.devices

    play(script)


def test_what_came_in_its_place_once_it_was_read_is_not_taken_for_it(play: Callable[..., None]) -> None:
    """The kernel's events of both are yet to be heard."""

    async def script(scene: Scene, announce: Announce) -> None:
        first = plug(scene, 9, "ONE")
        read = scene.present.reader.completed

        def swapped(device: Device) -> Device:
            whole = read(device)
            scene.tree.remove(first)
            plug(scene, 9, "TWO")
            return whole

        scene.present.reader.completed = swapped  # type: ignore[method-assign]
        await announce(first, 20)
        assert first not in scene.devices

    play(script)


def test_only_a_usb_device_with_a_number_is_read(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tty = tree.add("usb1/1-4/1-4:1.0/ttyUSB0", "tty", "DEVNAME=ttyUSB0\n", "188:0")
    numberless = tree.add("usb1/1-5", "usb", "DEVTYPE=usb_device\n")
    reader = Reader(frozenset(), str(tree.database))
    assert [reader.plugged(each, 20) for each in (tty, numberless, f"{tmp_path}/none")] == [None] * 3


def test_where_events_were_lost_what_is_being_read_waits(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has heard that the first one went, and that another came in its place."""

    async def script(scene: Scene, announce: Announce) -> None:
        first = plug(scene, 9, "ONE")

        def swap() -> None:
            scene.tree.remove(first)
            plug(scene, 9, "TWO")
            scene.list(monkeypatch, 22, scene.path("usb/ttyUSB0"), first)

        await announce(first, 20, swap)
        assert first not in scene.devices

    play(script)


def test_what_udevd_has_of_an_earlier_one_is_not_taken_for_what_it_says_of_this_one(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a phone that nobody here has known, and whose removal udevd has yet to process."""

    async def script(scene: Scene, announce: Announce) -> None:
        phone = plug(scene)
        scene.tree.processed("c189:8", says(3, serial="OTHER"))
        await announce(phone, 20)
        scene.list(monkeypatch, 20, scene.path("usb/ttyUSB0"), phone)
        scene.udevd("bind", phone, 21)
        device = scene.devices[phone]
        assert (device.early, device.slot[-3:]) == (True, "-20")
        scene.tree.processed("c189:8", says(20))
        scene.udevd("add", phone, 20)
        assert (scene.devices[phone].early, scene.devices[phone].slot) == (False, device.slot)

    play(script)


def test_one_that_has_lost_its_attributes_is_not_told(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel takes them away before it announces that the device goes (Linux: device_del)."""
    descriptors = usb_descriptors.read

    def read(syspath: str) -> Descriptors | None:
        for name in ("dev", "uevent"):
            Path(syspath, name).unlink()
        return descriptors(syspath)

    monkeypatch.setattr(usb_descriptors, "read", read)

    async def script(scene: Scene, announce: Announce) -> None:
        await announce(phone := plug(scene), 20)
        assert phone not in scene.devices

    play(script)


def test_of_one_that_is_not_decided_no_plug_is_counted(play: Callable[..., None]) -> None:
    """Whoever is told that it is held off is told by what udevd says of it, too."""

    async def script(scene: Scene, announce: Announce) -> None:
        phone = plug(scene)
        scene.gate.read_for[phone] = 10.0
        await announce(phone, 20)
        assert phone in scene.gate.read_for

    play(script, decides=False)


def test_the_other_name_of_its_port_is_found_before_the_kernel_says_which_port_it_is_in(
    tmp_path: Path,
) -> None:
    for hub, name, port in (("usb1", "1-4", "usb1-port4"), ("usb1/1-4", "1-4.2", "1-4-port2")):
        interface = "1-0:1.0" if hub == "usb1" else "1-4:1.0"
        folder = tmp_path / hub / interface / port
        folder.mkdir(parents=True)
        (folder / "peer").symlink_to(f"../elsewhere/{port.replace('1', '2', 1)}")
        (tmp_path / hub / name).mkdir(exist_ok=True)
        assert sysfs.peer(f"{tmp_path}/{hub}/{name}") == name.replace("1", "2", 1)
    assert sysfs.peer(f"{tmp_path}/usb1") == ""
