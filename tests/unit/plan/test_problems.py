"""What a plan says of what cannot be: of which device, by which rule, and in which words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.entry import MARK_INSTANCE, MARK_MEMBER, MARK_NODE, MARK_RULE, name_for, slot_links
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, Entry, Inside, Instance, Node
from hotplugd.plan.change import Change, Plan
from hotplugd.plan.desired import wants
from hotplugd.plan.planner import plan_instance
from tests.support.devices import (
    ALL,
    BOX,
    all_with,
    box,
    console,
    disk,
    entry,
    gpu,
    interface,
    pci,
    phone,
    rule,
    ruleset,
    wanted,
)

ONE = console(1)
NIC = interface()
(WANT,) = wants(ALL, ONE).wants


def nic_entry(instance: Instance, **more: str) -> Entry:
    (change,) = plan_instance(instance.id, instance, wants(ALL, NIC).wants, None).changes
    return Entry(change.entry.name, {**change.entry.config, **more})


def planned(
    instance: Instance | None, *devices: Device, attach: str = "", inside: Inside | None = None
) -> Plan:
    rules = all_with(attach) if attach else ALL
    found = [want for device in devices for want in wants(rules, device).wants]
    return plan_instance(BOX, instance, found, inside)


def test_no_instance_is_said_of_each_device() -> None:
    message = "there is no instance 'box' in project 'default'"
    assert planned(None, ONE, disk()) == Plan(
        problems=(Problem("/dev/ttyUSB1", "r", message), Problem("/dev/zram0", "r", message))
    )


def test_an_instance_on_another_member_is_nobodys_concern() -> None:
    message = "box is on the cluster member two, and the device is here"
    assert planned(replace(box(), here=False, location="two"), ONE) == Plan(
        problems=(Problem("/dev/ttyUSB1", "r", message, guard=True),)
    )


def test_a_path_of_others_is_said_and_ours_that_is_there_already_stays() -> None:
    theirs = Entry("a", {"type": "unix-char", "path": ONE.node})
    message = "/dev/ttyUSB1 in box belongs to its entry 'a', which is not ours"
    ours = entry(ONE)
    found = planned(box([theirs, ours]), ONE, inside=Inside({ONE.node: Node(ONE.devnum, 0o660)}))
    assert found.problems == (Problem("/dev/ttyUSB1", "r", message),)
    assert [(each.want, each.entry, each.verified) for each in found.attachments] == [(WANT, ours, True)]
    unseen = planned(box([theirs, ours]), ONE)
    assert [(each.entry, each.verified) for each in unseen.attachments] == [(ours, False)]


def test_a_serial_that_comes_twice_names_the_first() -> None:
    rules = ruleset(rule("{serial: R5C1}", "{to: box}"))
    found = [
        want for each in (phone(1, "R5C1"), phone(2, "R5C1", born=2)) for want in wants(rules, each).wants
    ]
    assert plan_instance(BOX, box(), found, None).problems == (
        Problem(
            "/dev/bus/usb/001/002",
            "r",
            "two devices have the serial 'R5C1': /dev/bus/usb/001/001 at path pci-0000:00:14.0-usb-0:1-1 is "
            "in box already, and this one is at path pci-0000:00:14.0-usb-0:1-2; tell them apart with "
            "`path`, in a rule for each",
        ),
    )


def test_a_path_that_two_devices_want_names_the_first_and_its_rule() -> None:
    found = planned(box(), ONE, console(2, born=2), attach="path: /dev/x")
    assert found.problems == (
        Problem(
            "/dev/ttyUSB2", "r", "/dev/x in box is taken by /dev/ttyUSB1 (rule 'r', serial 'A5001', port 2-1)"
        ),
    )


@pytest.mark.parametrize(
    ("entries", "holder"),
    [
        ([], "/dev/ttyUSB1 (rule 'r', serial 'A5001', port 2-1)"),
        ([Entry("a", {"type": "unix-char", "path": "/dev/l"})], "a"),
    ],
)
def test_a_link_where_something_else_is_names_that(entries: list[Entry], holder: str) -> None:
    rules = ruleset(
        rule("{kernel: ttyUSB1, subsystem: tty}", "{to: box, path: /dev/l}", "r"),
        rule("{subsystem: tty}", "{to: box, link: [/dev/k, /dev/l]}", "s"),
    )
    devices = [console(2)] if entries else [ONE, console(2, born=2)]
    found = plan_instance(
        BOX, box(entries), [want for each in devices for want in wants(rules, each).wants], None
    )
    message = f"the link /dev/l in box is where {holder} is"
    assert found.problems == (Problem("/dev/ttyUSB2", "s", message),)


def test_a_link_that_two_devices_want_names_where_it_leads() -> None:
    rules = ruleset(rule("{subsystem: tty}", "{to: box, link: /dev/l}"))
    found = [want for each in (ONE, console(2, born=2)) for want in wants(rules, each).wants]
    message = "the link /dev/l in box already leads to /dev/ttyUSB1 (rule 'r', serial 'A5001', port 2-1)"
    assert plan_instance(BOX, box(), found, None).problems == (Problem("/dev/ttyUSB2", "r", message),)


def test_a_link_that_two_of_one_serial_want_says_that() -> None:
    twins = [phone(1, "FT0006"), phone(2, "FT0006")]
    rules = ruleset(rule("{port: '1-*'}", "{to: box, link: '/dev/by-{serial}'}"))
    found = plan_instance(BOX, box(), wanted(rules, *twins), None)
    (problem,) = found.problems
    assert problem.message == (
        "the link /dev/by-FT0006 in box already leads to /dev/bus/usb/001/001 (rule 'r', serial 'FT0006', "
        "port 1-1); two devices have the serial 'FT0006'"
    )


def test_an_entry_of_our_name_that_is_not_ours_is_to_be_removed_by_hand() -> None:
    name = entry(ONE).name
    message = f"box has an entry '{name}' that is not ours (it lacks our marks); remove it by hand"
    assert planned(box([Entry(name, {"type": "none"})]), ONE).problems == (
        Problem("/dev/ttyUSB1", "r", message),
    )


def test_an_interface_whose_hardware_went_names_the_way_out_and_holds_its_name() -> None:
    ours = nic_entry(box())
    gone = Problem(
        "enp1s0",
        "r",
        "its hardware went while it was in box, and the server can take its entry out only once it is back "
        "as enp1s0, or while box is stopped: plug it in again, or stop box until the entry is gone",
    )
    assert plan_instance(BOX, box([ours]), [], None, (), set()) == Plan(problems=(gone,))
    other = replace(interface(2), kernel="enp1s0", syspath=f"{pci(2).syspath}/net/enp1s0")
    found = plan_instance(BOX, box([ours]), wants(ALL, other).wants, None, (), {other.slot})
    taken = f"enp1s0 in box is taken by the entry '{ours.name}' of an interface that is gone"
    assert found == Plan(problems=(gone, Problem("enp1s0", "r", taken)))


# What else is so, and whether the entry of an interface whose hardware went is left alone.
BURIED: dict[str, tuple[Instance, bool]] = {
    "it runs": (box([nic_entry(box())]), True),
    "it is stopped": (box([nic_entry(box())], running=False), False),
    "it was made for another": (box([nic_entry(box(), **{MARK_INSTANCE: "lab/box"})]), False),
    "it was made on another member": (replace(box([nic_entry(box())]), location="two"), False),
    "it was made on this member": (
        replace(box([nic_entry(box(), **{MARK_MEMBER: "two"})]), location="two"),
        True,
    ),
}


@pytest.mark.parametrize(("instance", "stays"), BURIED.values(), ids=BURIED)
def test_what_the_server_cannot_take_out_is_left(instance: Instance, stays: bool) -> None:
    found = plan_instance(BOX, instance, [], None, (), set())
    assert ([each.action for each in found.changes], len(found.problems)) == (
        ([], 1) if stays else (["remove"], 0)
    )


def nic_entry_of(device: Device, **more: str) -> Entry:
    (change,) = plan_instance(BOX, box(), wants(ALL, device).wants, None).changes
    return Entry(change.entry.name, {**change.entry.config, **more})


def test_one_that_cannot_be_taken_out_does_not_hide_the_next() -> None:
    nic, tty = nic_entry(box()), entry(ONE)
    for entries in ([tty, nic], [nic, tty]):
        found = plan_instance(BOX, box(entries), [], None, (), set())
        assert [(each.action, each.entry) for each in found.changes] == [("remove", tty)]
        assert len(found.problems) == 1
    again = interface(1, born=2)
    # What is before it lives, was made for another instance or member, is plugged in again, or is dead too.
    for first, living, problems in (
        (nic_entry_of(interface(2)), {interface(2).slot}, 1),
        (nic_entry_of(interface(2), **{MARK_INSTANCE: "lab/box"}), set(), 1),
        (nic_entry_of(interface(2), **{MARK_MEMBER: "two"}), set(), 1),
        (nic_entry_of(interface(2)), set(), 2),
    ):
        assert len(plan_instance(BOX, box([first, nic]), [], None, (), living).problems) == problems
    dead = nic_entry_of(interface(2))
    found = plan_instance(BOX, box([nic, dead]), wants(ALL, again).wants, None, (), {again.slot})
    assert [(each.action, each.entry.name) for each in found.changes] == [
        ("add", name_for(again.slot)),
        ("remove", nic.name),
    ]
    assert [each.device for each in found.problems] == ["enp2s0"]


def test_one_whose_entry_lost_its_parent_and_marks_is_said_all_the_same() -> None:
    lost = ("parent", MARK_NODE, MARK_RULE)
    bare = {key: value for key, value in nic_entry(box()).config.items() if key not in lost}
    found = plan_instance(BOX, box([Entry(nic_entry(box()).name, bare)]), [], None, (), set())
    (problem,) = found.problems
    assert (problem.device, problem.rule) == ("", "")
    assert "only once it is back as , or while box is stopped" in problem.message


# What the entry's marks say, where the instance is, which slots there are, and why the entry goes.
REASONS: dict[str, tuple[dict[str, str | None], str, set[str], str]] = {
    "no device": ({}, "", set(), "its device is gone"),
    "no rule": ({}, "", {ONE.slot}, "no rule puts its device here any more"),
    "another instance": (
        {"user.hotplugd.instance": "lab/x\x1b"},
        "",
        set(),
        "it was made for lab/x\\x1b, not for this instance",
    ),
    "another member": ({MARK_MEMBER: "a\n"}, "two", set(), "its device is on the cluster member a\\x0a"),
    "no member": ({}, "two", set(), "its device is on the cluster member of another time"),
}


@pytest.mark.parametrize(("marks", "location", "present", "why"), REASONS.values(), ids=REASONS)
def test_an_entry_goes_for_a_reason(
    marks: dict[str, str | None], location: str, present: set[str], why: str
) -> None:
    ours = entry(ONE, marks)
    found = plan_instance(BOX, replace(box([ours]), location=location), [], None, (), present)
    assert found == Plan((Change("remove", BOX, ours, "/dev/ttyUSB1", "r", why, None, "/dev/ttyUSB1"),))


def test_what_goes_without_marks_for_people_is_called_by_its_slot() -> None:
    ours = entry(ONE, {"user.hotplugd.node": None, "user.hotplugd.rule": None, "user.hotplugd.device": None})
    (change,) = plan_instance(BOX, box([ours]), [], None).changes
    assert (change.device, change.rule, change.identity) == (ONE.slot, "", "")


def test_an_update_of_a_path_says_which_place_is_free_then() -> None:
    seen = Inside({"/dev/x": Node(ONE.devnum, 0o660)})
    ours = entry(ONE, {"x\x1b": "y"})
    (change,) = planned(box([ours]), ONE, attach="path: /dev/x", inside=seen).changes
    assert (change.action, change.why, change.frees) == (
        "update",
        "its entry differs in path, x\\x1b",
        "/dev/ttyUSB1",
    )
    (change,) = planned(box([ours]), ONE, inside=seen).changes
    assert (change.action, change.frees) == ("update", "")


def test_another_mode_inside_names_both() -> None:
    seen = Inside({ONE.node: Node(ONE.devnum, 0o7)})
    assert planned(box([entry(ONE, {"mode": "0660"})]), ONE, attach="mode: '0660'", inside=seen).problems == (
        Problem(
            "/dev/ttyUSB1",
            "r",
            "/dev/ttyUSB1 in box has mode 0007, the rule says 0660: something inside changed it",
        ),
    )


def test_an_interface_that_is_nowhere_is_said_in_full() -> None:
    away = replace(NIC, away=True)
    found = planned(box([nic_entry(box())]), away, inside=Inside(interfaces=frozenset({"lo"})))
    assert found.problems == (
        Problem(
            "enp1s0",
            "r",
            "there is no interface enp1s0 in box, and it is not on the host: it was renamed inside, or its "
            "hardware is gone; stopping the instance brings back what there is",
        ),
    )


def test_a_change_says_what_where_by_which_rule_and_why() -> None:
    added = Change("add", BOX, entry(ONE), "/dev/ttyUSB1", "r", "it is not attached", WANT)
    assert planned(box(), ONE).changes == (added,)
    why = "node /dev/ttyUSB1 is missing inside, and it is put in again"
    again = entry(ONE, {"source": slot_links(ONE.slot)[1]})
    repaired = Change("repair", BOX, again, "/dev/ttyUSB1", "r", why, WANT)
    assert planned(box([entry(ONE)]), ONE, inside=Inside({ONE.node: None})).changes == (repaired,)
    assert repaired.identity == added.identity == "serial:A5001"


def test_what_has_no_place_inside_takes_none_from_the_next() -> None:
    machine = replace(box(running=False), kind="virtual-machine")
    found = planned(machine, pci(1), pci(2))
    assert ([each.action for each in found.changes], found.problems) == (["add", "add"], ())


def test_what_is_in_a_machine_already_is_in_nobodys_way_though_it_could_not_be_added_now() -> None:
    card = gpu()[0]
    stopped = replace(box(running=False), kind="virtual-machine")
    (change,) = planned(stopped, card).changes
    running = replace(stopped, running=True, entries={change.entry.name: change.entry})
    assert planned(running, card).problems == ()
    assert len(planned(replace(running, entries={}), card).problems) == 1


def test_serials_are_told_apart_whatever_hangs_from_the_device() -> None:
    rules = ruleset(rule("{subsystem: '*', serial: 'R5*'}", "{to: box}"))

    def problems(*plugged: Device) -> int:
        found = [want for each in plugged for want in wants(rules, each).wants]
        return len(plan_instance(BOX, box(), found, None).problems)

    cable = console(1, "R5A")
    second = replace(console(2, "R5A"), parent=cable.parent)
    disks = [replace(disk(number), properties={"ID_SERIAL_SHORT": "R5D"}) for number in (1, 2)]
    assert problems(phone(1, "R5A"), phone(2, "R5B")) == 0
    assert problems(phone(1, "R5A"), phone(2, "R5A")) == 1
    assert problems(cable, second) == 0
    assert problems(*disks) == 1
