"""What is in the configuration and what was seen inside, against what should be there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.entry import slot_links
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, Devnum, Entry, Inside, Instance, InstanceName, Node
from hotplugd.plan.change import Plan
from hotplugd.plan.planner import plan_instance
from tests.support.devices import ALL, BOX, all_with, box, console, disk, entry, phone, rule, ruleset, wanted

ONE = console(1)
FIRST, SECOND = slot_links(ONE.slot)
RUNNING = Inside(nodes={ONE.node: Node(ONE.devnum, 0o660)}, users={"ci": 1000}, groups={"dialout": 20})


def said(plan: Plan) -> list[str]:
    return [
        f"{each.action} {each.identity if each.action == 'remove' else each.device}" for each in plan.changes
    ]


def plan(
    attach: str, entries: list[Entry], inside: Inside | None = RUNNING, unprocessed: tuple[Device, ...] = ()
) -> Plan:
    rules = all_with(attach) if attach else ALL
    return plan_instance(BOX, box(entries), wanted(rules, ONE), inside, unprocessed)


# What `attach` says, and the keys that the entry has besides.
ADDS: dict[str, tuple[str, dict[str, str]]] = {
    "nothing": ("", {}),
    "a mode": ("mode: '0600'", {"mode": "0600"}),
    "numbers": ("uid: 0, gid: 5", {"uid": "0", "gid": "5"}),
    "names": ("user: ci, group: dialout", {"uid": "1000", "gid": "20"}),
    "a path": ("path: /dev/x", {"path": "/dev/x"}),
}


@pytest.mark.parametrize(("attach", "keys"), ADDS.values(), ids=ADDS)
def test_a_device_that_is_not_attached_is_added(attach: str, keys: dict[str, str]) -> None:
    found = plan(attach, [])
    assert [(each.action, each.entry) for each in found.changes] == [("add", entry(ONE, keys))]
    assert found.attachments == ()
    assert found.problems == ()


def test_a_block_device_is_added_as_such() -> None:
    found = plan_instance(BOX, box(), wanted(ALL, disk()), None)
    assert [each.entry.config["type"] for each in found.changes] == ["unix-block"]


def test_an_entry_never_keeps_the_instance_from_starting() -> None:
    assert [each.entry.config["required"] for each in plan("", []).changes] == ["false"]


# What `attach` says, what the entry has otherwise, and the keys that differ.
UPDATES: dict[str, tuple[str, dict[str, str | None], str]] = {
    "a mode more": ("mode: '0600'", {}, "mode"),
    "a mode less": ("", {"mode": "0600"}, "mode"),
    "another mode": ("mode: '0600'", {"mode": "0660"}, "mode"),
    "another uid": ("uid: 1", {"uid": "2"}, "uid"),
    "another gid": ("gid: 1", {"gid": "2"}, "gid"),
    "another id of a name": ("user: ci", {"uid": "1001"}, "uid"),
    "another path": ("path: /dev/x", {}, "path"),
    "two things": ("path: /dev/x, uid: 1", {}, "path, uid"),
    "required": ("", {"required": "true"}, "required"),
    "a key that somebody put there": ("", {"x": "y"}, "x"),
    "a key that somebody took away": ("", {"type": None}, "type"),
    "another source": ("", {"source": "/dev/ttyUSB9"}, "source"),
    "no source": ("", {"source": None}, "source"),
}


@pytest.mark.parametrize(("attach", "differs", "keys"), UPDATES.values(), ids=UPDATES)
def test_an_entry_that_differs_is_updated(attach: str, differs: dict[str, str | None], keys: str) -> None:
    found = plan(attach, [entry(ONE, differs)])
    assert [(each.action, each.why) for each in found.changes] == [("update", f"its entry differs in {keys}")]
    assert found.changes[0].entry == plan(attach, []).changes[0].entry
    assert found.attachments == ()


# Such a change alone newer servers refuse, and older ones take the device out for it and put it in again.
INFORMAL: dict[str, dict[str, str | None]] = {
    "version 1": {"user.hotplugd.version": "1"},
    "a later version": {"user.hotplugd.version": "3"},
    "no version of ours": {"user.hotplugd.version": ""},
    "links": {"user.hotplugd.links": "/dev/a /dev/b"},
    "member": {"user.hotplugd.member": "elsewhere"},
    "what a later version says": {"user.hotplugd.version": "3", "user.hotplugd.lease": "x"},
    "what a later version tells the server": {"user.hotplugd.version": "3", "ownership.inherit": "true"},
    "a key of somebody's": {"user.note": "mine"},
    "rule": {"user.hotplugd.rule": "older"},
    "device": {"user.hotplugd.device": "serial:other"},
    "since": {"user.hotplugd.since": "2020-01-01"},
    "node": {"user.hotplugd.node": "/dev/other"},
    "none": {"user.hotplugd.rule": None, "user.hotplugd.device": None, "user.hotplugd.node": None},
}


@pytest.mark.parametrize("differs", INFORMAL.values(), ids=INFORMAL)
def test_marks_for_people_alone_change_nothing(differs: dict[str, str | None]) -> None:
    found = plan("", [entry(ONE, differs)])
    assert said(found) == []
    assert [each.verified for each in found.attachments] == [True]


@pytest.mark.parametrize("mark", ["default/old", "lab/box", "a\n"])
@pytest.mark.parametrize(("source", "other"), [(FIRST, SECOND), (SECOND, FIRST)])
def test_what_was_made_for_another_instance_is_put_in_again(mark: str, source: str, other: str) -> None:
    found = plan("", [entry(ONE, {"user.hotplugd.instance": mark, "source": source})])
    assert [(each.action, each.entry) for each in found.changes] == [
        ("update", entry(ONE, {"source": other}))
    ]
    assert found.changes[0].why == f"it was made for {quoted(mark)}, not for this instance"


@pytest.mark.parametrize("running", [True, False])
def test_an_instance_that_was_moved_gets_its_entry_anew_while_it_does_not_run(running: bool) -> None:
    of_one = entry(ONE, {"user.hotplugd.member": "m1"})
    instance = replace(box([of_one], running=running), location="m2")
    found = plan_instance(BOX, instance, wanted(ALL, ONE), RUNNING if running else None)
    (here,) = plan_instance(BOX, replace(instance, entries={}), wanted(ALL, ONE), None).changes
    moved = Entry(here.entry.name, {**here.entry.config, "source": SECOND})
    assert [(each.action, each.entry) for each in found.changes] == ([] if running else [("update", moved)])


# What a rule says, what was seen inside, and why the entry of a later version goes.
LATER: dict[str, tuple[str, Inside, str]] = {
    "another mode": ("mode: '0600'", RUNNING, "its entry differs in mode"),
    "another path": ("path: /dev/x", RUNNING, "its entry differs in path"),
    "its node is lost": ("", replace(RUNNING, nodes={ONE.node: None}), "node /dev/ttyUSB1 is missing inside"),
}


@pytest.mark.parametrize(("attach", "inside", "why"), LATER.values(), ids=LATER)
def test_what_a_later_version_made_is_never_written_anew(attach: str, inside: Inside, why: str) -> None:
    theirs = entry(ONE, {"user.hotplugd.version": "3", "user.hotplugd.lease": "x"})
    found = plan(attach, [theirs], inside)
    assert [(each.action, each.entry) for each in found.changes] == [("remove", theirs)]
    assert found.changes[0].why == f"{why}, and it has to be put in anew"
    assert found.changes[0].frees == ONE.node


@pytest.mark.parametrize("version", ["1", "2", "3", "", "x"])
def test_what_any_version_made_goes_with_its_device(version: str) -> None:
    theirs = entry(ONE, {"user.hotplugd.version": version, "user.hotplugd.lease": "x"})
    found = plan_instance(BOX, box([theirs]), (), None, present=set())
    assert [(each.action, each.entry, each.why) for each in found.changes] == [
        ("remove", theirs, "its device is gone")
    ]


@pytest.mark.parametrize("source", [FIRST, SECOND])
def test_either_link_of_the_slot_is_as_it_should_be(source: str) -> None:
    found = plan("", [entry(ONE, {"source": source})])
    assert said(found) == []
    assert [each.entry.config["source"] for each in found.attachments] == [source]


def test_an_update_keeps_the_link() -> None:
    found = plan("mode: '0600'", [entry(ONE, {"source": SECOND})])
    assert [each.entry.config["source"] for each in found.changes] == [SECOND]


# What is inside at the device's path, and what the reason says of it.
WRONG: dict[str, tuple[Node | None, str]] = {
    "missing": (None, "node /dev/ttyUSB1 is missing inside"),
    "another device": (
        Node(Devnum("char", 188, 9), 0o660),
        "/dev/ttyUSB1 inside is char 188:9, not char 188:1",
    ),
    "a block device of that number": (
        Node(Devnum("block", 188, 1), 0o660),
        "/dev/ttyUSB1 inside is block 188:1, not char 188:1",
    ),
    "no device node": (Node(None, 0o644), "node /dev/ttyUSB1 is missing inside, and another file is there"),
    "sealed": (Node(ONE.devnum, 0, sealed=True), "nobody inside may open node /dev/ttyUSB1"),
}


@pytest.mark.parametrize(("node", "seen"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize(("source", "other"), [(FIRST, SECOND), (SECOND, FIRST)])
def test_a_wrong_node_is_repaired_by_the_other_link(
    node: Node | None, seen: str, source: str, other: str
) -> None:
    found = plan("", [entry(ONE, {"source": source})], replace(RUNNING, nodes={ONE.node: node}))
    assert [(each.action, each.entry) for each in found.changes] == [
        ("repair", entry(ONE, {"source": other}))
    ]
    assert found.changes[0].why == f"{seen}, and it is put in again"
    assert found.attachments == ()


def test_an_update_comes_before_a_repair() -> None:
    assert said(plan("mode: '0600'", [entry(ONE)], replace(RUNNING, nodes={ONE.node: None}))) == [
        "update /dev/ttyUSB1"
    ]


# What was seen inside, and whether that verifies the attachment.
VERIFIED: dict[str, tuple[bool, Inside | None, bool | None]] = {
    "seen": (True, RUNNING, True),
    "nothing seen yet": (True, None, None),
    "not looked there yet": (True, Inside(), False),
    "cannot be seen": (True, replace(RUNNING, error="hangs"), False),
    "stopped": (False, None, None),
    "stopped since it was seen": (False, RUNNING, None),
    "stopped since it was seen missing": (False, replace(RUNNING, nodes={ONE.node: None}), None),
}


@pytest.mark.parametrize(("running", "inside", "verified"), VERIFIED.values(), ids=VERIFIED)
def test_an_attachment_is_verified_by_what_is_seen(
    running: bool, inside: Inside | None, verified: bool | None
) -> None:
    found = plan_instance(BOX, box([entry(ONE)], running=running), wanted(ALL, ONE), inside)
    assert (said(found), found.problems) == ([], ())
    assert [each.verified for each in found.attachments] == [verified]


def test_another_mode_inside_is_a_problem_and_no_repair() -> None:
    found = plan("mode: '0600'", [entry(ONE, {"mode": "0600"})])
    assert said(found) == []
    assert [each.verified for each in found.attachments] == [False]
    assert [each.message for each in found.problems] == [
        "/dev/ttyUSB1 in box has mode 0660, the rule says 0600: something inside changed it"
    ]


def test_a_mode_that_no_rule_asks_for_is_no_problem() -> None:
    assert plan("", [entry(ONE)], replace(RUNNING, nodes={ONE.node: Node(ONE.devnum, 0)})).problems == ()


def test_an_entry_whose_device_should_not_be_here_is_removed() -> None:
    gone = entry(phone(1), rule="phones")
    found = plan("", [entry(ONE), gone])
    assert [(each.action, each.entry, each.rule, each.why) for each in found.changes] == [
        ("remove", gone, "phones", "its device is gone")
    ]
    assert [each.want.device for each in found.attachments] == [ONE]


def test_a_device_that_was_enumerated_again_has_a_new_entry() -> None:
    again = console(1, born=2)
    found = plan_instance(BOX, box([entry(ONE)]), wanted(ALL, again), RUNNING)
    assert [(each.action, each.entry.name) for each in found.changes] == [
        ("add", entry(again).name),
        ("remove", entry(ONE).name),
    ]


def test_an_entry_that_was_copied_with_another_instance_is_removed() -> None:
    found = plan_instance(BOX, box([entry(ONE, instance=InstanceName("lab", "o\x1b"))]), [], None)
    assert [each.why for each in found.changes] == ["it was made for lab/o\\x1b, not for this instance"]


def test_an_entry_that_no_rule_wants_any_more_goes_for_that_reason() -> None:
    found = plan_instance(BOX, box([entry(ONE)]), [], RUNNING, (), {ONE.slot})
    assert [each.why for each in found.changes] == ["no rule puts its device here any more"]


def test_an_entry_without_marks_for_people_is_removed_too() -> None:
    bare = entry(ONE, INFORMAL["none"])
    found = plan_instance(BOX, box([bare]), [], None)
    assert [(each.device, each.rule) for each in found.changes] == [(ONE.slot, "")]


def test_where_rules_say_another_project_the_entry_goes() -> None:
    rules = all_with("project: lab")
    there = InstanceName("lab", "box")
    wants = wanted(rules, ONE)
    assert said(plan_instance(BOX, box([entry(ONE)]), [], RUNNING)) == ["remove serial:A5001"]
    found = plan_instance(there, replace(box(), id=there), wants, None)
    assert [each.entry for each in found.changes] == [entry(ONE, instance=there)]


SAME_NUMBER = console(1, born=2)
UNSETTLED = {
    "the same enumeration": (ONE, []),
    "another of that number": (SAME_NUMBER, []),
    "another number that begins alike": (console(11), ["remove serial:A5001"]),
    "a block device of that number": (
        replace(ONE, devnum=Devnum("block", 188, 1)),
        ["remove serial:A5001"],
    ),
    "no node": (replace(ONE, devnum=None, slot=""), ["remove serial:A5001"]),
}


@pytest.mark.parametrize(("device", "expected"), UNSETTLED.values(), ids=UNSETTLED)
def test_entries_of_devices_that_udevd_has_not_processed_stay(device: Device, expected: list[str]) -> None:
    assert said(plan_instance(BOX, box([entry(ONE)]), [], RUNNING, [device])) == expected


def test_what_udevd_has_not_processed_is_not_added() -> None:
    assert said(plan_instance(BOX, box(), [], RUNNING, [ONE])) == []


NO_PLACE: dict[str, tuple[Instance | None, list[str]]] = {
    "none of that name": (None, ["there is no instance 'box' in project 'default'"]),
    "on another member": (
        replace(box([entry(phone(9))]), here=False, location="m2"),
        ["box is on the cluster member m2, and the device is here"],
    ),
}


@pytest.mark.parametrize(("instance", "messages"), NO_PLACE.values(), ids=NO_PLACE)
def test_an_instance_that_is_not_here_is_left_alone(instance: Instance | None, messages: list[str]) -> None:
    found = plan_instance(BOX, instance, wanted(ALL, ONE), None)
    assert (found.changes, found.attachments) == ((), ())
    assert [each.message for each in found.problems] == messages


def test_the_problem_names_the_project() -> None:
    found = plan_instance(InstanceName("lab", "box"), None, wanted(all_with("project: lab"), ONE), None)
    assert [each.message for each in found.problems] == ["there is no instance 'box' in project 'lab'"]


def test_nodes_do_not_go_into_a_virtual_machine() -> None:
    machine = replace(box([entry(phone(1))]), kind="virtual-machine")
    found = plan_instance(BOX, machine, wanted(ALL, ONE), None)
    assert said(found) == ["remove serial:R5C001"]
    assert [each.message for each in found.problems] == [
        (
            "box is a virtual machine, and of device nodes only those of USB devices can go into one; "
            "give it the USB or PCI device that this one belongs to"
        )
    ]


def test_two_instances_of_one_rule_have_entries_of_their_own() -> None:
    rules = ruleset(rule("{subsystem: '*'}", "{to: [box, other]}"))
    mine, theirs = wanted(rules, ONE)
    other = InstanceName("default", "other")
    assert [each.entry for each in plan_instance(BOX, box(), [mine], None).changes] == [entry(ONE)]
    assert [each.entry for each in plan_instance(other, box(name="other"), [theirs], None).changes] == [
        entry(ONE, instance=other)
    ]
