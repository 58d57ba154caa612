"""Devices that go along with the one above them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.values import Device
from hotplugd.plan.desired import Wants, wants
from tests.support.devices import console, disk, interface, pci, phone, plugged, rule, ruleset
from tests.unit import devices

PHONE = phone(1)
TTY = plugged(devices.tty(PHONE, "ttyACM0"), 166, 0)
SOUND = plugged(
    replace(devices.tty(PHONE, "controlC1"), subsystem="sound", node="/dev/snd/controlC1"), 116, 1
)
NET = replace(interface(7), parent=PHONE, syspath=f"{PHONE.syspath}/net/usb0", kernel="usb0")
STRANGER = console(2)
DISK = disk(0)
PART = plugged(
    Device(f"{DISK.syspath}/zram0p1", "block", "zram0p1", "partition", node="/dev/zram0p1", parent=DISK),
    252, 1, kind="block",
)  # fmt: skip
FARM = "{vendor_id: 18d1}"


def goes(found: Wants) -> list[str]:
    return [f"{want.instance}:{want.target}" for want in found.wants]


def taking(companions: str, *before: str, match: str = FARM, to: str = "box", more: str = "") -> list[str]:
    return [*before, rule(match, f"{{to: {to}, with: {companions}{more}}}")]


def test_what_hangs_from_the_device_goes_where_it_goes() -> None:
    rules = ruleset(*taking("[tty, sound, net]", to="'ci-{serial}'"))
    assert goes(wants(rules, PHONE)) == ["ci-R5C001:/dev/bus/usb/001/001"]
    assert goes(wants(rules, TTY)) == ["ci-R5C001:/dev/ttyACM0"]
    assert goes(wants(rules, SOUND)) == ["ci-R5C001:/dev/snd/controlC1"]
    assert goes(wants(rules, NET)) == ["ci-R5C001:usb0"]
    assert wants(rules, TTY).anchor == PHONE
    assert wants(rules, STRANGER) == Wants(STRANGER)


def test_only_what_is_named_goes_along() -> None:
    rules = ruleset(*taking("[sound]"))
    assert wants(rules, TTY) == Wants(TTY)


def test_a_single_word_will_do() -> None:
    assert goes(wants(ruleset(*taking("tty")), TTY)) == ["box:/dev/ttyACM0"]


def test_an_item_says_which_and_where() -> None:
    item = "[{match: {subsystem: tty, kernel: 'ttyACM*'}, path: '/dev/modem-{serial}'}]"
    assert goes(wants(ruleset(*taking(item)), TTY)) == ["box:/dev/modem-R5C001"]


def test_the_path_of_the_device_is_not_that_of_what_goes_along() -> None:
    rules = ruleset(*taking("[partition]", match="{subsystem: block, devtype: disk}", more=", path: /dev/it"))
    assert goes(wants(rules, DISK)) == ["box:/dev/it"]
    assert goes(wants(rules, PART)) == ["box:/dev/zram0p1"]


def test_mode_and_owner_are_those_of_the_rule() -> None:
    rules = ruleset(*taking("[tty]", more=", mode: '0660', group: dialout"))
    (want,) = wants(rules, TTY).wants
    assert (want.attach.mode, want.attach.group) == ("0660", "dialout")


def test_an_earlier_rule_about_it_wins() -> None:
    earlier = rule("{subsystem: tty}", "{to: other}", name="ttys")
    assert goes(wants(ruleset(*taking("[tty]", earlier)), TTY)) == ["other:/dev/ttyACM0"]


def test_an_earlier_rule_that_ignores_it_wins() -> None:
    found = wants(ruleset(*taking("[tty]", rule("{subsystem: tty}", None, name="no"))), TTY)
    assert goes(found) == []


def test_a_later_rule_about_it_does_not() -> None:
    later = rule("{subsystem: tty}", "{to: other}", name="ttys")
    assert goes(wants(ruleset(*taking("[tty]"), later), TTY)) == ["box:/dev/ttyACM0"]


def test_a_rule_that_is_about_both_takes_it_for_itself() -> None:
    rules = ruleset(*taking("[tty]", match="{subsystem: '*'}"))
    assert wants(rules, TTY).anchor is None
    assert goes(wants(rules, TTY)) == ["box:/dev/ttyACM0"]


def test_it_stays_where_the_device_above_is_ignored() -> None:
    ignoring = rule(FARM, None, name="no")
    assert wants(ruleset(*taking("[tty]", ignoring)), TTY) == Wants(TTY)


def test_the_earliest_of_several_above_takes_it() -> None:
    hub = rule("{kernel: usb1}", "{to: other, with: [tty], force: true}", name="hub")
    assert goes(wants(ruleset(*taking("[tty]", hub)), TTY)) == ["other:/dev/ttyACM0"]
    assert goes(wants(ruleset(*taking("[tty]"), hub), TTY)) == ["box:/dev/ttyACM0"]


def test_what_is_below_a_device_that_is_kept_is_kept() -> None:
    used = replace(DISK, in_use="zram0p2 is mounted on /srv")
    below = replace(PART, parent=used)
    rules = ruleset(*taking("[partition]", match="{subsystem: block, devtype: disk}"))
    found = wants(rules, below)
    assert goes(found) == []
    assert "/dev/zram0, with which it would go, is kept" in found.problems[0].message


def test_a_device_without_a_node_may_stand_for_what_is_below_it() -> None:
    card = pci()
    video = plugged(
        Device(f"{card.syspath}/video0", "video4linux", "video0", node="/dev/video0", parent=card), 81, 0
    )
    rules = ruleset(*taking("[video4linux]", match="{subsystem: pci}"))
    assert goes(wants(rules, video)) == ["box:/dev/video0"]
    found = wants(rules, card)
    assert goes(found) == []
    assert found.problems == ()


@pytest.mark.parametrize("companions", ["[]", "", "[{path: /dev/x}]", "[{match: {}}]", "[[tty]]", "{tty: 1}"])
def test_what_makes_no_sense_is_an_error(companions: str) -> None:
    with pytest.raises(AssertionError):
        ruleset(*taking(companions))
