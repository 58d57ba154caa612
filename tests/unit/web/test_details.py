"""What is said of one tile: the rules' word, and what happened."""

from __future__ import annotations

from typing import Any

from hotplugd.app.control_request import ControlRequest
from hotplugd.app.grants import ROOT
from hotplugd.app.peer import Peer
from hotplugd.web.details import happened, history, section
from hotplugd.web.masking import Masking
from hotplugd.web.page import Names
from tests.support.farm import Farm

NAMES = Names(("/dev/bus/usb/001/004",), ("serial:R5C[1]*",), ("shelf-1/4", "1-1.4"))


def explained(farm: Farm, *, serials: bool, **changes: Any) -> dict[str, str]:
    device = str(farm.phones["shelf-1/1"])
    document: Any = {**farm.explain(ControlRequest(Peer(1, 0), ROOT, {"device": device}, "")), **changes}
    shown = Masking(serials=serials)
    shown.learn(document)
    return dict(section(document, shown, serials=serials)["rows"])


def test_the_rule_that_takes_it_comes_before_those_that_do_not() -> None:
    farm = Farm()
    farm.fill()
    found = explained(farm, serials=True)
    assert list(found)[-2:] == ["rule phones", "rule special"]
    assert found["rule special"] == "no: serial wants R5CX*, has R5CT000A (rules.d/phones.yaml:2)"
    assert found["attached"] == "in runner-1 as /dev/bus/usb/1/11, seen inside"
    masked = explained(farm, serials=False)
    assert masked["rule special"] == "no: serial is another (rules.d/phones.yaml:2)"
    assert "R5C" not in str(masked)


def test_all_that_becomes_of_it_is_told() -> None:
    farm = Farm()
    farm.fill()
    lease = {
        "pool": "android", "state": "leased", "project": "ci", "instance": "job", "reason": "x",
        "health": "bad", "health_reason": "adb says offline",
    }  # fmt: skip
    found = explained(
        farm, serials=True, lease=lease, rule=None, along="/dev/x", warnings=["doubtful"],
        holds=[{"why": "too many plugs", "until": "2026-11-28T00:00:00+00:00"}],
        changes=[{"action": "add", "why": "it is new"}], problems=[{"message": "no group"}],
        wants=[{"project": "default", "instance": "box", "path": "/dev/phone"}],
    )  # fmt: skip
    assert {key: found[key] for key in ("pool", "health", "rule", "goes along", "warning", "waits")} == {
        "pool": "android: leased to ci/job: x", "health": "bad: adb says offline",
        "rule": "no rule takes it", "goes along": "with /dev/x", "warning": "doubtful",
        "waits": "too many plugs, until 2026-11-28T00:00:00+00:00",
    }  # fmt: skip
    assert (found["to do"], found["problem"], found["goes to"]) == (
        "add, since it is new", "no group", "box as /dev/phone"
    )  # fmt: skip


def test_events_of_the_place_and_of_the_device_are_its_history() -> None:
    events = [
        {"event": "device.add", "location": "shelf-1/4", "serial": "OTHER"},
        {"event": "device.add", "identity": "serial:R5C[1]*"},
        # A device's own words are no pattern.
        {"event": "device.add", "identity": "serial:R5C1xyz"},
        {"event": "device.add", "port": "1-1.4"},
        {"event": "device.add", "port": "1-1.41"},
        {"event": "ready"},
    ]
    assert happened(events, NAMES) == [events[0], events[1], events[3]]


def test_the_last_events_are_shown() -> None:
    events = [{"event": "device.add", "level": "info", "device": f"/dev/{number}"} for number in range(100)]
    found = history(events, "", Masking(serials=True))
    assert (len(found["lines"]), found["note"]) == (60, "the last 60 of 100: `hotplugd history` has all")
    assert "/dev/99" in found["lines"][-1][1]
    assert history(events[:3], "older", Masking())["note"] == "older"
