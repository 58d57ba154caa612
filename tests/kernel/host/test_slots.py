"""Links below /dev/hotplugd."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from hotplugd.host.slots import SlotError, Slots
from hotplugd.host.sysfs import boot
from hotplugd.model.devnum import devnum_of
from hotplugd.model.entry import slot_links, slot_made, slot_node
from hotplugd.model.values import Device, Devnum

pytestmark = pytest.mark.usefixtures("root")


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
            assert not ours.remove("c-1-3-5")
            assert ours.names() == {"c-1-3-5"}
            assert other.remove("c-1-3-5")
            assert ours.names() == set()
            assert ours.remove("c-1-3-5")

    @pytest.mark.usefixtures("folder")
    def test_those_of_one_that_has_ended_can_be_removed(self, ours: Slots) -> None:
        with closing(Slots()) as other:
            ours.make(null())
            other.hold("c-1-3-5")
            assert not ours.remove("c-1-3-5")
        assert ours.remove("c-1-3-5")
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

    def test_it_says_also_for_ever_that_one_instance_had_the_device_alone(
        self, folder: Path, ours: Slots
    ) -> None:
        assert not ours.was_alone(NEW)
        ours.make(null(NEW))
        assert not ours.was_alone(NEW)
        ours.make(null(NEW), alone=True)
        ours.make(null(NEW))
        with closing(Slots()) as other:
            assert other.was_alone(NEW)
            other.make(null(NEW))
            assert other.was_alone(NEW)
        said = (folder / "c-1-3-boot-77.made").read_text()
        assert said == f"HOTPLUGD_LINK={NEW}\nHOTPLUGD_ALONE=1\n"
        ours.remove(NEW)
        assert not ours.was_alone(NEW)

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


def test_the_number_of_a_node_and_of_what_is_none(tmp_path: Path) -> None:
    assert devnum_of(os.stat("/dev/zero")) == Devnum("char", 1, 5)
    assert devnum_of(tmp_path.stat()) is None
    os.mknod(tmp_path / "disk", stat.S_IFBLK | 0o600, os.makedev(300, 70000))
    assert devnum_of((tmp_path / "disk").stat()) == Devnum("block", 300, 70000)
