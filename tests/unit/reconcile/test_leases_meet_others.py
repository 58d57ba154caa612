"""Leases of pools meet what people decide by hand, companions, other rules and others' entries."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.model.values import Entry, InstanceName
from tests.support.devices import box
from tests.support.virtual import in_virtual_time
from tests.unit.reconcile.bench import Bench, refuse
from tests.unit.reconcile.test_leases import PHONES, job, places, rules, told


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
