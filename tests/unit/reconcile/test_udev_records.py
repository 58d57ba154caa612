"""udev's records inside: for which devices, when, and what those inside are told meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.ports import Untold
from hotplugd.model.values import InstanceName
from tests.support.devices import ALL, BOX, all_with, box, console, entry
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench

ONE, TWO = console(1), console(2)
UDEV = all_with("udev: true")
HOUR = 3600


def kept(bench: Bench) -> set[str]:
    """The slots of the devices that have a record in the box."""
    return set(bench.database.kept.get(BOX, {}))


def told(bench: Bench) -> list[tuple[float, str, str]]:
    return [(when, action, slot) for when, _, action, _, slot in bench.heard]


def broken(_: InstanceName) -> None:
    raise Untold("data in there is no folder")


@in_virtual_time
async def test_the_record_is_there_before_the_uevent_and_goes_with_the_device() -> None:
    bench = Bench(rules=UDEV)
    bench.database.takes = 3
    await bench.start()
    await at(10)
    await bench.plug(ONE)
    await at(20)
    assert kept(bench) == {ONE.slot}
    assert told(bench) == [(13, "add", ONE.slot)]
    bench.reconciler.no_device(ONE.syspath)
    await at(30)
    assert kept(bench) == set()
    assert [action for _, action, _ in told(bench)] == ["add", "remove"]


@in_virtual_time
async def test_rules_that_do_not_say_so_have_none_and_wait_for_none() -> None:
    bench = Bench(rules=ALL)
    await bench.start(ONE)
    await at(HOUR)
    assert bench.database.calls == []
    assert [action for _, action, _ in told(bench)] == ["add"]


@in_virtual_time
async def test_one_that_cannot_be_written_is_said_and_its_device_told_of_later() -> None:
    bench = Bench(rules=UDEV)
    bench.database.judge = broken
    await bench.start(ONE)
    await at(100)
    assert told(bench) == []
    assert bench.verified() == {"/dev/ttyUSB1": True}
    assert [each for each in bench.told() if "data in there is no folder" in each]
    assert len(bench.events("udev-record.problem")) == 1
    assert len(bench.database.calls) < 10
    bench.database.judge = lambda _: None
    await at(200)
    assert bench.told() == []
    assert kept(bench) == {ONE.slot}
    assert [action for _, action, _ in told(bench)] == ["add"]


@in_virtual_time
async def test_what_somebody_took_away_is_put_back_at_the_next_look() -> None:
    bench = Bench(rules=UDEV)
    await bench.start(ONE)
    bench.database.kept.clear()
    bench.reconciler.look_again(BOX)
    await at(HOUR)
    assert kept(bench) == {ONE.slot}
    assert len(bench.database.calls) == 2
    assert len(told(bench)) == 1


@in_virtual_time
async def test_what_udevd_says_later_is_written_and_nobody_is_told_again() -> None:
    bench = Bench(rules=UDEV)
    await bench.start(ONE)
    later = replace(ONE, properties={**ONE.properties, "ID_INPUT": "1"})
    await bench.plug(later)
    assert bench.database.kept[BOX][ONE.slot].device.properties["ID_INPUT"] == "1"
    assert len(bench.requests) == 1
    assert len(told(bench)) == 1


@in_virtual_time
async def test_after_a_restart_of_the_container_it_is_there_again() -> None:
    bench = Bench(rules=UDEV)
    await bench.start(ONE)
    bench.database.kept.clear()
    bench.reconciler.restarted(BOX)
    await at(HOUR)
    assert kept(bench) == {ONE.slot}
    assert [action for _, action, _ in told(bench)] == ["add", "add"]


@in_virtual_time
async def test_an_end_that_comes_while_it_is_written_begins_anew() -> None:
    bench = Bench(rules=UDEV)
    bench.database.takes = 5
    await bench.start()
    await at(10)
    bench.reconciler.device(ONE)
    await at(12)
    bench.reconciler.restarted(BOX)
    await at(HOUR)
    assert kept(bench) == {ONE.slot}
    assert len(told(bench)) == 1


@pytest.mark.parametrize("wanted", [False, True], ids=["nothing", "another device"])
@in_virtual_time
async def test_records_of_before_go_where_their_device_went_meanwhile(wanted: bool) -> None:
    bench = Bench(rules=UDEV)
    bench.record_notes.before.add(BOX)
    bench.record_notes.there.add(BOX)
    await bench.start(*([TWO] if wanted else []))
    bench.reconciler.look_again(BOX)
    await at(HOUR)
    assert bench.database.calls
    assert kept(bench) == ({TWO.slot} if wanted else set())
    assert bench.record_notes.there == ({BOX} if wanted else set())


@in_virtual_time
async def test_a_rule_that_asks_for_it_no_more_takes_it_away() -> None:
    bench = Bench(rules=UDEV)
    await bench.start(ONE)
    bench.reconciler.set_rules(ALL)
    await at(HOUR)
    assert kept(bench) == set()
    assert len(bench.requests) == 1
    assert bench.record_notes.there == set()


@in_virtual_time
async def test_that_there_may_be_some_is_noted_before() -> None:
    bench = Bench(rules=UDEV)
    bench.database.judge = broken
    await bench.start(ONE)
    assert bench.record_notes.there == {BOX}


@in_virtual_time
async def test_the_note_stays_while_the_container_is_stopped_and_goes_with_it() -> None:
    bench = Bench(rules=UDEV)
    await bench.start(ONE)
    bench.change(BOX, running=False)
    bench.reconciler.restarted(BOX)
    await at(100)
    assert bench.record_notes.there == {BOX}
    del bench.instances[BOX]
    bench.reconciler.no_device(ONE.syspath)
    bench.reconciler.refresh(BOX)
    await at(200)
    assert bench.record_notes.there == set()


@in_virtual_time
async def test_a_dry_run_writes_none() -> None:
    bench = Bench(box([entry(ONE)]), rules=UDEV, dry_run=True)
    bench.record_notes.before.add(BOX)
    await bench.start(ONE)
    await at(HOUR)
    assert bench.database.calls == []
