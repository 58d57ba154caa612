"""Entries that say that an instance has a lease: whoever may edit an instance can write them."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.model.entry import MARK_CLAIM, MARK_POOL, MARK_SINCE, MARK_UNIT
from hotplugd.model.lease import Lease
from hotplugd.model.values import Device, Instance, InstanceName
from tests.support.devices import box, entry, phone
from tests.support.virtual import at, in_virtual_time, now
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_away_leases import AGAIN, KEY, ONE, RULES, after, events, leased_to, pull
from tests.unit.reconcile.test_leases import job, made, places


def name(text: str) -> InstanceName:
    return InstanceName("default", text)


def forged(instance: Instance, device: Device, claim: str = "phone", unit: str = "") -> Instance:
    """The instance with an entry for a device that it was never given."""
    marks = {MARK_POOL: "android", MARK_CLAIM: claim, MARK_UNIT: unit}
    each = entry(device, marks, instance=instance.id, rule="phones")
    return replace(instance, entries={each.name: each})


@in_virtual_time
async def test_an_absent_phone_stays_its_holders_whatever_an_outsiders_entry_says() -> None:
    bench = Bench(job(5), rules=RULES)
    await bench.start(ONE)
    await pull(bench, ONE)
    for outsider in (box(name="other"), job(1, None)):
        await made(bench, outsider)
        bench.instances[outsider.id] = forged(outsider, phone(4), unit=KEY)
        bench = await after(bench)
        assert leased_to(bench) == {KEY: "job-5"}
        assert events(bench) == []
    await bench.plug(AGAIN)
    assert [each.name for each in bench.instances if bench.instances[each].entries] == ["job-5"]


@in_virtual_time
async def test_a_phone_stays_where_it_is_whatever_an_outsiders_entry_says() -> None:
    bench = Bench(job(5), rules=RULES)
    await bench.start(ONE)
    for outsider in (replace(box(name="other"), created="1"), job(1, None, created="1")):
        bench.instances[outsider.id] = forged(outsider, ONE, unit=KEY)
        bench = await after(bench, ONE)
        await at(200)
        assert leased_to(bench) == {KEY: "job-5"}
        assert places(bench) == {"job-5": ["1-1"]}
        assert [each for each in bench.requests if each.instance == "job-5"] == []


@in_virtual_time
async def test_a_phone_that_comes_back_meanwhile_is_its_holders_whatever_an_outsiders_entry_says() -> None:
    for outsider in (box(name="other"), job(1, None)):
        bench = Bench(job(5), job(2), rules=RULES)
        await bench.start(ONE)
        # The other one waits, and is served first.
        bench.reconciler.assignments.leases.move(KEY, Lease(name("job-5"), "phone"), "moved")
        await at(now() + 100)
        await pull(bench, ONE)
        await bench.lease_keeper.written()
        bench.instances[outsider.id] = forged(outsider, AGAIN, unit=KEY)
        bench = await after(bench, AGAIN)
        await at(now() + 100)
        assert leased_to(bench) == {KEY: "job-5"}
        # It is out of the one before it is in the other.
        assert [(each.instance, len(each.put)) for each in bench.changes] == [
            (outsider.id.name, 0),
            ("job-5", 1),
        ]


@in_virtual_time
async def test_a_claim_takes_no_more_by_newer_entries_than_it_asks_for() -> None:
    phones = [phone(number) for number in (1, 2, 3)]
    bench = Bench(job(5), job(6), job(7), rules=RULES)
    await bench.start(*phones)
    marks = {MARK_POOL: "android", MARK_CLAIM: "phone", MARK_SINCE: "at 9"}
    written = [entry(each, marks, instance=job(1).id, rule="phones") for each in phones]
    bench.instances[name("job-1")] = replace(job(1), entries={each.name: each for each in written})
    bench.reconciler.close()
    bench, before = Bench(*bench.instances.values(), rules=RULES), bench
    bench.links = before.links
    await bench.start(*phones)
    await at(200)
    assert len({*leased_to(bench).values()} & {"job-5", "job-6", "job-7"}) == 2
    assert sorted(map(len, places(bench).values())) == [1, 1, 1]
    # Those who keep theirs have them all the while.
    assert len({each.instance for each in bench.requests}) == 2


@in_virtual_time
async def test_a_snapshot_that_is_restored_while_no_daemon_runs_takes_nothing_from_the_holder() -> None:
    bench = Bench(job(1), rules=RULES)
    await bench.start(ONE)
    snapshot = bench.instances[name("job-1")].entries
    await at(100)
    await made(bench, job(1, None), job(5))
    assert places(bench) == {"job-5": ["1-1"]}
    # The older one, which would be served first.
    bench.instances[name("job-1")] = replace(job(1), entries=snapshot)
    bench = await after(bench, ONE)
    assert leased_to(bench) == {KEY: "job-5"}
    assert places(bench) == {"job-5": ["1-1"]}
    assert [each.instance for each in bench.requests] == ["job-1"]


@in_virtual_time
async def test_an_entry_that_is_written_while_another_has_the_phone_goes_and_harms_nobody() -> None:
    bench = Bench(job(5), rules=RULES)
    await bench.start(ONE)
    for outsider in (box(name="other"), job(1, None), job(2)):
        await made(bench, forged(outsider, ONE, unit=KEY))
        await at(now() + 100)
        assert leased_to(bench) == {KEY: "job-5"}
        assert places(bench) == {"job-5": ["1-1"]}
    assert [each.instance for each in bench.requests] == ["job-5", "other", "job-1", "job-2"]


@in_virtual_time
async def test_an_entry_for_an_absent_phone_gives_nothing_while_another_holds_its_place() -> None:
    bench = Bench(job(5), rules=RULES)
    await bench.start(ONE)
    await pull(bench, ONE)
    for outsider in (box(name="other"), job(1, None), job(2)):
        await made(bench, forged(outsider, AGAIN, unit=KEY))
    await bench.plug(AGAIN)
    await at(now() + 100)
    assert leased_to(bench) == {KEY: "job-5"}
    assert [name.name for name, each in bench.instances.items() if each.entries] == ["job-5"]
