"""Where a USB device goes before udevd has processed it is where it goes afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from hotplugd.model.asker import Asker
from hotplugd.model.values import Device, Entry, Instance, InstanceName
from hotplugd.plan.change import entry_for
from hotplugd.plan.desired import wants
from hotplugd.plan.early import decided as decided_early
from hotplugd.plan.early import differs
from hotplugd.plan.overrides import NONE, Override, Overrides, kept_by
from hotplugd.plan.ownership import Owners
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import BOX, box, phone, rule, ruleset

PHONES = ruleset(rule("{vendor_id: 18d1}", '{to: box, mode: "0660"}'))


def early(device: Device) -> Device:
    """The device before udevd has processed it."""
    return replace(device, properties={}, early=True)


def decided(rules: RuleSet, overrides: Overrides = NONE, *, others: Iterable[Entry] = ()) -> bool:
    owners = Owners()
    instance = replace(box(name="other"), entries={each.name: each for each in others})
    owners.learned(instance.id, instance)
    return decided_early(rules, early(phone()), overrides, owners) is not None


def test_a_rule_of_what_is_the_kernels_decides() -> None:
    assert decided(PHONES)


@pytest.mark.parametrize(
    "attach",
    [
        None,
        # The server would take the mode that the node has before udevd.
        "{to: box}",
        '{to: "{property.ID_MODEL}", mode: "0660"}',
        '{to: box, mode: "0660", link: "/dev/{path}"}',
    ],
)
def test_what_udevd_may_have_a_say_in_waits(attach: str | None) -> None:
    assert not decided(ruleset(rule("{vendor_id: 18d1}", attach)))


@pytest.mark.parametrize(
    ("config", "waits"),
    [
        ({"type": "unix-hotplug", "vendorid": "1234"}, True),
        # That may be a link of udev's.
        ({"type": "unix-char", "source": "/dev/android"}, True),
        ({"type": "unix-char", "source": "/dev/../dev//android"}, True),
        ({"type": "disk", "source": "/proc/1/root/dev/android", "path": "/x"}, True),
        ({"type": "unix-char", "source": "/dev/bus/usb/001/009"}, False),
        ({"type": "unix-char", "source": "/dev/kvm"}, False),
        ({"type": "unix-block", "source": "/dev/android"}, False),
        ({"type": "disk", "source": "/usr", "path": "/usr"}, False),
        ({"type": "disk", "source": "/dev/disk/by-uuid/4711", "path": "/x"}, False),
        ({"type": "usb", "vendorid": "1234"}, False),
        ({"type": "nic", "nictype": "bridged", "parent": "br0"}, False),
    ],
)
def test_what_others_entries_may_take_by_udevs_words_waits(config: dict[str, str], waits: bool) -> None:
    assert decided(PHONES, others=[Entry("theirs", config)]) is not waits


def test_once_the_others_entry_has_gone_nothing_waits() -> None:
    owners = Owners()
    theirs = box([Entry("theirs", {"type": "unix-hotplug", "vendorid": "1234"})], name="other")
    owners.learned(theirs.id, theirs)
    assert owners.may_go_by_udev
    owners.learned(theirs.id, None)
    assert not owners.may_go_by_udev


def by_hand(device: Device, *others: Device) -> Overrides:
    of = kept_by(device, others)
    assert of is not None
    return Overrides.made_of([Override(of, InstanceName("default", "other"), "2026-01-01", Asker(0))])


def test_what_is_decided_by_hand_about_a_place_waits() -> None:
    """A place is known by udev's name of it."""
    twin = phone(2, serial="R5C001")
    assert decided(PHONES, by_hand(phone()))
    assert not decided(PHONES, by_hand(phone(), twin))


def test_the_entry_is_the_same_afterwards() -> None:
    instance: Instance = box()
    first, then = wants(PHONES, early(phone())), wants(PHONES, phone())
    entries = [entry_for(each.wants[0], instance, None, None) for each in (first, then)]
    assert entries[0] == entries[1]
    assert differs(first, then) is None


def test_another_instance_afterwards_is_said() -> None:
    elsewhere = ruleset(rule("{vendor_id: 18d1}", '{to: other, mode: "0660"}'))
    found = differs(wants(PHONES, early(phone())), wants(elsewhere, phone()))
    assert found is not None
    assert found.message.startswith(f"it was put into {BOX} before udevd had processed it, and ")
    nowhere = ruleset(rule("{vendor_id: 18d1}", None))
    assert differs(wants(PHONES, early(phone())), wants(nowhere, phone())) is not None


def test_other_reasons_than_udevds_words_are_said_by_others() -> None:
    first = wants(PHONES, early(phone()))
    assert differs(first, wants(PHONES, replace(phone(), in_use="mounted"))) is None
    elsewhere = ruleset(rule("{vendor_id: 18d1}", '{to: other, mode: "0660"}'))
    # Rules that are read meanwhile, and another enumeration.
    assert differs(first, wants(elsewhere, early(phone()))) is None
    assert differs(wants(PHONES, phone()), wants(elsewhere, phone())) is None
    assert differs(first, wants(elsewhere, phone(born=2))) is None
