"""What an earlier hotplugd kept by udev's form of a serial number, which has no blanks, holds on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.entry import MARK_UNIT
from hotplugd.model.lease import Lease
from hotplugd.model.values import Entry, InstanceName
from hotplugd.pools.away_leases import KeptLeases
from hotplugd.pools.flaps import Quarantine
from tests.support.devices import phone
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_away_leases import KEEP, RULES, away, events, pull
from tests.unit.reconcile.test_leases import job, made

UDEVS, OWN = "serial:AB_CD", "serial:AB CD"
MINE = Lease(InstanceName("default", "job-2"), "phone")
QUARANTINE = Quarantine(UDEVS, "android", "1-1", 3, 60.0, "2026", 60.0)


def names(bench: Bench) -> dict[str, str]:
    """Who has a lease of what, by what it is known by."""
    leases = bench.reconciler.assignments.leases.leasing.allocation.leases
    return {key: lease.instance.name for key, lease in leases.items()}


@in_virtual_time
async def test_a_lease_whose_phone_comes_back() -> None:
    # By their order the other one would get it.
    bench = Bench(job(1), job(2), rules=RULES, kept=away("job-2", key=UDEVS))
    await bench.start()
    assert names(bench) == {UDEVS: "job-2"}
    await bench.plug(phone(1, "AB CD"))
    assert events(bench) == [("back", "")]
    await pull(bench, phone(1, "AB CD"))
    await bench.plug(phone(1, "AB CD", born=2))
    assert names(bench) == {UDEVS: "job-2"}
    # Once nothing is kept by that it is known as any other.
    await pull(bench, phone(1, "AB CD", born=2))
    await at(KEEP + 1)
    await bench.plug(phone(1, "AB CD", born=3))
    assert names(bench) == {OWN: "job-1"}


@in_virtual_time
async def test_a_lease_whose_phone_was_plugged_in_meanwhile() -> None:
    bench = Bench(job(1), job(2), rules=RULES, kept=away("job-2", key=UDEVS))
    await bench.start(phone(1, "AB CD"))
    assert names(bench) == {UDEVS: "job-2"}


@in_virtual_time
async def test_one_that_has_that_serial_number_itself_is_another() -> None:
    bench = Bench(job(1), job(2), rules=RULES, kept=away("job-2", key=UDEVS))
    await bench.start(phone(2, "AB_CD"), phone(1, "AB CD"))
    assert names(bench) == {UDEVS: "job-2", OWN: "job-1"}


@in_virtual_time
async def test_a_quarantine() -> None:
    bench = Bench(job(1), rules=RULES, kept=KeptLeases(quarantines=(QUARANTINE,)))
    await bench.start(phone(1, "AB CD"))
    assert names(bench) == {}
    leases = bench.reconciler.assignments.leases
    assert leases.unwell() == [UDEVS]
    (device,) = leases.leasing.devices
    assert device.reason.startswith("quarantined: it came and went 3 times")
    leases.forgive([leases.leasing.key_of(device.device)])
    await made(bench, job(1))
    assert list(names(bench).values()) == ["job-1"]


@in_virtual_time
async def test_a_lease_is_no_other_phones_whose_serial_number_udev_writes_alike() -> None:
    bench = Bench(job(1), job(2), rules=RULES)
    await bench.start(phone(1, "AB_CD"))
    assert names(bench) == {UDEVS: "job-1"}
    await pull(bench, phone(1, "AB_CD"))
    await bench.plug(phone(2, "AB CD"))
    assert names(bench) == {UDEVS: "job-1", OWN: "job-2"}
    await bench.plug(phone(1, "AB_CD", born=2))
    assert names(bench) == {UDEVS: "job-1", OWN: "job-2"}


async def upgraded(text: str, born: int) -> Bench:
    """An earlier hotplugd has put two phones in; this one finds one of them, and a second instance."""
    first = Bench(job(1, text), rules=RULES)
    await first.start(*[phone(1, "AB CD"), phone(2)][: 1 + ("count=2" in text)])
    first.reconciler.close()
    (before,) = first.instances.values()
    entries = {
        name: Entry(name, {**each.config, MARK_UNIT: each.config[MARK_UNIT].replace(" ", "_")})
        for name, each in before.entries.items()
    }
    bench = Bench(replace(before, entries=entries), job(2), rules=RULES)
    bench.links = first.links
    await bench.start(phone(1, "AB CD", born))
    return bench


@in_virtual_time
@pytest.mark.parametrize("born", [1, 2])
async def test_an_entry_is_no_record_of_a_phone_besides_the_one_that_is_there(born: int) -> None:
    bench = await upgraded("android count=2", born)
    await bench.plug(phone(2, born=2))
    assert names(bench) == {OWN: "job-1", "serial:R5C002": "job-1"}


@in_virtual_time
@pytest.mark.parametrize("born", [1, 2])
async def test_an_entry_is_the_record_of_a_phone_that_was_plugged_in_meanwhile(born: int) -> None:
    bench = await upgraded("android", born)
    assert names(bench) == {OWN: "job-1"}
    await bench.plug(phone(2))
    assert names(bench) == {OWN: "job-1", "serial:R5C002": "job-2"}
