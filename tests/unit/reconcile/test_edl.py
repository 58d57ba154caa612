"""A leased phone that goes into emergency download mode, where it has no serial number."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hotplugd.app.pool_documents import lease_json
from hotplugd.model.entry import is_ours, slot_of
from hotplugd.model.lease import Lease
from hotplugd.model.values import Device, InstanceName
from hotplugd.pools.leasing import Leasing
from hotplugd.rulefile.load import parse
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import phone, plugged
from tests.support.virtual import at, in_virtual_time, later
from tests.unit.devices import tty, usb
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_leases import job, made, told

KEY = "serial:R5C001"
ONE = InstanceName("default", "job-1")


def at_port(device: Device, port: int) -> Device:
    return replace(device, properties={**device.properties, "ID_PATH": f"pci-0000:00:14.0-usb-0:{port}"})


def edl(port: int = 1, born: int = 5) -> Device:
    found = replace(usb(f"1-{port}", "05c6", "9008", ""), node=f"/dev/bus/usb/001/{port + 50:03}")
    return at_port(plugged(found, 189, port + 50, born), port)


PHONE = at_port(phone(1), 1)
OTHER = at_port(phone(2), 2)
EDL = edl()


def rules(keep: str = ", keep: 10m", more: str = "") -> RuleSet:
    loaded = parse(
        f"pools: {{android: {{instances: 'job-*'{keep}}}}}\n"
        f"rules: [{{name: phones, match: {{vendor_id: ['18d1', '05c6']}}, attach: {{pool: android}}}}{more}]",
        "x",
    )
    assert not loaded.errors, loaded.errors[0].render()
    return loaded.rules


def leasing(bench: Bench) -> Leasing:
    return bench.reconciler.assignments.leases.leasing


def has(bench: Bench, *devices: Device) -> dict[str, list[str]]:
    """The nodes of these that instances have by entries of ours."""
    by_slot = {each.slot: each.node for each in devices}
    found = {
        name.name: [by_slot[slot_of(each)] for each in instance.entries.values() if is_ours(each)]
        for name, instance in bench.instances.items()
    }
    return {name: nodes for name, nodes in found.items() if nodes}


async def replug(bench: Bench, old: Device, new: Device) -> None:
    bench.reconciler.no_device(old.syspath)
    bench.reconciler.device(new)
    await bench.reconciler.settled()


async def after(bench: Bench, *devices: Device) -> Bench:
    """The next daemon, with what the one before has left."""
    bench.reconciler.close()
    new = Bench(*bench.instances.values(), rules=rules(), kept=bench.lease_keeper.kept)
    new.links, new.alone = bench.links, bench.alone
    await new.start(*devices)
    return new


@in_virtual_time
async def test_the_leased_phone_is_known_by_its_place_and_comes_back_by_its_serial_number() -> None:
    # The other one wants any phone, and would be served first.
    bench = Bench(job(1, "android serial=R5C001"), job(0, None), rules=rules())
    await bench.start(PHONE)
    await made(bench, job(0))
    bench.reconciler.no_device(PHONE.syspath)
    await later(5.0)
    await bench.plug(EDL)
    assert has(bench, EDL) == {"job-1": [EDL.node]}
    assert leasing(bench).key_of(EDL) == KEY
    assert not any(each.device == str(EDL) for each in bench.reconciler.problems())
    # It is called as the phone, inside and outside.
    lease = lease_json(EDL, leasing(bench))
    assert lease is not None
    assert (lease["identity"], lease["device"]) == (KEY, EDL.node)
    assert [each["identity"] for each in json.loads(bench.instances[ONE].leases)] == [KEY]
    again = replace(at_port(phone(1, born=9), 1))
    await replug(bench, EDL, again)
    assert has(bench, again) == {"job-1": [again.node]}
    assert [each["event"] for each in bench.events("lease.over", "lease.given")] == ["lease.given"]


@in_virtual_time
async def test_it_is_known_also_where_both_are_told_at_once() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(PHONE)
    await replug(bench, PHONE, EDL)
    assert (has(bench, EDL), leasing(bench).key_of(EDL)) == ({"job-1": [EDL.node]}, KEY)
    # A change of the device alters nothing.
    bench.reconciler.device(replace(EDL, properties={**EDL.properties, "X": "1"}))
    await bench.reconciler.settled()
    assert (has(bench, EDL), leasing(bench).key_of(EDL)) == ({"job-1": [EDL.node]}, KEY)


@in_virtual_time
async def test_anywhere_else_it_is_a_problem_and_no_guess() -> None:
    bench = Bench(job(1), job(2), rules=rules())
    await bench.start(PHONE)
    bench.reconciler.no_device(PHONE.syspath)
    await bench.reconciler.settled()
    other = edl(2)
    await bench.plug(other)
    assert has(bench, other) == {}
    (problem,) = [each for each in bench.reconciler.problems() if each.device == str(other)]
    assert (problem.pool, problem.place) == ("android", "1-2")
    assert "at 1-2 is given to nobody" in problem.message
    assert "nobody knows which phone it is" in problem.message
    assert leasing(bench).holder(PHONE) is None
    assert leasing(bench).allocation.leases == {KEY: Lease(ONE, "phone")}
    bench.reconciler.no_device(other.syspath)
    await bench.reconciler.settled()
    assert not any(each.device == str(other) for each in bench.reconciler.problems())


@in_virtual_time
async def test_a_phone_that_nobody_has_is_no_guess_either() -> None:
    bench = Bench(job(1, None), rules=rules())
    await bench.start(PHONE)
    await replug(bench, PHONE, EDL)
    assert leasing(bench).key_of(EDL) != KEY
    assert len(bench.told()) == 1
    await made(bench, job(1))
    assert has(bench, EDL) == {}


@in_virtual_time
async def test_after_keep_and_without_it_it_is_nobodys() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(PHONE)
    bench.reconciler.no_device(PHONE.syspath)
    await at(601)
    await bench.plug(EDL)
    assert has(bench, EDL) == {}
    bench = Bench(job(1), rules=rules(keep=""))
    await bench.start(PHONE)
    await replug(bench, PHONE, EDL)
    assert has(bench, EDL) == {}


@in_virtual_time
async def test_it_is_the_phone_still_after_a_restart() -> None:
    bench = Bench(job(1), job(0, None), rules=rules())
    await bench.start(PHONE)
    await replug(bench, PHONE, EDL)
    for _ in range(2):
        bench = await after(bench, EDL)
        assert (has(bench, EDL), leasing(bench).key_of(EDL)) == ({"job-1": [EDL.node]}, KEY)
        assert bench.told() == []
    await made(bench, job(0))
    again = at_port(phone(1, born=9), 1)
    await replug(bench, EDL, again)
    assert has(bench, again) == {"job-1": [again.node]}
    bench = await after(bench, again)
    assert has(bench, again) == {"job-1": [again.node]}


@in_virtual_time
async def test_it_is_known_where_it_went_into_that_mode_while_no_daemon_ran() -> None:
    bench = Bench(job(1), job(0, None), rules=rules())
    await bench.start(PHONE)
    bench.reconciler.no_device(PHONE.syspath)
    await bench.reconciler.settled()
    bench = await after(bench, EDL)
    assert (has(bench, EDL), leasing(bench).key_of(EDL)) == ({"job-1": [EDL.node]}, KEY)


@in_virtual_time
async def test_when_its_lease_ends_in_that_mode_it_is_given_to_nobody() -> None:
    bench = Bench(job(1), job(2), rules=rules())
    await bench.start(PHONE)
    await replug(bench, PHONE, EDL)
    bench.change(ONE, claims={})
    await told(bench, "job-1")
    assert has(bench, EDL) == {}
    assert [each.pool for each in bench.reconciler.problems() if each.device == str(EDL)] == ["android"]
    again = at_port(phone(1, born=9), 1)
    await replug(bench, EDL, again)
    assert has(bench, again) == {"job-2": [again.node]}


@in_virtual_time
async def test_a_serial_number_that_identifies_nothing_leaves_it_known_by_its_place() -> None:
    attrs = {**PHONE.attrs, "serial": "AAA"}
    first = replace(PHONE, attrs=attrs, properties={**PHONE.properties, "ID_SERIAL_SHORT": "AAA"})
    bench = Bench(job(1), job(0, None), rules=rules())
    await bench.start(first)
    key = leasing(bench).key_of(first)
    assert key.startswith("path:")
    await replug(bench, first, EDL)
    bench = await after(bench, EDL)
    assert (has(bench, EDL), leasing(bench).key_of(EDL)) == ({"job-1": [EDL.node]}, key)
    await made(bench, job(0))
    await replug(bench, EDL, replace(first, slot="c-189-1-1a2b3c4d-9"))
    assert [lease.instance for lease in leasing(bench).allocation.leases.values()] == [ONE]


@in_virtual_time
async def test_a_modem_of_the_phone_in_the_same_pool_is_no_other_phone() -> None:
    modem = plugged(tty(PHONE, "ttyACM1"), 166, 1, 1)
    modems = ", {name: modems, match: {subsystem: tty}, attach: {pool: android}}"
    bench = Bench(job(1, "android count=2"), rules=rules(more=modems))
    await bench.start(PHONE, modem)
    assert len(leasing(bench).allocation.leases) == 2
    bench.reconciler.no_device(modem.syspath)
    await replug(bench, PHONE, EDL)
    assert leasing(bench).key_of(EDL) == KEY
    bench = await after(bench, EDL)
    assert (has(bench, EDL), leasing(bench).key_of(EDL)) == ({"job-1": [EDL.node]}, KEY)


@in_virtual_time
async def test_a_claim_of_another_waits_for_it_and_is_no_problem() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(PHONE)
    await replug(bench, PHONE, EDL)
    await made(bench, job(2, "android serial=R5C001"))
    assert [each.state for each in leasing(bench).allocation.claims] == ["bound", "waiting"]
    assert bench.told() == []
    bench.change(ONE, claims={})
    await told(bench, "job-1")
    assert [each.state for each in leasing(bench).allocation.claims] == ["waiting"]
    again = at_port(phone(1, born=9), 1)
    await replug(bench, EDL, again)
    assert has(bench, again) == {"job-2": [again.node]}


SELECTORS = {
    "model": "product_id=4ee7",
    "id": "id=18d1:4ee7",
    "property": "property.ID_MODEL_ID=4ee7",
    "all": "vendor_id=18d1 serial=R5* port=1-1",
}


@pytest.mark.parametrize("selector", SELECTORS.values(), ids=SELECTORS)
def test_a_claim_that_asks_for_what_the_phone_is_else_waits_for_it(selector: str) -> None:
    @in_virtual_time
    async def test() -> None:
        bench = Bench(job(1, f"android {selector}"), rules=rules())
        await bench.start(PHONE)
        await replug(bench, PHONE, EDL)
        await made(bench, job(2, f"android {selector}"))
        for _ in range(2):
            assert [each.state for each in leasing(bench).allocation.claims] == ["bound", "waiting"]
            assert (has(bench, EDL), bench.told()) == ({"job-1": [EDL.node]}, [])
            bench = await after(bench, EDL)
        bench.reconciler.no_device(EDL.syspath)
        await bench.reconciler.settled()
        assert [each.state for each in leasing(bench).allocation.claims] == ["bound", "waiting"]

    test()


@in_virtual_time
async def test_a_claim_that_asks_for_another_model_cannot_be_met() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(PHONE)
    await replug(bench, PHONE, EDL)
    await made(bench, job(2, "android product_id=4ee0"))
    assert [each.state for each in leasing(bench).allocation.claims] == ["bound", "unsatisfiable"]


@in_virtual_time
async def test_it_is_known_where_nobody_heard_that_it_went() -> None:
    bench = Bench(job(1), job(0, None), rules=rules())
    await bench.start(PHONE)
    bench.reconciler.listed_devices([EDL], [])
    await bench.reconciler.settled()
    assert (has(bench, EDL), leasing(bench).key_of(EDL)) == ({"job-1": [EDL.node]}, KEY)
    again = replace(PHONE, slot=PHONE.slot + "9")
    bench.reconciler.listed_devices([again], [])
    await bench.reconciler.settled()
    assert has(bench, again) == {"job-1": [again.node]}
    bench.change(ONE, claims={})
    await told(bench, "job-1")
    assert bench.told() == []
    bench.reconciler.close()
    assert bench.lease_keeper.kept.away == ()
