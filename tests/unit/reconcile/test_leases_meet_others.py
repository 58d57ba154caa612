"""Leases of pools meet what people decide by hand, companions, other rules and others' entries."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from hotplugd.model.entry import MARK_CLAIM, MARK_POOL
from hotplugd.model.lease import Lease
from hotplugd.model.values import Entry, InstanceName
from hotplugd.pools.claimants import PoolClaimants
from hotplugd.rulefile.load import parse
from tests.support.devices import box, entry, gpu, phone, plugged, rule
from tests.support.virtual import in_virtual_time, later
from tests.unit import devices as made_up
from tests.unit.reconcile.bench import Bench, refuse
from tests.unit.reconcile.test_by_hand import decided, override
from tests.unit.reconcile.test_leases import PHONES, job, once_each, places, rules, told


@in_virtual_time
async def test_a_link_that_is_left_out_keeps_a_device_from_nobody() -> None:
    links = {"DEVLINKS": "/dev/serial/by-id/a!!b /dev/serial/by-id/good"}
    device = replace(PHONES[0], properties={**PHONES[0].properties, **links})
    bench = Bench(job(1), rules=rules(attach="{pool: android, link: by-id}"))
    await bench.start(device)
    assert places(bench) == {"job-1": ["1-1"]}
    assert bench.told() == ["udev's link '/dev/serial/by-id/a!!b' is no name for a link; left out"]


@in_virtual_time
async def test_a_lease_ends_where_somebody_else_takes_the_device_first() -> None:
    """Another's entry comes while the server refuses ours: the claim gets another device."""
    bench = Bench(job(1), box(name="other"), rules=rules())
    refuse(bench, PHONES[0], blame=True)
    await bench.start(*PHONES[:2])
    assert places(bench) == {}
    taken = Entry("mine", {"type": "unix-char", "source": PHONES[0].node, "path": PHONES[0].node})
    bench.change(InstanceName("default", "other"), entries={"mine": taken})
    await told(bench, "other")
    assert places(bench) == {"job-1": ["1-2"]}


@in_virtual_time
async def test_what_is_attached_by_hand_is_out_of_the_pools_instance_first() -> None:
    """And the other way round, once that is undone; its name decides nothing."""
    for name in ("aaa", "zoo"):
        bench = Bench(job(1), box(name=name), rules=rules())
        bench.applied = lambda _, bench=bench: once_each(bench)  # type: ignore[misc]
        await bench.start(PHONES[0])
        bench.takes = 1.0
        other = InstanceName("default", name)
        bench.reconciler.set_overrides(decided(override(PHONES[0], other)), "asked")
        await bench.reconciler.settled()
        assert places(bench) == {name: ["1-1"]}
        assert bench.times[-1] - bench.times[-2] == bench.takes
        bench.reconciler.set_overrides(decided(), "asked")
        await bench.reconciler.settled()
        assert places(bench) == {"job-1": ["1-1"]}
        assert [(each.wait.until, each.wait.why) for each in bench.reconciler.held()] == []


@in_virtual_time
async def test_what_waits_for_an_instance_that_does_not_answer_is_said() -> None:
    bench = Bench(job(1), box(name="aaa"), rules=rules())
    await bench.start(PHONES[0])
    bench.hanging_requests.add(job(1).id)
    to = InstanceName("default", "aaa")
    bench.reconciler.set_overrides(decided(override(PHONES[0], to)), "asked")
    await later(60)
    assert places(bench) == {"job-1": ["1-1"]}
    assert [(str(each.instance), each.wait.why) for each in bench.reconciler.held()] == [
        ("aaa", "job-1 has it, or may have it"),
        ("job-1", "its server was asked 60 s ago"),
    ]
    # Another device is not held up.
    bench.reconciler.set_overrides(decided(override(PHONES[0], to), override(PHONES[1], to)), "asked")
    bench.reconciler.device(PHONES[1])
    await later(1)
    assert places(bench) == {"job-1": ["1-1"], "aaa": ["1-2"]}


@in_virtual_time
async def test_after_a_crash_in_the_middle_it_is_the_same() -> None:
    has = entry(PHONES[0], {MARK_POOL: "android", MARK_CLAIM: "phone"}, instance=job(1).id, rule="phones")
    bench = Bench(box(name="aaa"), replace(job(1), entries={has.name: has}), rules=rules())
    bench.applied = lambda _: once_each(bench)
    bench.takes = 1.0
    bench.reconciler.set_overrides(decided(override(PHONES[0], InstanceName("default", "aaa"))), "start")
    await bench.start(PHONES[0])
    assert places(bench) == {"aaa": ["1-1"]}
    assert len(bench.requests) == 2


