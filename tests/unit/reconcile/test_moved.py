"""An instance moves to another member of the cluster: the server says so before its database does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.devices import BOX, box, console
from tests.support.virtual import at, in_virtual_time, now
from tests.unit.reconcile.bench import Bench, names

ONE = console(1)


async def elsewhere() -> Bench:
    """A bench of the member m2; the instance is on m1."""
    bench = Bench(replace(box(), location="m1", here=False))
    await bench.start(ONE)
    bench.gets.clear()
    return bench


@pytest.mark.parametrize("late", [0.03, 0.4, 1.5, 9.0])
@in_virtual_time
async def test_a_migration_told_too_early_is_noticed_in_the_end(late: float) -> None:
    bench = await elsewhere()
    begun = now()
    bench.reconciler.moved(BOX)
    await at(begun + late)
    assert bench.ours() == set()
    bench.change(BOX, location="m2", here=True)
    await at(begun + 11)
    assert bench.ours() == names([ONE])


@in_virtual_time
async def test_what_goes_from_here_is_looked_after_no_more() -> None:
    bench = Bench(replace(box(), location="m1"))
    await bench.start(ONE)
    begun = now()
    bench.reconciler.moved(BOX)
    await at(begun + 0.05)
    bench.change(BOX, location="m2", here=False)
    await at(begun + 1)
    assert bench.verified() == {}


@in_virtual_time
async def test_the_server_is_asked_no_more_once_it_has_moved() -> None:
    bench = await elsewhere()
    bench.reconciler.moved(BOX)
    bench.change(BOX, location="m2", here=True)
    await at(400)
    assert len(bench.gets) < 4


@in_virtual_time
async def test_a_migration_that_never_ends_is_asked_for_a_few_times() -> None:
    bench = await elsewhere()
    bench.reconciler.moved(BOX)
    await at(400)
    assert [round(when, 1) for when, _ in bench.gets] == [0.0, 0.1, 0.5, 2.0, 10.0]


@in_virtual_time
async def test_no_member_asks_for_what_is_edited_on_another() -> None:
    bench = await elsewhere()
    for _ in range(10):
        bench.reconciler.updated(BOX)
    await at(10)
    assert bench.gets == []
    bench.reconciler.refresh(BOX)
    await at(20)
    assert len(bench.gets) == 1
