"""Made-up events about a made-up sysfs: late, out of order, about what is not there or is another by now."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hotplugd.host import present, sysfs
from hotplugd.host.device_reader import Reader
from hotplugd.host.present import Present
from hotplugd.host.udevd import Backlog
from hotplugd.host.uevent import Event
from hotplugd.model.nic_slot import NetSlot
from hotplugd.model.values import Device
from tests.kernel.udev.bench import until
from tests.support.lab.shortage import no_more_descriptors
from tests.support.sysfs_tree import Tree

PCI = "pci0/0000:00:02.0"
CARD = f"{PCI}/drm/card0"
RECORD = "I:5\nE:ID_MODEL=one\n"


class Held:
    """Holds off devices for so many seconds: what is heard of them, and what is read there."""

    def __init__(self) -> None:
        self.heard_for: dict[str, float] = {}
        self.read_for: dict[str, float] = {}
        self.left: list[str] = []
        self.plugs = 0

    def heard(self, syspath: str, now: float, *, plugged: bool) -> float:
        self.plugs += plugged
        return now + self.heard_for.pop(syspath, 0.0)

    def plugged(self, device: Device, now: float) -> float:
        return now + self.read_for.pop(device.syspath, 0.0)

    def gone(self, syspath: str) -> None:
        self.left.append(syspath)


class Scene:
    """A tree, who reads it, and what was told."""

    def __init__(self, root: Path) -> None:
        self.tree = Tree(root)
        self.told: list[tuple[str, str]] = []
        self.devices: dict[str, Device] = {}
        self.waiting: list[str] = []
        self.kernel: list[Event] = []
        self.backlog = Backlog(self.waiting.extend)
        self.gate = Held()
        self.short: list[str] = []
        reader = Reader(frozenset(), str(self.tree.database))
        self.present = Present(reader, self, self.backlog, self._catch_up, self.gate, self.short.append)

    def path(self, path: str) -> str:
        return f"{self.tree.root}/devices/{path}"

    def tty(self, number: int = 0, record: str | None = RECORD) -> str:
        return self.tree.add("usb/ttyUSB0", "tty", "DEVNAME=ttyUSB0\n", f"188:{number}", record=record)

    def udevd(self, action: str, syspath: str, sequence: int) -> None:
        self.present.heard(Event("udev", action, syspath, sequence))

    def kernel_said(self, action: str, syspath: str, sequence: int) -> None:
        self.present.heard(Event("kernel", action, syspath, sequence))

    def device(self, device: Device) -> None:
        self.told.append(("device", device.syspath))
        self.devices[device.syspath] = device

    def no_device(self, syspath: str) -> None:
        self.told.append(("no_device", syspath))
        del self.devices[syspath]

    def listed_devices(self, devices: list[Device], unprocessed: list[Device]) -> None:
        self.devices = {each.syspath: each for each in devices}

    def list(self, monkeypatch: pytest.MonkeyPatch, sequence: int, *syspaths: str) -> None:
        """List these devices, which are there, when the kernel's latest uevent had this number."""
        with monkeypatch.context() as patched:
            patched.setattr(present, "all_syspaths", lambda: iter(syspaths))
            patched.setattr(sysfs, "sequence_now", lambda: sequence)
            self.present.list(wait=True)

    def _catch_up(self) -> None:
        while self.kernel:
            self.present.heard(self.kernel.pop(0))


Script = Callable[[Scene], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Script], None]:
    monkeypatch.setattr(present, "_COMPARED", 0.01)

    def run(script: Script) -> None:
        async def whole() -> None:
            scene = Scene(tmp_path)
            try:
                await script(scene)
            finally:
                scene.present.stop()
                scene.backlog.stop()

        asyncio.run(whole())

    return run


Play = Callable[[Script], None]


def test_an_event_about_what_is_not_there_is_no_device_until_it_is(play: Play) -> None:
    async def script(scene: Scene) -> None:
        pci = scene.tree.add(PCI, "pci", "PCI_ID=1AF4:1050\n", record="I:1\n")
        card = scene.path(CARD)
        scene.udevd("change", card, 10)
        assert scene.told == []
        scene.tree.add(CARD, "drm", "DEVNAME=dri/card0\nDEVTYPE=drm_minor\n", "226:0", record=RECORD)
        scene.udevd("add", card, 11)
        assert scene.told == [("device", card)]
        device = scene.devices[card]
        assert device.pci is not None
        assert device.pci.syspath == pci
        assert device.slot == f"c-226-0-{sysfs.boot()}-i{sysfs.inode(card)}"

    play(script)


