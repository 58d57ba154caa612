"""Others' entries, two devices that want one thing, and users and groups that have no number yet."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from hotplugd.model.entry import name_for, slot_links
from hotplugd.model.values import Device, Devnum, Entry, Inside, Node
from hotplugd.plan.change import Plan
from hotplugd.plan.kinds.kind import Want
from hotplugd.plan.planner import plan_instance
from tests.support.devices import (
    ALL,
    BOX,
    all_with,
    box,
    console,
    disk,
    entry,
    interface,
    phone,
    plugged,
    rule,
    ruleset,
    wanted,
)
from tests.unit import devices

ONE = console(1)
NAME = name_for(ONE.slot)


def said(plan: Plan) -> list[str]:
    return [
        f"{each.action} {each.identity if each.action == 'remove' else each.device}" for each in plan.changes
    ]


def told(plan: Plan) -> list[str]:
    return [f"{each.device}: {each.message}" for each in plan.problems]


def node(name: str = "theirs", **config: str) -> Entry:
    return Entry(name, {"type": "unix-char", **config})


AT_THE_PATH = {
    "by path": node(path="/dev/ttyUSB1", source="/dev/ttyS0"),
    "by source": node(source="/dev/ttyUSB1"),
    "by path without a slash": node(path="dev/ttyUSB1"),
    "a block device": Entry("theirs", {"type": "unix-block", "path": "/dev/ttyUSB1"}),
    "an emulated TPM": Entry("theirs", {"type": "tpm", "path": "/dev/ttyUSB1", "pathrm": "/dev/x"}),
    "its resource manager": Entry("theirs", {"type": "tpm", "path": "/dev/x", "pathrm": "dev/ttyUSB1"}),
    "one that is attached": node(path="/dev/ttyUSB1", attached="True"),
    "named like ours": node("hp-0123456789abcdef", path="/dev/ttyUSB1"),
    "marked like ours": Entry("theirs", entry(ONE).config),
}


@pytest.mark.parametrize("theirs", AT_THE_PATH.values(), ids=AT_THE_PATH)
@pytest.mark.parametrize("inherited", [False, True], ids=["own", "of a profile"])
def test_a_path_that_belongs_to_others_is_theirs(theirs: Entry, inherited: bool) -> None:
    found = plan_instance(BOX, box([], [theirs]) if inherited else box([theirs]), wanted(ALL, ONE), None)
    assert said(found) == []
    assert told(found) == [
        f"/dev/ttyUSB1: /dev/ttyUSB1 in box belongs to its entry '{theirs.name}', which is not ours"
    ]


ELSEWHERE = {
    "another path": node(path="/dev/ttyUSB11", source="/dev/ttyUSB1"),
    "another source": node(source="/dev/ttyUSB11"),
    "no node at all": Entry("theirs", {"type": "disk", "source": "/dev/ttyUSB1", "path": "/dev/ttyUSB1"}),
    "no path": Entry("theirs", {"type": "unix-hotplug", "vendorid": "0403"}),
    "masked": Entry("theirs", {"type": "none"}),
    "not attached": node(path="/dev/ttyUSB1", attached="false"),
}


@pytest.mark.parametrize("theirs", ELSEWHERE.values(), ids=ELSEWHERE)
def test_other_entries_are_in_nobodys_way(theirs: Entry) -> None:
    found = plan_instance(BOX, box([theirs]), wanted(ALL, ONE), None)
    assert (said(found), told(found)) == (["add /dev/ttyUSB1"], [])


INTERFACES: dict[str, tuple[Entry, bool]] = {
    "a nic": (Entry("theirs", {"type": "nic", "nictype": "p2p", "name": "enp1s0"}), True),
    "infiniband": (
        Entry("theirs", {"type": "infiniband", "nictype": "sriov", "parent": "ib0", "name": "enp1s0"}),
        True,
    ),
    "a nic of another name": (Entry("theirs", {"type": "nic", "name": "enp1s01"}), False),
    "a nic without a name": (Entry("theirs", {"type": "nic", "nictype": "p2p"}), False),
    "a nic that is not attached": (
        Entry("theirs", {"type": "nic", "nictype": "p2p", "name": "enp1s0", "attached": "false"}),
        False,
    ),
}


@pytest.mark.parametrize(("theirs", "is_theirs"), INTERFACES.values(), ids=INTERFACES)
def test_a_name_belongs_to_who_has_it(theirs: Entry, is_theirs: bool) -> None:
    found = plan_instance(BOX, box([theirs]), wanted(ALL, interface()), None)
    assert said(found) == ([] if is_theirs else ["add enp1s0"])
    assert bool(told(found)) is is_theirs


FOREIGN = {
    "without marks": entry(ONE, {"user.hotplugd.version": None, "user.hotplugd.instance": None}),
    "without a version": entry(ONE, {"user.hotplugd.version": None}),
    "without an instance": entry(ONE, {"user.hotplugd.instance": None}),
    "of another type": Entry(NAME, {"type": "disk"}),
}


@pytest.mark.parametrize("theirs", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("wants", [wanted(ALL, ONE), []], ids=["wanted", "not wanted"])
def test_an_entry_of_our_name_without_our_marks_is_not_ours(theirs: Entry, wants: list[Want]) -> None:
    found = plan_instance(BOX, box([theirs]), wants, None)
    assert said(found) == []
    assert len(found.problems) == len(wants)
    assert all(f"entry '{NAME}'" in message and "not ours" in message for message in told(found))


def test_a_profile_that_has_an_entry_of_our_name_is_not_overruled() -> None:
    theirs = entry(ONE, {"path": "/dev/elsewhere"})
    found = plan_instance(BOX, box([], [theirs]), wanted(ALL, ONE), None)
    assert said(found) == []
    assert f"entry '{NAME}'" in told(found)[0]
    assert "not ours" in told(found)[0]


@pytest.mark.parametrize("name", ["hp-0123456789ABCDEF", "hp-0123", "hp-0123456789abcdef0", "eth0"])
def test_an_entry_of_another_name_is_not_ours_whatever_its_marks(name: str) -> None:
    assert said(plan_instance(BOX, box([Entry(name, entry(ONE).config)]), [], None)) == []


def test_whatever_others_call_their_entry_can_be_shown() -> None:
    found = plan_instance(BOX, box([node("\x1b[2J\n", path="/dev/ttyUSB1")]), wanted(ALL, ONE), None)
    assert "entry '\\x1b[2J\\x0a'" in told(found)[0]


SEEN = Inside(nodes={ONE.node: Node(ONE.devnum, 0o660)})
UNSEEN = Inside(nodes={ONE.node: None})
OTHERS = Inside(nodes={ONE.node: Node(Devnum("char", 4, 64), 0o660)})
# Whether the instance runs, what is seen at the path, and whether ours stays.
AT_ONE_PATH: dict[str, tuple[bool, Inside | None, bool]] = {
    "ours is seen": (True, SEEN, True),
    "nobody looked": (True, None, True),
    "nothing is there": (True, UNSEEN, False),
    "theirs is seen": (True, OTHERS, False),
    "stopped": (False, None, False),
}


@pytest.mark.parametrize(("running", "inside", "stays"), AT_ONE_PATH.values(), ids=AT_ONE_PATH)
def test_ours_makes_way_for_what_somebody_put_at_its_path_unless_its_node_is_there(
    running: bool, inside: Inside | None, stays: bool
) -> None:
    there = box([entry(ONE), node(path="/dev/ttyUSB1")], running=running)
    found = plan_instance(BOX, there, wanted(ALL, ONE), inside)
    assert said(found) == ([] if stays else ["remove serial:A5001"])
    assert "belongs to its entry 'theirs'" in told(found)[0]
    assert [each.verified for each in found.attachments] == ([inside is SEEN] if stays else [])


def test_ours_is_not_left_elsewhere_for_a_path_that_belongs_to_others() -> None:
    there = box([entry(ONE, {"path": "/dev/elsewhere"}), node(path="/dev/ttyUSB1")])
    assert said(plan_instance(BOX, there, wanted(ALL, ONE), None)) == ["remove serial:A5001"]


SAME_PATH = all_with("path: /dev/ttyX")


def at_x(device: Device) -> Entry:
    return entry(device, {"path": "/dev/ttyX"})


# Which of three devices is attached to their one path, and which has it then.
HOLDERS: dict[str, tuple[list[Entry], list[str], str]] = {
    "nobody": ([], ["add /dev/ttyUSB1"], "/dev/ttyUSB1"),
    "the first": ([at_x(console(1))], [], "/dev/ttyUSB1"),
    "the second": ([at_x(console(2))], [], "/dev/ttyUSB2"),
    "the last": ([at_x(console(3))], [], "/dev/ttyUSB3"),
    "two of them": (
        [at_x(console(3)), at_x(console(2))],
        ["remove serial:A5003"],
        "/dev/ttyUSB2",
    ),
}


@pytest.mark.parametrize(("there", "changes", "holder"), HOLDERS.values(), ids=HOLDERS)
def test_of_two_devices_at_one_path_the_attached_stays(
    there: list[Entry], changes: list[str], holder: str
) -> None:
    found = plan_instance(BOX, box(there), wanted(SAME_PATH, console(1), console(2), console(3)), None)
    assert said(found) == changes
    assert sorted(told(found)) == [
        f"{other}: /dev/ttyX in box is taken by {holder} "
        f"(rule 'r', serial 'A500{holder[-1]}', port 2-{holder[-1]})"
        for other in ("/dev/ttyUSB1", "/dev/ttyUSB2", "/dev/ttyUSB3")
        if other != holder
    ]


@pytest.mark.parametrize("attached", [True, False])
def test_of_two_devices_at_one_path_the_older_stays(attached: bool) -> None:
    old, new = console(2, born=9), console(1, born=10)
    there = [at_x(new), at_x(old)] if attached else []
    found = plan_instance(BOX, box(there), wanted(SAME_PATH, new, old), None)
    assert said(found) == (["remove serial:A5001"] if attached else ["add /dev/ttyUSB2"])
    assert [each.device for each in found.problems] == ["/dev/ttyUSB1"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_in_which_devices_are_told_does_not_matter(order: tuple[int, ...]) -> None:
    wants = wanted(SAME_PATH, console(1), console(2), console(3))
    expected = plan_instance(BOX, box([at_x(console(2))]), wants, None)
    assert plan_instance(BOX, box([at_x(console(2))]), [wants[each] for each in order], None) == expected


def test_a_path_is_free_for_the_next_device_in_the_same_plan() -> None:
    found = plan_instance(BOX, box([at_x(console(1))]), wanted(SAME_PATH, console(2)), None)
    assert said(found) == ["add /dev/ttyUSB2", "remove serial:A5001"]


def test_an_entry_kept_for_an_unprocessed_device_keeps_its_path() -> None:
    found = plan_instance(BOX, box([at_x(ONE)]), wanted(SAME_PATH, console(2)), None, [ONE])
    assert said(found) == []
    assert [each.device for each in found.problems] == ["/dev/ttyUSB2"]


def test_an_entry_whose_source_was_edited_to_be_an_unprocessed_devices_is_its_own_devices() -> None:
    rules = ruleset(
        rule("{port: 1-1}", "{to: box}"), rule("{subsystem: tty}", "{to: box, path: /dev/x}", "x")
    )
    edited = entry(phone(1), {"source": slot_links(ONE.slot)[0], "path": "/dev/x"})
    found = plan_instance(BOX, box([edited]), wanted(rules, phone(1), console(2)), None, [ONE])
    assert said(found) == ["update /dev/bus/usb/001/001", "add /dev/ttyUSB2"]


def test_an_entry_kept_for_want_of_a_user_keeps_the_path_that_it_has() -> None:
    rules = ruleset(
        rule("{subsystem: tty, port: 2-1}", "{to: box, path: /dev/new, user: nobody}", "a"),
        rule("{subsystem: tty}", "{to: box, path: /dev/old}", "b"),
    )
    there = entry(console(1), {"path": "/dev/old", "uid": "7"})
    inside = Inside(users={"nobody": None})
    found = plan_instance(BOX, box([there]), wanted(rules, console(1), console(2)), inside)
    assert said(found) == []
    assert [each.rule for each in found.problems] == ["a", "b"]


SERIAL = {
    "a match of the serial": (rule("{serial: 'R*'}", "{to: box}"), True),
    "a template of it": (rule("{vendor_id: 18d1}", "{to: [box, 'ci-{serial}']}"), True),
    "a template of udev's word for it": (
        rule("{vendor_id: 18d1}", "{to: [box, 'ci-{property.ID_SERIAL_SHORT}']}"),
        True,
    ),
    "a template of the place as well": (
        rule("{serial: 'R*'}", "{to: box, link: '/dev/x/{property.ID_PATH}'}"),
        False,
    ),
    "udev's word for it": (rule("{property: {ID_SERIAL_SHORT: RX}}", "{to: box}"), True),
    "udev's word for it and more": (rule("{property: {ID_SERIAL: '*_RX'}}", "{to: box}"), True),
    "what the kernel has of it": (rule("{attr: {serial: RX}}", "{to: box}"), True),
    "a link by it": (rule("{property: {DEVLINKS: '*/by-id/usb-*'}}", "{to: box}"), True),
    "one of several words": (rule("{any: [{serial: RX}, {attr: {serial: RX}}]}", "{to: box}"), True),
    "it, or a port": (rule("{any: [{serial: RX}, {port: 1-7}]}", "{to: box}"), True),
    "it, or just this path": (rule("{any: [{serial: RX}, {path: 'pci-*-usb-0:*'}]}", "{to: box}"), False),
    "no word of it": (rule("{vendor_id: 18d1}", "{to: box}"), False),
    "the path as well": (rule("{serial: 'R*', property: {ID_PATH: 'pci*'}}", "{to: box}"), False),
    "the port's name as well": (rule("{serial: 'R*', kernel: '1-*'}", "{to: box}"), False),
    "any port as well": (rule("{serial: 'R*', port: '*'}", "{to: box}"), True),
    "the port as well": (rule("{serial: 'R*', port: '1-*'}", "{to: box}"), False),
    "only what it is not": (rule("{not: {serial: X}}", "{to: box}"), False),
}


def twin(number: int) -> Device:
    """One of the phones with one serial number, with all that says it."""
    made = phone(number, "RX")
    more = {"ID_SERIAL": "Google_Pixel_RX", "DEVLINKS": "/dev/x/by-id/usb-Google_Pixel_RX"}
    return replace(made, properties={**made.properties, **more})


def place(device: Device) -> str:
    """udev's ID_PATH."""
    return device.properties["ID_PATH"]


