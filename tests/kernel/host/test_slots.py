"""Links below /dev/hotplugd, and the lock beside them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest

from hotplugd.host import slots
from hotplugd.host.slots import (
    AlreadyRunning,
    Links,
    Notes,
    SlotError,
    Slots,
    is_alone,
    leave_nothing,
    lock,
    was_alone,
)
from hotplugd.host.sysfs import boot
from hotplugd.model import entry
from hotplugd.model.devnum import devnum_of
from hotplugd.model.entry import slot_links, slot_made, slot_node
from hotplugd.model.values import Device, Devnum, Entry, InstanceName, Link

_HOLDER = """
import sys
from hotplugd.host.slots import lock
with lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of /dev/hotplugd, which does not exist yet."""
    place = tmp_path / "hotplugd"
    for module in (entry, slots):
        monkeypatch.setattr(module, "SLOTS", str(place))
    return place


@pytest.fixture
def ours() -> Iterator[Slots]:
    with closing(Slots()) as found:
        yield found


def null(slot: str = "c-1-3-5") -> Device:
    return Device(
        "/sys/devices/virtual/mem/null",
        "mem",
        "null",
        node="/dev/null",
        devnum=Devnum("char", 1, 3),
        slot=slot,
    )


def zero(slot: str) -> Device:
    return Device(
        "/sys/devices/virtual/mem/zero",
        "mem",
        "zero",
        node="/dev/zero",
        devnum=Devnum("char", 1, 5),
        slot=slot,
    )


class TestLinks:
    def test_both_links_lead_to_the_node_and_go_again(self, ours: Slots) -> None:
        device = null(f"c-7-250-{time.time_ns()}")
        links = [Path(link) for link in slot_links(device.slot)]
        try:
            ours.make(device)
            assert [os.readlink(link) for link in links] == [slot_node(device.slot)] * 2
            assert [devnum_of(link.stat()) for link in links] == [device.devnum] * 2
        finally:
            ours.remove(device.slot)
        assert not any(os.path.lexists(link) for link in links)

    def test_a_missing_folder_is_made_and_can_be_entered_by_all(self, folder: Path, ours: Slots) -> None:
        ours.make(null())
        assert sorted(os.listdir(folder)) == ["c-1-3-5", "c-1-3-5.made", "c-1-3-5.node", "c-1-3-5.r"]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755

    @pytest.mark.usefixtures("folder")
    def test_links_that_are_right_stay_as_they_are(self, ours: Slots) -> None:
        device = null()
        ours.make(device)
        before = [os.lstat(link) for link in slot_links(device.slot)]
        ours.make(device)
        assert [os.lstat(link) for link in slot_links(device.slot)] == before

    def test_links_are_right_whatever_way_they_lead(self, folder: Path, ours: Slots) -> None:
        folder.mkdir()
        for link in slot_links("c-1-3-5"):
            Path(link).symlink_to("../../../../../../../../../dev/null")
        ours.make(null())
        assert {os.readlink(link) for link in slot_links("c-1-3-5")} == {
            "../../../../../../../../../dev/null"
        }

    @pytest.mark.usefixtures("folder")
    def test_the_one_link_that_is_missing_is_made(self, ours: Slots) -> None:
        device = null()
        ours.make(device)
        Path(slot_links(device.slot)[1]).unlink()
        ours.make(device)
        assert [os.readlink(link) for link in slot_links(device.slot)] == [slot_node(device.slot)] * 2

    @pytest.mark.usefixtures("folder")
    def test_a_link_to_another_device_is_refused_and_left_alone(self, ours: Slots) -> None:
        ours.make(zero("c-1-3-5"))
        with pytest.raises(SlotError, match=r"c-1-3-5 should lead to char 1:3 and leads to char 1:5"):
            ours.make(null())
        assert {os.path.realpath(link) for link in slot_links("c-1-3-5")} == {"/dev/zero"}

    def test_a_file_in_the_place_of_a_link_is_refused_and_left_alone(self, folder: Path, ours: Slots) -> None:
        folder.mkdir()
        (folder / "c-1-3-5.r").write_text("mine")
        with pytest.raises(SlotError, match="leads to None"):
            ours.make(null())
        assert (folder / "c-1-3-5.r").read_text() == "mine"

    def test_a_link_that_leads_nowhere_is_an_error_and_not_taken_for_right(
        self, folder: Path, ours: Slots
    ) -> None:
        folder.mkdir()
        (folder / "c-1-3-5").symlink_to("/dev/no-such-node")
        with pytest.raises(OSError, match="c-1-3-5"):
            ours.make(null())

    def test_removing_takes_what_is_left_and_no_other_slots_links(self, folder: Path, ours: Slots) -> None:
        one, other = null("c-1-3-5"), null("c-1-3-55")
        for device in (one, other):
            ours.make(device)
        Path(slot_links(one.slot)[0]).unlink()
        ours.remove(one.slot)
        ours.remove(one.slot)
        assert sorted(os.listdir(folder)) == ["c-1-3-55", "c-1-3-55.made", "c-1-3-55.node", "c-1-3-55.r"]


class TestDeviceThatGoes:
    def test_its_links_lead_nowhere_and_stay(self, folder: Path, ours: Slots) -> None:
        device = null()
        ours.make(device)
        before = [os.lstat(link) for link in slot_links(device.slot)]
        ours.cut(device.slot)
        ours.cut(device.slot)
        assert [os.lstat(link) for link in slot_links(device.slot)] == before
        assert ours.leads_nowhere(device.slot)
        assert sorted(os.listdir(folder)) == ["c-1-3-5", "c-1-3-5.made", "c-1-3-5.r"]

    def test_links_of_an_earlier_version_are_replaced(self, folder: Path, ours: Slots) -> None:
        folder.mkdir()
        for link in slot_links("c-1-3-5"):
            Path(link).symlink_to("/dev/null")
        ours.cut("c-1-3-5")
        assert {os.readlink(link) for link in slot_links("c-1-3-5")} == {slot_node("c-1-3-5")}
        assert ours.leads_nowhere("c-1-3-5")
        assert sorted(os.listdir(folder)) == ["c-1-3-5", "c-1-3-5.r"]

    def test_where_there_are_none_nothing_is_made(self, folder: Path, ours: Slots) -> None:
        folder.mkdir()
        ours.cut("c-1-3-5")
        assert os.listdir(folder) == []

    @pytest.mark.usefixtures("folder")
    def test_udevd_can_remove_them_once_nobody_has_them(self, ours: Slots) -> None:
        ours.make(null())
        ours.make(null())
        assert not is_free("c-1-3-5")
        ours.close()
        assert is_free("c-1-3-5")
        with closing(Slots()) as again:
            again.hold("c-1-3-5")
            assert not is_free("c-1-3-5")
        assert is_free("c-1-3-5")

    @pytest.mark.usefixtures("folder")
    def test_the_last_of_two_that_have_them_removes_them(self, ours: Slots) -> None:
        with closing(Slots()) as other:
            ours.make(null())
            other.make(null())
            ours.cut("c-1-3-5")
            ours.remove("c-1-3-5")
            assert ours.names() == {"c-1-3-5"}
            other.remove("c-1-3-5")
            assert ours.names() == set()

    @pytest.mark.usefixtures("folder")
    def test_what_is_about_to_go_is_not_taken(self, ours: Slots) -> None:
        ours.make(null())
        ours.close()
        with Path(slot_made("c-1-3-5")).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with pytest.raises(SlotError, match="its links are about to go"):
                ours.make(null())
            with pytest.raises(SlotError, match="its links are about to go"):
                ours.hold("c-1-3-5")
        ours.make(null())

    @pytest.mark.usefixtures("folder")
    def test_a_mark_that_somebody_removed_is_made_and_locked_again(self, ours: Slots) -> None:
        ours.make(null())
        Path(slot_made("c-1-3-5")).unlink()
        ours.make(null())
        assert not is_free("c-1-3-5")


def is_free(slot: str) -> bool:
    """Whether our udev rule would remove the slot's links."""
    done = subprocess.run(["flock", "-n", slot_made(slot), "true"], check=False)
    return done.returncode == 0


