"""The figures that other work on the machine does not change, in small."""

from __future__ import annotations

from benchmarks import allocation, forged, plans, restart


def test_a_hundred_times_as_many_rules_cost_about_the_same_and_an_event_a_fraction() -> None:
    many, event = plans.figures(rules=(10_000,), repetitions=5)
    assert many.found <= 4
    assert event.found <= 1 / 5


def test_forged_entries_cost_about_what_others_do() -> None:
    event, start = forged.figures(instances=20, each=50, repetitions=5)
    assert event.found <= 3
    assert start.found <= 8


def test_an_event_costs_an_allocation_of_some_milliseconds() -> None:
    *events, _ = allocation.figures(repetitions=10)
    assert [figure.found for figure in events if figure.found > 10] == []


def test_a_start_with_everything_in_place_writes_nothing(root: None) -> None:
    (writes,) = restart.figures(devices=8, rest=1)
    assert writes.found == 0
