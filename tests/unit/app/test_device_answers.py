"""What the daemon answers about devices: what is in force, made in a thread, and bounded."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from hotplugd.app import device_answers
from hotplugd.app.control_request import ControlRequest, Unavailable
from hotplugd.app.device_answers import DeviceAnswers
from hotplugd.app.endpoints import DEVICES, EXPLAIN, TOPOLOGY, Endpoint
from hotplugd.app.grants import ROOT
from hotplugd.app.peer import Peer
from hotplugd.host import sysfs
from hotplugd.host.usb_ports import UsbPort
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, Entry
from hotplugd.plan.change import Attachment
from hotplugd.plan.desired import wants
from hotplugd.plan.overrides import NONE
from hotplugd.pools.leasing import Leasing
from hotplugd.rulefile.load import parse
from tests.support.devices import phone, plugged
from tests.support.usb_tree import CONTROLLER, Sockets
from tests.unit.app.test_lease_orders import RULES as POOL_RULES
from tests.unit.app.test_openapi import is_as_said
from tests.unit.reconcile.test_leases import job

RULES = parse(
    f"""\
hubs:
  shelf-1: {{path: {CONTROLLER}-usb-0:3, ports: {{a: "1", b: "2", c: "3"}}}}
rules:
  - {{name: other, match: {{serial: X}}, attach: {{to: other}}}}
  - {{name: phones, match: {{location: "shelf-1/*"}}, attach: {{to: [job-1, job-2]}}}}
""",
    "test.yaml",
).rules
TREE = Sockets(fast={"3": "1", "4": "2"})
BOX = [TREE.plug("3", fast=fast, ports=4) for fast in (False, True)]
PHONE = plugged(TREE.plug("3.1", attrs={"serial": "R5C001"}), 189, 3)
NEW = TREE.plug("3.2")
LOOP = Device("/sys/devices/virtual/block/loop0", "block", "loop0", "disk", node="/dev/loop0")
TROUBLE = (Problem(str(PHONE), "phones", "not there"), Problem("/dev/x", "y", "z"), Problem("", "", "all"))


class Lab:
    """A daemon that has attached a phone to one of two instances."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        devices = {each.key: each for each in (TREE.root(), TREE.root(fast=True), *BOX, PHONE, LOOP)}
        wanted = {key: wants(RULES, each) for key, each in devices.items()}
        attached = Attachment(wanted[PHONE.key].wants[0], Entry("hp-1", {}), verified=True)
        leases = SimpleNamespace(leasing=Leasing(RULES))
        reconciler = SimpleNamespace(
            inventory=SimpleNamespace(devices=devices, unprocessed={NEW.syspath: NEW}, devices_listed=True),
            assignments=SimpleNamespace(wants=wanted, leases=leases),
            attachments=lambda: [attached],
            pending=list,
        )
        self.session: Any = SimpleNamespace(
            reconciler=reconciler, rules=RULES, held=list, problems=lambda: [*TROUBLE]
        )
        self.threads: set[threading.Thread] = set()
        monkeypatch.setattr(device_answers, "ports_of", self.ports_of)
        monkeypatch.setattr(sysfs, "attribute", lambda _, name: f"{name} \n")

    def ports_of(self, syspath: str) -> dict[int, UsbPort]:
        self.threads.add(threading.current_thread())
        known = dict(TREE.ports(hub, fast=fast) for hub in ("", "3") for fast in (False, True))
        return known.get(syspath, {})

    def ask(self, endpoint: Endpoint, **query: str) -> Any:
        async def ask() -> object:
            answers = DeviceAnswers(lambda: self.session, lambda: NONE)
            answer: Any = answers.handlers[endpoint](ControlRequest(Peer(1, 0), ROOT, query, ""))
            found: object = await answer
            return json.loads(found) if isinstance(found, str) else found

        document = asyncio.run(ask())
        is_as_said(endpoint, document)
        return document


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(monkeypatch)


