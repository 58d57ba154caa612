"""Nodes are sealed before they go, on every way out. That they are each time, the bench sees to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.entry import name_for
from hotplugd.model.ports import Busy, LeftBehind, Refused
from hotplugd.model.problem import Problem
from hotplugd.model.values import InstanceName, Node
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import ALL, BOX, all_with, box, console, entry, rule, ruleset
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench, Request

ONE, TWO = console(1), console(2)
OTHER = InstanceName("default", "other")
NOTHING = ruleset(rule("{subsystem: none}", "{to: box}"))
ELSEWHERE = ruleset(rule("{subsystem: '*'}", "{to: other}"))


def sealed(bench: Bench, name: InstanceName = BOX) -> set[str]:
    return bench.seals.sealed.get(name, set())


@in_virtual_time
async def test_what_goes_by_a_rule_is_sealed_before_it_is_taken_out() -> None:
    bench = Bench()
    await bench.start(ONE, TWO)
    assert sealed(bench) == set()
    bench.seals.takes = 0.5
    await at(10)
    bench.reconciler.set_rules(NOTHING)
    await bench.reconciler.settled()
    assert sealed(bench) == {name_for(ONE.slot), name_for(TWO.slot)}
    assert bench.sizes == [(0, 2), (10.5, 2)]


@in_virtual_time
async def test_what_moves_is_sealed_where_it_was() -> None:
    bench = Bench(box(), box(name="other"))
    await bench.start(ONE)
    bench.reconciler.set_rules(ELSEWHERE)
    await bench.reconciler.settled()
    assert bench.ours(OTHER) == {name_for(ONE.slot)}
    assert (sealed(bench), sealed(bench, OTHER)) == ({name_for(ONE.slot)}, set())


@in_virtual_time
async def test_what_is_pulled_is_sealed_before_its_link_goes() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.seals.takes = 0.5
    bench.reconciler.no_device(ONE.syspath)
    assert ONE.slot in bench.links
    await bench.reconciler.settled()
    assert sealed(bench) == {name_for(ONE.slot)}
    assert ONE.slot not in bench.links
    assert bench.ours() == set()


@in_virtual_time
@pytest.mark.parametrize("takes", [0.0, 0.5])
async def test_what_is_pulled_is_sealed_once(takes: float) -> None:
    bench = Bench()
    for born in (1, 2):
        one = console(1, born=born)
        await (bench.start(one) if born == 1 else bench.plug(one))
        bench.seals.takes = takes
        bench.seals.asked.clear()
        bench.reconciler.no_device(one.syspath)
        await bench.reconciler.settled()
        assert bench.ours() == set()
        assert bench.seals.asked == [{name_for(one.slot)}]


@in_virtual_time
async def test_also_where_the_server_does_not_take_it_out_at_once() -> None:
    bench = Bench()
    await bench.start(ONE)

    def judge(_: Request) -> None:
        raise Busy("it stops")

    bench.judge = judge
    bench.reconciler.no_device(ONE.syspath)
    await at(10)
    assert len(bench.requests) > 3
    assert bench.seals.asked == [{name_for(ONE.slot)}]
    # There are other nodes, and after that another entry.
    bench.reconciler.restarted(BOX)
    await at(20)
    assert bench.seals.asked == [{name_for(ONE.slot)}] * 2


@in_virtual_time
async def test_what_was_put_in_again_is_sealed_again() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.reconciler.no_device(ONE.syspath)
    bench.reconciler.device(ONE)
    await at(10)
    bench.inside[BOX][ONE.node] = replace(bench.inside[BOX][ONE.node], mode=0, sealed=True)
    bench.reconciler.look_again(BOX)
    await at(20)
    assert not bench.inside[BOX][ONE.node].sealed
    bench.seals.asked.clear()
    bench.reconciler.no_device(ONE.syspath)
    await at(30)
    assert bench.seals.asked == [{name_for(ONE.slot)}]


@in_virtual_time
async def test_a_device_that_is_back_before_its_removal_is_repaired() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    bench.seals.takes = 0.5
    bench.seals.done = lambda name: bench.inside[name].update(
        {ONE.node: replace(bench.inside[name][ONE.node], mode=0, sealed=True)}
    )
    bench.reconciler.no_device(ONE.syspath)
    bench.reconciler.device(ONE)
    await at(30)
    assert sealed(bench) == set()
    assert not bench.inside[BOX][ONE.node].sealed
    assert bench.verified() == {ONE.node: True}
    assert ONE.slot in bench.links


@in_virtual_time
async def test_what_is_pulled_while_it_is_put_in_is_looked_for() -> None:
    bench = Bench()
    bench.takes = 5
    await bench.start()
    bench.reconciler.device(ONE)
    await at(2)
    bench.reconciler.no_device(ONE.syspath)
    await at(3)
    assert sealed(bench) == {name_for(ONE.slot)}
    assert ONE.slot in bench.links
    await bench.reconciler.settled()
    assert bench.ours() == set()
    assert ONE.slot not in bench.links


@in_virtual_time
async def test_a_device_in_no_instance_has_nothing_to_seal() -> None:
    bench = Bench(rules=NOTHING)
    await bench.start(ONE)
    bench.reconciler.no_device(ONE.syspath)
    assert bench.journal[-1:] == [f"unlink {ONE.slot}"]


@in_virtual_time
async def test_updates_and_repairs_make_new_nodes() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.reconciler.set_rules(all_with("mode: '0600'"))
    await bench.reconciler.settled()
    await at(10)
    bench.unmount(ONE)
    await bench.reconciler.settled()
    assert len(bench.requests) == 3
    # What was there is sealed once the server has replaced it: the bench sees that it is held.
    assert sealed(bench) == set()


@in_virtual_time
async def test_an_update_that_is_refused_leaves_the_node_as_it_was_and_is_said() -> None:
    bench = Bench()
    await bench.start(ONE)

    def judge(_: Request) -> None:
        raise Refused("such a mode is forbidden here")

    bench.judge = judge
    await at(10)
    bench.reconciler.set_rules(all_with("mode: '0600'"))
    await at(300)
    assert len(bench.requests) > 3
    assert sealed(bench) == set()
    (said,) = bench.told()
    assert said == "cannot update in box: such a mode is forbidden here"
    bench.judge = lambda _: None
    await at(400)
    assert bench.inside[BOX][ONE.node].mode == 0o600
    assert bench.told() == []


@in_virtual_time
async def test_what_the_server_did_not_take_out_is_made_anew() -> None:
    await repaired(ALL)


@in_virtual_time
async def test_also_where_the_rule_says_which_mode_it_has() -> None:
    await repaired(all_with("mode: '0660'"))


async def repaired(rules: RuleSet) -> None:
    bench = Bench(rules=rules)
    await bench.start(ONE)

    def judge(request: Request) -> None:
        if request.remove:
            node = bench.inside[BOX][ONE.node]
            bench.inside[BOX][ONE.node] = replace(node, mode=0, sealed=True)
            raise Busy("it stops")

    bench.judge = judge
    await at(10)
    bench.reconciler.set_rules(NOTHING)
    await at(10.05)
    bench.reconciler.set_rules(rules)
    await at(100)
    assert bench.verified() == {"/dev/ttyUSB1": True}
    assert not bench.inside[BOX][ONE.node].sealed
    assert bench.told() == []


@in_virtual_time
async def test_one_that_is_meant_for_nobody_is_no_sealed_one() -> None:
    bench = Bench(rules=all_with("mode: '0000'"))
    await bench.start(ONE)
    bench.inside[BOX][ONE.node] = replace(bench.inside[BOX][ONE.node], mode=0, sealed=True)
    bench.reconciler.look_again(BOX)
    await at(100)
    assert len(bench.requests) == 1
    assert bench.verified() == {"/dev/ttyUSB1": True}


@in_virtual_time
async def test_a_refusal_of_one_leaves_none_sealed_that_stays() -> None:
    bench = Bench()
    await bench.start(ONE, TWO)

    def judge(request: Request) -> None:
        if name_for(ONE.slot) in request.remove:
            raise Refused("it does not go", frozenset({name_for(ONE.slot)}))

    bench.judge = judge
    bench.reconciler.set_rules(ruleset(rule("{kernel: none}", "{to: box}")))
    await at(10)
    assert bench.ours() == {name_for(ONE.slot)}
    assert name_for(TWO.slot) in sealed(bench)
    (said,) = bench.told()
    assert said.startswith("cannot remove in box: it does not go; its node in there is sealed")
    assert f"`lxc config device remove box {name_for(ONE.slot)}`" in said
    # The rule is back, and so is the device.
    bench.inside[BOX][ONE.node] = replace(bench.inside[BOX][ONE.node], mode=0, sealed=True)
    bench.reconciler.set_rules(ALL)
    await at(20)
    assert bench.told() == []
    assert bench.verified() == {ONE.node: True, TWO.node: True}


@in_virtual_time
async def test_what_could_not_be_sealed_is_not_said_to_be() -> None:
    bench = Bench()
    await bench.start(ONE)

    def judge(_: Request) -> None:
        raise Refused("it does not go")

    bench.judge = judge
    bench.seals.told.append(Problem("/dev/x", "r", "it could not be sealed"))
    bench.reconciler.set_rules(NOTHING)
    await at(10)
    assert bench.told() == ["cannot remove in box: it does not go", "it could not be sealed"]


@in_virtual_time
async def test_an_orphaned_node_is_sealed_before_it_is_cleared() -> None:
    bench = Bench(box([entry(ONE)]))
    await bench.start(ONE)
    bench.change(BOX, entries={})
    bench.halves[ONE.node] = (name_for(ONE.slot), bench.inside[BOX][ONE.node])
    bench.reconciler.set_rules(NOTHING)
    bench.reconciler.updated(BOX)
    await at(100)
    assert "clear 1" in bench.journal
    assert sealed(bench) == {name_for(ONE.slot)}


@in_virtual_time
async def test_what_is_in_the_way_of_a_new_one_is_sealed_before_it_is_cleared() -> None:
    bench = Bench(rules=NOTHING)
    await bench.start(ONE)
    node = Node(ONE.devnum, 0o660)
    bench.inside[BOX][ONE.node] = node
    bench.halves[ONE.node] = (name_for(ONE.slot), node)

    def judge(request: Request) -> None:
        if bench.halves:
            raise LeftBehind("there is a file", request.names)

    bench.judge = judge
    bench.reconciler.set_rules(ALL)
    await at(10)
    assert bench.seals.asked == [{name_for(ONE.slot)}]
    assert bench.journal[-2:] == ["clear 1", "request +1 -0"]
    assert bench.verified() == {ONE.node: True}
    assert bench.told() == []


@in_virtual_time
async def test_stopped_instances_and_dry_runs_have_nothing_to_seal() -> None:
    bench = Bench(box([entry(ONE)], running=False), rules=NOTHING)
    await bench.start(ONE)
    assert bench.ours() == set()
    assert sealed(bench) == set()
    dry = Bench(box([entry(ONE)]), rules=NOTHING, dry_run=True)
    await dry.start(ONE)
    dry.reconciler.no_device(ONE.syspath)
    await dry.reconciler.settled()
    assert (sealed(dry), dry.seals.had) == (set(), {})


@in_virtual_time
async def test_what_is_known_of_instances_is_passed_on() -> None:
    bench = Bench()
    await bench.start(ONE)
    assert bench.seals.had[BOX] == bench.instances[BOX]
    bench.reconciler.restarted(BOX)
    assert bench.seals.restarts == [BOX]
    bench.seals.told.append(Problem("/dev/x", "r", "it could not be sealed"))
    assert bench.told() == ["it could not be sealed"]