NEW = f"c-1-3-{boot()}-77"


class TestOfThisBoot:
    """A slot that has the boot's id."""

    def test_the_file_beside_says_what_the_links_are_called(self, folder: Path, ours: Slots) -> None:
        ours.make(null(NEW))
        assert sorted(os.listdir(folder)) == sorted([NEW, f"{NEW}.r", f"{NEW}.node", "c-1-3-boot-77.made"])
        assert (folder / "c-1-3-boot-77.made").read_text() == f"HOTPLUGD_LINK={NEW}\n"
        ours.make(null(NEW))
        assert (folder / "c-1-3-boot-77.made").read_text() == f"HOTPLUGD_LINK={NEW}\n"

    @pytest.mark.usefixtures("folder")
    def test_all_three_are_one_slot_and_go_together(self, ours: Slots) -> None:
        ours.make(null(NEW))
        ours.make(null("c-1-3-77"))
        assert ours.names() == {NEW, "c-1-3-77"}
        ours.remove(NEW)
        assert ours.names() == {"c-1-3-77"}

    def test_what_is_alone_is_found(self, folder: Path, ours: Slots) -> None:
        for name in (f"{NEW}.r", "c-1-3-boot-78.made"):
            folder.mkdir(exist_ok=True)
            (folder / name).touch()
        assert ours.names() == {NEW, f"c-1-3-{boot()}-78"}


