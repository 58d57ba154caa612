"""What an instance that starts meanwhile has inside is sealed before the server takes it out."""

from __future__ import annotations

import pytest

from hotplugd.model.entry import name_for
from hotplugd.model.ports import Changed
from hotplugd.reconcile.freshness import EDITED
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import BOX, all_with, box, console, entry, rule, ruleset
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench

ONE = console(1)
NAME = name_for(ONE.slot)
NOBODY = ruleset(rule("{subsystem: none}", "{to: box}"))
OTHER_MODE = all_with("mode: '0600'")


async def asked(rules: RuleSet, *, running: bool) -> Bench:
    """The server is asked at 10 s, and takes 2 s, to do what these rules say."""
    bench = Bench(box([entry(ONE)], running=running))
    await bench.start(ONE)
    await at(10)
    bench.takes = 2
    bench.reconciler.set_rules(rules)
    await at(11)
    assert len(bench.requests) == 1
    return bench


@in_virtual_time
@pytest.mark.parametrize("told", [True, False])
async def test_what_starts_while_the_server_has_the_request_is_sealed_first(told: bool) -> None:
    # The bench's server refuses what was asked of the stopped instance, and sees what it takes out then.
    bench = await asked(NOBODY, running=False)
    bench.begin(BOX)
    if told:
        bench.reconciler.refresh(BOX)
    await at(30)
    assert bench.seals.sealed[BOX] == {NAME}
    assert (bench.ours(), bench.told(), bench.events("instance.problem")) == (set(), [], [])
    assert bench.times == [10, 14]


@in_virtual_time
async def test_what_starts_while_the_server_is_to_replace_it_is_held_first() -> None:
    bench = await asked(OTHER_MODE, running=False)
    bench.begin(BOX)
    await at(30)
    assert bench.seals.held[BOX] == {NAME}
    assert bench.inside[BOX][ONE.node].mode == 0o600


@in_virtual_time
async def test_what_was_made_anew_while_it_was_sealed_is_sealed_again() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    bench.seals.takes = 2
    bench.reconciler.set_rules(NOBODY)
    await at(11)
    bench.end(BOX)
    bench.begin(BOX)
    await at(30)
    assert bench.seals.sealed[BOX] == {NAME}
    assert bench.ours() == set()


@in_virtual_time
@pytest.mark.parametrize("rules", [NOBODY, OTHER_MODE])
async def test_what_restarts_while_the_server_has_the_request_is_said(rules: RuleSet) -> None:
    # Of that the ETag does not tell.
    bench = await asked(rules, running=True)
    bench.end(BOX)
    bench.begin(BOX)
    await at(30)
    assert bench.seals.missing == {BOX: {NAME}}


@in_virtual_time
async def test_what_stops_while_the_server_has_the_request_is_not() -> None:
    bench = await asked(NOBODY, running=True)
    bench.end(BOX)
    await at(30)
    bench.begin(BOX)
    bench.reconciler.refresh(BOX)
    await at(60)
    assert bench.seals.missing == {}


@in_virtual_time
async def test_what_an_instance_starts_with_though_its_entry_went_is_sealed_and_taken_away() -> None:
    # It began to start before, and its server had read its entries.
    bench = await asked(NOBODY, running=False)
    entries = bench.instances[BOX].entries
    await at(20)
    assert bench.ours() == set()
    without = bench.instances[BOX].entries
    bench.change(BOX, entries=entries)
    bench.begin(BOX)
    bench.change(BOX, entries=without)
    bench.halves[ONE.node] = (NAME, bench.inside[BOX][ONE.node])
    bench.reconciler.refresh(BOX)
    await at(60)
    assert "clear 1" in bench.journal
    assert bench.seals.sealed[BOX] == {NAME}
    assert (bench.inside[BOX], bench.told()) == ({}, [])


@in_virtual_time
async def test_an_instance_that_flips_at_every_request_is_asked_for_ever_more_slowly() -> None:
    bench = await asked(NOBODY, running=False)
    bench.takes = 0.001

    def flip(_: object) -> None:
        bench.end(BOX)
        bench.begin(BOX)

    bench.answer = flip
    bench.patience = 100_000
    await at(100)
    assert len(bench.gets) < 400
    bench.answer = lambda _: None
    await at(130)
    assert bench.ours() == set()


@in_virtual_time
async def test_who_edits_it_at_each_moment_keeps_its_node_and_is_said() -> None:
    def judge(_: object) -> None:
        raise Changed(f"{BOX} was started, or somebody changed an entry of ours in it, meanwhile")

    bench = Bench()
    await bench.start(ONE)
    bench.judge = judge
    bench.reconciler.set_rules(NOBODY)
    await at(60)
    assert len(bench.requests) < 300
    assert any(EDITED in each for each in bench.told())
    before = len(bench.requests)
    await at(120)
    assert len(bench.requests) - before <= 60
    bench.judge = lambda _: None
    await at(125)
    assert (bench.ours(), bench.seals.sealed[BOX]) == (set(), {NAME})
