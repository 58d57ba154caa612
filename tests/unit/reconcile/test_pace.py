"""Somebody or something works against us for hours: never a busy loop, and never given up."""

from __future__ import annotations

import pytest

from hotplugd.model.entry import MARK_SLOT, name_for
from hotplugd.model.values import Entry, InstanceName
from tests.support.devices import ALL, BOX, box, console, disk, entry, gpu, rule, ruleset
from tests.support.virtual import at, clock, in_virtual_time, later, now
from tests.unit.reconcile.bench import Bench, Request

ONE, TWO = console(1), console(2)
HOUR = 3600
NOWHERE = ruleset(rule("{subsystem: '*'}", None))


@in_virtual_time
async def test_what_a_person_has_put_in_and_taken_out_is_no_fight() -> None:
    bench = Bench()
    await bench.start(ONE)
    for second in range(4):
        await at(10 * second + 5)
        bench.reconciler.set_rules(NOWHERE)
        await bench.reconciler.settled()
        await at(10 * second + 8)
        bench.reconciler.set_rules(ALL)
        await bench.reconciler.settled()
    assert bench.times == [0, *(10 * second + more for second in range(4) for more in (5, 8))]
    assert bench.told() == []
    # Who takes it out then is somebody else, all the same.
    for _ in range(5):
        bench.change(BOX, entries={})
        bench.reconciler.refresh(BOX)
        await bench.reconciler.settled()
    assert any("was changed again and again" in message for message in bench.told())


@in_virtual_time
async def test_a_request_without_effect_is_repeated_with_backoff() -> None:
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
async def test_removals_without_effect_are_no_busy_loop() -> None:
    bench = Bench(box([entry(ONE)]))

    def applied(_: Request) -> None:
        bench.change(BOX, entries={entry(ONE).name: entry(ONE)})

    bench.applied = applied
    bench.patience = 100
    await bench.start()
    await at(HOUR)
    assert len(bench.requests) < 75


@in_virtual_time
async def test_additions_without_effect_are_no_busy_loop() -> None:
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
async def test_a_pause_that_ends_during_a_plan_is_not_forgotten(before: float) -> None:
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


# --- an instance that never rests -----------------------------------------------------------------------


@in_virtual_time
async def test_new_devices_gather_and_removals_do_not_wait() -> None:
    bench = Bench()
    await bench.start()
    for number in range(1, 801):
        device = disk(number)
        await bench.plug(device)
        await later(0.01)
        bench.reconciler.no_device(device.syspath)
        await bench.reconciler.settled()
        assert name_for(device.slot) not in bench.ours(), "what was pulled is still there"
        await later(0.01)
    assert len(bench.requests) <= 2 * (101 + 2 * now())
    (told,) = bench.told()
    assert told.startswith("box: its devices change all the time")
    assert len(bench.events("instance.problem")) == 1
    await bench.plug(ONE)
    await later(10)
    assert bench.verified() == {str(ONE): True}
    await later(60)
    assert bench.told() == []


@in_virtual_time
async def test_a_removal_does_not_wait_in_a_busy_instance() -> None:
    bench = Bench()
    await bench.start(ONE, TWO)
    for number in range(1, 300):
        await bench.plug(disk(number))
    for each in (ONE, TWO):
        assert name_for(each.slot) in bench.ours()
        bench.reconciler.no_device(each.syspath)
        await bench.reconciler.settled()
        assert name_for(each.slot) not in bench.ours()


@in_virtual_time
async def test_so_does_what_version_1_had_attached() -> None:
    before = Bench(box(running=False))
    card, _ = gpu()
    await before.start(card)
    (new,) = before.instances[BOX].entries.values()
    old = Entry(name_for("p-0000:01:00.0-1"), {**new.config, MARK_SLOT: "p-0000:01:00.0-1"})
    bench = Bench(box([old], running=False))
    await bench.start(card)
    for number in range(1, 300):
        await bench.plug(disk(number))
    assert old.name in bench.ours()
    bench.reconciler.no_device(card.syspath)
    await bench.reconciler.settled()
    assert old.name not in bench.ours()


@in_virtual_time
async def test_endless_forged_entries_are_removed_at_a_pace() -> None:
    bench = Bench()
    await bench.start(ONE)
    for number in range(2000):
        stale = entry(console(2, born=number + 2))
        bench.change(BOX, entries={**bench.instances[BOX].entries, stale.name: stale})
        bench.reconciler.refresh(BOX)
        await later(0.01)
    await bench.reconciler.settled()
    assert len(bench.requests) <= 110 + 2 * now()
    await later(60)
    assert bench.ours() == {name_for(ONE.slot)}


@in_virtual_time
async def test_an_endlessly_edited_instance_is_asked_for_less_often() -> None:
    bench = Bench()
    await bench.start(ONE)
    for _ in range(20_000):
        bench.reconciler.refresh(BOX)
        await later(0.01)
    assert len(bench.gets) <= 230 + now()
    assert [
        each for each in bench.told() if each.startswith("box: it is edited, or starts and stops, all the")
    ]
    assert len(bench.events("instance.problem")) == 1
    bench.change(BOX, entries={})
    bench.reconciler.refresh(BOX)
    await later(2)
    assert bench.ours() == {name_for(ONE.slot)}
    await later(5)
    assert bench.told() == []


@in_virtual_time
async def test_an_endlessly_changing_mount_table_is_seen_less_often() -> None:
    bench = Bench()
    await bench.start(ONE)
    before = len(bench.looks)
    for _ in range(20_000):
        bench.reconciler.look_again(BOX)
        await later(0.01)
    assert len(bench.looks) - before <= 70 + now()
    assert [each.startswith("box: it restarts, or something is mounted") for each in bench.told()] == [True]
    assert len(bench.events("instance.problem")) == 1
    await later(1)
    await bench.plug(TWO)
    assert bench.verified() == {str(ONE): True, str(TWO): True}, "what was asked for is seen at once"
    bench.unmount(ONE)
    await later(3)
    assert ONE.node in bench.inside[BOX]
    await later(10)
    assert bench.told() == []


@in_virtual_time
async def test_an_endlessly_restarting_instance_is_seen_less_often() -> None:
    bench = Bench()
    await bench.start(ONE)
    for _ in range(3000):
        bench.reconciler.restarted(BOX)
        await later(0.1)
    await bench.reconciler.settled()
    assert len(bench.looks) <= 75 + now()
    assert len(bench.gets) <= 230 + now()
    assert len(bench.heard) <= len(bench.looks)


@in_virtual_time
async def test_one_that_never_rests_keeps_no_other_waiting() -> None:
    other = InstanceName("default", "other")
    rules = ruleset(
        rule("{subsystem: tty, kernel: ttyUSB2}", "{to: other}"), rule("{subsystem: '*'}", "{to: box}", "s")
    )
    bench = Bench(box(), box(name="other"), rules=rules)
    await bench.start()
    for number in range(1, 200):
        bench.reconciler.device(disk(number))
        bench.reconciler.refresh(BOX)
        bench.reconciler.look_again(BOX)
        await later(0.01)
    before = now()
    await bench.plug(TWO)
    assert now() == before
    assert bench.ours(other) == {name_for(TWO.slot)}