class TestLinksInside:
    """Those inside instances, as they are noted."""

    ONE = InstanceName("default", "one")
    FOUND: ClassVar = {"/dev/a": Link("/dev/ttyUSB0", "hp-1"), "/dev/b": Link("/dev/ttyUSB1", "hp-2")}

    @pytest.mark.usefixtures("folder")
    def test_they_are_read_by_the_next(self, folder: Path) -> None:
        folder.mkdir()
        Links("/a").note(self.ONE, self.FOUND)
        notes = Links("/a")
        notes.read()
        assert notes.names() == [self.ONE]
        assert notes.take(self.ONE) == self.FOUND
        assert notes.take(self.ONE) == {}
        assert notes.names() == []

    def test_of_none_nothing_is_left_and_each_server_has_its_own(self, folder: Path) -> None:
        folder.mkdir()
        Links("/a").note(self.ONE, self.FOUND)
        Notes("/a").read()
        (other := Links("/b")).read()
        assert other.names() == []
        Links("/a").note(self.ONE, {})
        assert os.listdir(folder) == []

    BROKEN = (
        "",
        "{",
        "[]",
        "{}",
        '{"project": "p", "name": "n"}',
        '{"project": "p", "name": "n", "links": 1}',
    )

    @pytest.mark.parametrize("text", BROKEN)
    def test_what_is_broken_goes(self, folder: Path, text: str) -> None:
        folder.mkdir()
        Links("/a").note(self.ONE, self.FOUND)
        (file,) = folder.iterdir()
        file.write_text(text)
        (notes := Links("/a")).read()
        assert (notes.names(), os.listdir(folder)) == ([], [])

    def test_half_a_link_is_none(self, folder: Path) -> None:
        folder.mkdir()
        Links("/a").note(self.ONE, self.FOUND)
        (file,) = folder.iterdir()
        links = {
            "/dev/a": ["/dev/x"],
            "/dev/b": None,
            "/etc/c": ["/dev/x", "y"],
            "/dev/../d": ["/dev/x", "y"],
        }
        file.write_text(json.dumps({"project": "default", "name": "one", "links": links}))
        (notes := Links("/a")).read()
        assert notes.take(self.ONE) == {}

    def test_without_room_nothing_is_raised(self, folder: Path) -> None:
        Links("/a").note(self.ONE, self.FOUND)
        assert not folder.exists()


