"""A record has all that rules can see, and what is no record is told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hotplugd.app.record import NoRecord, record, recorded
from hotplugd.app.try_rules import tried
from hotplugd.model.text import natural
from hotplugd.model.values import Descriptors
from tests.support.devices import console, disk, interface, phone, rule, ruleset

FLEET = [
    replace(phone(1), descriptors=Descriptors(("ff:42:01",), "cut")),
    console(1),
    disk(),
    replace(interface(), in_use="a default route"),
]


def test_devices_come_back_as_they_were() -> None:
    found = recorded(record(FLEET))
    assert found == FLEET
    assert [[*each.ancestors()] for each in found] == [[*each.ancestors()] for each in FLEET]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON"),
        ("[" * 5000, "no JSON"),
        ("[]", "expected what `hotplugd record` writes"),
        ('{"format": 2}', "expected what `hotplugd record` writes"),
        ('{"format": 1, "devices": [{}], "above": []}', "it is damaged: KeyError"),
        ('{"format": 1, "devices": 1, "above": []}', "it is damaged: TypeError"),
    ],
)
def test_what_is_no_record_is_told(text: str, why: str) -> None:
    with pytest.raises(NoRecord, match=why):
        recorded(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [("parent", "/sys/nothing"), ("devnum", 3), ("properties", None), ("interfaces", "x"), ("devnum", [1])],
)
def test_a_damaged_record_is_told(key: str, value: object) -> None:
    document = json.loads(record(FLEET[:1]))
    document["devices"][0][key] = value
    with pytest.raises(NoRecord, match="it is damaged"):
        recorded(json.dumps(document))


def test_devices_in_a_circle_are_none() -> None:
    document = json.loads(record(FLEET[:1]))
    document["devices"][0]["parent"] = document["devices"][0]["syspath"]
    with pytest.raises(NoRecord, match="in a circle"):
        recorded(json.dumps(document))


def test_it_says_what_each_device_would_get() -> None:
    rules = ruleset(
        rule("{serial: R5C001}", "{to: '{port}', with: [tty]}", "phone"),
        rule("{subsystem: tty}", "{to: box, project: lab, path: /dev/console1}", "tty"),
        rule("{subsystem: net}", "{to: router}", "net"),
        rule("{subsystem: vc}", None, "none"),
    )
    told = {each["device"]: each for each in tried(rules, recorded(record(FLEET)))}
    first, tty, none, net = (told[str(device)] for device in FLEET)
    assert [*told] == [str(device) for device in sorted(FLEET, key=lambda each: natural(each.syspath))]
    assert (first["rule"], first["places"], first["serial"]) == ("phone", [], "R5C001")
    assert "its USB descriptors may hide interfaces" in first["problems"][0]
    assert first["problems"][1].startswith("nothing below /dev/bus/usb/001/001 meets `with: ")
    assert (tty["rule"], tty["problems"]) == ("tty", [])
    assert tty["places"] == [{"instance": "lab/box", "path": "/dev/console1"}]
    assert (none["rule"], none["places"], none["ignored"]) == (None, [], False)
    assert "the host uses it: a default route" in net["problems"][0]
