"""Devices of pools that come and go too often: out of their instances, until they are quiet."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.model.ports import Ran
from hotplugd.model.values import Device
from hotplugd.pools.health import UNKNOWN
from hotplugd.reconcile.leases import Leases
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import phone
from tests.support.virtual import at, in_virtual_time, later
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_leases import job
from tests.unit.reconcile.test_leases import rules as rules_with

KEY = "serial:R5C001"


def rules(flap: str = "{count: 2, within: 60s}") -> RuleSet:
    return rules_with(f"instances: 'job-*', flap: {flap}")


def leases(bench: Bench) -> Leases:
    return bench.reconciler.assignments.leases


def has(bench: Bench, number: int) -> int:
    return len(bench.instances[job(number).id].entries)


async def again(bench: Bench, born: int, number: int = 1) -> Device:
    """The phone goes and comes back."""
    before = next(
        each for each in bench.reconciler.inventory.devices.values() if each.kernel == f"1-{number}"
    )
    bench.reconciler.no_device(before.syspath)
    await bench.reconciler.settled()
    device = phone(number, born=born)
    await bench.plug(device)
    return device


@in_virtual_time
async def test_a_phone_that_flaps_is_out_and_the_next_one_is_given() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(phone(1))
    await again(bench, 2)
    assert (has(bench, 1), bench.told()) == (1, [])
    await again(bench, 3)
    assert has(bench, 1) == 0
    (claim, told) = bench.told()
    assert claim.startswith("job-1: claim 'phone' cannot be met")
    assert told == (
        "serial:R5C001: it came and went 3 times within 60 s at 1-1: a bad cable, too little power, or it "
        "starts again and again; it is in quarantine until 1 min pass without another plug; "
        "`hotplugd uncordon serial:R5C001` ends that at once"
    )
    health = leases(bench).leasing.health(KEY)
    assert (health.state, health.since) == ("quarantined", "at 0.0")
    await bench.plug(phone(2))
    assert has(bench, 1) == 1


@in_virtual_time
async def test_it_is_given_again_after_its_quiet_time_and_that_is_told() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(phone(1))
    await again(bench, 2)
    await again(bench, 3)
    await at(30)
    await again(bench, 4)
    await at(89)
    assert has(bench, 1) == 0
    await at(91)
    assert has(bench, 1) == 1
    assert leases(bench).leasing.health(KEY) == UNKNOWN
    assert bench.told() == []
    (problem,) = bench.events("health.problem")
    assert (problem["identity"], problem["port"], problem["pool"]) == (KEY, "1-1", "android")
    ended = [each for each in bench.events("problem.over") if each["reason"] == problem["reason"]]
    assert len(ended) == 1


@in_virtual_time
async def test_others_on_its_hub_are_not_slowed() -> None:
    bench = Bench(job(1), job(2), rules=rules())
    await bench.start(phone(1))
    await again(bench, 2)
    await again(bench, 3)
    await bench.plug(phone(2))
    assert bench.times[-1] == 0.0
    assert (has(bench, 1), has(bench, 2)) == (1, 0)


@in_virtual_time
async def test_whoever_lifts_a_quarantine_has_it_given_at_once() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(phone(1))
    await again(bench, 2)
    await again(bench, 3)
    assert leases(bench).quarantines.lift(KEY)
    assert not leases(bench).quarantines.lift(KEY)
    await bench.reconciler.settled()
    assert has(bench, 1) == 1
    assert bench.told() == []


@in_virtual_time
async def test_a_quarantine_outlasts_a_restart_with_a_new_quiet_time() -> None:
    before = Bench(job(1), rules=rules())
    await before.start(phone(1))
    await again(before, 2)
    await again(before, 3)
    await later(50)
    bench = Bench(job(1), rules=rules(), kept=before.lease_keeper._noted)
    await bench.start(phone(1, born=3))
    assert has(bench, 1) == 0
    await later(59)
    assert has(bench, 1) == 0
    await later(2)
    assert has(bench, 1) == 1


@in_virtual_time
async def test_a_leased_phone_replugged_without_a_removal_is_taken_out() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(phone(1))
    await bench.plug(phone(1, born=2))
    assert has(bench, 1) == 1
    await bench.plug(phone(1, born=3))
    assert has(bench, 1) == 0
    (over,) = [each for each in bench.events("lease.over") if "quarantine" in each["why"]]
    assert over["identity"] == KEY


@in_virtual_time
async def test_a_pool_without_a_limit_has_none() -> None:
    bench = Bench(job(1), rules=rules_with())
    await bench.start(phone(1))
    for born in range(2, 30):
        await again(bench, born)
    assert (has(bench, 1), bench.told()) == (1, [])


@in_virtual_time
async def test_its_reason_stays_where_it_is_replugged_elsewhere() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(phone(1))
    await again(bench, 2)
    device = await again(bench, 3)
    reason, (_, told) = leases(bench).leasing.health(KEY).reason, bench.told()
    assert " at 1-1: " in reason
    bench.reconciler.no_device(device.syspath)
    await bench.reconciler.settled()
    assert leases(bench).leasing.health(KEY).reason == reason
    await bench.plug(replace(phone(7, "R5C001", born=9)))
    assert leases(bench).leasing.health(KEY).reason == reason
    assert bench.told()[1:] == [told]
    (known,) = leases(bench).leasing.devices
    assert (known.device.kernel, known.reason) == ("1-7", f"quarantined: {reason}")


READY = ", ready: {command: [/opt/check], within: 1s, every: 10s, timeout: 5s}"


async def replugged_while_asked(flap: str) -> Bench:
    """A phone that is bad, and plugged in anew, without a removal, while somebody looks at it."""
    bench = Bench(job(1), rules=rules(f"{flap}{READY.replace('1s', '8s')}"))
    bench.commands.answer = lambda _name, _words: Ran(1, b"")
    await bench.start(phone(1))
    await at(5)
    bench.commands.takes, bench.takes = 3.0, 5.0
    await at(9)
    assert len(bench.commands.ran) == 2
    assert leases(bench).leasing.health(KEY).state == "unknown"
    bench.reconciler.device(phone(1, born=2))
    await later(3.5)
    return bench


@in_virtual_time
async def test_an_answer_about_the_phone_of_before_a_plug_alters_no_quarantine() -> None:
    bench = await replugged_while_asked("{count: 1, within: 60s}")
    assert leases(bench).leasing.health(KEY).state == "quarantined"
    assert leases(bench).unwell() == [KEY]
    bench.commands.answer = lambda _name, _words: Ran(0, b"")
    await later(200.0)
    assert leases(bench).leasing.health(KEY).state == "good"


@in_virtual_time
async def test_nor_does_it_make_the_phone_bad_that_is_there_now() -> None:
    bench = await replugged_while_asked("{count: 9, within: 60s}")
    assert (leases(bench).leasing.health(KEY).state, leases(bench).unwell()) == ("unknown", [])


@in_virtual_time
async def test_one_that_is_bad_when_its_quarantine_ends_is_bad() -> None:
    bench = Bench(job(1), rules=rules(f"{{count: 1, within: 60s}}{READY}"))
    bench.commands.answer = lambda _name, _words: Ran(1, b"")
    await bench.start(phone(1))
    await at(15)
    assert leases(bench).leasing.health(KEY).state == "bad"
    # As where an answer was under way when it was quarantined.
    health = leases(bench).leasing.health(KEY)
    quarantines = leases(bench).quarantines
    (known,) = leases(bench).leasing.devices
    flap = leases(bench).leasing.rules.pools["android"].flap
    assert flap is not None
    for token in ("x", "y"):
        quarantines.plugged(replace(known, device=replace(known.device, slot=token)), flap, "1-1")
    assert leases(bench).leasing.health(KEY).state == "quarantined"
    quarantines.lift(KEY)
    assert leases(bench).leasing.health(KEY) == health
    leases(bench).forgive([KEY])
    assert leases(bench).leasing.health(KEY) == UNKNOWN
