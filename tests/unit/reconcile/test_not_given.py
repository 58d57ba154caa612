"""Devices of pools that are given to nobody: cordoned, bad or quarantined."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.app.pool_documents import lease_json, leases_json, pools_json
from hotplugd.model.asker import Asker
from hotplugd.model.values import Device, InstanceName
from hotplugd.pools.cordons import NO_CORDONS, Cordon, CordonKind, Cordons
from hotplugd.pools.health import UNKNOWN, Health
from tests.support.devices import plugged
from tests.support.virtual import in_virtual_time
from tests.unit.devices import HUB, usb
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_leases import PHONES, deleted, job, made, places, rules

SINCE = "2026-11-27T18:00:00+00:00"
ROOT = Asker(0, "root")


def cordon(kind: CordonKind, name: str) -> Cordons:
    return Cordons.made_of([Cordon(kind, name, "broken cable", SINCE, ROOT)])


def told(bench: Bench, number: int) -> tuple[str, str, str]:
    """A phone's state, health and the reason why nobody is given it."""
    found = lease_json(PHONES[number], bench.reconciler.assignments.leases.leasing)
    assert found is not None
    return found["state"], found["health"], found["reason"]


@in_virtual_time
async def test_a_cordoned_device_stays_with_its_holder() -> None:
    bench = Bench(job(1), rules=rules())
    leases = bench.reconciler.assignments.leases
    await bench.start(*PHONES[:1])
    leases.set_cordons(cordon("device", leases.leasing.key_of(PHONES[0])))
    await made(bench, job(2))
    why = "cordoned by uid 0 (root): broken cable"
    assert (places(bench), told(bench, 0)) == ({"job-1": ["1-1"]}, ("leased", "unknown", why))
    await deleted(bench, 1)
    assert (places(bench), told(bench, 0)) == ({}, ("cordoned", "unknown", why))
    assert leases_json(pools_json(leases.leasing, {})["pools"]) == {"leases": []}
    leases.set_cordons(NO_CORDONS)
    await bench.reconciler.settled()
    assert (places(bench), told(bench, 0)) == ({"job-2": ["1-1"]}, ("leased", "unknown", ""))


def nameless(bus: int, controller: str) -> Device:
    """A phone without a serial number in port 1 of a controller, whose bus has this number."""
    where = {"ID_PATH": f"pci-{controller}-usb-0:1"}
    one = usb(f"{bus}-1", "18d1", "4ee7", "", properties=where)
    return plugged(replace(one, node=f"/dev/bus/usb/00{bus}/002"), 189, bus)


@in_virtual_time
async def test_a_cordon_is_about_a_socket_whatever_number_its_bus_has_after_a_boot() -> None:
    bench = Bench(job(1), rules=rules())
    leases = bench.reconciler.assignments.leases
    bad = nameless(1, "0000:00:14.0")
    await bench.start(bad, nameless(2, "0000:05:00.0"))
    cordons = cordon("device", leases.leasing.key_of(bad))
    bench = Bench(job(1), job(2), rules=rules())
    bench.reconciler.assignments.leases.set_cordons(cordons)
    await bench.start(nameless(2, "0000:00:14.0"), nameless(1, "0000:05:00.0"))
    assert places(bench) == {"job-1": ["1-1"]}


@in_virtual_time
async def test_two_of_one_path_on_both_buses_of_a_controller_are_two() -> None:
    def root(bus: int, product: str) -> Device:
        return replace(
            HUB, syspath=f"/sys/devices/pci/usb{bus}", kernel=f"usb{bus}", attrs={"idProduct": product}
        )

    slow, fast = nameless(1, "0000:00:14.0"), nameless(2, "0000:00:14.0")
    slow, fast = replace(slow, parent=root(1, "0002")), replace(fast, parent=root(2, "0003"))
    bench = Bench(rules=rules())
    await bench.start(fast, slow)
    leasing = bench.reconciler.assignments.leases.leasing
    assert [leasing.key_of(slow), leasing.key_of(fast)] == [
        "path:pci-0000:00:14.0-usbv2-0:1",
        "path:pci-0000:00:14.0-usbv3-0:1",
    ]


@in_virtual_time
async def test_a_cordoned_instance_gets_nothing_more() -> None:
    bench = Bench(job(1), rules=rules())
    leases = bench.reconciler.assignments.leases
    leases.set_cordons(cordon("instance", "default/job-1"))
    await bench.start(*PHONES[:1])
    (state,) = leases.leasing.allocation.claims
    assert (places(bench), state.state) == ({}, "waiting")
    assert state.reason == "job-1 is cordoned by uid 0 (root): broken cable"


# One in quarantine is out of its instance as well.
@pytest.mark.parametrize("state", ["bad"])
def test_what_does_badly_is_not_given_to_the_next(state: str) -> None:
    @in_virtual_time
    async def test() -> None:
        bench = Bench(job(1), rules=rules())
        leases = bench.reconciler.assignments.leases
        await bench.start(*PHONES[:1])
        key = leases.leasing.key_of(PHONES[0])
        leases.set_health(key, Health(state, "it did not answer", SINCE))  # type: ignore[arg-type]
        await made(bench, job(2))
        assert (places(bench), told(bench, 0)[0]) == ({"job-1": ["1-1"]}, "leased")
        await deleted(bench, 1)
        assert (places(bench), told(bench, 0)) == ({}, ("free", state, f"{state}: it did not answer"))
        # It is still so after it was pulled and plugged.
        bench.reconciler.no_device(PHONES[0].syspath)
        bench.reconciler.device(PHONES[0])
        await bench.reconciler.settled()
        assert InstanceName("default", "job-2") in bench.instances
        assert (places(bench), told(bench, 0)[1]) == ({}, state)
        leases.set_health(key, UNKNOWN)
        await bench.reconciler.settled()
        assert places(bench) == {"job-2": ["1-1"]}

    test()


@in_virtual_time
async def test_nobody_waits_for_a_leased_and_absent_device_of_a_cordoned_pool() -> None:
    """As for one that is cordoned by itself: once its lease ends it is given to nobody."""
    for cordons in (cordon("device", "serial:R5C001"), cordon("pool", "android")):
        bench = Bench(job(1), job(2), rules=rules("instances: 'job-*', keep: 10m"))
        leases = bench.reconciler.assignments.leases
        await bench.start(PHONES[0])
        bench.reconciler.no_device(PHONES[0].syspath)
        await bench.reconciler.settled()
        assert [each.state for each in leases.leasing.allocation.claims] == ["bound", "waiting"]
        leases.set_cordons(cordons)
        await bench.reconciler.settled()
        assert [each.state for each in leases.leasing.allocation.claims] == ["bound", "unsatisfiable"]


@in_virtual_time
async def test_too_few_devices_are_a_problem_until_they_are_there() -> None:
    bench = Bench(job(1), rules=rules("instances: 'job-*', expect: 2"))
    await bench.start(PHONES[0])
    message = "pool 'android' has 1 device, and should have 2"
    assert bench.told() == [message]
    await bench.plug(PHONES[1])
    assert bench.told() == []
    found = [
        (each["event"], each["pool"], each["reason"])
        for each in bench.events("claim.problem", "problem.over")
    ]
    assert found == [("claim.problem", "android", message), ("problem.over", "android", message)]
