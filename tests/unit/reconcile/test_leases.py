"""Leases of pools in the reconciler: who gets which device when, and what entries say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hotplugd.model.entry import MARK_CLAIM, MARK_POOL, is_ours, names_for
from hotplugd.model.values import Device, Entry, Instance, InstanceName
from hotplugd.rulefile.load import parse
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import box, entry, phone, plugged
from tests.support.virtual import in_virtual_time, later
from tests.unit import devices as made_up
from tests.unit.reconcile.bench import Bench

PHONES = [phone(number) for number in range(1, 5)]


def rules(pool: str = "instances: 'job-*'", attach: str = "{pool: android}") -> RuleSet:
    loaded = parse(
        f"pools: {{android: {{{pool}}}}}\n"
        f"rules: [{{name: phones, match: {{vendor_id: [18d1, 05c6]}}, "
        f"attach: {attach}}}]",
        "x",
    )
    assert not loaded.errors, loaded.errors[0].render()
    return loaded.rules


def job(number: int, text: str | None = "android", *, running: bool = True, created: str = "") -> Instance:
    claims = {} if text is None else {"phone": text}
    return replace(
        box(name=f"job-{number}", running=running), claims=claims, created=created or f"2026-{number}"
    )


def places(bench: Bench) -> dict[str, list[str]]:
    """The kernel names of the phones that instances have entries of ours for."""
    return {
        name.name: [
            each.kernel for each in PHONES if not {*names_for(each.slot)}.isdisjoint(instance.entries)
        ]
        for name, instance in bench.instances.items()
        if any(map(is_ours, instance.entries.values()))
    }


def once_each(bench: Bench) -> None:
    """No device was in two instances, not for a moment."""
    assert all(len(each) == 1 for each in _holders(bench).values())


def _holders(bench: Bench) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, instance in bench.instances.items():
        for each in filter(is_ours, instance.entries.values()):
            found.setdefault(each.name, set()).add(str(name))
    return found


async def told(bench: Bench, *names: str) -> None:
    """The server tells that something happened to these."""
    for name in names:
        bench.reconciler.refresh(InstanceName("default", name))
    await bench.reconciler.settled()


async def made(bench: Bench, *instances: Instance) -> None:
    for each in instances:
        bench.instances[each.id] = each
        bench.inside.setdefault(each.id, {})
    await told(bench, *(each.id.name for each in instances))


async def deleted(bench: Bench, number: int) -> None:
    del bench.instances[InstanceName("default", f"job-{number}")]
    await told(bench, f"job-{number}")


@in_virtual_time
async def test_claims_get_devices_by_age_and_the_next_when_one_is_deleted() -> None:
    bench = Bench(job(3), job(1), job(2), rules=rules())
    bench.applied = lambda _: once_each(bench)
    await bench.start(*PHONES[:2])
    assert places(bench) == {"job-1": ["1-1"], "job-2": ["1-2"]}
    await made(bench, job(4))
    await deleted(bench, 1)
    assert places(bench) == {"job-2": ["1-2"], "job-3": ["1-1"]}
    # Nothing else was done.
    assert len(bench.requests) == 3


@in_virtual_time
async def test_an_entry_says_pool_and_claim() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(PHONES[0])
    (each,) = bench.instances[InstanceName("default", "job-1")].entries.values()
    assert (each.config[MARK_POOL], each.config[MARK_CLAIM]) == ("android", "phone")


@in_virtual_time
async def test_a_restart_keeps_leases_against_the_order() -> None:
    # By their age the other would get it.
    young = job(9)
    with_entry = replace(young, entries={each.name: each for each in [_leased(PHONES[0], young)]})
    for listed_first in (True, False):
        bench = Bench(job(1), with_entry, rules=rules())
        if listed_first:
            await bench.start(PHONES[0])
        else:
            await bench.reconciler.listed_instances(bench.instances.values())
            await bench.reconciler.settled()
            bench.reconciler.listed_devices([PHONES[0]], [])
            await bench.reconciler.settled()
        assert bench.changes == []
        assert places(bench) == {"job-9": ["1-1"]}
        assert [each.want.claim for each in bench.reconciler.attachments()] == ["phone"]
        assert [each["cause"] for each in bench.events("device.attached")] == ["start"]


@in_virtual_time
async def test_what_is_leased_at_a_start_is_put_in_for_its_lease() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(PHONES[0])
    assert [each["cause"] for each in bench.events("device.add")] == ["lease"]


@in_virtual_time
async def test_a_copy_has_none_of_the_originals_leases() -> None:
    original = job(1)
    copy = replace(job(2, None), entries={each.name: each for each in [_leased(PHONES[0], original)]})
    bench = Bench(copy, rules=rules())
    await bench.start(PHONES[0])
    assert places(bench) == {}
    await made(bench, replace(original, entries={}))
    assert places(bench) == {"job-1": ["1-1"]}


@in_virtual_time
async def test_a_restored_snapshot_does_not_bring_a_lease_back() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(PHONES[0])
    snapshot = bench.instances[InstanceName("default", "job-1")]
    await made(bench, replace(snapshot, claims={}))
    await made(bench, job(2))
    assert places(bench) == {"job-2": ["1-1"]}
    await made(bench, replace(snapshot, claims={}))
    assert places(bench) == {"job-2": ["1-1"]}
    # With its claim it waits.
    await made(bench, snapshot)
    assert places(bench) == {"job-2": ["1-1"]}


@in_virtual_time
async def test_a_lease_is_over_when_its_instance_stops() -> None:
    bench = Bench(job(1), job(2), rules=rules())
    await bench.start(PHONES[0])
    await made(bench, replace(bench.instances[InstanceName("default", "job-1")], running=False))
    # Whoever stopped it may be about to do more.
    await later(1.5)
    assert places(bench) == {"job-2": ["1-1"]}


@in_virtual_time
async def test_a_pool_may_let_what_stops_keep_what_it_has() -> None:
    bench = Bench(
        job(1), job(2), job(3, running=False), rules=rules("instances: 'job-*', keep_stopped: true")
    )
    await bench.start(PHONES[0])
    await made(bench, replace(bench.instances[InstanceName("default", "job-1")], running=False))
    await later(60)
    assert (places(bench), bench.events("lease.over")) == ({"job-1": ["1-1"]}, [])
    await bench.plug(*PHONES[1:])
    # What is stopped gets nothing new.
    assert places(bench) == {"job-1": ["1-1"], "job-2": ["1-2"]}


@in_virtual_time
async def test_a_withdrawn_claim_frees_the_device() -> None:
    bench = Bench(job(1), job(2), rules=rules())
    await bench.start(PHONES[0])
    await made(bench, replace(bench.instances[InstanceName("default", "job-1")], claims={"phone": "none"}))
    assert places(bench) == {"job-2": ["1-1"]}


@in_virtual_time
async def test_a_device_is_given_once_it_is_out_of_where_it_was() -> None:
    bench = Bench(job(1), job(2), rules=rules())
    bench.applied = lambda _: once_each(bench)
    bench.takes = 2.0
    await bench.start(PHONES[0])
    await made(bench, replace(bench.instances[InstanceName("default", "job-1")], claims={}))
    assert places(bench) == {"job-2": ["1-1"]}
    removed, added = bench.requests[-2:]
    assert (removed.instance, added.instance) == ("job-1", "job-2")
    assert added.at >= removed.at + bench.takes


@in_virtual_time
async def test_what_an_instance_has_without_a_lease_is_not_given_to_another() -> None:
    """An entry of ours that came by a restore names a free device, and its request hangs."""
    bench = Bench(job(1, None), rules=rules())
    await bench.start(PHONES[0])
    stale = replace(job(1, None), entries={each.name: each for each in [_leased(PHONES[0], job(1))]})
    bench.hanging_requests.add(stale.id)
    bench.instances[stale.id] = stale
    bench.reconciler.refresh(stale.id)
    for number in range(2):
        bench.instances[job(2 + number).id] = job(2 + number)
        bench.inside[job(2 + number).id] = {}
        bench.reconciler.refresh(job(2 + number).id)
    await later(5.0)
    assert [each.instance for each in bench.requests] == ["job-1"]
    assert bench.reconciler.assignments.leases.leasing.state("serial:R5C001") == "releasing"


@in_virtual_time
async def test_a_pool_gives_unasked() -> None:
    bench = Bench(job(1, None), job(2, None), rules=rules("instances: 'job-*', per_instance: 1"))
    await bench.start(*PHONES[:3])
    assert places(bench) == {"job-1": ["1-1"], "job-2": ["1-2"]}


@in_virtual_time
async def test_a_device_that_is_plugged_goes_to_the_claim_that_waits() -> None:
    bench = Bench(job(1, "android serial=R5C003"), job(2, "android count=2"), rules=rules())
    await bench.start(PHONES[0])
    assert places(bench) == {}
    await bench.plug(PHONES[2])
    assert places(bench) == {"job-1": ["1-3"]}
    await bench.plug(PHONES[1])
    assert places(bench) == {"job-1": ["1-3"], "job-2": ["1-1", "1-2"]}
    # It is enumerated again at the same port, between two of its modes.
    again = phone(3, born=2)
    bench.reconciler.device(again)
    await bench.reconciler.settled()
    assert {*names_for(again.slot)} & bench.instances[InstanceName("default", "job-1")].entries.keys()


@in_virtual_time
async def test_bad_and_impossible_claims_are_problems_and_hurt_nobody() -> None:
    bench = Bench(job(1, "androd"), job(2, "android serial=X"), job(3), rules=rules())
    await bench.start(PHONES[0])
    assert places(bench) == {"job-3": ["1-1"]}
    assert bench.told() == [
        "job-1: user.hotplugd.claim.phone, column 1: there is no pool 'androd'; did you mean 'android'?",
        "job-2: claim 'phone' cannot be met: none of the devices of pool 'android' is one with serial=X",
    ]
    told = bench.events("claim.problem")
    assert [(each["instance"], each["claim"]) for each in told] == [("job-1", "phone"), ("job-2", "phone")]


@in_virtual_time
async def test_a_rule_that_becomes_a_pools_keeps_what_is_claimed() -> None:
    bench = Bench(job(1), job(2, None), rules=rules(attach="{to: job-2}"))
    await bench.start(PHONES[0])
    assert places(bench) == {"job-2": ["1-1"]}
    await made(bench, replace(bench.instances[InstanceName("default", "job-2")], claims={"it": "android"}))
    before = len(bench.changes)
    bench.reconciler.set_rules(rules())
    await bench.reconciler.settled()
    assert places(bench) == {"job-2": ["1-1"]}
    assert len(bench.changes) == before


@in_virtual_time
async def test_what_goes_along_goes_with_the_lease() -> None:
    modem = plugged(made_up.tty(PHONES[0], "ttyACM0"), 166, 0)
    bench = Bench(job(1), job(2), rules=rules(attach="{pool: android, with: tty}"))
    await bench.start(PHONES[0], modem)
    entries = bench.instances[InstanceName("default", "job-1")].entries
    assert {each.config[MARK_POOL] for each in entries.values()} == {"android"}
    assert len(entries) == 2
    await deleted(bench, 1)
    assert len(bench.instances[InstanceName("default", "job-2")].entries) == 2


@in_virtual_time
async def test_foreign_entries_keep_a_device_from_the_pool() -> None:
    by_hand = Entry("mine", {"type": "unix-char", "source": PHONES[0].node, "path": PHONES[0].node})
    bench = Bench(box([by_hand], name="other"), job(1), rules=rules())
    await bench.start(*PHONES[:2])
    assert places(bench) == {"job-1": ["1-2"]}


@in_virtual_time
async def test_a_forged_lease_gives_nothing_without_a_claim() -> None:
    forger = replace(job(2, None), entries={each.name: each for each in [_leased(PHONES[0], job(2))]})
    other = replace(box(name="other"), claims={"phone": "android"})
    other = replace(other, entries={each.name: each for each in [_leased(PHONES[1], other)]})
    bench = Bench(job(1), forger, other, rules=rules())
    bench.applied = lambda _: once_each(bench)
    await bench.start(*PHONES[:2])
    assert places(bench) in ({"job-1": ["1-1"]}, {"job-1": ["1-2"]})
    (problem,) = bench.told()
    assert problem == (
        "other: user.hotplugd.claim.phone, column 1: other may not have devices of pool 'android'; its "
        "`instances` and its project are under `pools` in the rule files: job-* in project default"
    )


@in_virtual_time
async def test_leases_that_begin_and_end_are_told() -> None:
    bench = Bench(job(1), job(2), rules=rules())
    await bench.start(PHONES[0])
    await deleted(bench, 1)
    bench.reconciler.no_device(PHONES[0].syspath)
    await bench.reconciler.settled()
    told = bench.events("lease.given", "lease.over")
    assert [(each["event"], each["instance"], each.get("why", "")) for each in told] == [
        ("lease.given", "job-1", ""),
        ("lease.over", "job-1", "job-1 is gone"),
        ("lease.given", "job-2", ""),
        ("lease.over", "job-2", "its device is gone"),
    ]
    assert [each["claim"] for each in told] == ["phone"] * 4
    assert {each["identity"] for each in told} == {"serial:R5C001"}


@in_virtual_time
async def test_problems_of_claims_begin_and_end_as_events() -> None:
    bench = Bench(job(1, "androd"), job(2), rules=rules())
    await bench.start(PHONES[0])
    await made(bench, job(1))
    told = bench.events("claim.problem", "problem.over")
    assert [(event["event"], event["reason"][:35]) for event in told] == [
        ("claim.problem", "job-1: user.hotplugd.claim.phone, c"),
        ("problem.over", "job-1: user.hotplugd.claim.phone, c"),
    ]


@in_virtual_time
async def test_a_reload_may_bring_a_pool_that_gives_unasked() -> None:
    bench = Bench(job(1, None), rules=rules())
    await bench.start(PHONES[0])
    assert places(bench) == {}
    bench.reconciler.set_rules(rules("instances: 'job-*', per_instance: 1"))
    await bench.reconciler.settled()
    assert places(bench) == {"job-1": ["1-1"]}


@in_virtual_time
async def test_where_another_daemon_leases_this_one_gives_nothing() -> None:
    bench = Bench(job(1), rules=rules().without_leases())
    await bench.start(PHONES[0])
    assert (places(bench), bench.told()) == ({}, [])
    bench.reconciler.set_rules(rules())
    await bench.reconciler.settled()
    assert places(bench) == {"job-1": ["1-1"]}


@in_virtual_time
async def test_what_the_host_uses_is_leased_to_nobody() -> None:
    bench = Bench(job(1), rules=rules())
    bench.used[PHONES[0].syspath] = "a program of the host's has it open"
    await bench.start(*PHONES[:2])
    assert places(bench) == {"job-1": ["1-2"]}
    told = bench.events("lease.given", "lease.over")
    assert [(event["event"], event.get("why", "")[:24]) for event in told] == [
        ("lease.given", ""),
        ("lease.over", "it cannot be put in: the"),
        ("lease.given", ""),
    ]


@in_virtual_time
async def test_a_device_that_udevd_has_not_processed_is_still_leased() -> None:
    had = replace(job(1), entries={each.name: each for each in [_leased(PHONES[0], job(1))]})
    bench = Bench(had, rules=rules())
    await bench.start(PHONES[1], unprocessed=[PHONES[0]])
    assert (places(bench), bench.changes) == ({"job-1": ["1-1"]}, [])
    await bench.plug(PHONES[0])
    assert (places(bench), bench.changes) == ({"job-1": ["1-1"]}, [])


@in_virtual_time
async def test_two_of_one_serial_are_two_devices() -> None:
    bench = Bench(job(1), job(2), rules=rules())
    await bench.start(phone(1, "SAME"), phone(2, "SAME"))
    assert sorted(places(bench)) == ["job-1", "job-2"]
    (problem,) = bench.reconciler.problems()
    assert (problem.device, problem.pool) == (phone(2).node, "android")
    assert problem.message.startswith(
        f"two devices are known as serial:SAME: {phone(1).node} at path pci-0000:00:14.0-usb-0:1-1, and "
        f"{phone(2).node} at path pci-0000:00:14.0-usb-0:1-2, which came later"
    )
    # One goes, and the other stays where it is, also when udevd says more of it.
    bench.reconciler.no_device(phone(1).syspath)
    await bench.reconciler.settled()
    before = len(bench.requests)
    twin = phone(2, "SAME")
    await bench.plug(replace(twin, properties={**twin.properties, "ID_MODEL": "Pixel"}))
    assert places(bench) == {"job-2": ["1-2"]}
    assert len(bench.requests) == before
    assert not any(each.device == phone(2).node for each in bench.reconciler.problems())


@in_virtual_time
async def test_the_mode_of_a_phone_may_change_what_it_is() -> None:
    """Rules of one pool may be for both modes; one of no rule ends the lease."""
    bench = Bench(job(1), rules=rules())
    await bench.start(PHONES[0])
    other = replace(phone(1, born=2), attrs={**PHONES[0].attrs, "idVendor": "0000"})
    await bench.plug(other)
    assert places(bench) == {}
    await bench.plug(phone(1, born=3))
    assert len(bench.instances[InstanceName("default", "job-1")].entries) == 1


@in_virtual_time
async def test_a_lease_lasts_through_all_modes_of_its_phone() -> None:
    """The product is another one in each: MTP, adb, fastboot, recovery and sideload (Google's)."""
    bench = Bench(job(1), job(2), rules=rules("instances: 'job-*', keep: 10m"))
    await bench.start(PHONES[0])
    for born, product in enumerate(("4ee1", "4ee2", "4ee7", "4ee0", "d001", "d002"), 2):
        bench.reconciler.no_device(PHONES[0].syspath)
        await bench.reconciler.settled()
        other = phone(1, born=born)
        await bench.plug(replace(other, properties={**other.properties, "ID_MODEL_ID": product}))
        assert [name.name for name, each in bench.instances.items() if each.entries] == ["job-1"]
    assert len(bench.events("lease.given")) == 1
    assert bench.events("lease.over") == []


@in_virtual_time
async def test_an_instance_that_moves_to_another_member_ends_its_leases() -> None:
    one = replace(job(1), location="m1")
    bench = Bench(one, job(2), rules=rules("instances: 'job-*', keep: 10m"))
    await bench.start(PHONES[0])
    assert places(bench) == {"job-1": ["1-1"]}
    # The server takes its entries along, and the devices of this member are none there.
    bench.change(one.id, location="m2", here=False)
    await told(bench, "job-1")
    await later(2.0)
    (over,) = bench.events("lease.over")
    assert over["why"] == "job-1 is on another member of the cluster"
    assert leases_of(bench) == {"job-2"}


def leases_of(bench: Bench) -> set[str]:
    leases = bench.reconciler.assignments.leases.leasing.allocation.leases
    return {each.instance.name for each in leases.values()}


def _leased(device: Device, instance: Instance) -> Entry:
    marks = {MARK_POOL: "android", MARK_CLAIM: "phone"}
    return entry(device, marks, instance=instance.id, rule="phones")


@in_virtual_time
async def test_a_claim_that_waits_is_told_of_once_and_so_is_its_end() -> None:
    bench = Bench(job(1), job(2), job(3), rules=rules())
    await bench.start(PHONES[0])
    await told(bench, "job-1", "job-3")
    await made(bench, job(3, running=False))
    await bench.plug(PHONES[1])
    assert [_told(each) for each in bench.events(*CLAIMS)] == [
        ("claim.waiting", "job-2", "claim 'phone' waits: 1 device of pool 'android', of which none is free"),
        ("claim.waiting", "job-3", "claim 'phone' waits: 1 device of pool 'android', of which none is free"),
        ("claim.withdrawn", "job-3", "job-3 is stopped"),
        ("claim.bound", "job-2", "claim 'phone': it has all that it asks for"),
    ]


@in_virtual_time
async def test_the_end_of_an_unsatisfiable_claim_is_told_of() -> None:
    bench = Bench(job(1, "android serial=R5C002"), job(2, "android count=9"), job(3), rules=rules())
    await bench.start(PHONES[0])
    await bench.plug(PHONES[1])
    await made(bench, job(2, None))
    # It never waited: it was told of as a problem.
    assert [_told(each)[:2] for each in bench.events(*CLAIMS)] == [
        ("claim.bound", "job-1"),
        ("claim.withdrawn", "job-2"),
    ]


@in_virtual_time
async def test_what_pools_give_unasked_is_no_claim_that_waits() -> None:
    bench = Bench(job(1, None), job(2, None), rules=rules("instances: 'job-*', per_instance: 1"))
    await bench.start(PHONES[0])
    assert bench.events(*CLAIMS) == []


CLAIMS = ("claim.waiting", "claim.bound", "claim.withdrawn")


def _told(event: Mapping[str, object]) -> tuple[object, object, object]:
    assert (event["claim"], event["pool"]) == ("phone", "android")
    return event["event"], event["instance"], event["why"]