class TestSweep:
    def test_those_of_before_are_found_and_nothing_else(self, folder: Path, ours: Slots) -> None:
        ours.make(null())
        (folder / "c-9-9-1.made").touch()
        (folder / "b-9-9-i2.r").symlink_to("/dev/null")
        (folder / ".lock-1").touch()
        (folder / ".adding-c-1-2-3").touch()
        (folder / "folder").mkdir()
        assert ours.names() == {"c-1-3-5", "c-9-9-1", "b-9-9-i2"}

    def test_one_goes_with_its_mark_and_no_other(self, folder: Path, ours: Slots) -> None:
        ours.make(null())
        ours.make(null("c-1-3-55"))
        ours.remove("c-1-3-5")
        ours.remove("c-1-3-5")
        assert sorted(os.listdir(folder)) == ["c-1-3-55", "c-1-3-55.made", "c-1-3-55.node", "c-1-3-55.r"]

    def test_whether_it_leads_nowhere(self, folder: Path, ours: Slots) -> None:
        ours.make(null())
        (folder / "c-9-9-1").symlink_to("/dev/no-such-node")
        assert ours.leads_nowhere("c-9-9-1")
        assert ours.leads_nowhere("c-9-9-2")
        assert not ours.leads_nowhere("c-1-3-5")

    @pytest.mark.usefixtures("folder")
    def test_a_folder_that_is_not_there_is_said(self, ours: Slots) -> None:
        with pytest.raises(FileNotFoundError):
            ours.names()


class TestLock:
    @pytest.fixture
    def address(self, tmp_path: Path) -> Iterator[str]:
        """A server's address that is this test's alone; its lock files go with it."""
        address = str(tmp_path / "unix.socket")
        yield address
        for each in (address, f"{address}-other"):
            name = hashlib.sha256(each.encode()).hexdigest()[:16]
            Path(f"/dev/hotplugd/.lock-{name}").unlink(missing_ok=True)

    def test_the_second_one_is_told_which_server_has_one_already(self, address: str) -> None:
        with lock(address), pytest.raises(AlreadyRunning, match=address), lock(address):
            pytest.fail("two hold one lock")

    def test_another_name_of_the_same_socket_is_the_same_server(self, address: str) -> None:
        os.symlink(address, f"{address}-alias")
        with lock(address), pytest.raises(AlreadyRunning), lock(f"{address}-alias"):
            pytest.fail("two hold one lock")

    def test_another_server_has_a_lock_of_its_own(self, address: str) -> None:
        other = f"{address}-other"
        with lock(address), lock(other):
            for each in (address, other):
                with pytest.raises(AlreadyRunning), lock(each):
                    pytest.fail("two hold one lock")

    @pytest.mark.usefixtures("folder")
    def test_whether_another_server_is_looked_after(self, address: str) -> None:
        with lock(address):
            assert is_alone(address)
            with lock(f"{address}-other"):
                assert not is_alone(address)
                assert not is_alone(f"{address}-other")
            assert is_alone(address)

    def test_it_is_free_again_afterwards(self, address: str) -> None:
        for _ in range(3):
            with lock(address):
                pass

    def test_it_is_free_again_after_an_error(self, address: str) -> None:
        with pytest.raises(ZeroDivisionError), lock(address):
            raise ZeroDivisionError
        with lock(address):
            pass

    def test_it_is_free_again_when_its_holder_was_killed(self, address: str) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", _HOLDER, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(AlreadyRunning), lock(address):
                pytest.fail("two hold one lock")
            holder.kill()
        with lock(address):
            pass

    def test_nobody_but_root_can_take_it(self, folder: Path, tmp_path: Path) -> None:
        with lock(str(tmp_path)):
            (name,) = os.listdir(folder)
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600

    def test_a_link_planted_in_its_place_is_not_followed(self, folder: Path, tmp_path: Path) -> None:
        with lock(str(tmp_path)):
            (name,) = os.listdir(folder)
        (folder / name).unlink()
        (folder / name).symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OSError, match="symbolic links"), lock(str(tmp_path)):
            pytest.fail("a planted link was followed")
        assert not (tmp_path / "elsewhere").exists()


def test_the_number_of_a_node_and_of_what_is_none(tmp_path: Path) -> None:
    assert devnum_of(os.stat("/dev/zero")) == Devnum("char", 1, 5)
    assert devnum_of(tmp_path.stat()) is None
    os.mknod(tmp_path / "disk", stat.S_IFBLK | 0o600, os.makedev(300, 70000))
    assert devnum_of((tmp_path / "disk").stat()) == Devnum("block", 300, 70000)