@pytest.mark.parametrize(("written", "relies"), SERIAL.values(), ids=SERIAL)
@pytest.mark.parametrize("there", [[], [twin(2)]], ids=["none attached", "the second attached"])
def test_one_serial_comes_once_where_a_rule_relies_on_it(
    written: str, relies: bool, there: list[Device]
) -> None:
    both = [twin(1), twin(2)]
    wants = [each for each in wanted(ruleset(written), *both) if each.instance == BOX]
    found = plan_instance(BOX, box(map(entry, there)), wants, None)
    stays = there[0] if there else both[0]
    comes = next(each for each in both if each != stays)
    if relies:
        assert said(found) == ([] if there else [f"add {stays}"])
        assert [each.device for each in found.problems] == [str(comes)]
        assert found.problems[0].message == (
            f"two devices have the serial 'RX': {stays} at path {place(stays)} is in box already, and this "
            f"one is at path {place(comes)}; tell them apart with `path`, in a rule for each"
        )
    else:
        assert said(found) == [f"add {each}" for each in both if each not in there]
        assert told(found) == []


def test_two_at_one_path_at_two_speeds_are_told_apart_by_the_revision() -> None:
    def root(bus: int, product: str) -> Device:
        attrs = {"idProduct": product}
        return Device(f"/sys/devices/pci/usb{bus}", "usb", f"usb{bus}", "usb_device", attrs=attrs)

    path = {"ID_PATH": "pci-0000:00:14.0-usb-0:2", "ID_SERIAL_SHORT": "RX"}
    slow, fast = (
        replace(phone(bus, "RX"), kernel=f"{bus}-2", properties=path, parent=root(bus, f"000{bus + 1}"))
        for bus in (1, 2)
    )
    rules = ruleset(rule("{serial: RX}", "{to: box}"))
    (message,) = told(plan_instance(BOX, box(), wanted(rules, slow, fast), None))
    assert "at path pci-0000:00:14.0-usbv2-0:2 is in box already" in message
    assert "this one is at path pci-0000:00:14.0-usbv3-0:2; tell them apart with `path`" in message


