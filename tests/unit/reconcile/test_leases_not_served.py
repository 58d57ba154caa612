"""A hotplugd that serves no pools, since another one on the host does, leaves what instances have of them."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.model.lease import Lease
from hotplugd.model.values import Device, Instance, InstanceName
from hotplugd.pools.away_leases import KeptLeases
from hotplugd.rulefile.load import parse
from tests.support.devices import console, phone, plugged
from tests.support.virtual import in_virtual_time, later
from tests.unit.devices import tty
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_away_leases import KEY, events
from tests.unit.reconcile.test_by_hand import decided, override
from tests.unit.reconcile.test_leases import PHONES, job, once_each, places, rules

ONE, TWO = PHONES[:2]
JOB = InstanceName("default", "job-1")
# Whoever has a device of a pool may have one by a plain rule besides.
RULES = parse(
    "pools: {android: {instances: 'job-*'}}\n"
    "rules: [{name: phones, match: {vendor_id: 18d1}, attach: {pool: android}},"
    " {name: cable, match: {subsystem: tty}, attach: {to: job-1}}]",
    "x",
).rules


async def without_the_lock(*instances: Instance) -> Bench:
    """The phone is in the first job, and the next daemon does not have the lock."""
    first = Bench(*(instances or (job(1), job(2))), rules=RULES)
    await first.start(ONE)
    first.reconciler.close()
    assert places(first) == {"job-1": ["1-1"]}
    order = KeptLeases(order=first.reconciler.assignments.leases.leasing.claimants.order)
    made = Bench(*first.instances.values(), rules=RULES.without_leases(), kept=order)
    made.inside, made.links = first.inside, first.links
    made.applied = lambda _: once_each(made)
    return made


def holder(bench: Bench, device: Device) -> Lease | None:
    return bench.reconciler.assignments.leases.leasing.holder(device)


@in_virtual_time
async def test_what_is_in_place_stays_and_is_a_lease_once_the_lock_is_had() -> None:
    bench = await without_the_lock()
    await bench.start(ONE, TWO)
    await later(1000)
    assert (bench.requests, bench.revoker.names, bench.told()) == ([], [], [])
    bench.reconciler.set_rules(RULES)
    await bench.reconciler.settled()
    assert places(bench) == {"job-1": ["1-1"], "job-2": ["1-2"]}
    assert holder(bench, ONE) == Lease(JOB, "phone", KEY)
    assert [event for event, _ in events(bench)] == ["given"]


@in_virtual_time
async def test_what_else_the_instance_gets_leaves_what_is_said_of_its_leases() -> None:
    bench = await without_the_lock()
    said = bench.instances[JOB].leases
    assert KEY in said
    await bench.start(ONE, console(7))
    assert len(bench.ours(JOB)) == 2
    assert bench.instances[JOB].leases == said


@in_virtual_time
async def test_the_entry_of_a_device_that_goes_goes_with_it() -> None:
    bench = await without_the_lock()
    await bench.start(ONE)
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    assert bench.ours(JOB) == set()


@in_virtual_time
async def test_what_somebody_decides_about_such_a_device_is_done_at_once() -> None:
    for to, there in ((None, {}), (InstanceName("default", "job-2"), {"job-2": ["1-1"]})):
        bench = await without_the_lock()
        await bench.start(ONE, TWO)
        bench.reconciler.set_overrides(decided(override(ONE, to, TWO)), "asked")
        await bench.reconciler.settled()
        assert places(bench) == there


@in_virtual_time
async def test_nothing_is_said_anew_of_leases_where_what_goes_along_is_left() -> None:
    modem = plugged(tty(ONE, "ttyACM1"), 166, 1)
    along = rules(attach="{pool: android, with: tty}")
    first = Bench(job(1), rules=along)
    await first.start(ONE, modem)
    assert len(first.ours(JOB)) == 2
    first.reconciler.close()
    bench = Bench(*first.instances.values(), rules=along.without_leases())
    bench.links = first.links
    said = bench.instances[JOB].leases
    await bench.start(modem)
    await later(1000)
    assert [len(each.names) for each in bench.requests] == [1]
    assert bench.instances[JOB].leases == said


@in_virtual_time
async def test_what_a_copy_has_goes() -> None:
    bench = await without_the_lock()
    copy = replace(job(3), entries=bench.instances[JOB].entries)
    bench.instances[copy.id], bench.inside[copy.id] = copy, dict(bench.inside[JOB])
    bench.applied = lambda _: None
    await bench.start(ONE)
    assert places(bench) == {"job-1": ["1-1"]}


@in_virtual_time
async def test_the_entry_of_a_device_goes_whose_end_was_not_heard() -> None:
    bench = await without_the_lock()
    await bench.start(ONE)
    assert len(bench.ours(JOB)) == 1
    await bench.plug(phone(1, born=2))
    assert bench.ours(JOB) == set()
