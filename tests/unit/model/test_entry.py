"""Entries and slots, by their names and marks alone."""

from __future__ import annotations

import json

import pytest

from hotplugd.model.entry import (
    MARKS,
    age_of,
    in_full,
    is_for,
    is_later,
    is_ours,
    is_slot,
    links_of,
    name_for,
    names_for,
    number_of,
    read,
    slot_for,
    slot_links,
    slot_made,
    slot_named,
    slot_of,
    slot_of_file,
    target_of,
    written,
)
from hotplugd.model.values import Devnum, Entry

BOOT = "1a2b3c4d"
PHONE = Devnum("char", 189, 3)
SLOT = f"c-189-3-{BOOT}-4711"

# As version 1 wrote it down (LXD 5.0.2).
OF_VERSION_1 = {
    "mode": "0600",
    "path": "/dev/vcsa41",
    "required": "false",
    "source": "/dev/hotplugd/c-7-169-1558807370",
    "type": "unix-char",
    "user.hotplugd": '{"version": "1", "instance": "default/box", "device": "kernel:vcsa41", '
    '"node": "/dev/vcsa41", "rule": "one", '
    '"links": "/dev/first /dev/by-id/x.y", "since": "2026-11-26T23:43:29.708+00:00"}',
}


# What our udev rule said, and the slot that is meant.
NAMED = {
    "by the rule": ("c-189-3-boot-4711", SLOT),
    "by one that knows the boot": (SLOT, SLOT),
    "by version 1": ("c-189-3-123456", "c-189-3-123456"),
    "by version 1, with as many digits": ("c-189-3-12345678", "c-189-3-12345678"),
    "of another boot": ("c-189-3-1a2b3c4e-4711", ""),
    "of another number": ("c-189-30-boot-4711", ""),
    "of a disk": ("b-189-3-boot-4711", ""),
    "no number": ("c-189-3-boot-", ""),
    "no number either": ("c-189-3-boot-x", ""),
    "digits of another script": ("c-189-3-boot-\u0664", ""),
    "a way out": ("c-189-3-boot-4711/../x", ""),
    "two dashes": ("c-189-3--4711", ""),
    "more": ("c-189-3-boot-1-4711", ""),
    "nothing": ("", ""),
}


class TestSlot:
    def test_it_says_the_number_and_the_boot(self) -> None:
        assert slot_for(PHONE, BOOT, "4711") == SLOT
        assert slot_for(Devnum("block", 8, 1), BOOT, "i9") == f"b-8-1-{BOOT}-i9"
        assert number_of(SLOT) == number_of("c-189-3-123456") == "c-189-3"

    @pytest.mark.parametrize(("name", "slot"), NAMED.values(), ids=NAMED)
    def test_the_rules_word_is_taken_where_it_fits(self, name: str, slot: str) -> None:
        assert slot_named(in_full(name, BOOT), PHONE, BOOT) == slot

    @pytest.mark.parametrize(
        "slot", [SLOT, "c-189-3-123456", "c-189-3-i77", f"c-189-3-{BOOT}-i77", "b-8-1-1"]
    )
    def test_its_files_are_found_by_their_names(self, slot: str) -> None:
        assert is_slot(slot)
        for path in (*slot_links(slot), slot_made(slot)):
            assert slot_of_file(path.rpartition("/")[2], BOOT) == slot

    @pytest.mark.parametrize("name", [".lock-1", ".links-c-1-2-3", "c-1-2", "c-1-2-x", "x-1-2-3", ""])
    def test_other_files_are_no_slots(self, name: str) -> None:
        assert not slot_of_file(name, BOOT)
        assert not is_slot(name)

    def test_the_file_beside_is_called_as_the_udev_rule_calls_the_slot(self) -> None:
        assert slot_made(SLOT) == "/dev/hotplugd/c-189-3-boot-4711.made"
        assert slot_made("c-189-3-12345678") == "/dev/hotplugd/c-189-3-12345678.made"

    def test_what_was_plugged_under_version_1_is_older(self) -> None:
        order = ["c-1-2-5000000", "c-1-2-6000000", f"c-1-2-{BOOT}-17", f"c-1-2-{BOOT}-18", f"c-1-2-{BOOT}-i1"]
        assert sorted([*order[2:], *order[:2]], key=age_of) == order
        assert age_of("n-00e04c000001-77") == 77

    @pytest.mark.parametrize("slot", ["", "abc", "-", "c", "c-", "n-1", "n-1-x", "--", "c-\u0664"])
    def test_what_is_none_has_an_age_too(self, slot: str) -> None:
        assert isinstance(age_of(slot), int)


class TestNames:
    def test_a_node_has_one_and_no_two_boots_share_it(self) -> None:
        assert names_for(SLOT) == (name_for(SLOT),)
        assert name_for(SLOT) != name_for(SLOT.replace(BOOT, "1a2b3c4e"))
        assert name_for("c-7-169-1558807370") == "hp-62532d91e9ae6e28"

    def test_a_pci_device_has_also_the_one_of_version_1(self) -> None:
        slot = f"p-0000:03:00.0-{BOOT}-77"
        assert names_for(slot) == (name_for(slot), name_for("p-0000:03:00.0-77"))


class TestVersions:
    def test_version_1_is_understood(self) -> None:
        entry = read("hp-62532d91e9ae6e28", OF_VERSION_1)
        assert is_ours(entry)
        assert not is_later(entry)
        assert (slot_of(entry), target_of(entry)) == ("c-7-169-1558807370", "/dev/vcsa41")
        assert is_for(entry, Devnum("char", 7, 169))
        assert links_of(entry) == ("/dev/first", "/dev/by-id/x.y")
        assert written(entry) == OF_VERSION_1

    def test_a_later_version_is_understood_as_far_as_it_says_what_this_one_does(self) -> None:
        marks = {"version": "17", "instance": "default/box", "lease": "a", "more": [1], "none": None}
        entry = read(name_for(SLOT), {"source": slot_links(SLOT)[1], MARKS: json.dumps(marks)})
        assert is_ours(entry)
        assert is_later(entry)
        assert slot_of(entry) == SLOT
        assert entry.config["user.hotplugd.lease"] == "a"

    @pytest.mark.parametrize(
        "marks", ["", "{", "[]", "1", '{"version": "2"}', '{"version": 2, "instance": "x"}']
    )
    def test_what_is_not_marked_is_not_ours(self, marks: str) -> None:
        assert not is_ours(read(name_for(SLOT), {MARKS: marks}))
        assert not is_ours(Entry(name_for(SLOT), {}))


def test_marks_longer_than_any_of_ours_are_none() -> None:
    marks = {"version": "2", "instance": "default/c1"}
    ours = read("hp-00000000000000ff", {"user.hotplugd": json.dumps(marks)})
    long = json.dumps({**marks, "seen": "x" * (1 << 18)})
    assert is_ours(ours)
    assert not is_ours(read("hp-00000000000000ff", {"user.hotplugd": long}))
