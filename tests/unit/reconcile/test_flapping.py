"""What is told of a device that is held off."""

from __future__ import annotations

import re
from dataclasses import replace

import structlog
from structlog.testing import LogCapture

from hotplugd.model.values import Device, Devnum
from hotplugd.plan.about import spread
from hotplugd.reconcile.flapping import Flapping
from hotplugd.reconcile.hold_off import MOST
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import ALL, console, disk, rule, ruleset


def made(rules: RuleSet = ALL) -> tuple[Flapping, LogCapture]:
    logged = LogCapture()
    log = structlog.wrap_logger(None, [logged], structlog.make_filtering_bound_logger(0))
    return Flapping(log, lambda: rules), logged


def again(device: Device, number: int) -> Device:
    """Another enumeration of it, and of the USB device that it hangs from."""
    assert device.devnum is not None
    parent = again_usb(device.parent, number) if device.parent is not None else None
    return replace(device, slot=f"{device.slot}{number}", parent=parent)


def again_usb(device: Device, number: int) -> Device:
    if device.is_usb_device:
        return replace(device, devnum=Devnum("char", 189, number))
    return replace(device, parent=again_usb(device.parent, number) if device.parent is not None else None)


def flap(gate: Flapping, device: Device, *, now: float = 0.0, times: int = MOST + 1) -> float:
    """Plug it so often. Returns until when it is held off."""
    until = now
    for number in range(times):
        if (until := gate.heard(device.syspath, now, plugged=True)) <= now:
            until = gate.plugged(again(device, number), now)
        gate.gone(device.syspath)
    return until


def test_it_is_a_problem_with_the_device_the_place_the_count_and_the_end() -> None:
    gate, _ = made()
    assert flap(gate, console(1), now=5) == 20
    (problem,) = gate.problems(6)
    assert (problem.device, problem.rule) == ("/dev/ttyUSB1", "r")
    assert re.fullmatch(
        r"serial:A5001 at port 2-1 was plugged in 41 times within 2 minutes and while it is held off: a bad "
        r"cable, too little power, or one that starts again and again; it is held off until 15 s "
        r"pass without another plug, at \d\d:\d\d:\d\d UTC at the earliest; leave it in, or out, until then",
        problem.message,
    ), problem.message
    assert gate.problems(20) == []


def test_it_is_held_until_then_at_its_place() -> None:
    gate, _ = made()
    one = console(1)
    flap(gate, one, now=5)
    (held,) = gate.held(6)
    assert one.usb is not None
    assert (held.device, held.rule, held.place) == ("/dev/ttyUSB1", "r", one.usb.syspath)
    assert (held.instance, held.wait.until, held.wait.event) == (None, 20, "")
    assert held.wait.why.startswith("serial:A5001 at port 2-1 was plugged in 41 times within 2 minutes")
    assert gate.held(20) == []


def test_without_usb_the_place_is_the_one_in_sysfs() -> None:
    gate, _ = made()
    flap(gate, disk(1))
    assert "at /sys/devices/virtual/block/zram1 was plugged in" in gate.problems(1)[0].message


def test_it_is_logged_once_and_not_with_each_plug() -> None:
    gate, logged = made()
    flap(gate, disk(1), times=1000)
    assert [each["event"] for each in logged.entries] == ["device.problem"]
    assert "was plugged in 1000 times" in gate.problems(1)[0].message


def test_what_no_rule_attaches_is_nobodys_problem() -> None:
    for rules in (ruleset(rule("{serial: other}", "{to: box}")), ruleset(rule("{subsystem: '*'}", None))):
        gate, logged = made(rules)
        assert flap(gate, console(1)) > 0
        assert gate.problems(1) == []
        assert logged.entries == []


def test_what_hangs_from_the_device_is_told_of_where_a_rule_takes_that() -> None:
    gate, _ = made(ruleset(rule("{subsystem: tty}", "{to: box}")))
    tty = console(1)
    assert tty.usb is not None
    until = 0.0
    for number in range(MOST + 1):
        until = gate.plugged(again_usb(tty.usb, number), 0)
        if until <= 0:
            assert gate.plugged(again(tty, number), 0) <= 0
    assert [each.device for each in gate.problems(1)] == ["/dev/ttyUSB1"]


def test_that_it_is_over_is_logged_once() -> None:
    gate, logged = made()
    one = console(1)
    flap(gate, one)
    for number in (900, 901):
        gate.plugged(again(one, number), 500.0 + number)
    assert [each["event"] for each in logged.entries] == ["device.problem", "problem.over"]
    problem, over = logged.entries
    assert over["reason"] == problem["reason"]


def test_of_each_device_at_the_place_it_is_over_also_where_none_comes_back() -> None:
    gate, logged = made(ruleset(rule("{subsystem: [usb, tty]}", "{to: box}")))
    tty = console(1)
    assert tty.usb is not None
    for number in range(MOST + 1):
        if gate.plugged(again_usb(tty.usb, number), 0) <= 0:
            gate.plugged(again(tty, number), 0)
        gate.gone(tty.usb.syspath)
    gate.tell_over(1)
    problems = list(logged.entries)
    assert [each["event"] for each in problems] == ["device.problem"] * 2
    for _ in range(2):
        gate.tell_over(100)
    over = logged.entries[2:]
    assert [each["event"] for each in over] == ["problem.over"] * 2
    assert [(each["device"], each["reason"]) for each in map(spread, over)] == [
        (each["device"], each["reason"]) for each in map(spread, problems)
    ]
