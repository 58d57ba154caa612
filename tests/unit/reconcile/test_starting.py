"""An entry with which its instance could not be started is out for as long as that does not run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.entry import name_for
from hotplugd.model.values import Device, Node
from tests.support.devices import ALL, BOX, box, channel, gpu, nic_entry
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench, Request

ZERO, ONE = channel(0), channel(1)
UNNAMED = "Failed to run: lxd forkstart box: exit status 1"
DOWN = "box could not be started with its entry"


def named(device: Device) -> str:
    return f'Failed to start device "{name_for(device.slot)}": no'


async def stopped(*devices: Device) -> Bench:
    """A bench with the devices attached to the box, which does not run."""
    bench = Bench(box(map(nic_entry, devices), running=False))
    await bench.start(*devices)
    await at(10)
    assert bench.verified() == dict.fromkeys(map(str, devices))
    assert bench.requests == []
    return bench


def fail(bench: Bench, reason: str, operation: str = "1") -> None:
    bench.reconciler.start_failed(BOX, reason, operation)


def start(bench: Bench, *devices: Device) -> None:
    bench.change(BOX, running=True)
    bench.reconciler.restarted(BOX)

    def applied(request: Request) -> None:
        for each in devices:
            if name_for(each.slot) in {entry.name for entry in request.put}:
                bench.reconciler.no_device(each.syspath)

    bench.applied = applied


@in_virtual_time
async def test_what_is_named_is_a_problem_and_out_until_it_runs() -> None:
    bench = await stopped(ZERO, ONE)
    fail(bench, named(ZERO))
    await at(20)
    assert bench.verified() == {"can1": None}
    assert bench.ours() == {name_for(ONE.slot)}
    (said,) = bench.told()
    assert DOWN in said
    assert named(ZERO) in said
    assert [each["why"] for each in bench.events("device.remove")] == ["box cannot be started with it"]
    bench.reconciler.no_device(ONE.syspath)
    start(bench, ZERO)
    bench.inside[BOX] = {"can1": Node(None, 0)}
    await at(60)
    assert bench.verified() == {"can0": True, "can1": True}
    assert bench.told() == []


@in_virtual_time
@pytest.mark.parametrize("reason", ["named", UNNAMED])
async def test_what_version_1_named_otherwise_stays_out_too(reason: str) -> None:
    old = nic_entry(ZERO, slot="n--610")
    bench = Bench(box([old], running=False))
    await bench.start(ZERO)
    await at(10)
    assert bench.verified() == {"can0": None}
    fail(bench, f'Failed to start device "{old.name}": no' if reason == "named" else reason)
    await at(100)
    assert bench.ours() == set()
    assert [(each.at, len(each.put), each.remove) for each in bench.requests] == [(10, 0, (old.name,))]
    assert DOWN in bench.told()[0]
    # It comes in as today's.
    start(bench, ZERO)
    await at(160)
    assert bench.ours() == {name_for(ZERO.slot)}
    assert bench.told() == []


@in_virtual_time
async def test_a_barred_entry_goes_out_again_at_each_stop() -> None:
    bench = await stopped(ZERO)
    fail(bench, UNNAMED)
    await at(20)
    for when in (20, 60):
        start(bench, ZERO)
        await at(when + 10)
        assert bench.verified() == {"can0": True}
        bench.change(BOX, running=False)
        bench.reconciler.device(ZERO)
        bench.reconciler.restarted(BOX)
        await at(when + 30)
        assert bench.ours() == set()
        assert DOWN in bench.told()[0]


@in_virtual_time
async def test_what_turns_out_to_be_none_of_it_goes_in_again() -> None:
    bench = await stopped(ZERO)
    fail(bench, UNNAMED)
    await at(20)
    assert bench.ours() == set()
    fail(bench, UNNAMED, "2")
    await at(40)
    assert bench.ours() == {name_for(ZERO.slot)}
    assert bench.told() == []


@in_virtual_time
async def test_another_enumeration_and_new_rules_are_tried_anew() -> None:
    bench = await stopped(ZERO)
    fail(bench, named(ZERO))
    await at(20)
    bench.reconciler.set_rules(ALL)
    await at(30)
    assert bench.ours() == {name_for(ZERO.slot)}
    fail(bench, named(ZERO), "2")
    await at(40)
    again = channel(0, born=2)
    bench.reconciler.no_device(ZERO.syspath)
    bench.reconciler.device(again)
    await at(60)
    assert bench.ours() == {name_for(again.slot)}
    assert bench.told() == []


@in_virtual_time
async def test_an_interface_left_under_a_temporary_name_is_a_problem() -> None:
    bench = await stopped(ZERO)
    left = replace(ZERO, kernel="physAb12Cd", syspath=ZERO.syspath.replace("can0", "physAb12Cd"))
    bench.reconciler.no_device(ZERO.syspath)
    bench.reconciler.device(left)
    await at(20)
    (said,) = bench.told()
    assert "ip link set physAb12Cd name can0" in said
    bench.reconciler.no_device(left.syspath)
    bench.reconciler.device(ZERO)
    await at(40)
    assert bench.told() == []


@in_virtual_time
async def test_of_a_gpu_both_nodes_are_out() -> None:
    card, render = gpu()
    bench = Bench(box(running=False))
    await bench.start(card, render)
    await at(10)
    (name,) = bench.ours()
    fail(bench, f'Failed start validation for device "{name}": no')
    await at(20)
    assert bench.ours() == set()
    assert DOWN in bench.told()[0]


@in_virtual_time
async def test_a_failed_start_without_our_entries_changes_nothing() -> None:
    bench = await stopped(ZERO)
    fail(bench, 'Failed to start device "eth0": no')
    await at(20)
    assert bench.ours() == {name_for(ZERO.slot)}
    assert bench.requests == []
    assert bench.told() == []
