"""What does not run: whoever makes, stops or starts it is not to be refused for our sake."""

from __future__ import annotations

from typing import Any

from hotplugd.server import Busy
from tests.devices import BOX, box, console, entry
from tests.reconcile.bench import Bench, Request
from tests.virtual import at, in_virtual_time, later, now

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


async def without_instance() -> Bench:
    bench = Bench()
    del bench.instances[BOX]
    await bench.start(ONE)
    return bench


@in_virtual_time
async def test_what_does_not_run_when_we_start_gets_its_devices_at_once() -> None:
    bench = Bench(box(running=False))
    await bench.start(ONE)
    assert bench.times == [0]


@in_virtual_time
async def test_what_was_stopped_is_left_alone_for_a_second_and_looked_at_again() -> None:
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
    assert [when for when, _ in bench.gets[asked:]] == [1]


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
async def test_what_is_never_said_to_be_made_gets_its_devices_in_the_end() -> None:
    bench = await without_instance()
    await make(bench, made=False)
    await at(100)
    assert bench.times == [60]


@in_virtual_time
async def test_a_copy_is_left_alone_for_a_second_though_nothing_should_be_in_it() -> None:
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
async def test_while_others_are_at_it_is_tried_again_after_a_second_or_when_it_starts() -> None:
    bench = Bench(box(running=False))

    def busy(_: Request) -> None:
        raise Busy("it is busy")

    bench.judge = busy
    await bench.start(ONE)
    await at(4)
    assert bench.times == [0, 1, 3]
    bench.judge = lambda _: None
    await happens(bench, running=True)
    assert bench.times == [0, 1, 3, 4]