def test_two_partitions_of_one_disk_are_no_twins() -> None:
    whole = replace(disk(), properties={"ID_SERIAL_SHORT": "S1"})
    parts = [
        replace(disk(number), devtype="partition", properties=whole.properties, parent=whole)
        for number in (1, 2)
    ]
    rules = ruleset(rule("{subsystem: block, devtype: partition, serial: S1}", "{to: box}"))
    assert told(plan_instance(BOX, box(), wanted(rules, *parts), None)) == []


@pytest.mark.parametrize(
    ("match", "properties", "attrs"),
    [
        ("property: {ID_SERIAL: '0x1'}", {"ID_SERIAL": "0x1"}, {}),
        ("attr: {cid: c1}", {}, {"cid": "c1"}),
        ("attr: {vpd_pg80: '*S1'}", {}, {"vpd_pg80": "HU S1"}),
    ],
)
def test_what_other_than_usb_devices_have_for_a_serial_counts(
    match: str, properties: dict[str, str], attrs: dict[str, str]
) -> None:
    both = [replace(disk(number), properties=properties, attrs=attrs) for number in (1, 2)]
    rules = ruleset(rule(f"{{subsystem: block, {match}}}", "{to: box}"))
    found = plan_instance(BOX, box(), wanted(rules, *both), None)
    assert said(found) == ["add /dev/zram1"]
    assert "tell them apart with `path`" in told(found)[0]


