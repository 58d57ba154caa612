"""What does not run: whoever makes, stops or starts it is not to be refused for our sake."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hotplugd.model.ports import Busy, ServerError
from tests.support.devices import BOX, box, console, entry
from tests.support.virtual import at, in_virtual_time, later, now
from tests.unit.reconcile.bench import Bench, Request

ONE = console(1)


async def happens(bench: Bench, **changes: Any) -> None:
    """Something happens to the instance, and the server tells."""
    bench.change(BOX, **changes)
    bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()


async def make(bench: Bench, **how: Any) -> None:
    """An instance comes that was not there when instances were listed."""
    bench.instances[BOX] = box(running=False)
    await happens(bench, **how)


def busy(_: Request) -> None:
    """What every request fails with."""
    raise Busy("it is busy")


async def without_instance() -> Bench:
    bench = Bench()
    del bench.instances[BOX]
    await bench.start(ONE)
    return bench


@in_virtual_time
async def test_an_instance_stopped_before_our_start_does_not_wait() -> None:
    bench = Bench(box(running=False))
    await bench.start(ONE)
    assert bench.times == [0]


@in_virtual_time
async def test_a_stopped_instance_is_left_alone_for_a_second() -> None:
    bench = Bench(box([entry(ONE)]))
    await bench.start(ONE)
    bench.reconciler.no_device(ONE.syspath)
    await happens(bench, running=False)
    sent = len(bench.requests)
    bench.reconciler.device(console(2))
    await at(0.9)
    assert len(bench.requests) == sent
    asked = len(bench.gets)
    await at(5)
    assert bench.times[sent:] == [1]
    # And then whether it was started meanwhile.
    assert [when for when, _ in bench.gets[asked:]] == [1, 1]


@in_virtual_time
async def test_what_is_started_again_gets_its_devices_at_once() -> None:
    bench = await without_instance()
    await make(bench)
    await later(0.3)
    await happens(bench, running=True)
    assert bench.times == [0.3]


@in_virtual_time
async def test_what_is_made_is_left_alone_until_a_second_after_that() -> None:
    bench = await without_instance()
    await make(bench, made=False)
    await at(7.5)
    bench.change(BOX, made=True)
    await at(30)
    assert bench.times == [9]


@in_virtual_time
async def test_what_is_made_and_started_gets_its_devices_at_once() -> None:
    bench = await without_instance()
    await make(bench, made=False)
    await at(7.5)
    await happens(bench, made=True, running=True)
    assert bench.times == [7.5]


@in_virtual_time
async def test_an_instance_never_reported_complete_gets_its_devices() -> None:
    bench = await without_instance()
    await make(bench, made=False)
    await at(700)
    assert bench.times == [600]


@in_virtual_time
async def test_an_unwanted_copy_is_left_alone_for_a_second() -> None:
    bench = await without_instance()
    bench.reconciler.no_device(ONE.syspath)
    await later(100)
    stale = entry(console(3))
    start = now()
    await make(bench, entries={stale.name: stale})
    assert bench.requests == []
    await at(start + 5)
    assert bench.times == [start + 1]


@in_virtual_time
async def test_a_busy_stopped_instance_is_retried_after_a_second() -> None:
    bench = Bench(box(running=False))
    bench.judge = busy
    await bench.start(ONE)
    await at(4)
    assert bench.times == [0, 1, 3]
    bench.judge = lambda _: None
    await happens(bench, running=True)
    assert bench.times == [0, 1, 3, 4]


@in_virtual_time
async def test_what_a_listing_finds_in_the_making_is_left_alone() -> None:
    bench = await without_instance()
    await later(10)
    bench.instances[BOX] = replace(box(running=False), made=False)
    await bench.reconciler.listed_instances(bench.instances.values())
    await at(17.5)
    bench.change(BOX, made=True)
    await at(30)
    assert bench.times == [19]


@pytest.mark.parametrize("known", [True, False])
@in_virtual_time
async def test_a_listing_during_the_first_question_changes_nothing(known: bool) -> None:
    bench = Bench(box(name="other"))
    bench.takes = 0.1
    await bench.start()
    bench.instances[BOX] = replace(box(running=False), made=False)
    bench.reconciler.device(ONE)
    bench.reconciler.refresh(BOX)
    await later(0.05)
    others = [each for name, each in bench.instances.items() if known or name != BOX]
    await bench.reconciler.listed_instances(others, asked=now())
    await at(20)
    assert bench.times == []


@in_virtual_time
async def test_what_is_in_the_making_when_we_start_is_left_alone() -> None:
    bench = Bench(replace(box(running=False), made=False))
    await bench.start(ONE)
    await at(7.5)
    bench.change(BOX, made=True)
    await at(30)
    assert bench.times == [9]


@in_virtual_time
async def test_an_instance_that_failed_to_start_is_left_alone() -> None:
    bench = Bench(box(running=False))
    await bench.start()
    await happens(bench, made=False)
    bench.reconciler.device(ONE)
    await at(5)
    assert bench.times == [1]


@in_virtual_time
async def test_what_nobody_can_tell_of_is_not_asked_for() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.change(BOX, known=False, here=False, running=False, location="b")
    await bench.reconciler.listed_instances(bench.instances.values())
    await at(10)
    asked = len(bench.gets)
    bench.reconciler.look_everywhere()
    await at(100)
    assert len(bench.gets) == asked


@pytest.mark.parametrize("listed", [True, False])
@in_virtual_time
async def test_what_a_busy_server_cannot_tell_of_for_a_moment_is_asked_for_again(listed: bool) -> None:
    bench = Bench()
    await bench.start(ONE)
    before = bench.instances[BOX]
    bench.instances[BOX] = replace(before, known=False, here=False, running=False, entries={})
    if listed:
        await bench.reconciler.listed_instances(bench.instances.values())
    else:
        bench.reconciler.refresh(BOX)
    bench.reconciler.device(console(2))
    await at(3)
    # What is known of it is not taken for gone meanwhile.
    assert (len(bench.requests), bench.verified()) == (1, {ONE.node: True})
    assert bench.told() == ["box: the server cannot tell how it is now"]
    bench.instances[BOX] = before
    await at(10)
    assert bench.verified() == {ONE.node: True, console(2).node: True}
    assert bench.told() == []


@pytest.mark.parametrize("running", [True, False])
@in_virtual_time
async def test_endless_events_of_a_busy_instance_are_no_storm(running: bool) -> None:
    bench = Bench(box(running=running))
    bench.judge = busy
    await bench.start(ONE)
    while now() < 30:
        await later(0.02)
        bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    assert len(bench.requests) < 40


@in_virtual_time
async def test_a_busy_problem_ends_once_nothing_is_to_be_done() -> None:
    bench = Bench(box(running=False))
    bench.judge = busy
    await bench.start(ONE)
    await later(0.5)
    bench.reconciler.no_device(ONE.syspath)
    await at(5)
    assert bench.told() == []


@in_virtual_time
async def test_a_question_that_fails_during_the_wait_is_repeated() -> None:
    bench = Bench(box(running=False))
    refusals: list[ServerError] = [Busy("it is busy"), Busy("database is locked")]

    def fail(_: object) -> None:
        if refusals:
            raise refusals.pop(0)

    bench.judge = bench.answer = fail
    await bench.start()
    await at(100)
    bench.reconciler.device(ONE)
    await at(105)
    assert bench.verified() == {ONE.node: None}
    assert bench.told() == []
