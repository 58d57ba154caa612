"""What the server may have left inside of entries that it does not have is taken away."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hotplugd.model.entry import name_for, target_of
from hotplugd.model.ports import Busy, Gone, Refused, ServerError, Unreachable
from hotplugd.model.values import Entry
from tests.support.devices import BOX, all_with, console, entry, rule, ruleset
from tests.support.virtual import at, in_virtual_time, later
from tests.unit.reconcile.orphans_bench import (
    BAD,
    ONE,
    TWO,
    Files,
    forget,
    in_turn,
    never_clear,
    nodes,
    one_at,
    overlap,
    with_both_lost,
)


@in_virtual_time
async def test_what_the_server_forgot_and_no_rule_wants_is_taken_away() -> None:
    bench = Files()
    await bench.start(ONE, TWO)
    await at(10)
    bench.takes = 1
    overlap(bench, ONE)
    await later(0.5)
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    assert bench.inside[BOX].keys() == {TWO.node}
    assert bench.journal.count("clear 1") == 1
    assert bench.told() == []
    assert bench.notes[BOX] == set()
    assert [each["log_level"] for each in bench.events("device.left-behind")] == ["warning"]


@in_virtual_time
async def test_what_somebody_takes_out_and_no_rule_wants_costs_a_look() -> None:
    bench = Files()
    await bench.start(ONE, TWO)
    await at(10)
    bench.takes = 1
    overlap(bench, ONE)
    bench._away({name_for(ONE.slot)})
    await later(0.5)
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    assert bench.journal == ["request +2 -0", f"cut {ONE.slot}", f"unlink {ONE.slot}"]
    assert bench.notes[BOX] == set()
    assert bench.events("device.left-behind") == []


@in_virtual_time
async def test_a_file_that_the_server_keeps_goes_though_nobody_sees_the_node() -> None:
    bench = Files()
    await bench.start(ONE, TWO)
    await at(10)
    bench.inside[BOX].pop(target_of(entry(ONE)))
    overlap(bench, ONE)
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    assert {name for name, _ in bench.files} == {name_for(TWO.slot)}
    assert bench.notes[BOX] == set()
    assert bench.told() == []


@in_virtual_time
async def test_its_links_go_too() -> None:
    bench = Files(rules=all_with("link: /dev/modem"))
    await bench.start(ONE)
    await at(10)
    assert "/dev/modem" in bench.inside[BOX]
    bench.takes = 1
    overlap(bench, ONE)
    await later(0.5)
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    assert bench.inside[BOX] == {}


@in_virtual_time
async def test_what_we_have_taken_out_is_in_nobodys_way() -> None:
    bench = Files(rules=in_turn())
    bench.hanging_looks.add(BOX)
    bench.reconciler.listed_devices([ONE], [])
    await bench.reconciler.listed_instances(bench.instances.values())
    await at(10)
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    bench.reconciler.device(TWO)
    await at(30)
    assert nodes(bench) == {"/dev/lab": str(TWO.devnum)}
    assert not [each for each in bench.journal if each.startswith("clear")]


@pytest.mark.parametrize("since", ["seen", "put in again", "restarted", "restarted in no time"])
@in_virtual_time
async def test_what_was_lost_is_in_nobodys_way_any_more(since: str) -> None:
    bench = Files(rules=in_turn())
    await bench.start(ONE)
    await at(10)
    overlap(bench, ONE)
    if since == "put in again":
        await at(20)
        bench.reconciler.set_rules(all_with("path: /dev/elsewhere"))
        await at(30)
        assert nodes(bench) == {"/dev/elsewhere": str(ONE.devnum)}
    elif since == "seen":
        bench._away({name_for(ONE.slot)})
        bench.reconciler.no_device(ONE.syspath)
        await at(20)
        bench.reconciler.device(TWO)
        await at(30)
        assert nodes(bench) == {"/dev/lab": str(TWO.devnum)}
    else:
        bench.hanging_looks.add(BOX)
        bench.reconciler.no_device(ONE.syspath)
        await at(20)
        for running in (False, True) if since == "restarted" else (True,):
            bench.change(BOX, running=running)
            bench.files.clear()
            bench.reconciler.restarted(BOX)
            await later(0.5)
        bench.reconciler.device(TWO)
        await at(30)
        assert nodes(bench)["/dev/lab"] == str(TWO.devnum)
    # But for its own file, which the server finds when it is put in again.
    cleared = [each for each in bench.journal if each.startswith("clear")]
    assert cleared == (["clear 1"] if since == "put in again" else [])


@in_virtual_time
async def test_what_an_update_has_left_is_in_nobodys_way() -> None:
    bench = Files(rules=one_at(1, "/dev/old"))
    await bench.start(ONE, TWO)
    await at(10)
    bench.hanging_looks.add(BOX)
    forget(bench, ONE)
    bench.reconciler.set_rules(one_at(1, "/dev/lab"))
    await later(0.01)
    bench.reconciler.set_rules(one_at(2, "/dev/lab"))
    await at(60)
    assert nodes(bench) == {"/dev/lab": str(TWO.devnum)}


@in_virtual_time
async def test_it_is_looked_for_though_events_never_end() -> None:
    bench = Files()
    await bench.start(ONE, TWO)
    await at(10)
    bench.looking = 0.3
    forget(bench, ONE)
    bench.reconciler.no_device(ONE.syspath)
    for _ in range(30):
        bench.reconciler.refresh(BOX)
        await later(0.1)
    assert ONE.node not in bench.inside[BOX]


@in_virtual_time
async def test_what_was_refused_is_asked_for_once_the_server_is_back() -> None:
    bench = await with_both_lost()

    never_clear(bench)
    await at(3000)
    bench.unclear = lambda _: None
    await bench.reconciler.listed_instances(bench.instances.values())
    await later(1)
    assert bench.inside[BOX].keys() == {BAD.node}
    assert bench.told() == []


@in_virtual_time
async def test_an_orphan_that_stays_does_not_block_others_for_ever() -> None:
    bench = Files(rules=one_at(1, "/dev/lab"))
    await bench.start(ONE, TWO)
    await at(10)

    never_clear(bench)
    overlap(bench, ONE)
    bench.reconciler.set_rules(one_at(2, "/dev/lab"))
    bench.patience = 100
    await at(60)
    assert bench.ours() == {name_for(TWO.slot)}
    assert any("it does not fit" in str(each) for each in bench.logged.entries)


@in_virtual_time
async def test_one_that_the_server_does_not_take_away_keeps_no_other() -> None:
    bench = await with_both_lost()

    def unclear(left: Sequence[Entry]) -> None:
        if name_for(ONE.slot) in {each.name for each in left}:
            raise Refused("there is a folder at its place")

    bench.unclear = unclear
    bench.reconciler.device(console(4))
    await at(600)
    assert bench.inside[BOX].keys() == {ONE.node, BAD.node, console(4).node}
    assert any("restarting the instance" in each for each in bench.told())
    assert 8 < bench.journal.count("clear 1") < 20
    assert bench.notes[BOX] == {name_for(ONE.slot)}
    assert [each["reason"] for each in bench.events("instance.problem")].count(
        "there is a folder at its place"
    ) == 1
    assert any("there is a folder at its place" in each for each in bench.told())
    over = {each["reason"] for each in bench.events("problem.over")}
    assert "there is a folder at its place" not in over
    bench.unclear = lambda _: None
    await at(1300)
    assert bench.inside[BOX].keys() == {BAD.node, console(4).node}
    assert bench.told() == []
    assert bench.notes[BOX] == set()


@pytest.mark.parametrize("error", [Busy("it changes"), Unreachable("it hangs"), Gone("no such volume")])
@in_virtual_time
async def test_a_server_that_never_gets_to_it_keeps_no_device_out(error: ServerError) -> None:
    bench = await with_both_lost()

    never_clear(bench, error)
    await at(20)
    bench.reconciler.device(console(4))
    await at(120)
    assert console(4).node in bench.inside[BOX]
    assert len(bench.journal) < 60


@in_virtual_time
async def test_one_by_one_ends_where_the_server_goes_away() -> None:
    bench = await with_both_lost()

    def unclear(left: Sequence[Entry]) -> None:
        if len(left) > 1:
            raise Refused("it does not fit")
        raise Unreachable("it has ended")

    bench.unclear = unclear
    while "clear 2" not in bench.journal:
        await later(0.01)
    await later(0.05)
    assert bench.journal.count("clear 1") == 1


@in_virtual_time
async def test_what_is_refused_and_seen_gone_is_not_asked_for_again() -> None:
    bench = await with_both_lost()

    def unclear(_: object) -> None:
        bench._away({name_for(ONE.slot), name_for(TWO.slot)})
        raise Refused("it does not fit")

    bench.unclear = unclear
    await at(3600)
    assert bench.journal.count("clear 1") == 2
    assert bench.notes[BOX] == set()
    assert bench.told() == []


@pytest.mark.parametrize("between", ["reload", "theirs"])
@in_virtual_time
async def test_what_was_lost_is_looked_for_whatever_comes_between(between: str) -> None:
    bench = Files()
    await bench.start(ONE, TWO)
    await at(10)
    bench.looking = 1
    theirs = {"mine": Entry("mine", {"type": "unix-char", "source": ONE.node})}
    entries = dict(bench.instances[BOX].entries)
    overlap(bench, ONE)
    bench.reconciler.no_device(ONE.syspath)
    if between == "theirs":
        bench.change(BOX, entries={**bench.instances[BOX].entries, **theirs})
        await at(20)
        assert ONE.node in bench.inside[BOX]
        del entries[name_for(ONE.slot)]
        bench.change(BOX, entries=entries)
        bench.reconciler.updated(BOX)
    else:
        await later(0.5)
        bench.reconciler.set_rules(ruleset(rule("{subsystem: tty}", "{to: box}")))
    await at(40)
    assert bench.inside[BOX].keys() == {TWO.node}
    assert bench.told() == []


@in_virtual_time
async def test_a_reload_does_not_hide_what_was_left() -> None:
    bench = await with_both_lost()

    never_clear(bench)
    await at(20)
    bench.reconciler.set_rules(ruleset(rule("{subsystem: tty}", "{to: box}")))
    await at(21)
    assert len([each for each in bench.told() if "is still there" in each]) == 2