def test_a_model_is_no_serial() -> None:
    both = [replace(phone(number, ""), properties={"ID_SERIAL": "1a86_USB_Serial"}) for number in (1, 2)]
    rules = ruleset(rule("{property: {ID_SERIAL: 1a86_USB_Serial}}", "{to: box}"))
    assert told(plan_instance(BOX, box(), wanted(rules, *both), None)) == []


def test_a_serial_in_a_parent_is_one_too() -> None:
    rules = ruleset(rule("{subsystem: tty, parent: {property: {ID_SERIAL_SHORT: A5}}}", "{to: box}"))
    found = plan_instance(BOX, box(), wanted(rules, console(1, "A5"), console(2, "A5")), None)
    assert said(found) == ["add /dev/ttyUSB1"]
    assert len(found.problems) == 1


def test_what_goes_along_is_of_the_device_that_the_rule_is_about() -> None:
    match = "{any: [{serial: A5}, {port: 9-9}]}"
    rules = ruleset(rule(match, "{to: box, with: [tty]}"))
    found = plan_instance(BOX, box(), wanted(rules, console(1, "A5"), console(2, "A5")), None)
    assert said(found) == ["add /dev/ttyUSB1"]


def test_a_device_that_cannot_be_here_does_not_hold_its_serial() -> None:
    rules = ruleset(rule("{serial: RX}", "{to: box}"))
    first, second = phone(1, "RX"), phone(2, "RX")
    found = plan_instance(BOX, box([node(path=first.node)]), wanted(rules, first, second), None)
    assert said(found) == [f"add {second}"]
    assert [each.device for each in found.problems] == [str(first)]


