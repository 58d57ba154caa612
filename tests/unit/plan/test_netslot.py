"""What entries say of the interface that they are for, as far as anybody believes it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplugd.model.entry import MARK_SEEN, MARK_SLOT, name_for
from hotplugd.model.nic_slot import (
    NetSlot,
    assumed,
    entry_for,
    inside,
    nic_key,
    nic_keys,
    number_above,
    read,
    stands_for,
)
from hotplugd.model.values import Device, Entry, Interface
from tests.support.devices import BOOT, box, channel, folder, interface, nic_entry

ZERO, ONE = channel(0), channel(1)
LO = {"lo": Interface("/sys/devices/virtual", 1, 1)}


def found(*entries: Entry, **interfaces: Interface) -> list[tuple[str, str]]:
    """The slots that were seen, and the names of their entries."""
    seen = inside(box(entries), {**LO, **interfaces}, BOOT)
    return [(str(slot), entry.name) for slot, entry, _ in seen]


def old(device: Device, address: str = "") -> Entry:
    return nic_entry(device, slot=f"n-{address}-{folder(device).above}")


def test_a_slot_says_what_it_was_made_of() -> None:
    assert read(f"n-{BOOT}-5-7") == NetSlot(BOOT, 5, 7)
    assert str(NetSlot(BOOT, 5, 7)) == f"n-{BOOT}-5-7"
    assert NetSlot(BOOT, 7, 7).is_virtual
    assert not NetSlot(BOOT, 5, 7).is_virtual


@pytest.mark.parametrize(
    "slot",
    ["", "n-00e04c000001-5", f"n-{BOOT}-5-", f"n-{BOOT}-5-7-9", f"p-{BOOT}-5-7", f"n-{BOOT}-٣-7", "n--5"],
)
def test_what_is_no_slot_of_today_is_none(slot: str) -> None:
    assert read(slot) is None


def test_the_number_above_is_in_every_versions() -> None:
    assert [number_above(each) for each in (f"n-{BOOT}-5-7", "n-00e04c000001-5", "n--5")] == [5, 5, 5]
    assert number_above("c-188-1-5") is None
    assert number_above("n--" + "9" * 5000) is None


def test_each_is_seen_under_its_own_entry_whatever_it_is_called_inside() -> None:
    entries = nic_entry(ZERO, name="lan0"), nic_entry(ONE, name="lan1")
    assert found(*entries, lan1=folder(ZERO), x=folder(ONE)) == [
        (ZERO.slot, entries[0].name),
        (ONE.slot, entries[1].name),
    ]


def test_what_is_not_there_is_not_seen() -> None:
    assert found(nic_entry(ZERO), can0=folder(ONE)) == []
    assert found(nic_entry(ZERO), can0=replace(folder(ZERO), above=1)) == []
    assert found(nic_entry(ZERO), can0=replace(folder(ZERO), number=0)) == []


def test_an_entry_under_anothers_name_or_of_another_type_is_none() -> None:
    entry = nic_entry(ZERO)
    assert found(Entry("hp-00000000000000ff", entry.config), can0=folder(ZERO)) == []
    assert found(Entry(entry.name, {**entry.config, "nictype": "macvlan"}), can0=folder(ZERO)) == []
    assert list(nic_keys(box([Entry(entry.name, {**entry.config, "type": "usb"})]))) == []


def test_one_of_an_earlier_version_is_seen_by_the_device_above_and_its_name() -> None:
    entry = old(ZERO)
    assert found(entry, can0=folder(ZERO), can1=folder(ONE)) == [(ZERO.slot, entry.name)]
    assert found(entry, renamed=folder(ZERO)) == [(ZERO.slot, entry.name)]
    assert found(entry, can7=folder(ZERO), can1=folder(ONE)) == []


def test_what_has_an_entry_under_its_own_slot_is_no_earlier_ones() -> None:
    entry = nic_entry(ZERO)
    assert found(old(ZERO), entry, can0=folder(ZERO)) == [(ZERO.slot, entry.name)]


def test_after_a_boot_it_is_seen_by_name_and_place() -> None:
    entry = nic_entry(replace(ZERO, slot="n-00000000-3-4"))
    assert found(entry, can0=folder(ZERO)) == [(ZERO.slot, entry.name)]
    assert found(entry, can0=folder(channel(0, of=2))) == []
    assert found(entry, can1=folder(ZERO)) == []


def test_no_more_are_seen_than_an_instance_may_have() -> None:
    many = [
        replace(ZERO, slot=f"n-{BOOT}-{number}-{number}", kernel=f"x{number}") for number in range(2, 500)
    ]
    there = {
        each.kernel: Interface("/sys/devices/virtual", number, number) for number, each in enumerate(many, 2)
    }
    assert len(found(*map(nic_entry, many), **there)) == 100


def test_which_entry_stands_for_an_interface() -> None:
    container, machine = box(), replace(box(), kind="virtual-machine")
    nic = interface()
    slot = read(nic.slot)
    assert slot is not None
    earlier, again = old(nic, "00e04c000001"), nic_entry(replace(nic, slot=str(replace(slot, own=99))))
    assert stands_for(earlier, nic, container)
    assert not stands_for(old(nic, "00e04c000002"), nic, container)
    assert not stands_for(earlier, replace(nic, kernel="lan7"), container)
    assert not stands_for(Entry("hp-00000000000000ff", earlier.config), nic, container)
    # What a virtual machine has is the hardware.
    assert stands_for(again, nic, machine)
    assert not stands_for(again, nic, container)
    other = nic_entry(replace(nic, slot=str(replace(slot, above=98, own=99))))
    assert not stands_for(other, nic, machine)


def test_which_entry_is_for_an_interface() -> None:
    assert nic_key(ZERO) == (folder(ZERO).above, "can0")
    assert list(nic_keys(box([nic_entry(ZERO), old(ONE)]))) == [nic_key(ZERO), nic_key(ONE)]
    assert entry_for(box([old(ZERO)]), ZERO) == old(ZERO)
    assert entry_for(box([nic_entry(ONE)]), ZERO) is None


def test_what_nobody_can_look_for_is_assumed_where_it_has_hardware() -> None:
    assert [each.slot for each in assumed(box([nic_entry(ZERO), old(ONE)]))] == [
        ZERO.slot,
        old(ONE).config[MARK_SLOT],
    ]
    virtual = Device("/sys/devices/virtual/net/x", "net", "x", slot=f"n-{BOOT}-9-9")
    assert list(assumed(box([nic_entry(virtual)]))) == []
    renamed = nic_entry(ZERO)
    assert list(assumed(box([Entry(renamed.name, {**renamed.config, "parent": "eth0"})]))) == []


texts = st.text(max_size=30) | st.sampled_from(
    [ZERO.slot, "n--600", "can0", "lo", "{}", '{"syspath": 7}', "[]"]
)


@given(slot=texts, name=texts, parent=texts, seen=texts)
def test_no_entry_raises_anything(slot: str, name: str, parent: str, seen: str) -> None:
    entry = nic_entry(ZERO)
    marks = {MARK_SLOT: slot, "name": name, "parent": parent, MARK_SEEN: seen}
    instance = box([Entry(name_for(slot), {**entry.config, **marks})])
    list(inside(instance, {**LO, "can0": folder(ZERO)}, BOOT))
    list(nic_keys(instance))
    list(assumed(instance))
    entry_for(instance, ZERO)
