"""Which nodes are taken for orphans, and which are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.entry import name_for
from hotplugd.model.ports import Refused
from hotplugd.model.values import Entry, Node
from tests.support.devices import BOX, all_with, box, entry, gpu, interface
from tests.support.virtual import at, in_virtual_time, later, now
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.orphans_bench import (
    BAD,
    NOBODY,
    ONE,
    TWO,
    Files,
    forget,
    nodes,
    noted,
    one_at,
    overlap,
    with_both_lost,
)


@in_virtual_time
async def test_of_a_gpu_nobody_knows_where_to_look() -> None:
    bench = Bench(rules=all_with("as: gpu"))
    put = {each.node: Node(each.devnum, 0o660) for each in gpu()}
    bench.applied = lambda _: bench.inside[BOX].update(put)
    await bench.start(*gpu())
    assert bench.ours()
    bench.change(BOX, entries={})
    bench.reconciler.updated(BOX)
    for each in gpu():
        bench.reconciler.no_device(each.syspath)
    await at(20)
    assert bench.journal.count("clear 1") == 1
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_what_is_refused_once_is_asked_for_again() -> None:
    bench = await with_both_lost()
    left = [Refused("disk quota exceeded", half=True)] * 3

    def unclear(_: object) -> None:
        if left:
            raise left.pop()

    bench.unclear = unclear
    await at(100)
    assert bench.inside[BOX].keys() == {BAD.node}
    assert bench.told() == []


@in_virtual_time
async def test_a_listing_during_it_brings_nothing_back() -> None:
    bench = await with_both_lost()
    bench.takes = 1
    before = dict(bench.instances)
    while "clear 2" not in bench.journal:
        await later(0.1)
    entries = {**before[BOX].entries, name_for(ONE.slot): entry(ONE)}
    asked = now()
    await later(2)
    await bench.reconciler.listed_instances([replace(before[BOX], entries=entries)], asked)
    await at(100)
    assert bench.journal.count("clear 2") == 1
    assert len(bench.events("instance.problem")) == 1


@in_virtual_time
async def test_what_the_server_forgot_and_is_wanted_is_put_in_again() -> None:
    bench = Files()
    await bench.start(ONE, TWO)
    await at(10)
    overlap(bench, ONE)
    await at(20)
    assert bench.verified() == {ONE.node: True, TWO.node: True}
    assert bench.journal == ["request +2 -0", "request +1 -0", "clear 1", "request +1 -0"]
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_what_the_server_forgot_goes_from_where_it_was() -> None:
    bench = Files(rules=one_at(1, "/dev/old"))
    await bench.start(ONE)
    await at(10)
    overlap(bench, ONE)
    bench.reconciler.set_rules(one_at(1, "/dev/new"))
    await at(20)
    assert nodes(bench) == {"/dev/new": str(ONE.devnum)}
    assert bench.told() == []


@pytest.mark.parametrize("told", [True, False])
@in_virtual_time
async def test_what_the_server_forgot_makes_room_for_another(*, told: bool) -> None:
    bench = Files(rules=one_at(1, "/dev/lab"))
    await bench.start(ONE, TWO)
    await at(10)
    (overlap if told else forget)(bench, ONE)
    bench.reconciler.set_rules(one_at(2, "/dev/lab"))
    await at(20)
    assert nodes(bench) == {"/dev/lab": str(TWO.devnum)}
    assert bench.verified() == {TWO.node: True}
    assert bench.told() == []
    assert bench.journal.count("clear 1") == 1


@in_virtual_time
async def test_an_orphan_at_the_next_devices_path_is_cleared() -> None:
    bench = Files(rules=all_with("path: /dev/modem"))
    await bench.start(TWO)
    await at(10)
    await bench.plug(ONE)
    overlap(bench, TWO)
    await at(3600)
    assert nodes(bench) == {"/dev/modem": str(ONE.devnum)}
    assert bench.verified() == {ONE.node: True}
    assert len(bench.requests) == 2
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_an_orphan_whose_entry_was_lost_is_cleared() -> None:
    bench = Files()
    await bench.start(ONE)
    await at(10)
    forget(bench, ONE)
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    assert bench.inside[BOX] == {}
    assert bench.told() == []


@in_virtual_time
async def test_what_we_have_taken_out_is_in_no_doubt() -> None:
    bench = Files()
    await bench.start(ONE, TWO)
    await at(10)
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    bench.reconciler.updated(BOX)
    await at(20)
    assert bench.ours() == {name_for(TWO.slot)}
    assert "clear 1" not in bench.journal


@in_virtual_time
async def test_what_others_make_and_take_out_is_in_no_doubt() -> None:
    foreign = Entry("cam", {"type": "unix-char", "source": "/dev/video0"})
    bench = Bench(box([foreign]))
    await bench.start(ONE)
    await at(10)
    entries = dict(bench.instances[BOX].entries)
    del entries["cam"]
    bench.change(BOX, entries=entries)
    bench.reconciler.updated(BOX)
    await at(20)
    assert bench.journal == ["request +1 -0"]


@in_virtual_time
async def test_what_others_have_put_in_its_place_is_not_left_behind() -> None:
    bench = Files()
    await bench.start(ONE)
    await at(10)
    theirs = Entry("mine", {"type": "unix-char", "source": ONE.node})
    bench.change(BOX, entries={"mine": theirs})
    bench.files.add(("mine", ONE.node))
    bench.reconciler.updated(BOX)
    await at(20)
    assert nodes(bench) == {ONE.node: str(ONE.devnum)}
    assert bench.events("device.left-behind") == []
    assert not [each for each in bench.told() if "still there" in each]


@pytest.mark.parametrize("how", [{"here": False}, {"known": False, "here": False}, {"running": False}])
@in_virtual_time
async def test_elsewhere_and_where_nothing_runs_nothing_is_in_doubt(how: dict[str, bool]) -> None:
    bench = Files()
    await bench.start(ONE)
    await at(10)
    bench.change(BOX, **how)
    bench.files.clear()
    bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    for _ in range(3):
        overlap(bench, ONE) if bench.instances[BOX].entries else bench.reconciler.updated(BOX)
        await bench.reconciler.settled()
    await at(100)
    assert bench.notes[BOX] == set()
    assert "clear 1" not in bench.journal


@in_virtual_time
async def test_of_an_interface_nothing_is_in_doubt() -> None:
    bench = Bench()
    await bench.start(interface())
    await at(10)
    overlap(bench, interface())
    bench.reconciler.set_rules(NOBODY)
    await at(20)
    assert bench.journal == ["request +1 -0"]
    assert bench.notes.get(BOX, set()) == set()


@in_virtual_time
async def test_in_a_virtual_machine_nothing_is_in_doubt() -> None:
    bench = Bench(replace(box(), kind="virtual-machine"))
    noted(bench)
    bench.hanging_looks.add(BOX)
    bench.reconciler.listed_devices([], [])
    await bench.reconciler.listed_instances(bench.instances.values())
    await at(20)
    assert bench.journal == []
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_in_a_dry_run_nothing_is_noted_or_taken_away() -> None:
    bench = Files(box([entry(ONE)]), dry_run=True)
    await bench.start(ONE)
    await at(10)
    overlap(bench, ONE)
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    assert bench.journal == []
    assert bench.notes == {}
