"""An instance is deleted, and another is made under its name, before the server is asked for it."""

from __future__ import annotations

from dataclasses import replace

from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_away_leases import KEY, ONE, RULES, leased_to, pull
from tests.unit.reconcile.test_leases import job, made, once_each, places

FIRST, NEXT = "2026-11-27T18:00:00.123456789", "2026-11-27T18:00:00.323456789"


@in_virtual_time
async def test_the_next_one_of_the_name_has_no_lease_of_it() -> None:
    bench = Bench(job(1, created=FIRST), job(2), rules=RULES)
    bench.applied = lambda _: once_each(bench)
    await bench.start(ONE)
    await made(bench, job(1, created=NEXT))
    await at(60)
    assert places(bench) == {"job-2": ["1-1"]}
    (over,) = bench.events("lease.over")
    assert over["instance"] == "job-1"
    assert over["why"] == "job-1 was deleted, and another one made of that name"


@in_virtual_time
async def test_nor_that_of_an_absent_phone_nor_its_turn() -> None:
    bench = Bench(job(1, created=FIRST), job(2), rules=RULES)
    await bench.start(ONE)
    await pull(bench, ONE)
    await made(bench, job(1, created=NEXT))
    assert leased_to(bench) == {}
    await bench.plug(replace(ONE, slot=ONE.slot + "2"))
    assert leased_to(bench) == {KEY: "job-2"}


@in_virtual_time
async def test_where_nobody_waits_it_has_the_device_by_a_lease_of_its_own() -> None:
    bench = Bench(job(1, created=FIRST), rules=RULES)
    await bench.start(ONE)
    await made(bench, job(1, created=NEXT))
    await at(60)
    assert places(bench) == {"job-1": ["1-1"]}
    assert [each["event"] for each in bench.events("lease.over", "lease.given")][1:] == [
        "lease.over",
        "lease.given",
    ]
    # A snapshot that is restored, or a start, is the same instance's.
    bench.change(job(1).id, started="at 60", created="2026-11-27T19:00:00.323456789+01:00")
    await made(bench, bench.instances[job(1).id])
    assert len(bench.events("lease.over")) == 1
