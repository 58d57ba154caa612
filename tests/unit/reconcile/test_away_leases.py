"""Leases whose devices are absent: kept for as long as the pool says, over restarts and boots."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.app.pool_documents import pools_json
from hotplugd.model.entry import MARK_CLAIM, MARK_POOL, MARK_UNIT
from hotplugd.model.lease import Lease
from hotplugd.model.values import Device, InstanceName
from hotplugd.pools.away_leases import NOTHING_KEPT, Away, KeptLeases, Moment
from hotplugd.rulefile.load import parse
from tests.support.devices import BOOT, entry, phone, plugged
from tests.support.virtual import at, in_virtual_time, later
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.scripted_leases import UPTIME
from tests.unit.reconcile.test_leases import deleted, job, made, once_each, places, rules, told

RULES = rules("instances: 'job-*', keep: 10m")
KEEP = 600.0
ONE = phone(1)
# The same at the next plug.
AGAIN = phone(1, born=9)
KEY = "serial:R5C001"


def events(bench: Bench) -> list[tuple[str, str]]:
    found = bench.events("lease.given", "lease.over", "lease.away", "lease.back")
    return [(each["event"].removeprefix("lease."), each.get("why", "")) for each in found]


def away(job: str = "job-1", since: float = UPTIME, key: str = KEY, boot: str = BOOT) -> KeptLeases:
    """What a daemon leaves when that phone is absent."""
    lease = Lease(InstanceName("default", job), "phone")
    return KeptLeases(boot, (Away(key, "android", lease, "", Moment(since, "at 0")),))


async def pull(bench: Bench, device: Device) -> None:
    bench.reconciler.no_device(device.syspath)
    await bench.reconciler.settled()


async def after(bench: Bench, *devices: Device) -> Bench:
    """The next daemon, with what the one before has left."""
    bench.reconciler.close()
    made = Bench(*bench.instances.values(), rules=RULES, kept=bench.lease_keeper.kept)
    made.instances, made.links = bench.instances, bench.links
    made.applied = lambda _: once_each(made)
    await made.start(*devices)
    return made


@in_virtual_time
async def test_a_phone_that_comes_back_goes_to_its_holder() -> None:
    bench = Bench(job(1), job(2), rules=RULES)
    await bench.start(ONE)
    await pull(bench, ONE)
    assert places(bench) == {}
    await at(KEEP - 1)
    # By their order the other would get it.
    await bench.plug(AGAIN)
    assert events(bench) == [("given", ""), ("away", ""), ("back", "")]
    assert bench.reconciler.assignments.leases.leasing.holder(AGAIN) == Lease(
        InstanceName("default", "job-1"), "phone"
    )
    await at(10 * KEEP)
    assert [*bench.instances[InstanceName("default", "job-1")].entries]


@in_virtual_time
async def test_a_claim_gets_no_other_device_while_its_own_is_absent() -> None:
    bench = Bench(job(1), rules=RULES)
    await bench.start(ONE)
    await pull(bench, ONE)
    await bench.plug(phone(2))
    assert places(bench) == {}
    await at(KEEP + 1)
    assert events(bench)[2:] == [("over", "its device was away for longer than 10m"), ("given", "")]
    assert places(bench) == {"job-1": ["1-2"]}
    await bench.plug(AGAIN)
    await made(bench, job(2))
    assert places(bench)["job-1"] == ["1-2"]


@in_virtual_time
async def test_what_is_absent_is_written_down_before_its_entry_goes() -> None:
    bench = Bench(job(1), rules=RULES)
    await bench.start(ONE)
    bench.lease_keeper.takes = 0.5
    del bench.journal[:]
    await pull(bench, ONE)
    assert [each for each in bench.journal if each.startswith(("wrote", "request"))] == [
        "wrote 1 away",
        "request +0 -1",
    ]


@in_virtual_time
async def test_a_restart_keeps_it_and_its_time() -> None:
    bench = Bench(job(1), job(2), rules=RULES)
    await bench.start(ONE)
    await pull(bench, ONE)
    await at(400)
    bench = await after(bench)
    await at(KEEP - 1)
    assert bench.reconciler.assignments.leases.leasing.allocation.leases == {
        KEY: Lease(InstanceName("default", "job-1"), "phone")
    }
    await at(KEEP + 1)
    assert events(bench) == [("over", "its device was away for longer than 10m")]
    await bench.plug(AGAIN)
    assert [each.name for each in bench.instances if bench.instances[each].entries] == ["job-1"]


@pytest.mark.parametrize("written", [True, False])
def test_one_replugged_while_no_daemon_runs_goes_to_its_holder(*, written: bool) -> None:
    @in_virtual_time
    async def test() -> None:
        # The other one would be served first.
        bench = Bench(job(9), rules=RULES)
        await bench.start(ONE)
        await made(bench, job(1))
        if written:
            await pull(bench, ONE)
        bench.lease_keeper.kept = replace(bench.lease_keeper.kept, order=())
        bench = await after(bench, AGAIN)
        assert [each.name for each in bench.instances if bench.instances[each].entries] == ["job-9"]
        assert bench.reconciler.problems() == []

    test()


@in_virtual_time
async def test_an_entry_records_the_lease_while_no_daemon_runs() -> None:
    bench = Bench(job(9), rules=RULES)
    await bench.start(ONE)
    await made(bench, job(1))
    bench = await after(bench)
    assert places(bench) == {}
    await bench.plug(AGAIN)
    assert [each.name for each in bench.instances if bench.instances[each].entries] == ["job-9"]


@in_virtual_time
async def test_it_is_kept_anew_after_a_boot() -> None:
    bench = Bench(job(1), rules=RULES, kept=away(since=5_000.0, boot="0ldb007s"))
    await bench.start()
    await at(KEEP - 1)
    assert events(bench) == []
    await at(KEEP + 1)
    assert [each for each, _ in events(bench)] == ["over"]


@in_virtual_time
async def test_without_a_serial_it_is_the_place_and_of_this_boot_alone() -> None:
    nameless = phone(1, serial="")
    bench = Bench(job(1), job(2), rules=RULES)
    await bench.start(nameless)
    (key,) = bench.reconciler.assignments.leases.leasing.allocation.leases
    await pull(bench, nameless)
    await bench.plug(phone(1, serial="", born=9))
    assert [each for each, _ in events(bench)] == ["given", "away", "back"]
    bench = Bench(job(1), rules=RULES, kept=away(key=key, boot="0ldb007s"))
    await bench.start()
    assert bench.reconciler.assignments.leases.leasing.allocation.leases == {}


@in_virtual_time
async def test_each_of_two_of_one_serial_goes_back_to_its_holder() -> None:
    twins = [phone(1, serial="SAME"), phone(2, serial="SAME")]
    bench = Bench(job(1), job(2), rules=RULES)
    await bench.start(*twins)
    before = places(bench)
    for each in twins:
        await pull(bench, each)
    await bench.plug(*(replace(each) for each in reversed(twins)))
    assert places(bench) == before == {"job-1": ["1-1"], "job-2": ["1-2"]}


@pytest.mark.parametrize(
    ("kept", "holder"),
    [
        (NOTHING_KEPT, "job-1"),
        (away("job-2"), "job-2"),
        # Older than it says: its lease is over.
        (away("job-2", since=0.0), "job-1"),
        (away("gone"), "job-1"),
        (away("job-2", key="serial:R5C777"), "job-1"),
    ],
    ids=["lost", "right", "too old", "of an instance that is gone", "of another device"],
)
def test_lost_and_stale_state_costs_the_order_alone(kept: KeptLeases, holder: str) -> None:
    @in_virtual_time
    async def test() -> None:
        bench = Bench(job(1), job(2), rules=RULES, kept=kept)
        bench.applied = lambda _: once_each(bench)
        await bench.start()
        await bench.plug(ONE)
        assert places(bench) == {holder: ["1-1"]}

    test()


@in_virtual_time
async def test_stale_state_takes_no_device_from_its_holder() -> None:
    bench = Bench(job(1), rules=RULES)
    await bench.start(ONE)
    await made(bench, job(2))
    bench.lease_keeper.kept = replace(away("job-2"), order=())
    bench = await after(bench, ONE, phone(2))
    assert places(bench) == {"job-1": ["1-1"], "job-2": ["1-2"]}
    # Nor from a claim that has something else by now.
    bench.lease_keeper.kept = away("job-1", key="serial:R5C003")
    bench = await after(bench, ONE, phone(2), phone(3))
    assert places(bench) == {"job-1": ["1-1"], "job-2": ["1-2"]}
    assert bench.requests == []


@in_virtual_time
async def test_a_lease_of_what_is_absent_ends_as_any_other() -> None:
    bench = Bench(job(1), job(2), job(3), rules=RULES)
    await bench.start(*(phone(number) for number in (1, 2, 3)))
    for number in (1, 2, 3):
        await pull(bench, phone(number))
    await deleted(bench, 1)
    bench.change(InstanceName("default", "job-2"), running=False)
    bench.change(InstanceName("default", "job-3"), claims={})
    await told(bench, "job-2", "job-3")
    assert [why for each, why in events(bench) if each == "over"] == [
        "job-1 is gone",
        "job-2 is stopped",
        "claim 'phone' is withdrawn",
    ]


@in_virtual_time
async def test_claims_are_served_in_their_order_also_after_a_restart() -> None:
    bench = Bench(job(5), rules=RULES)
    await bench.start()
    await made(bench, job(3))
    await bench.lease_keeper.written()
    bench = await after(bench)
    # By their age it would be the other one.
    await bench.plug(ONE)
    assert places(bench) == {"job-5": ["1-1"]}


@in_virtual_time
async def test_without_pools_nothing_is_written() -> None:
    bench = Bench(job(1, None), rules=rules(attach="{to: job-1}"))
    await bench.start(ONE)
    await pull(bench, ONE)
    await bench.lease_keeper.written()
    assert bench.lease_keeper.kept == NOTHING_KEPT


@in_virtual_time
async def test_seconds_that_round_make_no_busy_loop() -> None:
    """1060.1 - 1000.1 is less than 60."""
    bench = Bench(job(1), rules=rules("instances: 'job-*', keep: 60s"))
    await bench.start(ONE)
    await at(0.1)
    await pull(bench, ONE)
    await at(62)
    assert [each for each, _ in events(bench)] == ["given", "away", "over"]


@in_virtual_time
async def test_a_forged_mark_without_a_claim_gives_nothing() -> None:
    """An entry says to be that of a phone that is absent."""
    forged = {MARK_POOL: "android", MARK_CLAIM: "phone", MARK_UNIT: "serial:R5C004"}
    for claim, given in ((None, []), ("android", ["1-4"]), ("android serial=R5C001", [])):
        of = job(9, claim)
        each = entry(phone(4), forged, instance=of.id, rule="phones")
        bench = Bench(replace(of, entries={each.name: each}), job(1), rules=RULES)
        await bench.start()
        await bench.plug(phone(1))
        assert places(bench) == {"job-1": ["1-1"]}
        await bench.plug(phone(4, born=2))
        had = [each.want.device.kernel for each in bench.reconciler.attachments()]
        assert sorted(had) == ["1-1", *given]


@in_virtual_time
async def test_a_device_that_goes_while_the_disk_is_waited_for_leaves_no_link() -> None:
    bench = Bench(job(1), job(2, "android serial=R5C002"), rules=RULES)
    await bench.start(ONE)
    bench.lease_keeper.takes = 5.0
    bench.reconciler.no_device(ONE.syspath)
    bench.reconciler.device(AGAIN)
    await later(1)
    bench.reconciler.no_device(AGAIN.syspath)
    await at(KEEP + 60)
    await bench.reconciler.settled()
    assert (places(bench), bench.links) == ({}, set())


@in_virtual_time
async def test_a_device_that_is_moved_while_the_disk_is_waited_for_is_in_one_instance() -> None:
    bench = Bench(job(1), job(2), rules=RULES)
    await bench.start(ONE)
    bench.lease_keeper.takes = 5.0
    bench.applied = lambda _: once_each(bench)
    bench.reconciler.no_device(ONE.syspath)
    bench.reconciler.device(AGAIN)
    await later(1)
    bench.reconciler.assignments.leases.move(KEY, Lease(InstanceName("default", "job-2"), "phone"), "moved")
    await at(60)
    await bench.reconciler.settled()
    assert [name.name for name, each in bench.instances.items() if each.entries] == ["job-2"]


@in_virtual_time
async def test_it_is_kept_while_another_daemon_serves_pools() -> None:
    """The next daemon may be started while another one has the lock for a moment."""
    bench = Bench(job(1), job(2), rules=RULES)
    await bench.start(ONE)
    await pull(bench, ONE)
    before = bench.lease_keeper.kept
    assert before.away
    bench.reconciler.close()
    bench = Bench(*bench.instances.values(), rules=RULES.without_leases(), kept=before)
    await bench.start()
    await later(1.0)
    assert (leased_to(bench), bench.lease_keeper._noted) == ({}, before)
    bench.reconciler.set_rules(RULES)
    await bench.reconciler.settled()
    assert leased_to(bench) == {KEY: "job-1"}
    await bench.plug(AGAIN)
    assert leased_to(bench) == {KEY: "job-1"}
    # It is over as any other.
    await pull(bench, AGAIN)
    await later(KEEP + 1)
    assert leased_to(bench) == {}


def leased_to(bench: Bench) -> dict[str, str]:
    leases = bench.reconciler.assignments.leases.leasing.allocation.leases
    return {key: lease.instance.name for key, lease in leases.items()}


def states(bench: Bench) -> list[str]:
    claims = bench.reconciler.assignments.leases.leasing.allocation.claims
    return [f"{each.asking.instance.name} {each.state} {each.reason}".strip() for each in claims]


@in_virtual_time
async def test_others_wait_for_a_phone_that_is_leased_and_absent() -> None:
    bench = Bench(job(1), job(2), job(3, "android serial=R5C002"), rules=RULES)
    await bench.start(ONE)
    nobody = "job-3 unsatisfiable none of the devices of pool 'android' is one with serial=R5C002"
    waits = [
        "job-1 bound",
        "job-2 waiting 1 device of pool 'android', of which none is free",
        nobody,
    ]
    assert states(bench) == waits
    before = [*bench.logged.entries]
    await pull(bench, ONE)
    assert states(bench) == waits
    assert not [each for each in bench.logged.entries[len(before) :] if each["event"].startswith("claim.")]
    # After a restart nobody knows what it was like.
    bench = await after(bench)
    assert [each.split()[1] for each in states(bench)] == ["bound", "waiting", "waiting"]
    await bench.plug(AGAIN)
    assert states(bench) == waits
    await pull(bench, AGAIN)
    await later(KEEP + 60)
    assert [each.split()[1] for each in states(bench)] == ["unsatisfiable"] * 3


@in_virtual_time
async def test_that_no_device_is_what_claims_ask_for_is_told_once() -> None:
    bench = Bench(*(job(number, "android serial=R5C009") for number in range(100)), rules=RULES)
    await bench.start(ONE)
    await bench.plug(phone(2), phone(3))
    bench.reconciler.no_device(ONE.syspath)
    await made(bench, job(1, None))
    assert len(bench.events("claim.problem")) == 100
    assert [each["instance"] for each in bench.events("problem.over")] == ["job-1"]


@in_virtual_time
async def test_it_is_said_where_it_was_and_for_how_long_its_lease_is_kept() -> None:
    bench = Bench(job(1), rules=RULES)
    await bench.start(ONE)
    await pull(bench, ONE)
    for where in ("1-1", "pci-0000:00:14.0-usb-0:1-1", ""):
        (pool,) = pools_json(bench.reconciler.assignments.leases.leasing, {})["pools"]
        (lease,), (claim,) = pool["devices"], pool["claims"]
        at = f"; it was at {where}" if where else ""
        assert lease["reason"] == f"it is absent{at}; its lease is kept for 10m"
        assert (claim["state"], claim["has"]) == ("bound", [KEY])
        bench = await after(bench)
        # Of an older daemon nobody knows where it was.
        bench.lease_keeper.kept = away()


@in_virtual_time
async def test_another_device_of_the_same_name_is_not_the_one_that_went() -> None:
    """Nothing but its name is known of it, and the kernel gives that to the next one elsewhere."""
    loaded = parse(
        "pools: {android: {instances: 'job-*', keep: 10m}}\n"
        "rules: [{name: lines, match: {subsystem: tty}, attach: {pool: android}}]",
        "x",
    )
    line = Device("/sys/devices/platform/a/tty/ttyX0", "tty", "ttyX0", node="/dev/ttyX0")
    other = replace(line, syspath="/sys/devices/platform/b/tty/ttyX0")
    for comes, happens in ((line, ["back"]), (other, ["over", "given"])):
        bench = Bench(job(1), rules=loaded.rules)
        await bench.start(plugged(line, 204, 1))
        await pull(bench, plugged(line, 204, 1))
        await bench.plug(plugged(comes, 204, 2, born=2))
        assert [each for each, _ in events(bench)] == ["given", "away", *happens]
        assert ("over", "another device has its name") in events(bench) or comes is line