@in_virtual_time
async def test_a_companion_that_was_elsewhere_by_hand_comes_back_once_it_is_out() -> None:
    modem = plugged(made_up.tty(PHONES[0], "ttyACM0"), 166, 0)
    aaa = InstanceName("default", "aaa")
    bench = Bench(job(1), box(name="aaa"), rules=rules(attach="{pool: android, with: tty}"))
    bench.applied = lambda _: once_each(bench)
    bench.takes = 1.0
    await bench.start(PHONES[0], modem)
    bench.reconciler.set_overrides(decided(override(modem, aaa)), "asked")
    await bench.reconciler.settled()
    assert (len(bench.ours(job(1).id)), len(bench.ours(aaa))) == (1, 1)
    bench.reconciler.set_overrides(decided(), "asked")
    await bench.reconciler.settled()
    assert (len(bench.ours(job(1).id)), len(bench.ours(aaa))) == (2, 0)


@in_virtual_time
async def test_a_pools_rule_that_becomes_one_of_instances_waits_for_no_one_who_keeps_it() -> None:
    """The entry of the one that keeps it goes on to say that it is a pool's."""
    bench = Bench(job(1), box(name="aaa"), rules=rules())
    await bench.start(PHONES[0])
    before = len(bench.changes)
    bench.reconciler.set_rules(rules(attach="{to: [job-1, aaa], share: true}"))
    await bench.reconciler.settled()
    assert places(bench) == {"job-1": ["1-1"], "aaa": ["1-1"]}
    assert len(bench.changes) == before + 1


@in_virtual_time
async def test_a_gpu_that_goes_in_as_a_whole_is_one_device_whatever_pools_its_nodes_are_of() -> None:
    pools = "pools: {a: {instances: 'job-*'}, b: {instances: 'job-*'}}\n"
    card = rule("{subsystem: drm, kernel: 'card*'}", "{pool: a, as: gpu}", "c")
    render = rule("{subsystem: drm, kernel: 'render*'}", "{pool: b, as: gpu}", "n")
    loaded = parse(f"{pools}rules:\n{card}{render}", "x")
    assert not loaded.errors
    bench = Bench(job(1, "a"), job(2, "b"), rules=loaded.rules)
    bench.applied = lambda _: once_each(bench)
    bench.takes = 1.0
    await bench.start(*gpu())
    allocation = bench.reconciler.assignments.leases.leasing.allocation
    assert [str(each.instance) for each in allocation.leases.values()] == ["job-1"]
    assert {each.instance for each in bench.requests} == {"job-1"}
    assert "job-2: claim 'phone' cannot be met: pool 'b' has no device" in bench.told()


@in_virtual_time
async def test_it_is_told_why_a_lease_ends_whose_device_is_there() -> None:
    bench = Bench(job(1), box(name="zoo"), rules=rules())
    await bench.start(*PHONES[:1])
    zoo = InstanceName("default", "zoo")
    for overrides, now in (
        ([override(PHONES[0], zoo)], rules()),
        ([], rules()),
        ([], rules(attach="{to: zoo}")),
    ):
        bench.reconciler.set_overrides(decided(*overrides), "asked")
        bench.reconciler.set_rules(now)
        await bench.reconciler.settled()
    assert [each["why"] for each in bench.events("lease.over")] == [
        "its device was attached to zoo by hand (2026-11-27T18:00:00+00:00, uid 0 (root))",
        "no rule puts its device into a pool that is served here",
    ]


@in_virtual_time
async def test_a_companion_that_is_told_of_before_its_device_goes_along() -> None:
    bench = Bench(job(1), rules=rules(attach="{pool: android, with: tty}"))
    modem = plugged(made_up.tty(PHONES[0], "ttyACM0"), 166, 0)
    await bench.start(PHONES[0], modem)
    for gone in (modem, PHONES[0]):
        bench.reconciler.no_device(gone.syspath)
    again = phone(1, born=2)
    await bench.plug(plugged(made_up.tty(again, "ttyACM0"), 166, 0, born=2), again)
    assert len(bench.ours(job(1).id)) == 2


