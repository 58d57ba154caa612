"""Those inside are told of devices: what, when, in which order, and how often."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hotplugd.model.ports import Refused, Unfit, Unreachable, Untold
from hotplugd.model.uevent import Uevent
from hotplugd.model.values import Devnum, InstanceName, Node
from tests.support.devices import ALL, BOX, all_with, box, console, entry, gpu, rule, ruleset
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench, Request

ONE, TWO = console(1), console(2)
AGAIN = console(1, born=2)
OTHER = InstanceName("default", "other")
HOUR = 3600


def told(bench: Bench, instance: str = "box") -> list[tuple[float, str, str]]:
    """When what was told of which slot."""
    return [(when, action, slot) for when, where, action, _, slot in bench.heard if where == instance]


def silent(_: Uevent) -> None:
    raise Untold("nobody carries it")


@in_virtual_time
async def test_what_was_seen_inside_is_told_once() -> None:
    bench = Bench()
    bench.takes, bench.looking = 2, 1
    await bench.start()
    await at(10)
    await bench.plug(ONE)
    bench.reconciler.look_again(BOX)
    bench.reconciler.refresh(BOX)
    await at(HOUR)
    assert bench.heard == [(13, "box", "add", "/dev/ttyUSB1", ONE.slot)]


@in_virtual_time
async def test_what_is_not_seen_inside_is_not_told() -> None:
    bench = Bench()

    def glance(_: InstanceName) -> None:
        raise Unreachable("a file system in there hangs")

    bench.glance = glance
    await bench.start(ONE)
    await at(100)
    assert bench.heard == []
    bench.glance = lambda _: None
    await at(HOUR)
    assert [action for _, action, _ in told(bench)] == ["add"]


@in_virtual_time
async def test_a_node_whose_mode_is_wrong_is_there() -> None:
    bench = Bench(rules=all_with("mode: '0600'"))
    bench.applied = lambda _: bench.inside[BOX].update({ONE.node: Node(Devnum("char", 188, 1), 0o666)})
    await bench.start(ONE)
    assert bench.verified() == {"/dev/ttyUSB1": False}
    assert told(bench) == [(0, "add", ONE.slot)]


@in_virtual_time
async def test_after_a_start_what_is_there_already_is_told_once_more() -> None:
    bench = Bench(box([entry(ONE)]))
    await bench.start(ONE)
    await at(HOUR)
    assert bench.requests == []
    assert told(bench) == [(0, "add", ONE.slot)]


@in_virtual_time
async def test_a_gpus_nodes_are_told_once() -> None:
    nodes = gpu()
    bench = Bench(rules=all_with("as: gpu"))
    put = {each.node: Node(each.devnum, 0o660) for each in nodes}
    bench.applied = lambda request: (
        bench.inside[BOX].update(put) if request.put else bench.inside[BOX].clear()
    )
    bench.telling = 0.1
    await bench.start(*nodes)
    await at(HOUR)
    assert sorted((action, path) for _, _, action, path, _ in bench.heard) == [
        ("add", each.node) for each in nodes
    ]
    for each in nodes:
        bench.reconciler.no_device(each.syspath)
    await at(HOUR + 10)
    assert sorted((action, path) for _, _, action, path, _ in bench.heard[2:]) == [
        ("remove", each.node) for each in nodes
    ]


@in_virtual_time
async def test_a_removal_is_told_once_the_node_is_gone() -> None:
    bench = Bench()
    bench.takes, bench.looking = 2, 1
    await bench.start(ONE)
    await at(10)
    bench.reconciler.no_device(ONE.syspath)
    await at(HOUR)
    assert told(bench) == [(5, "add", ONE.slot), (13, "remove", ONE.slot)]


@in_virtual_time
async def test_a_remove_repeats_the_kernels_variables_of_the_add() -> None:
    bench = Bench()
    await bench.start(ONE)
    said: list[Uevent] = []
    bench.deaf = said.append
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    assert said == [Uevent("remove", ONE, ONE.node, f"kernel of {ONE.slot}")]


@in_virtual_time
async def test_a_removal_is_not_told_while_the_node_stays() -> None:
    bench = Bench()
    await bench.start(ONE)
    left = bench.inside[BOX][ONE.node]
    bench.applied = lambda _: bench.inside[BOX].update({ONE.node: left})
    bench.reconciler.no_device(ONE.syspath)
    await at(10)
    assert told(bench) == [(0, "add", ONE.slot)]
    bench.unmount(ONE)
    await at(HOUR)
    assert told(bench) == [(0, "add", ONE.slot), (10, "remove", ONE.slot)]


@in_virtual_time
async def test_a_removal_is_not_told_while_the_entry_stays() -> None:
    bench = Bench()
    await bench.start(ONE)

    def refuse(_: Request) -> None:
        raise Refused("not now")

    bench.judge = refuse
    bench.reconciler.no_device(ONE.syspath)
    await at(HOUR)
    assert told(bench) == [(0, "add", ONE.slot)]


@in_virtual_time
async def test_what_no_rule_puts_there_any_more_is_told_as_gone() -> None:
    bench = Bench()
    await bench.start(ONE, TWO)
    await at(10)
    bench.reconciler.set_rules(ruleset(rule("{subsystem: tty, kernel: ttyUSB2}", "{to: box}")))
    await at(HOUR)
    assert told(bench)[2:] == [(10, "remove", ONE.slot)]


@in_virtual_time
async def test_what_somebody_else_takes_out_is_told_as_gone() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    bench.reconciler.set_rules(ruleset(rule("{subsystem: nothing}", "{to: box}")))
    bench.change(BOX, entries={})
    bench.inside[BOX].clear()
    bench.reconciler.refresh(BOX)
    await at(HOUR)
    assert len(bench.requests) == 1
    assert told(bench) == [(0, "add", ONE.slot), (10, "remove", ONE.slot)]


@in_virtual_time
async def test_other_rules_that_change_nothing_tell_nothing() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.reconciler.set_rules(all_with("mode: '0660'"))
    await bench.reconciler.settled()
    assert len(bench.requests) == 2
    bench.reconciler.set_rules(ALL)
    await at(HOUR)
    assert len(bench.heard) == 1


@in_virtual_time
async def test_a_node_that_is_put_back_is_not_told_again() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    bench.unmount(ONE)
    await at(HOUR)
    assert len(bench.requests) == 2
    assert len(bench.heard) == 1


@in_virtual_time
async def test_a_device_that_is_enumerated_again_goes_and_comes() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    await bench.plug(AGAIN)
    assert told(bench) == [(0, "add", ONE.slot), (10, "remove", ONE.slot), (10, "add", AGAIN.slot)]


@in_virtual_time
async def test_so_does_one_that_gets_another_number_and_node() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    other = replace(TWO, syspath=ONE.syspath)
    await bench.plug(other)
    assert [(action, path) for _, _, action, path, _ in bench.heard] == [
        ("add", ONE.node),
        ("remove", ONE.node),
        ("add", other.node),
    ]


@in_virtual_time
async def test_a_node_that_a_rule_moves_goes_and_comes() -> None:
    bench = Bench(rules=all_with("path: /dev/here"))
    await bench.start(ONE)
    bench.reconciler.set_rules(all_with("path: /dev/there"))
    await at(HOUR)
    assert [(action, path) for _, _, action, path, _ in bench.heard] == [
        ("add", "/dev/here"),
        ("remove", "/dev/here"),
        ("add", "/dev/there"),
    ]


@in_virtual_time
async def test_a_new_init_is_told_of_present_devices_only() -> None:
    bench = Bench()
    await bench.start(ONE, TWO)
    await at(10)
    bench.change(BOX, running=False)
    bench.reconciler.restarted(BOX)
    bench.reconciler.no_device(TWO.syspath)
    await at(20)
    bench.change(BOX, running=True)
    bench.reconciler.refresh(BOX)
    await at(HOUR)
    assert told(bench)[2:] == [(20, "add", ONE.slot)]


@in_virtual_time
async def test_an_instance_that_was_stopped_is_told_again() -> None:
    bench = Bench()
    await bench.start(ONE)
    for when, running in ((10, False), (20, True)):
        await at(when)
        bench.change(BOX, running=running)
        bench.reconciler.refresh(BOX)
    await at(HOUR)
    assert told(bench) == [(0, "add", ONE.slot), (20, "add", ONE.slot)]


@in_virtual_time
async def test_an_init_replaced_between_two_looks_is_told_again() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    bench.reconciler.restarted(BOX)
    await at(HOUR)
    assert told(bench) == [(0, "add", ONE.slot), (10, "add", ONE.slot)]


@in_virtual_time
async def test_a_change_during_a_uevent_is_told_afterwards() -> None:
    bench = Bench()
    await bench.start()
    bench.telling = 5
    await at(10)
    bench.reconciler.device(ONE)
    await at(11)
    bench.reconciler.no_device(ONE.syspath)
    bench.reconciler.device(TWO)
    await at(HOUR)
    assert told(bench) == [(10, "add", ONE.slot), (15, "remove", ONE.slot), (20, "add", TWO.slot)]


@in_virtual_time
async def test_what_came_and_went_before_it_was_told_is_not_told() -> None:
    bench = Bench()
    bench.deaf = silent
    await bench.start(ONE)
    bench.deaf = lambda _: None
    bench.reconciler.no_device(ONE.syspath)
    await at(HOUR)
    assert bench.heard == []
    assert bench.told() == []


@in_virtual_time
async def test_telling_that_hangs_holds_up_nothing_else() -> None:
    bench = Bench(box(), box(name="other"))
    bench.hanging_tellings.add(BOX)
    bench.reconciler.set_rules(ruleset(rule("{subsystem: '*'}", "{to: [box, other]}")))
    await bench.reconciler.listed_instances(bench.instances.values())
    bench.reconciler.listed_devices([ONE], [])
    await at(10)
    bench.reconciler.device(TWO)
    await at(20)
    assert bench.times == [0, 0, 10, 10]
    assert told(bench, "other") == [(0, "add", ONE.slot), (10, "add", TWO.slot)]
    assert bench.verified() == {"/dev/ttyUSB1": True, "/dev/ttyUSB2": True}
    assert bench.told() == []


@in_virtual_time
async def test_a_uevent_that_fails_is_a_problem_and_logged_once() -> None:
    bench = Bench()
    bench.deaf = silent
    await bench.start(ONE)
    await at(100)
    assert bench.told() == ["box was not told that it is there: nobody carries it"]
    assert bench.verified() == {"/dev/ttyUSB1": True}
    assert [(each["device"], each["action"], each["retry_in"]) for each in bench.events("device.untold")] == [
        ("/dev/ttyUSB1", "add", 0.5)
    ]
    bench.deaf = lambda _: None
    await at(HOUR)
    assert bench.told() == []
    assert told(bench) == [(121.5, "add", ONE.slot)]


@in_virtual_time
async def test_a_remove_that_fails_is_a_problem_and_stays_first() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.deaf = silent
    bench.reconciler.no_device(ONE.syspath)
    await at(10)
    assert bench.told() == ["box was not told that it is gone: nobody carries it"]
    await bench.plug(AGAIN)
    bench.deaf = lambda _: None
    await at(HOUR)
    assert [action for _, action, _ in told(bench)] == ["add", "remove", "add"]
    assert bench.told() == []


@in_virtual_time
async def test_a_new_init_is_not_told_of_the_old_ones_devices() -> None:
    bench = Bench()
    bench.deaf = silent
    await bench.start(ONE)
    bench.change(BOX, running=False)
    bench.reconciler.restarted(BOX)
    await at(HOUR)
    assert bench.told() == []
    assert bench.heard == []


@pytest.mark.parametrize("wrong", [Untold("it died"), None])
def test_a_uevent_that_outlasts_the_init_does_not_count(wrong: Untold | None) -> None:
    @in_virtual_time
    async def test() -> None:
        bench = Bench()
        bench.telling = 5

        def deaf(_: Uevent) -> None:
            bench.deaf = lambda _: None
            if wrong is not None:
                raise wrong

        bench.deaf = deaf
        await bench.reconciler.listed_instances(bench.instances.values())
        bench.reconciler.listed_devices([ONE], [])
        await at(1)
        bench.reconciler.restarted(BOX)
        await at(4)
        assert bench.told() == []
        await at(HOUR)
        assert told(bench)[-1] == (5, "add", ONE.slot)
        assert bench.events("device.untold") == []

    test()


@in_virtual_time
async def test_a_device_with_an_unfit_name_does_not_block_others() -> None:
    bench = Bench()

    def deaf(uevent: Uevent) -> None:
        if uevent.device == ONE:
            raise Unfit("its name is what it is")

    bench.deaf = deaf
    await bench.start(ONE, TWO)
    await at(HOUR)
    assert told(bench) == [(0, "add", TWO.slot)]
    assert bench.told() == ["box was not told that it is there: its name is what it is"]
    assert len(bench.events("device.untold")) == 1
    bench.reconciler.no_device(ONE.syspath)
    await at(2 * HOUR)
    assert bench.told() == []
    assert len(bench.heard) == 1


@in_virtual_time
async def test_a_dry_run_tells_nobody() -> None:
    bench = Bench(box([entry(ONE)]), dry_run=True)
    await bench.start(ONE)
    await at(HOUR)
    assert bench.verified() == {"/dev/ttyUSB1": True}
    assert bench.heard == []


@in_virtual_time
async def test_settled_waits_for_what_is_told() -> None:
    bench = Bench()
    bench.telling = 5
    await bench.start(ONE)
    assert asyncio.get_running_loop().time() == pytest.approx(5)
    assert len(bench.heard) == 1


@in_virtual_time
async def test_an_instance_that_is_no_more_is_told_nothing() -> None:
    bench = Bench()
    bench.deaf = silent
    await bench.start(ONE)
    bench.instances.clear()
    await bench.reconciler.listed_instances([])
    bench.reconciler.no_device(ONE.syspath)
    await at(HOUR)
    assert bench.heard == []
    assert bench.told() == []
    assert bench.reconciler._workers.all == {}