def test_two_nodes_of_one_device_have_one_serial_between_them() -> None:
    rules = ruleset(rule("{subsystem: '*', serial: R5C1}", "{to: box}"))
    usb = phone(1, "R5C1")
    tty = plugged(devices.tty(usb, "ttyACM0"), 166, 0)
    found = plan_instance(BOX, box(), wanted(rules, usb, tty), None)
    assert (len(found.changes), told(found)) == (2, [])


def test_one_serial_may_come_under_two_rules() -> None:
    rules = ruleset(rule("{serial: RX, port: 1-1}", "{to: box}", "a"), rule("{serial: RX}", "{to: box}", "b"))
    found = plan_instance(BOX, box(), wanted(rules, phone(1, "RX"), phone(2, "RX")), None)
    assert (len(found.changes), told(found)) == (2, [])


MISSING = Inside(users={"ci": None}, groups={"dialout": None})
FOUND = Inside(users={"ci": 7}, groups={"dialout": 8})
NAMED: dict[str, tuple[str, dict[str, str], bool, Inside | None, list[str], str]] = {
    "not looked": ("user: ci", {}, True, None, [], "user 'ci' of box could not be looked up yet"),
    "not looked, stopped": ("user: ci", {}, False, None, [], "user 'ci' of box is looked up when the"),
    "not asked": ("group: dialout", {}, True, Inside(), [], "group 'dialout' of box could not be looked up"),
    "no such user": ("user: ci", {}, True, MISSING, [], "box has no user 'ci' in its /etc/passwd; make one"),
    "no such group": (
        "group: dialout",
        {},
        True,
        MISSING,
        [],
        "box has no group 'dialout' in its /etc/group",
    ),
    "one of two": ("user: ci, group: x", {}, True, FOUND, [], "group 'x' of box could not be looked up"),
    "found": ("user: ci, group: dialout", {}, True, FOUND, ["add"], ""),
    "as found before": ("user: ci", {"uid": "7"}, True, FOUND, [], ""),
    "another number now": ("user: ci", {"uid": "6"}, True, FOUND, ["update"], ""),
    "kept, not looked": ("user: ci", {"uid": "6"}, True, None, [], ""),
    "kept, stopped": ("group: dialout", {"gid": "6"}, False, None, [], ""),
    "kept, removed inside": ("user: ci", {"uid": "6"}, True, MISSING, [], "box has no user 'ci' in its"),
    "a number needs no looking": ("uid: 6", {}, False, None, ["add"], ""),
    "no number to keep": ("user: ci", {"uid": "0; reboot"}, True, None, [], "user 'ci' of box could not be"),
    "nothing to keep": ("user: ci", {"gid": "6"}, True, None, [], "user 'ci' of box could not be looked up"),
}


