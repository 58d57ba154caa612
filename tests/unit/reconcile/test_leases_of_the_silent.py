"""Pools where nobody can tell what an instance has, and until leased devices are out of all instances."""

from __future__ import annotations

from hotplugd.model.ports import Unreachable
from hotplugd.model.values import InstanceName
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_leases import PHONES, job, places, rules

GHOST = InstanceName("hidden", "ghost")
SAID = "hidden/ghost: the server never said what it has; what it may have of pools is given to others"


@in_virtual_time
async def test_a_silent_instance_keeps_devices_for_a_minute() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start()

    def answer(name: object) -> None:
        if name == GHOST:
            raise Unreachable("it does not answer")

    bench.answer = answer
    bench.reconciler.refresh(GHOST)
    bench.reconciler.device(PHONES[0])
    await at(50)
    assert places(bench) == {}
    assert SAID not in bench.told()
    await at(150)
    assert places(bench) == {"job-1": ["1-1"]}
    assert SAID in bench.told()
    assert [each["reason"] for each in bench.events("claim.problem")].count(SAID) == 1
    # It is no instance.
    bench.answer = lambda _: None
    bench.reconciler.refresh(GHOST)
    await at(1000)
    assert SAID not in bench.told()
    assert SAID in [each["reason"] for each in bench.events("problem.over")]


@in_virtual_time
async def test_a_silent_instance_is_told_of_where_nobody_waits_for_a_device() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(PHONES[0])

    def answer(name: object) -> None:
        if name == GHOST:
            raise Unreachable("it does not answer")

    bench.answer = answer
    bench.reconciler.refresh(GHOST)
    await at(1000)
    assert SAID in bench.told()
    assert [each["reason"] for each in bench.events("claim.problem")] == [SAID]
    bench.answer = lambda _: None
    bench.reconciler.refresh(GHOST)
    await at(3000)
    assert SAID not in bench.told()
    assert [each["reason"] for each in bench.events("problem.over")].count(SAID) == 1


@in_virtual_time
async def test_leased_devices_are_somewhere_until_the_last_one_is_out() -> None:
    bench = Bench(job(1), job(2), rules=rules())
    handovers = bench.reconciler.inventory.handovers
    await bench.start(*PHONES[:2])
    assert handovers.has_leased
    bench.takes = 3.0
    bench.reconciler.set_rules(rules(attach="{to: nobody}"))
    await at(2)
    assert (handovers.has_leased, places(bench)) == (True, {"job-1": ["1-1"], "job-2": ["1-2"]})
    await at(10)
    assert (handovers.has_leased, places(bench)) == (False, {})


@in_virtual_time
async def test_they_are_somewhere_while_the_server_does_not_answer() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(PHONES[0])
    bench.hanging_requests.add(InstanceName("default", "job-1"))
    bench.reconciler.set_rules(rules(attach="{to: nobody}"))
    await at(1000)
    assert bench.reconciler.inventory.handovers.has_leased
