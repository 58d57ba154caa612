"""USB ports that draw too much power, and buses that are nearly full."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.plan.usb_health import LASTS, NEAR, OverCurrents, full_buses
from hotplugd.rules.hubs import NO_HUBS
from tests.support.devices import console, phone


def told(over: OverCurrents) -> list[str]:
    return [each.message for each in over.problems([phone(4)], NO_HUBS)]


def test_what_was_counted_before_the_first_look_is_no_news() -> None:
    over = OverCurrents().seen({"1-4": 7}, 0).seen({"1-4": 7}, 15)
    assert told(over) == []


def test_a_port_that_counts_more_is_a_problem_for_an_hour() -> None:
    over = OverCurrents().seen({}, 0).seen({"1-4": 1}, 15)
    (problem,) = over.problems([phone(4), console(1)], NO_HUBS)
    assert problem.message.startswith("over-current at USB port 1-4, once within the last hour: ")
    assert (problem.device, problem.place) == ("/dev/bus/usb/001/004", "1-4")
    over = over.seen({"1-4": 3}, 30)
    assert ", 3 times within" in told(over)[0]
    assert told(over.seen({"1-4": 3}, 30 + LASTS - 1))
    assert told(over.seen({"1-4": 3}, 30 + LASTS)) == []


def test_a_hub_that_is_plugged_in_anew_counts_from_zero() -> None:
    over = OverCurrents().seen({"1-4": 9}, 0).seen({}, 15).seen({"1-4": 1}, 30)
    assert ", once within" in told(over)[0]
    over = OverCurrents().seen({"1-4": 9}, 0).seen({"1-4": 2}, 15)
    assert ", 2 times within" in told(over)[0]


def test_a_bus_that_is_nearly_full_is_a_problem() -> None:
    many = [replace(phone(1), kernel=f"3-1.{number}") for number in range(NEAR)]
    assert [*full_buses(many[1:])] == []
    (problem,) = full_buses([*many, phone(2), console(1)])
    assert problem.message.startswith(f"USB bus 3 has {NEAR} devices, hubs among them, and 127 are the most")
    assert problem.place == "usb3"