def test_an_event_about_what_has_gone_takes_it_away(play: Play) -> None:
    async def script(scene: Scene) -> None:
        tty = scene.tty()
        scene.udevd("add", tty, 10)
        scene.tree.remove(tty)
        scene.udevd("change", tty, 11)
        assert scene.told == [("device", tty), ("no_device", tty)]

    play(script)


def test_what_went_without_a_word_is_noticed_after_any_event(play: Play) -> None:
    async def script(scene: Scene) -> None:
        tty = scene.tty()
        scene.udevd("add", tty, 10)
        await asyncio.sleep(0.05)
        scene.tree.remove(tty)
        scene.kernel_said("remove", scene.path("another"), 11)
        await asyncio.sleep(0.05)
        assert scene.told == [("device", tty), ("no_device", tty)]

    play(script)


def test_what_was_replaced_without_a_word_is_another_once_udevd_has_it(play: Play) -> None:
    async def script(scene: Scene) -> None:
        tty = scene.tty()
        scene.udevd("add", tty, 10)
        scene.tree.remove(tty)
        scene.tty(record=None)
        scene.kernel_said("remove", scene.path("another"), 12)
        await asyncio.sleep(0.05)
        # udevd's file is that of the one before.
        assert scene.told == [("device", tty), ("no_device", tty)]
        scene.tree.processed("c188:0", "I:9\nE:ID_MODEL=two\n")
        scene.udevd("add", tty, 14)
        assert scene.devices[tty].properties["ID_MODEL"] == "two"
        assert scene.devices[tty].slot == f"c-188-0-{sysfs.boot()}-i{sysfs.inode(tty)}"

    play(script)


def test_a_removal_that_the_kernel_sent_before_counts_before_what_was_read(play: Play) -> None:
    async def script(scene: Scene) -> None:
        tty = scene.tty(record=None)
        # udevd's message is of an earlier one, whose file it has not taken away.
        scene.tree.processed("c188:0", "I:3\nE:ID_MODEL=before\n")
        scene.kernel.append(Event("kernel", "remove", tty, 11))
        scene.udevd("add", tty, 10)
        assert scene.told == []
        scene.tree.processed("c188:0", RECORD)
        scene.udevd("remove", tty, 11)
        scene.udevd("add", tty, 12)
        assert scene.devices[tty].properties["ID_MODEL"] == "one"

    play(script)


def test_an_event_about_one_that_has_another_number_by_now_waits_for_udevd(play: Play) -> None:
    async def script(scene: Scene) -> None:
        tty = scene.tty()
        scene.udevd("add", tty, 10)
        scene.tree.remove(tty)
        scene.tty(number=1, record=None)
        scene.udevd("change", tty, 11)
        assert scene.told == [("device", tty), ("no_device", tty)]
        scene.tree.processed("c188:1", RECORD)
        scene.udevd("add", tty, 13)
        number = scene.devices[tty].devnum
        assert number is not None
        assert number.minor == 1

    play(script)


def test_of_a_number_that_is_used_again_udevd_has_to_speak_anew(play: Play) -> None:
    async def script(scene: Scene) -> None:
        first = scene.tty()
        scene.udevd("add", first, 10)
        scene.kernel_said("remove", first, 11)
        scene.tree.remove(first)
        # udevd is dead: its file stays, and another device has the number.
        second = scene.tree.add("usb/other/ttyUSB0", "tty", "DEVNAME=ttyUSB0\n", "188:0")
        scene.kernel_said("add", second, 12)
        scene.udevd("change", second, 13)
        assert scene.devices == {}
        # It lives again, has heard of the removal, and of this one.
        scene.udevd("remove", first, 11)
        scene.tree.processed("c188:0", "I:8\n")
        scene.udevd("add", second, 12)
        assert scene.devices[second].slot == f"c-188-0-{sysfs.boot()}-i{sysfs.inode(second)}"

    play(script)


def test_a_device_is_the_same_by_an_event_and_when_it_is_looked_at_again(play: Play) -> None:
    async def script(scene: Scene) -> None:
        usb = scene.tree.add(
            "usb", "usb", "DEVTYPE=usb_device\nDEVNAME=bus/usb/001/002\n", "189:1", record="I:1\n"
        )
        tty = scene.tty()
        scene.udevd("add", tty, 10)
        first = scene.devices[tty]
        scene.udevd("change", tty, 11)
        assert scene.devices[tty] == first
        scene.udevd("change", usb, 12)
        seen = scene.present.reader.read(tty, first, listing=True)
        assert seen is not None
        assert seen.device == first

    play(script)