def test_devices_are_told_with_who_has_them_and_who_should(lab: Lab) -> None:
    found: Mapping[str, Any] = {each["device"]: each for each in lab.ask(DEVICES)["devices"]}
    phone = found[str(PHONE)]
    assert (phone["rule"], phone["instances"], phone["missing"]) == ("phones", ["job-1"], ["job-2"])
    assert (phone["location"], phone["serial"]) == ("shelf-1/a", "R5C001")
    assert "/dev/loop0" not in found
    assert "/dev/loop0" in {each["device"] for each in lab.ask(DEVICES, all="1")["devices"]}
    with pytest.raises(ValueError, match="expected 0 or 1"):
        lab.ask(DEVICES, all="yes")


def test_the_tree_has_who_holds_what_and_hubs_with_names(lab: Lab) -> None:
    found = lab.ask(TOPOLOGY)
    assert found["hubs"] == [{"name": "shelf-1", "locations": ["shelf-1/a", "shelf-1/b", "shelf-1/c"]}]
    (controller,) = found["controllers"]
    (box,) = [each for each in controller["sockets"] if each["sockets"]]
    sockets = {each["location"]: each for each in box["sockets"]}
    (phone,) = sockets["shelf-1/a"]["devices"]
    assert phone["instances"] == ["default/job-1"]
    # What the daemon does not read at a plug is read for the tree.
    assert (phone["speed"], phone["product"]) == ("speed", "product")
    assert [sockets[f"shelf-1/{each}"]["free"] for each in "abc"] == [False, False, True]
    assert threading.current_thread() not in lab.threads


def test_what_becomes_of_a_device_is_explained(lab: Lab) -> None:
    for name in ("shelf-1/a", "R5C001", str(PHONE)):
        found = lab.ask(EXPLAIN, device=name)
        assert [(each["name"], each["failed"] is None) for each in found["rules"]] == [
            ("other", False), ("phones", True)
        ]  # fmt: skip
        assert [each["instance"] for each in found["wants"]] == ["job-1", "job-2"]
        assert [each["instance"] for each in found["attachments"]] == ["job-1"]
        assert [each["message"] for each in found["problems"]] == ["not there", "all"]
        assert found["by"] == "daemon"


def test_of_a_device_of_a_pool_it_is_told_whose_it_is_and_who_waits(lab: Lab) -> None:
    pixel = phone(1)
    leasing = Leasing(POOL_RULES)
    leasing.judged(wants(POOL_RULES, pixel))
    leasing.learned(job(1).id, job(1, "android serial=R5C999"))
    leasing.settle(lambda _: iter(()))
    known = lab.session.reconciler
    known.inventory.devices = {pixel.key: pixel}
    known.assignments.wants = {pixel.key: wants(POOL_RULES, pixel)}
    known.assignments.leases.leasing = leasing
    known.attachments = list
    lab.session.rules = POOL_RULES
    found = lab.ask(EXPLAIN, device=str(pixel))
    assert (found["pool"], found["lease"]["state"]) == ("android", "free")
    assert (found["inside"]["instance"], found["inside"]["path"]) == ("", str(pixel))
    assert [(each["instance"], each["state"]) for each in found["claims"]] == [("job-1", "unsatisfiable")]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("R5C999", "no device R5C999"),
        (NEW.syspath, "udevd has not"),
        ("x" * 5000, "at most 4096"),
        ("", "expected `device`"),
    ],
)
def test_what_is_no_device_is_an_error(lab: Lab, name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        lab.ask(EXPLAIN, device=name)


def test_before_there_is_a_server_nothing_is_made_up(lab: Lab) -> None:
    lab.session = None
    assert lab.ask(DEVICES) == {"devices": []}
    assert "no server" in lab.ask(TOPOLOGY)["problems"][0]["message"]
    with pytest.raises(Unavailable, match="has not listed"):
        lab.ask(EXPLAIN, device="R5C001")


def test_more_than_an_answer_may_have_is_an_error(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_answers, "_LONGEST", 1000)
    with pytest.raises(ValueError, match="and there are more"):
        lab.ask(DEVICES)


def test_who_waits_too_long_is_told_to_ask_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_answers, "_PATIENCE", 0.05)
    released = threading.Event()

    def wait(_: str) -> dict[int, UsbPort]:
        released.wait(10)
        return {}

    monkeypatch.setattr(device_answers, "ports_of", wait)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="ask again"):
        lab.ask(TOPOLOGY)
    assert time.monotonic() - began < 5
    released.set()
