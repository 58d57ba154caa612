"""Leases that stopped instances keep, where what the entry says is looked up inside, and there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.values import InstanceName
from tests.support.devices import phone
from tests.support.virtual import in_virtual_time, later
from tests.unit.reconcile.bench import Bench
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


async def after_a_crash(bench: Bench) -> Bench:
    new = Bench(*bench.instances.values(), rules=RULES, kept=bench.lease_keeper.kept)
    new.links, new.alone, new.groups = bench.links, bench.alone, bench.groups
    await new.start(AGAIN)
    await later(5)
    await new.lease_keeper.written()
    return new


@pytest.mark.parametrize("other", [False, True], ids=["alone", "another waits"])
@in_virtual_time
async def test_a_lease_without_an_entry_outlives_the_daemon(other: bool) -> None:
    bench = await with_its_phone_back(other)
    (kept,) = bench.lease_keeper.kept.away
    assert (kept.key, kept.lease.instance) == ("serial:R5C001", ONE)
    new = await after_a_crash(await after_a_crash(bench))
    leases = new.reconciler.assignments.leases.leasing.allocation.leases
    assert {key: lease.instance for key, lease in leases.items()} == {"serial:R5C001": ONE}
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