class TestHeldOff:
    """What comes while a device waits, and what was late then, whatever it is."""

    def test_the_removal_of_one_before_a_listing_is_none_of_what_it_held_off(
        self, play: Play, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def script(scene: Scene) -> None:
            tty = scene.tty()
            scene.gate.read_for[tty] = 0.02
            scene.list(monkeypatch, 20, tty)
            assert scene.devices == {}
            scene.kernel_said("remove", tty, 11)
            scene.udevd("remove", tty, 11)
            await asyncio.sleep(0.05)
            assert scene.told == [("device", tty)]
            scene.kernel_said("remove", tty, 19)
            assert scene.told == [("device", tty)]
            scene.kernel_said("remove", tty, 21)
            assert scene.told == [("device", tty), ("no_device", tty)]

        play(script)

    def test_the_removal_of_one_before_is_none_of_what_is_read_when_its_time_has_come(
        self, play: Play
    ) -> None:
        async def script(scene: Scene) -> None:
            tty = scene.tty()
            scene.gate.heard_for[tty] = 0.02
            scene.udevd("add", tty, 20)
            scene.kernel.append(Event("kernel", "remove", tty, 19))
            await asyncio.sleep(0.05)
            assert scene.told == [("device", tty)]

        play(script)

    def test_one_of_its_own_is(self, play: Play) -> None:
        async def script(scene: Scene) -> None:
            tty = scene.tty()
            scene.gate.heard_for[tty] = 0.02
            scene.udevd("add", tty, 20)
            scene.kernel.append(Event("kernel", "remove", tty, 21))
            await asyncio.sleep(0.05)
            assert scene.told == []

        play(script)

    def test_who_was_gone_before_keeps_nobody_out(self, play: Play) -> None:
        async def script(scene: Scene) -> None:
            tty = scene.tty()
            scene.udevd("add", tty, 10)
            scene.tree.remove(tty)
            scene.tty(record="I:7\nE:ID_MODEL=two\n")
            scene.gate.read_for[tty] = 0.03
            scene.kernel_said("remove", scene.path("another"), 12)
            await asyncio.sleep(0.1)
            assert scene.told == [("device", tty), ("no_device", tty), ("device", tty)]
            assert scene.devices[tty].properties["ID_MODEL"] == "two"

        play(script)

    def test_it_is_not_waited_for_where_the_kernel_tells_of_it_late(
        self, play: Play, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hotplugd.host.udevd._PATIENCE", 0.02)

        async def script(scene: Scene) -> None:
            tty = scene.tty()
            scene.gate.heard_for[tty] = 5
            scene.udevd("add", tty, 20)
            scene.kernel_said("add", tty, 20)
            await asyncio.sleep(0.05)
            assert scene.waiting == []

        play(script)

    def test_what_a_listing_lacks_has_left_its_place(
        self, play: Play, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def script(scene: Scene) -> None:
            tty = scene.tty()
            scene.udevd("add", tty, 10)
            scene.list(monkeypatch, 20)
            assert scene.gate.left == [tty]

        play(script)

    def test_what_cannot_be_read_then_is_listed(self, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
        async def script(scene: Scene) -> None:
            tty = scene.tty()
            scene.gate.heard_for[tty] = 0.02
            scene.udevd("add", tty, 10)

            def read(*_: object, **__: object) -> None:
                raise OSError("no more files")

            monkeypatch.setattr(scene.present.reader, "read", read)
            await asyncio.sleep(0.05)
            assert scene.short == [f"{tty} cannot be read: no more files"]

        play(script)


class TestBacklog:
    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("hotplugd.host.udevd._PATIENCE", 0.02)

    def test_what_udevd_does_not_process_is_told_once_and_until_it_does(self, play: Play) -> None:
        async def script(scene: Scene) -> None:
            tty = scene.tty(record=None)
            scene.kernel_said("add", tty, 10)
            assert list(scene.backlog.late(found=False)) == []
            await asyncio.sleep(0.1)
            assert scene.waiting == [tty]
            ((late, since),) = scene.backlog.late(found=False)
            assert (late, since[:2]) == (tty, "20")
            scene.kernel_said("add", tty, 11)
            await asyncio.sleep(0.1)
            assert scene.waiting == [tty]
            scene.tree.processed("c188:0", RECORD)
            scene.udevd("add", tty, 11)
            assert list(scene.backlog.late(found=False)) == []

        play(script)

    def test_what_is_processed_in_time_or_goes_is_not_told(self, play: Play) -> None:
        async def script(scene: Scene) -> None:
            tty = scene.tty()
            scene.kernel_said("add", tty, 10)
            scene.udevd("add", tty, 10)
            # The kernel's message may be read after udevd's.
            scene.kernel_said("add", tty, 10)
            gone = scene.tree.add("b/ttyUSB1", "tty", "DEVNAME=ttyUSB1\n", "188:1")
            scene.kernel_said("add", gone, 11)
            scene.kernel_said("remove", gone, 12)
            silent = scene.tree.add("c/ttyUSB2", "tty", "DEVNAME=ttyUSB2\n", "188:2")
            scene.kernel_said("add", silent, 13)
            scene.tree.remove(silent)
            await asyncio.sleep(0.1)
            assert scene.waiting == []

        play(script)

    def test_what_was_there_before_is_late_only_where_udevd_does_not_work(self, play: Play) -> None:
        async def script(scene: Scene) -> None:
            tty = scene.tty(record=None)
            scene.backlog.add(tty, found=True)
            await asyncio.sleep(0.1)
            assert scene.waiting == []
            assert list(scene.backlog.late(found=False)) == []
            assert [each for each, _ in scene.backlog.late(found=True)] == [tty]
            scene.kernel_said("add", tty, 10)
            await asyncio.sleep(0.1)
            assert scene.waiting == [tty]
            scene.backlog.only(set())
            assert list(scene.backlog.late(found=True)) == []

        play(script)

    def test_one_that_udevd_fails_to_process_again_is_no_plug(self, play: Play) -> None:
        async def script(scene: Scene) -> None:
            tty = scene.tty(record=None)
            # `udevadm trigger`: the kernel's own message of a change is not read.
            scene.udevd("change", tty, 10)
            await asyncio.sleep(0.1)
            assert scene.waiting == []
            assert [each for each, _ in scene.backlog.late(found=True)] == [tty]
            scene.kernel_said("add", tty, 11)
            scene.udevd("add", tty, 11)
            await asyncio.sleep(0.1)
            assert scene.waiting == [tty]

        play(script)

    def test_what_no_rule_could_attach_is_not_waited_for(self, play: Play) -> None:
        async def script(scene: Scene) -> None:
            scene.kernel_said("add", scene.tree.add("usb/1-1:1.0", "usb", "DEVTYPE=usb_interface\n"), 10)
            scene.kernel_said("add", scene.path("nothing"), 11)
            await asyncio.sleep(0.1)
            assert scene.waiting == []
            assert asyncio.get_running_loop().time() > 0

        play(script)


def test_where_no_file_can_be_opened_it_is_looked_again_soon(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(scene: Scene) -> None:
        tty = scene.tty()
        scene.udevd("add", tty, 10)
        scene.udevd("change", scene.path("other"), 11)
        scene.tree.remove(tty)
        real = os.stat

        def short(path: str) -> os.stat_result:
            if path == tty:
                raise OSError(errno.ENOMEM, "Cannot allocate memory")
            return real(path)

        with monkeypatch.context() as patched:
            patched.setattr(os, "stat", short)
            await asyncio.sleep(0.05)
            assert tty in scene.devices
        await until(lambda: tty not in scene.devices)

    play(script)


def test_an_interface_that_is_away_is_not_gone_where_no_file_can_be_opened(play: Play) -> None:
    async def script(scene: Scene) -> None:
        above = scene.tree.add(PCI, "pci", "PCI_ID=1AF4:1050\n", record="I:1\n")
        slot = str(NetSlot(sysfs.boot(), sysfs.inode(above), 7))
        away = Device(f"{above}/net/eth0", "net", "eth0", slot=slot, away=True)
        with no_more_descriptors(), pytest.raises(OSError, match="Too many open files"):
            scene.present.restore(away)
        assert len(scene.short) == 1
        assert "Too many open files" in scene.short[0]
        there = scene.present.restore(away)
        assert there is not None
        assert there.parent is not None
        assert there.parent.syspath == above
        scene.tree.remove(above)
        assert scene.present.restore(away) is None

    play(script)
