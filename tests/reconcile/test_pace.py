"""Somebody or something works against us for hours: never a busy loop, and never given up."""

from __future__ import annotations

import pytest

from tests.devices import BOX, box, console, entry
from tests.reconcile.bench import Bench, Request
from tests.virtual import at, clock, in_virtual_time, later, now

ONE = console(1)
HOUR = 3600


@in_virtual_time
async def test_a_request_that_does_nothing_inside_is_repeated_ever_more_rarely() -> None:
    bench = Bench()
    bench.applied = lambda _: bench.inside[BOX].clear()
    await bench.start(ONE)
    await at(HOUR)
    assert bench.times[4:11] == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5]
    assert set(bench.times[:4]) == {0}
    assert len(bench.times) == 11 + (HOUR - 64) // 60
    assert bench.verified() == {}


@in_virtual_time
async def test_a_fight_over_a_node_is_paced() -> None:
    bench = Bench()
    await bench.start(ONE)
    for second in range(1, HOUR):
        await later(second - now())
        if ONE.node in bench.inside[BOX]:
            bench.unmount(ONE)
    await bench.reconciler.settled()
    assert ["was changed again and again" in message for message in bench.told()] == [True]
    assert len(bench.events("device.problem")) == 1
    assert 50 < len(bench.requests) < 75
    assert len(bench.looks) < 3 * len(bench.requests)


@in_virtual_time
async def test_a_fight_over_an_entry_is_paced() -> None:
    bench = Bench()
    await bench.start(ONE)
    for second in range(1, HOUR):
        await later(second - now())
        bench.change(BOX, entries={})
        bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    assert 50 < len(bench.requests) < 75


@in_virtual_time
async def test_a_fight_over_an_entry_that_should_go_is_paced() -> None:
    bench = Bench()
    stale = entry(ONE)
    await bench.start()
    for second in range(1, HOUR):
        await later(second - now())
        bench.change(BOX, entries={stale.name: stale})
        bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    assert 50 < len(bench.requests) < 75


@in_virtual_time
async def test_a_server_that_says_yes_and_removes_nothing_is_no_busy_loop() -> None:
    bench = Bench(box([entry(ONE)]))

    def applied(_: Request) -> None:
        bench.change(BOX, entries={entry(ONE).name: entry(ONE)})

    bench.applied = applied
    bench.patience = 100
    await bench.start()
    await at(HOUR)
    assert len(bench.requests) < 75


@in_virtual_time
async def test_a_server_that_says_yes_and_adds_nothing_is_no_busy_loop() -> None:
    bench = Bench()
    bench.applied = lambda _: bench.change(BOX, entries={})
    bench.patience = 100
    await bench.start(ONE)
    await at(HOUR)
    assert len(bench.requests) < 75


@in_virtual_time
async def test_after_a_calm_minute_a_change_is_made_at_once_again() -> None:
    bench = Bench()
    await bench.start(ONE)
    for _ in range(10):
        await at(now() + 100)
        bench.unmount(ONE)
    await bench.reconciler.settled()
    assert bench.times == [100 * each for each in range(11)]


@in_virtual_time
async def test_a_busy_mount_table_is_looked_at_five_times_a_second() -> None:
    bench = Bench()
    await bench.start(ONE)
    before = len(bench.looks)
    for _ in range(1000):
        await later(0.01)
        bench.reconciler.look_again(BOX)
    await at(now() + 1)
    assert 45 <= len(bench.looks) - before <= 52


@pytest.mark.parametrize("before", [step / 1e5 for step in range(0, 100, 5)])
@in_virtual_time
async def test_a_pause_that_ends_while_a_plan_is_made_is_not_forgotten(before: float) -> None:
    clock().tick = 1e-4
    bench = Bench()
    bench.unmakeable.add(ONE.slot)
    await bench.start(ONE)
    bench.unmakeable.clear()
    again = next(each["retry_in"] for each in bench.events("device.problem"))
    await later(again - now() - before)
    bench.reconciler.look_again(BOX)
    await later(10)
    assert len(bench.requests) == 1