@pytest.mark.parametrize(
    ("attach", "keys", "running", "inside", "changes", "message"), NAMED.values(), ids=NAMED
)
def test_a_name_is_looked_up_inside(
    attach: str, keys: dict[str, str], running: bool, inside: Inside | None, changes: list[str], message: str
) -> None:
    there = [entry(ONE, keys)] if keys else []
    found = plan_instance(BOX, box(there, running=running), wanted(all_with(attach), ONE), inside)
    assert [each.action for each in found.changes] == changes
    assert len(found.problems) == (1 if message else 0)
    assert all(problem.message.startswith(message) for problem in found.problems)


def test_a_device_that_waits_for_a_name_holds_its_path() -> None:
    rules = ruleset(
        rule("{subsystem: tty, port: 2-1}", "{to: box, path: /dev/x, user: nobody}", "a"),
        rule("{subsystem: tty}", "{to: box, path: /dev/x}", "b"),
    )
    found = plan_instance(BOX, box(), wanted(rules, console(1), console(2)), None)
    assert said(found) == []
    assert [each.rule for each in found.problems] == ["a", "b"]


def test_an_entry_that_was_edited_over_another_device_goes_while_its_user_is_missing() -> None:
    two = console(2)
    rules = ruleset(
        rule("{subsystem: tty, port: 2-2}", "{to: box, user: ci}", "b"),
        rule("{subsystem: tty}", "{to: box, mode: '0600'}", "a"),
    )
    edited = entry(two, {"path": "/dev/ttyUSB1"})
    found = plan_instance(BOX, box([entry(ONE), edited]), wanted(rules, ONE, two), MISSING)
    assert sorted((each.action, each.entry.name) for each in found.changes) == [
        ("remove", name_for(two.slot)), ("update", NAME),
    ]  # fmt: skip
    assert [each.rule for each in found.problems] == ["b"]
