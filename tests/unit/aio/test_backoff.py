from __future__ import annotations

import pytest

from hotplugd.aio.backoff import LONG_AGO, Retry, delay
from hotplugd.model.values import Device
from hotplugd.plan.change import Change
from hotplugd.plan.planner import plan_instance
from hotplugd.reconcile.batching import Batching
from tests.support.devices import ALL, BOX, all_with, box, console, entry, wanted

DELAYS = [(1, 0.5), (2, 1), (3, 2), (7, 32), (8, 60), (9, 60), (10_000, 60)]


@pytest.mark.parametrize(("tries", "seconds"), DELAYS)
def test_pauses_double_up_to_a_minute(tries: int, seconds: float) -> None:
    assert delay(tries) == seconds


def test_no_pause_is_longer_than_asked_or_shorter_than_the_first() -> None:
    assert [delay(tries, 0.1, 0.3) for tries in (1, 2, 3, 4)] == [0.1, 0.2, 0.3, 0.3]


def test_a_failure_says_when_to_try_again_and_whether_it_is_new() -> None:
    retry = Retry()
    told = [retry.failed(message, 10, 1, 4) for message in ("a", "a", "b", "b", "b")]
    assert told == [(1, True), (2, False), (4, True), (4, False), (4, False)]
    assert retry.until == 14
    retry.reset()
    assert (retry.until, retry.message) == (LONG_AGO, "")
    assert retry.failed("b", 20, 1, 4) == (1, True)


def add(device: Device) -> Change:
    (change,) = plan_instance(BOX, box(), wanted(ALL, device), None).changes
    return change


def remove(device: Device) -> Change:
    (change,) = plan_instance(BOX, box([entry(device)]), [], None).changes
    return change


ONE, TWO, THREE = (add(console(number)) for number in (1, 2, 3))


def test_everything_that_is_ready_goes_together() -> None:
    assert Batching().batch([ONE, TWO, THREE], 0) == [ONE, TWO, THREE]
    assert Batching().batch([], 0) == []


def test_what_spoiled_a_request_goes_alone_after_the_others() -> None:
    records = Batching()
    records.spoiled(ONE, 0)
    records.spoiled(TWO, 0)
    assert records.batch([ONE, TWO, THREE], 0) == [THREE]
    assert records.batch([ONE, TWO], 0) == [ONE]


def test_what_was_held_waits_and_then_goes_alone() -> None:
    records = Batching()
    assert records.held(ONE, "no", 0) == (0.5, True)
    assert records.batch([ONE, TWO], 0.4) == [TWO]
    assert records.batch([ONE], 0.4) == []
    assert records.batch([ONE, TWO], 0.5) == [TWO]
    assert records.batch([ONE], 0.5) == [ONE]


def test_what_is_held_again_waits_longer_and_is_told_once() -> None:
    records = Batching()
    assert [records.held(ONE, message, 0) for message in ("no", "no", "never")] == [
        (0.5, True),
        (1, False),
        (2, True),
    ]
    assert [each.message for each in records.problems(0)] == ["cannot add in box: never"]


def test_what_was_done_at_last_is_no_problem_and_goes_with_others_again() -> None:
    records = Batching()
    records.held(ONE, "no", 0)
    records.done(ONE, 1)
    assert records.problems(0) == []
    assert records.batch([ONE, TWO], 1) == [ONE, TWO]


def test_failures_before_a_success_do_not_count() -> None:
    records = Batching()
    for _ in range(5):
        records.held(ONE, "no", 0)
    records.done(ONE, 1)
    assert records.held(ONE, "no", 2) == (0.5, True)


def test_a_fight_is_told_of_once_and_remembered_for_a_calm_minute() -> None:
    records = Batching()
    told = [records.done(ONE, 0) is not None for _ in range(6)]
    assert told == [False, False, False, True, False, False]
    (until,) = records.rest([ONE], 0)
    assert [len(records.problems(until + seconds)) for seconds in (0, 59, 60)] == [1, 1, 0]


def test_changes_of_one_entry_in_a_row_have_to_wait() -> None:
    records = Batching()
    when = 0.0
    waited = []
    for _ in range(12):
        records.done(ONE, when)
        (until,) = records.rest([ONE], when)
        waited.append(until - when)
        when = until
    assert waited == [0, 0, 0, 0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_after_a_calm_minute_changes_are_free_again() -> None:
    records = Batching()
    for _ in range(8):
        records.done(ONE, 0)
    (until,) = records.rest([ONE], 0)
    assert list(records.rest([], until + 59)) == [until + 60]
    records.done(ONE, until + 59)
    assert list(records.rest([ONE], until + 59)) == [until + 59 + 16]
    records.done(TWO, 1000)
    records.done(ONE, 1000)
    assert list(records.rest([ONE, TWO], 1000)) == [1000, 1000]


def test_what_need_not_be_done_any_more_is_no_problem() -> None:
    records = Batching()
    records.held(ONE, "no", 0)
    records.held(TWO, "no", 0)
    assert list(records.rest([TWO], 0)) == [0.5]
    assert [each.device for each in records.problems(0)] == ["/dev/ttyUSB2"]


def test_nothing_is_kept_of_what_is_long_over() -> None:
    records = Batching()
    for each in (ONE, TWO, THREE):
        records.done(each, 0)
    list(records.rest([], 61))
    assert records._records == {}


def test_the_devices_of_one_instance_do_not_share_pauses() -> None:
    records = Batching()
    for _ in range(8):
        records.done(ONE, 0)
    assert records.batch([ONE, TWO], 0) == [TWO]
    records.done(remove(console(2)), 0)
    assert records.batch([ONE, TWO], 0) == [TWO]


def move(device: Device, path: str) -> Change:
    """Its entry is elsewhere, and goes to this path."""
    rules = all_with(f"path: {path}")
    (change,) = plan_instance(BOX, box([entry(device)]), wanted(rules, device), None).changes
    return change


OLD, NEW = remove(console(1)), add(console(1, born=2))


def test_what_goes_to_a_taken_path_goes_with_what_leaves_it_or_later() -> None:
    records = Batching()
    assert records.batch([NEW, OLD, TWO], 0) == [NEW, OLD, TWO]
    assert records.batch([NEW], 0) == [NEW]
    records.held(OLD, "no", 0)
    assert records.batch([NEW, OLD, TWO], 0.1) == [TWO]
    assert records.batch([NEW, OLD], 0.1) == []
    assert records.batch([NEW, OLD], 0.5) == [OLD]


def test_of_two_that_go_alone_the_one_that_leaves_a_path_goes_first() -> None:
    records = Batching()
    for each in (NEW, OLD):
        records.spoiled(each, 0)
    assert records.batch([NEW, OLD], 0) == [OLD]


def test_what_waits_for_a_path_keeps_others_from_the_path_that_it_leaves() -> None:
    records = Batching()
    along, after = move(console(2), "/dev/ttyUSB1"), add(console(2, born=2))
    assert (along.frees, after.frees) == ("/dev/ttyUSB2", "")
    records.held(OLD, "no", 0)
    assert records.batch([along, after, OLD, THREE], 0) == [THREE]
    assert records.batch([along, after, THREE], 0) == [along, after, THREE]


def test_two_that_change_places_and_have_to_go_alone_go_one_after_the_other() -> None:
    records = Batching()
    places = [move(console(1), "/dev/ttyUSB2"), move(console(2), "/dev/ttyUSB1")]
    assert records.batch(places, 0) == places
    for each in places:
        records.spoiled(each, 0)
    assert records.batch(places, 0) == places[:1]
