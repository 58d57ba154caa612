"""Devices are named with what tells them apart, in an order as people count."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.app.documents import (
    change_json,
    changes_in_order,
    holds_in_order,
    in_order,
    problem_json,
    problems_in_order,
    unmatched_json,
)
from hotplugd.app.naming import by_name, named_json
from hotplugd.app.snapshot import Survey
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, InstanceName
from hotplugd.plan.change import Attachment, Plan
from hotplugd.plan.planner import plan_instance
from hotplugd.reconcile.holds import Held, Wait
from hotplugd.rules.hubs import Hub, Hubs
from tests.support.devices import ALL, BOX, all_with, box, entry, phone, rule, ruleset, wanted

ONE = replace(phone(1), properties={**phone(1).properties, "ID_MODEL": "Pixel_8"})
TOLD = {"serial": "R5C001", "model": "Pixel_8", "port": "1-1", "location": ""}


def test_what_tells_a_device_from_others_is_beside_it() -> None:
    assert named_json(ONE) == TOLD
    found = problem_json(Problem(ONE.node, "r", "why"), by_name([ONE]))
    none = {"instance": "", "claim": "", "pool": "", "place": ""}
    assert found == {**TOLD, **none, "device": ONE.node, "rule": "r", "message": "why"}
    assert problem_json(Problem(ONE.node, "r", "why"))["serial"] == ""


def test_a_change_names_its_device_and_what_goes_by_its_identity() -> None:
    (add,) = plan_instance(BOX, box(), wanted(all_with("uid: 0"), ONE), None).changes
    assert {key: change_json(add)[key] for key in ("serial", "model", "port", "location")} == TOLD
    (remove,) = plan_instance(BOX, box([entry(ONE)]), (), None, present=set()).changes
    gone = change_json(remove)
    assert (gone["serial"], gone["model"], gone["port"]) == ("R5C001", "", "")
    assert change_json(remove, by_name([ONE]))["model"] == "Pixel_8"
    # Another has its node by now.
    assert change_json(remove, by_name([replace(phone(7), node=ONE.node)]))["serial"] == "R5C001"


def test_attachments_are_in_the_order_of_instances_and_devices() -> None:
    rules = ruleset(
        rule("{id: '18d1:*'}", "{to: 'box-{port}', link: [/dev/a, /dev/b], user: u, mode: '0600'}")
    )
    found = [Attachment(want, entry(want.device), None) for want in wanted(rules, phone(10), phone(2))]
    told = in_order(found)
    assert [each["instance"] for each in told] == ["box-1-2", "box-1-10"]
    assert (told[0]["link"], told[0]["mode"], told[0]["owner"]) == ("/dev/a /dev/b", "0600", "u:")


def test_attachments_and_what_waits_are_in_the_order_of_ports() -> None:
    # The kernel gave the node of port 10 away before that of port 2.
    devices = [
        replace(phone(10), node="/dev/bus/usb/001/003"),
        replace(phone(2), node="/dev/bus/usb/001/004"),
    ]
    found = [Attachment(want, entry(want.device), None) for want in wanted(ALL, *devices)]
    assert [each["port"] for each in in_order(found)] == ["1-2", "1-10"]
    names = [InstanceName("default", name) for name in ("c10", "c2", "c2")]
    holds = [
        (Held(str(device), "r", Wait(1.0, "why"), name), "then")
        for device, name in zip([devices[1], *devices], names, strict=True)
    ]
    told = holds_in_order(holds, by_name(devices))
    assert [(each["instance"], each["port"]) for each in told] == [
        ("c2", "1-2"), ("c2", "1-10"), ("c10", "1-2"),
    ]  # fmt: skip


def test_instances_are_in_the_order_in_which_people_count() -> None:
    names = [InstanceName(project, name) for project in ("lab", "default") for name in ("c10", "c2", "c1")]
    assert [str(each) for each in sorted(names, key=lambda name: name.order)] == [
        "c1", "c2", "c10", "lab/c1", "lab/c2", "lab/c10",
    ]  # fmt: skip
    plans = {name: Plan(problems=(Problem("", "", str(name)),)) for name in names[3:]}
    assert [each.message for each in Survey({}, plans).problems()] == ["c1", "c2", "c10"]


def test_changes_problems_and_what_no_rule_takes_are_in_the_order_of_ports() -> None:
    rules = ruleset(rule("{id: '18d1:*'}", "{to: box}"))
    devices = [phone(10), phone(2), phone(1)]
    changes = plan_instance(BOX, box(), wanted(rules, *devices), None).changes
    assert [each["port"] for each in changes_in_order(changes)] == ["1-1", "1-2", "1-10"]
    problems = [Problem(str(each), "", "x") for each in devices] + [Problem("", "", "the server is away")]
    told = problems_in_order(problems, by_name(devices))
    assert [each["port"] for each in told] == ["", "1-1", "1-2", "1-10"]
    assert [each["port"] for each in unmatched_json(devices)] == ["1-1", "1-2", "1-10"]


def test_the_location_is_beside_each_device() -> None:
    hubs = Hubs((Hub("shelf", ("pci-0-usb-0:1",), "", {"4": "2"}),))
    above = Device("/sys/x", "usb", "usb1", "usb_device", properties={"ID_PATH": "pci-0"})
    one = replace(ONE, kernel="1-1.2", parent=above)
    known = by_name([one])
    assert named_json(one, hubs=hubs)["location"] == "shelf/4"
    assert problem_json(Problem(str(one), "", "x"), known, hubs)["location"] == "shelf/4"
    assert unmatched_json([one], hubs)[0]["location"] == "shelf/4"
