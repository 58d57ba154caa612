"""Leases while a pool's project cannot be listed: what nobody knows of neither ends nor is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from hotplugd.model.lease import Lease
from hotplugd.model.ports import Unreachable
from hotplugd.model.values import Device, InstanceName
from hotplugd.pools.away_leases import NOTHING_KEPT, KeptLeases
from hotplugd.rulefile.load import parse
from tests.support.devices import phone
from tests.support.virtual import at, in_virtual_time, later
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_away_leases import AGAIN, KEEP, KEY, ONE, RULES, away, events, pull
from tests.unit.reconcile.test_leases import job, made, once_each, told

WHY: Mapping[str, str] = {"default": "it takes long"}
HELD = (
    "pool 'android': project 'default' was not listed yet, so nobody knows who has which device of it: none "
    "is given, and no lease of it ends, until the project is listed"
)
MINE = Lease(InstanceName("default", "job-1"), "phone")


async def begin(bench: Bench, *devices: Device, unlisted: Iterable[str] = WHY) -> None:
    """Start where the server could not tell what these projects have."""
    bench.applied = lambda _: once_each(bench)
    bench.reconciler.listed_devices(devices, [])
    listed = [each for each in bench.instances.values() if each.id.project not in unlisted]
    await bench.reconciler.listed_instances(listed, unlisted=dict.fromkeys(unlisted, "it takes long"))
    await bench.reconciler.settled()


async def listed(bench: Bench) -> None:
    """The server tells of all."""
    await bench.reconciler.listed_instances(bench.instances.values())
    await bench.reconciler.settled()


def next_daemon(bench: Bench, kept: KeptLeases | None = None) -> Bench:
    bench.reconciler.close()
    found = Bench(
        *bench.instances.values(), rules=RULES, kept=bench.lease_keeper.kept if kept is None else kept
    )
    found.links, found.inside = bench.links, bench.inside
    return found


def leases(bench: Bench) -> Mapping[str, Lease]:
    return bench.reconciler.assignments.leases.leasing.allocation.leases


@in_virtual_time
async def test_a_lease_whose_device_is_absent_is_held() -> None:
    bench = Bench(job(1), rules=RULES, kept=away())
    await begin(bench)
    assert leases(bench) == {KEY: MINE}
    assert HELD in bench.told()
    await bench.plug(AGAIN)
    # The server is asked for that one alone.
    assert [name.name for name in bench.instances if bench.instances[name].entries] == ["job-1"]
    await listed(bench)
    assert events(bench) == [("back", "")]
    assert bench.told() == []


@in_virtual_time
async def test_a_lease_whose_device_is_absent_ends_in_its_time() -> None:
    bench = Bench(job(1), rules=RULES, kept=away())
    await begin(bench)
    await at(KEEP + 1)
    assert events(bench) == [("over", "its device was away for longer than 10m")]


@in_virtual_time
async def test_what_an_instance_has_that_nobody_knows_of_is_given_to_nobody() -> None:
    bench = Bench(job(9), rules=RULES)
    await bench.start(ONE)
    await made(bench, job(1))
    order = bench.reconciler.assignments.leases.leasing.claimants.order
    bench = next_daemon(bench, KeptLeases(order=order))
    await begin(bench, ONE)
    leasing = bench.reconciler.assignments.leases.leasing
    # It is older, and is heard of.
    await told(bench, "job-1")
    assert (leasing.state(KEY), leasing.reason(KEY)) == (
        "releasing",
        "project 'default' was not listed yet: nobody knows who has it",
    )
    await at(1000)
    assert (bench.requests, bench.revoker.names) == ([], [])
    await listed(bench)
    assert leases(bench) == {KEY: Lease(InstanceName("default", "job-9"), "phone")}
    assert (bench.requests, bench.revoker.names, bench.told()) == ([], [], [])
    assert leasing.claimants.order == order


@in_virtual_time
async def test_one_that_the_server_tells_of_by_itself_keeps_what_it_has() -> None:
    bench = Bench(job(1), rules=RULES)
    await bench.start(ONE)
    bench = next_daemon(bench)
    await begin(bench, ONE)
    await told(bench, "job-1")
    assert leases(bench) == {KEY: MINE}
    await listed(bench)
    assert (leases(bench), bench.requests) == ({KEY: MINE}, [])


@in_virtual_time
async def test_one_that_the_server_says_is_gone_has_nothing() -> None:
    bench = Bench(rules=RULES, kept=away())
    bench.instances.clear()
    await begin(bench)
    await told(bench, "job-1")
    assert events(bench) == [("over", "job-1 is gone")]


@in_virtual_time
async def test_one_that_is_gone_once_its_project_is_listed_has_nothing() -> None:
    bench = Bench(job(2), rules=RULES, kept=away())
    await begin(bench)
    await listed(bench)
    await bench.plug(AGAIN)
    assert events(bench) == [("over", "job-1 is gone"), ("given", "")]


@in_virtual_time
async def test_an_entry_whose_device_went_while_no_daemon_ran_records_its_lease() -> None:
    bench = Bench(job(1), rules=RULES)
    await bench.start(ONE)
    bench = next_daemon(bench, NOTHING_KEPT)
    await begin(bench)
    await listed(bench)
    assert leases(bench) == {KEY: MINE}
    await made(bench, job(2))
    await bench.plug(AGAIN)
    assert events(bench)[-1] == ("back", "")
    assert leases(bench) == {KEY: MINE}


@in_virtual_time
async def test_what_is_of_another_project_is_given() -> None:
    loaded = parse(
        "pools: {android: {instances: 'job-*', keep: 10m}, other: {instances: 'job-*', project: other}}\n"
        "rules: [{name: one, match: {serial: R5C001}, attach: {pool: android}},"
        " {name: two, match: {vendor_id: 18d1}, attach: {pool: other}}]",
        "x",
    )
    mine = job(1)
    theirs = replace(job(2, "other"), id=InstanceName("other", "job-2"))
    bench = Bench(mine, theirs, rules=loaded.rules, kept=away())
    await begin(bench, phone(2))
    assert leases(bench) == {KEY: MINE, "serial:R5C002": Lease(theirs.id, "phone")}


@in_virtual_time
async def test_nothing_ends_where_a_project_cannot_be_listed_any_more() -> None:
    bench = Bench(job(1), job(2, "none"), rules=RULES)
    await bench.start(ONE)
    done = len(bench.requests)

    def answer(_: object) -> None:
        raise Unreachable("it takes long")

    bench.answer = answer
    await bench.reconciler.listed_instances([], unlisted=WHY)
    await later(10)
    assert HELD not in bench.told()
    assert leases(bench) == {KEY: MINE}
    await pull(bench, ONE)
    await bench.reconciler.listed_instances([], unlisted=WHY)
    await later(10)
    assert leases(bench) == {KEY: MINE}
    bench.answer = lambda _: None
    await bench.plug(AGAIN)
    await listed(bench)
    await later(100)
    assert [each for each, _ in events(bench)] == ["given", "away", "back"]
    assert len(bench.requests) > done
    assert bench.told() == []