class TestNotes:
    BOX = InstanceName("lab", "box")

    def entry(self, name: str = "hp-00000000000000aa") -> Entry:
        return Entry(
            name, {"type": "unix-char", "user.hotplugd.instance": "lab/box", "user.hotplugd.rule": "é"}
        )

    def again(self, server: str = "/a") -> Notes:
        """As another hotplugd finds them."""
        notes = Notes(server)
        notes.read()
        return notes

    @pytest.fixture(autouse=True)
    def made(self, folder: Path) -> Path:
        folder.mkdir()
        return folder

    def test_they_are_found_again(self) -> None:
        one, two = self.entry(), self.entry("hp-00000000000000bb")
        Notes("/a").note(self.BOX, (one,))
        Notes("/a").note(self.BOX, (one, two))
        found = self.again()
        assert found.names() == [self.BOX]
        assert found.take(self.BOX) == {one.name: one, two.name: two}
        assert found.names() == []
        assert found.take(self.BOX) == {}
        assert self.again().names() == [self.BOX]

    def test_they_are_gone_where_nothing_is_put_in(self, made: Path) -> None:
        Notes("/a").note(self.BOX, (self.entry(),))
        Notes("/a").note(self.BOX, ())
        assert list(made.iterdir()) == []
        Notes("/a").note(self.BOX, ())

    def test_another_servers_are_not_ours(self, ours: Slots) -> None:
        Notes("/a").note(self.BOX, (self.entry(),))
        assert self.again("/b").names() == []
        assert ours.names() == set()
        assert self.again("/a").names() == [self.BOX]

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "{}", '{"project": "a", "name": "b", "entries": [1]}', "[" * 9999]
    )
    def test_a_broken_one_is_none(self, made: Path, text: str) -> None:
        Notes("/a").note(self.BOX, (self.entry(),))
        (path,) = made.iterdir()
        path.write_text(text)
        assert self.again().names() == []
        assert not path.exists()

    def test_without_room_there_is_none(self, made: Path) -> None:
        made.rmdir()
        Notes("/a").note(self.BOX, (self.entry(),))
        assert self.again().names() == []


def test_once_everything_is_out_nothing_is_left(folder: Path) -> None:
    with closing(Slots()) as links:
        with lock("/server"):
            for slot in ("c-1-3-5", "c-1-3-6"):
                links.make(null(slot))
            Notes("/server").note(InstanceName("default", "box"), [Entry("hp-0123456789abcdef", {})])
            Links("/server").note(InstanceName("default", "box"), {"/dev/x": Link("/dev/y", "hp")})
            assert len(list(folder.iterdir())) > 6
        links.close()
        with lock("/server"):
            assert was_alone("/server")
            leave_nothing("/server", (), alone=True)
            assert not folder.exists()
    with lock("/server"):
        assert folder.is_dir()


def test_what_another_server_has_is_left(folder: Path) -> None:
    with lock("/other"):
        pass
    with closing(Slots()) as links:
        for slot in ("c-1-3-5", "c-1-3-6"):
            links.make(null(slot))
    Notes("/other").note(InstanceName("default", "box"), [Entry("hp-0123456789abcdef", {})])
    with lock("/server"):
        assert not was_alone("/server")
        before = {each.name for each in folder.iterdir()}
        leave_nothing("/server", ["c-1-3-5"], alone=False)
        gone = before - {each.name for each in folder.iterdir()}
    assert {each for each in gone if not each.startswith(".lock-")} == {
        each for each in before if "3-5" in each
    }
    assert len(gone) > 3


def test_a_lock_that_was_taken_away_between_is_taken_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fcntl.flock
    once = [True]

    def away(file: int, how: int) -> None:
        if once:
            once.clear()
            for each in folder.glob(".lock-*"):
                each.unlink()
        real(file, how)

    monkeypatch.setattr("hotplugd.host.slots.fcntl.flock", away)
    with lock("/server"):
        assert len(list(folder.glob(".lock-*"))) == 1
        with pytest.raises(AlreadyRunning), lock("/server"):
            pass
