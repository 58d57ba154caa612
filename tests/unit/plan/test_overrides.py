"""What people decide by hand about single devices, in place of the rules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.asker import Asker
from hotplugd.model.values import Descriptors, Device, InstanceName
from hotplugd.plan.desired import judged, wants
from hotplugd.plan.identity import identity
from hotplugd.plan.overrides import BY_HAND, Override, Overrides, kept_by, lasting, meant, told_of
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import BOX, console, phone, plugged, rule, ruleset
from tests.unit import devices

OTHER = InstanceName("default", "other")
ROOT = Asker(0, "root", "bob")
PHONES = ruleset(rule("{vendor_id: 18d1}", "{to: box, mode: '0660', link: /dev/phone}", "phones"))
WITH = ruleset(
    rule("{vendor_id: '0403'}", "{to: box, path: /dev/cable, with: [{match: {subsystem: tty}}]}", "cables"),
)
NOTHING = RuleSet()


def at(device: Device, port: str, bus: str = "1") -> Device:
    """The same device, plugged in at another port."""
    other = devices.usb(f"{bus}-{port}", "18d1", "4ee7")
    told = {**device.properties, "ID_PATH": f"pci-0000:00:14.0-usb-0:{port}"}
    return replace(device, syspath=other.syspath, kernel=other.kernel, properties=told)


def decided(device: Device, to: InstanceName | None = OTHER, *, others: tuple[Device, ...] = ()) -> Overrides:
    of = kept_by(device, (device, *others))
    assert of is not None
    return Overrides.made_of([Override(of, to, "2026-11-27T18:00:00+00:00", ROOT, str(device))])


def goes(rules: RuleSet, device: Device, overrides: Overrides) -> list[str]:
    found = wants(rules, device, overrides)
    assert found.problems == ()
    return [str(want.instance) for want in found.wants]


def test_it_wins_over_the_rule_which_still_says_how_the_device_is_inside() -> None:
    (want,) = wants(PHONES, phone(), decided(phone(), InstanceName("lab", "other"))).wants
    assert (want.instance, want.rule.name) == (InstanceName("lab", "other"), "phones")
    assert (want.attach.mode, want.links) == ("0660", ("/dev/phone",))
    assert want.override is not None
    assert goes(PHONES, phone(), decided(phone(), None)) == []
    assert goes(PHONES, phone(2), decided(phone(), None)) == ["box"]


@pytest.mark.parametrize("rules", [NOTHING, ruleset(rule("{vendor_id: 18d1}", None))])
def test_what_no_rule_attaches_goes_in_without_options(rules: RuleSet) -> None:
    (want,) = wants(rules, phone(), decided(phone())).wants
    assert (want.instance, want.rule.name, want.target, want.attach.mode) == (
        OTHER, BY_HAND, phone().node, None,
    )  # fmt: skip


def test_it_holds_after_a_replug_at_another_port_and_in_another_mode() -> None:
    overrides = decided(phone())
    again = at(phone(born=2), "7")
    mtp = replace(again, attrs={**again.attrs, "idProduct": "4ee1"})
    assert goes(PHONES, again, overrides) == goes(PHONES, mtp, overrides) == ["other"]


def test_without_a_serial_it_holds_for_that_model_at_that_place_alone() -> None:
    device = phone(serial="")
    overrides = decided(device)
    assert [each.of.identity for each in overrides] == ["path:pci-0000:00:14.0-usb-0:1-1"]
    another = replace(device, attrs={**device.attrs, "idProduct": "4ee1"})
    assert goes(PHONES, replace(device, slot="c-1-1-1a2b3c4d-9"), overrides) == ["other"]
    assert goes(PHONES, at(device, "2"), overrides) == ["box"]
    assert goes(PHONES, another, overrides) == ["box"]
    # Another one with a serial number at that place.
    assert goes(PHONES, at(phone(9), "1-1"), overrides) == ["box"]


def test_of_two_with_one_serial_the_one_at_the_place_is_meant() -> None:
    one, two = phone(1, "FT0006"), phone(2, "FT0006")
    overrides = decided(one, others=(two,))
    assert [(each.of.identity, each.of.serial) for each in overrides] == [
        ("path:pci-0000:00:14.0-usb-0:1-1", "FT0006")
    ]
    assert goes(PHONES, one, overrides) == ["other"]
    assert goes(PHONES, two, overrides) == ["box"]
    assert goes(PHONES, at(phone(3), "1-1"), overrides) == ["box"]


def test_what_is_said_of_the_place_comes_first() -> None:
    one, two = phone(1, "FT0006"), phone(2, "FT0006")
    both = Overrides.made_of([*decided(one), *decided(two, None, others=(one,))])
    assert (goes(PHONES, one, both), goes(PHONES, two, both)) == (["other"], [])


def test_the_tty_and_the_device_that_it_hangs_from_are_two() -> None:
    tty = console()
    cable = tty.usb
    assert cable is not None
    assert identity(tty) == identity(cable)
    assert goes(WITH, tty, decided(tty, others=(cable,))) == ["other"]
    assert wants(NOTHING, cable, decided(tty, others=(cable,))).override is None
    renamed = replace(tty, kernel="ttyUSB9", node="/dev/ttyUSB9")
    assert goes(NOTHING, renamed, decided(tty)) == ["other"]


def test_what_goes_along_goes_where_the_device_goes() -> None:
    tty = console()
    cable = tty.usb
    assert cable is not None
    assert goes(WITH, tty, decided(cable)) == ["other"]
    assert goes(WITH, tty, decided(cable, None)) == []


def test_what_hangs_from_a_usb_device_that_is_kept_out_stays_out() -> None:
    tty = console()
    cable = tty.usb
    assert cable is not None
    rules = ruleset(rule("{subsystem: tty}", "{to: box}"))
    assert goes(rules, tty, decided(cable, None)) == []
    # But where the cable itself goes says nothing of the tty, which has a rule of its own.
    assert goes(rules, tty, decided(cable)) == ["box"]


def test_a_device_that_nothing_tells_from_another_has_none() -> None:
    cable = devices.usb()
    one = plugged(replace(devices.tty(cable, "video0"), subsystem="video4linux"), 81, 0)
    two = plugged(replace(devices.tty(cable, "video1"), subsystem="video4linux"), 81, 1)
    assert kept_by(one, (one, two)) is None
    assert kept_by(one, (one, cable)) is not None


def test_the_nodes_of_one_gpu_go_together() -> None:
    pci = Device("/sys/devices/pci0000:00/0000:01:00.0", "pci", "0000:01:00.0", slot="p-1")
    path = {"ID_PATH": "pci-0000:01:00.0"}
    card, render = (
        plugged(
            Device(f"{pci.syspath}/drm/{name}", "drm", name, node=f"/dev/dri/{name}", parent=pci), 226, number
        )
        for number, name in ((0, "card0"), (128, "renderD128"))
    )
    card, render = replace(card, properties=path), replace(render, properties=path)
    rules = ruleset(rule("{subsystem: drm}", "{to: box}"))
    for decision, expected in ((None, []), (OTHER, ["other"])):
        overrides = decided(card, decision, others=(render,))
        assert goes(rules, card, overrides) == goes(rules, render, overrides) == expected
    second = replace(render, parent=replace(pci, syspath=f"{pci.syspath}/x", kernel="0000:02:00.0"))
    assert kept_by(card, (card, second)) is None


def test_a_virtual_device_has_one_until_the_next_boot() -> None:
    zram = plugged(devices.DISK, 252, 0)
    (of,) = lasting(zram)
    assert (of.identity, of.boot) == ("kernel:zram0", "1a2b3c4d")
    after = replace(zram, slot=zram.slot.replace("1a2b3c4d", "5e6f7a8b"))
    assert decided(zram).of(zram) is not None
    assert decided(zram).of(after) is None


def test_partitions_and_interfaces_are_told_apart() -> None:
    disk = plugged(replace(devices.DISK, properties={"ID_SERIAL_SHORT": "S1A"}), 8, 0)
    first = replace(disk, syspath=f"{disk.syspath}/p1", devtype="partition", kernel="zram0p1")
    first = replace(first, properties={**disk.properties, "PARTN": "1"})
    second = replace(first, syspath=f"{disk.syspath}/p2", properties={**disk.properties, "PARTN": "2"})
    assert len({each for one in (disk, first, second) for each in lasting(one) if each.is_unique}) == 3


def test_long_serials_that_begin_alike_are_two() -> None:
    one, two = phone(1, "A" * 100 + "B"), phone(2, "A" * 100 + "C")
    assert identity(one) == identity(two)
    assert goes(PHONES, two, decided(one)) == ["box"]


@pytest.mark.parametrize(
    ("device", "why"),
    [
        (replace(phone(), attrs={"maxchild": "4"}), "it is a USB hub"),
        (replace(phone(), in_use="mounted on /srv"), "the host uses it: mounted on /srv"),
        (replace(phone(), descriptors=Descriptors((), "cut short")), "may hide interfaces"),
    ],
)
@pytest.mark.parametrize("force", ["", ", force: true"])
def test_guard_rails_hold_whatever_the_rule_forces(device: Device, why: str, force: str) -> None:
    rules = ruleset(rule("{vendor_id: 18d1}", f"{{to: box{force}}}"))
    found = wants(rules, device, decided(device))
    assert found.wants == ()
    assert why in found.problems[0].message
    assert found.problems[0].message.endswith("; nobody can attach it by hand")
    assert wants(rules, device, decided(device, None)).problems == ()


def test_what_the_host_came_to_use_stays_where_it_was_put_by_hand() -> None:
    used = replace(phone(), in_use="mounted on /srv")
    found = judged(PHONES, used, lambda _: True, decided(phone()))
    assert [want.instance for want in found.wants] == [OTHER]
    assert "where it stays" in found.problems[0].message
    assert judged(PHONES, used, lambda _: True, decided(phone(), None)).wants == ()


def test_one_replaces_another_and_can_be_taken_away() -> None:
    (first,) = decided(phone())
    both = Overrides.made_of([first]).with_one(replace(first, instance=BOX), phone())
    assert [each.instance for each in both] == [BOX]
    assert not both.without(first.of)
    assert len(both) == 1


def test_what_is_decided_once_the_twin_is_gone_replaces_what_was_decided_about_the_place() -> None:
    one, two = phone(1, "FT0006"), phone(2, "FT0006")
    (by_place,), (by_serial,) = decided(one, others=(two,)), decided(one, None)
    overrides = Overrides.made_of([by_place]).with_one(by_serial, one)
    assert [*overrides] == [by_serial]
    # The other way round what was decided about the serial number goes on holding for the other one.
    both = overrides.with_one(by_place, one)
    assert (goes(PHONES, one, both), goes(PHONES, two, both)) == (["other"], [])


@pytest.mark.parametrize("name", ["serial:R5C001", "R5C001", "/dev/bus/usb/001/001"])
def test_it_is_found_by_what_its_device_is_called(name: str) -> None:
    overrides = decided(phone())
    assert overrides.named(name) == [*overrides]
    assert overrides.named("") == []


def test_of_one_piece_of_hardware_what_a_rule_takes_is_meant() -> None:
    tty = console()
    cable = tty.usb
    assert cable is not None
    assert meant([cable, tty], [tty]) == [tty]
    assert meant([cable, tty], []) == [cable]
    assert meant([cable, phone()], [cable]) == [cable, phone()]


def test_what_was_decided_by_udevs_form_of_a_serial_number_holds() -> None:
    """As it was kept before serial numbers were the kernel's."""
    device = phone(serial="AB CD")
    then = replace(device, attrs={**device.attrs, "serial": "AB_CD"})
    for others in ((), (phone(2, serial="AB_CD"),)):
        kept = decided(then, others=others)
        assert goes(PHONES, device, kept) == ["other"]
        assert [each.of for each in kept.about(device, None)] == [each.of for each in kept]
        now = kept.with_one(Override(lasting(device)[-1], BOX, "2026-11-28T03:00:00+00:00", ROOT), device)
        assert [each.instance for each in now] == [BOX]


def test_what_udev_has_the_same_serial_number_of_is_not_meant() -> None:
    device, other = phone(serial="AB CD"), phone(2, serial="AB_CD")
    assert goes(PHONES, device, decided(other, others=(device,))) == ["box"]
    assert goes(PHONES, other, decided(device, others=(other,))) == ["box"]


def test_what_udevd_has_not_processed_has_none_by_its_place() -> None:
    """udevd names the place, and then the device would not be found by another name of it."""
    device, twin = replace(phone(), early=True), phone(2, serial="R5C001")
    assert kept_by(device, [device]) is not None
    assert kept_by(device, [device, twin]) is None


def test_it_says_who_decided_what() -> None:
    (out,), (to,) = decided(phone(), None), decided(phone())
    assert told_of(out) == "detached by hand (2026-11-27T18:00:00+00:00, uid 0 (root), logged in as bob)"
    assert told_of(to).startswith("attached to other by hand (")
    assert str(Asker(1000)) == "uid 1000"
