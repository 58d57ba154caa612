"""Leases that stopped instances keep, where what the entry says is looked up inside, and there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.ports import Busy
from hotplugd.model.values import Device, InstanceName
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import phone
from tests.support.virtual import in_virtual_time, later
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_away_leases import leased_to
from tests.unit.reconcile.test_edl import replug
from tests.unit.reconcile.test_leases import job, made, places, rules

RULES = rules("instances: 'job-*', keep: 10m, keep_stopped: true", "{pool: android, group: plugdev}")
ONE = InstanceName("default", "job-1")
PHONE = phone(1)
# The same phone, as it is enumerated once more.
AGAIN = replace(PHONE, slot="c-189-1-1a2b3c4d-77")


async def with_its_phone_back(other: bool) -> Bench:
    """Its phone was pulled and plugged in again while it was stopped, and has no entry. other: and waits"""
    bench = Bench(job(1), *[job(2)] * other, rules=RULES)
    bench.groups = {"plugdev": 46}
    await bench.start(PHONE)
    assert places(bench) == {"job-1": ["1-1"]}
    await made(bench, replace(bench.instances[ONE], running=False))
    bench.reconciler.no_device(PHONE.syspath)
    await later(5)
    await replug(bench, PHONE, AGAIN)
    await later(5)
    assert bench.instances[ONE].entries == {}
    await bench.lease_keeper.written()
    return bench


async def after_a_crash(bench: Bench, *devices: Device, served: RuleSet = RULES) -> Bench:
    new = Bench(*bench.instances.values(), rules=served, kept=bench.lease_keeper.kept)
    new.links, new.alone, new.groups = bench.links, bench.alone, bench.groups
    await new.start(*devices)
    await later(5)
    await new.lease_keeper.written()
    return new


@pytest.mark.parametrize("other", [False, True], ids=["alone", "another waits"])
@in_virtual_time
async def test_a_lease_without_an_entry_outlives_the_daemon(other: bool) -> None:
    bench = await with_its_phone_back(other)
    (kept,) = bench.lease_keeper.kept.away
    assert (kept.key, kept.lease.instance) == ("serial:R5C001", ONE)
    new = await after_a_crash(await after_a_crash(bench, AGAIN), AGAIN)
    assert leased_to(new) == {"serial:R5C001": "job-1"}
    await made(new, replace(new.instances[ONE], running=True))
    await later(30)
    assert {name: len(each.entries) for name, each in new.instances.items() if each.entries} == {ONE: 1}
    # The entry is the record now.
    new.reconciler.assignments.leases.settle()
    await new.lease_keeper.written()
    assert new.lease_keeper.kept.away == ()


@in_virtual_time
async def test_it_is_kept_until_its_entry_is_there() -> None:
    bench = await with_its_phone_back(True)
    bench.hanging_requests.add(ONE)
    bench.instances[ONE] = replace(bench.instances[ONE], running=True)
    bench.reconciler.refresh(ONE)
    await later(30)
    await bench.lease_keeper.written()
    assert [each.lease.instance for each in bench.lease_keeper.kept.away] == [ONE]


@in_virtual_time
async def test_it_is_kept_where_its_pool_keeps_none_of_an_absent_phone() -> None:
    served = rules("instances: 'job-*', keep_stopped: true", "{pool: android, group: plugdev}")
    bench = Bench(job(1), job(2), rules=served)

    def fails(_: InstanceName) -> None:
        raise Busy("it stops")

    bench.glance, bench.groups = fails, {"plugdev": 46}
    bench.reconciler.listed_devices([PHONE], [])
    await bench.reconciler.listed_instances(bench.instances.values())
    await later(5)
    bench.instances[ONE] = replace(bench.instances[ONE], running=False)
    bench.reconciler.refresh(ONE)
    await later(5)
    assert bench.instances[ONE].entries == {}
    await bench.lease_keeper.written()
    assert leased_to(await after_a_crash(bench, PHONE, served=served)) == {"serial:R5C001": "job-1"}
    # What is gone by then has ended.
    assert leased_to(await after_a_crash(bench, served=served)) == {}


@in_virtual_time
async def test_a_phone_that_restarts_as_hotplugd_does_has_its_time_however_long_it_was_there() -> None:
    bench = await with_its_phone_back(True)
    await later(3000)
    new = await after_a_crash(bench)
    assert leased_to(new) == {"serial:R5C001": "job-1"}
    await later(500)
    new = await after_a_crash(new)
    assert leased_to(new) == {"serial:R5C001": "job-1"}
    await later(150)
    assert leased_to(new) == {}


@in_virtual_time
async def test_it_is_kept_where_hotplugd_crashes_again_before_its_entry_is_there() -> None:
    bench = await with_its_phone_back(True)
    bench.instances[ONE] = replace(bench.instances[ONE], running=True)
    crashed = [bench]  # with their tasks, which nobody ends
    for _ in range(3):
        new = Bench(*bench.instances.values(), rules=RULES, kept=bench.lease_keeper.kept)
        new.links, new.groups = bench.links, bench.groups
        new.hanging_looks.add(ONE)
        new.reconciler.listed_devices([AGAIN], [])
        await new.reconciler.listed_instances(new.instances.values())
        await later(30)
        await new.lease_keeper.written()
        assert [each.lease.instance for each in new.lease_keeper.kept.away] == [ONE]
        bench = new
        crashed.append(bench)