@in_virtual_time
async def test_a_restart_keeps_leases_of_an_instance_that_is_asked_for_before_all_are_listed() -> None:
    """Something else should be in it, and so its worker asks as soon as devices are listed."""
    first = Bench(job(1), rules=rules())
    overrides = decided(override(PHONES[1], job(1).id))
    first.reconciler.set_overrides(overrides, "start")
    await first.start(*PHONES[:2])
    bench = Bench(*first.instances.values(), rules=rules())
    bench.links, bench.takes = first.links, 0.1
    bench.reconciler.set_overrides(overrides, "start")
    await bench.start(*PHONES[:2])
    assert places(bench) == {"job-1": ["1-1", "1-2"]}
    assert bench.requests == []


@in_virtual_time
async def test_a_restart_keeps_them_against_an_older_claim() -> None:
    """The older one is known first, and what the other one has is not known yet then."""
    first = Bench(job(2), rules=rules())
    overrides = decided(override(PHONES[1], job(2).id))
    first.reconciler.set_overrides(overrides, "start")
    await first.start(*PHONES[:2])
    bench = Bench(job(1), *first.instances.values(), rules=rules())
    bench.links, bench.takes = first.links, 0.1
    bench.reconciler.set_overrides(overrides, "start")
    await bench.start(*PHONES[:2])
    assert places(bench) == {"job-2": ["1-1", "1-2"]}
    assert bench.requests == []


@in_virtual_time
async def test_what_udevd_processes_as_an_answer_comes_stays_leased() -> None:
    """The worker goes on to plan in the same turn of the loop."""
    pool = "pools: {android: {instances: 'job-*'}}\n"
    own, others = (
        rule("{serial: R5C002}", "{to: job-1}"),
        rule("{vendor_id: 18d1}", "{pool: android}", "phones"),
    )
    loaded = parse(f"{pool}rules:\n{own}{others}", "x")
    assert not loaded.errors
    has = entry(PHONES[0], {MARK_POOL: "android", MARK_CLAIM: "phone"}, instance=job(1).id, rule="phones")
    for turns in range(12):
        bench = Bench(replace(job(1), entries={has.name: has}), rules=loaded.rules)
        await bench.start(unprocessed=[PHONES[0]])
        bench.takes = 1.0
        bench.reconciler.device(PHONES[1])
        await later(1.0)
        for _ in range(turns):
            await asyncio.sleep(0)
        await bench.plug(PHONES[0])
        assert [(len(each.put), len(each.remove)) for each in bench.changes] == [(1, 0)], turns


@in_virtual_time
async def test_a_restart_keeps_the_lease_of_a_phone_whose_modem_its_holder_has_by_hand() -> None:
    one = phone(1)
    modem = plugged(made_up.tty(one, "ttyACM1"), 166, 1)
    with_modem = rules(attach="{pool: android, with: tty}")
    bench = Bench(job(1), rules=with_modem)
    await bench.start(one, modem)
    by_hand = decided(override(modem, job(1).id, one, modem))
    bench.reconciler.set_overrides(by_hand, "asked")
    await bench.reconciler.settled()
    again = Bench(*bench.instances.values(), rules=with_modem)
    again.links = bench.links
    again.reconciler.set_overrides(by_hand, "start")
    await again.start(modem, one)
    leasing = again.reconciler.assignments.leases.leasing
    assert (leasing.state("serial:R5C001"), leasing.reason("serial:R5C001")) == ("leased", "")
    assert not leasing.is_releasing


def test_of_instances_that_are_gone_nothing_is_kept() -> None:
    claimants = PoolClaimants(rules())
    for number in range(3):
        claimants.learned(job(number).id, job(number, None))
        claimants.learned(job(number).id, None)
    assert claimants.new == set()


@in_virtual_time
async def test_a_device_is_moved_to_a_claim_that_was_withdrawn_just_now() -> None:
    bench = Bench(job(1), job(2), rules=rules())
    await bench.start(PHONES[0])
    assert places(bench) == {"job-1": ["1-1"]}
    for each in (job(1).id, job(2).id):
        bench.change(each, claims={})
        bench.reconciler.learned(each, bench.instances[each])
    leases = bench.reconciler.assignments.leases
    leases.move("serial:R5C001", Lease(job(2).id, "phone"), "moved")
    await bench.reconciler.settled()
    assert leases.leasing.allocation.leases == {}
    assert places(bench) == {}
