"""The server tells of every update, also of ours: what waits to be sent comes before asking of it."""

from __future__ import annotations

from hotplugd.model.ports import Refused
from tests.support.devices import BOX, console
from tests.support.virtual import at, in_virtual_time, now
from tests.unit.reconcile.bench import Bench, Request, names

ONE, TWO = console(1), console(2)


async def is_asked_before_the_next_request(bench: Bench) -> None:
    """An update that the server tells of now is somebody else's. A question takes a second."""
    bench.gets.clear()
    begun = now()
    bench.reconciler.updated(BOX)
    bench.reconciler.device(TWO)
    await bench.reconciler.settled()
    assert bench.gets[0] == (begun, str(BOX))
    assert bench.times[-1] == begun + 1


@in_virtual_time
async def test_what_waits_to_be_sent_comes_first() -> None:
    bench = Bench()
    bench.takes = 1.0
    await bench.start()
    begun = now()
    bench.reconciler.device(ONE)
    await at(begun + 0.5)
    bench.reconciler.device(TWO)
    bench.reconciler.updated(BOX)
    await at(begun + 1.5)
    bench.reconciler.updated(BOX)
    await bench.reconciler.settled()
    assert bench.times == [begun, begun + 1]
    assert bench.gets == [(begun + 2, str(BOX))]


@in_virtual_time
async def test_one_echo_too_many_is_somebody_elses_update() -> None:
    bench = Bench()
    bench.takes = 1.0
    await bench.start()
    begun = now()
    bench.reconciler.device(ONE)
    await at(begun + 0.5)
    bench.reconciler.device(TWO)
    bench.reconciler.updated(BOX)
    bench.reconciler.updated(BOX)
    await bench.reconciler.settled()
    assert bench.gets == [(begun + 1, str(BOX))]
    assert bench.times == [begun, begun + 2]


@in_virtual_time
async def test_one_that_comes_late_is_asked_after_too() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.gets.clear()
    await at(7)
    bench.change(BOX, entries={})
    bench.reconciler.updated(BOX)
    await bench.reconciler.settled()
    assert bench.gets == [(7, str(BOX))]
    assert bench.ours() == names([ONE])


@in_virtual_time
async def test_one_that_never_came_hides_nobody_elses() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.takes = 1.0
    await is_asked_before_the_next_request(bench)


@in_virtual_time
async def test_many_in_a_row_are_asked_after_as_often_as_others() -> None:
    bench = Bench()
    bench.takes = 0.001
    bench.applied = lambda _: bench.reconciler.updated(BOX)
    await bench.start()
    for number in range(1, 41):
        await bench.plug(console(number))
    await at(60)
    assert len(bench.ours()) == 40
    assert 10 < len(bench.gets) < 40


@in_virtual_time
async def test_of_what_was_refused_it_tells_nothing() -> None:
    bench = Bench()
    bench.takes = 1.0

    def refuse(_: Request) -> None:
        raise Refused("it does not fit")

    bench.judge = refuse
    await bench.start()
    begun = now()
    bench.reconciler.device(ONE)
    await at(begun + 1.01)
    bench.judge = lambda _: None
    bench.reconciler.no_device(ONE.syspath)
    bench.reconciler.device(TWO)
    await at(begun + 1.5)
    bench.reconciler.device(console(3))
    bench.reconciler.updated(BOX)
    bench.reconciler.updated(BOX)
    await bench.reconciler.settled()
    assert bench.requests[1].names == names([TWO])
    assert bench.gets == [(bench.times[1] + 1, str(BOX))]
    assert bench.times[2] == bench.times[1] + 2


@in_virtual_time
async def test_once_the_server_was_asked_nothing_is_expected_any_more() -> None:
    bench = Bench()
    bench.takes = 1.0
    await bench.start(ONE)
    bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    await is_asked_before_the_next_request(bench)
