"""The events of leases alone tell which leases there are, and of which the device is absent."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hotplugd.reconcile.leases import Leases
from tests.support.virtual import in_virtual_time
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_farm_at_random import STEPS, Farm, Step, live

EVENTS = ("lease.found", "lease.given", "lease.over", "lease.away", "lease.back")
Shown = dict[str, tuple[str, str, bool]]
"""By what a device is known by: the instance, the claim, and whether the device is there."""


def told(bench: Bench) -> Shown:
    found: Shown = {}
    for each in bench.events(*EVENTS):
        key, instance, claim = str(each["identity"]), str(each["instance"]), str(each["claim"])
        if each["event"] == "lease.over":
            assert found.pop(key)[:2] == (instance, claim)
        elif each["event"] in ("lease.found", "lease.given"):
            assert key not in found
            found[key] = instance, claim, "reason" not in each
        else:
            assert found[key][:2] == (instance, claim)
            found[key] = instance, claim, each["event"] == "lease.back"
    return found


def shown(leases: Leases) -> Shown:
    leasing = leases.leasing
    return {
        key: (str(lease.instance), lease.claim, key not in leasing.away)
        for key, lease in leasing.allocation.leases.items()
    }


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_the_stream_replays_into_what_pool_shows(steps: list[Step]) -> None:
    @in_virtual_time
    async def test() -> None:
        farm = Farm()
        await live(farm, steps)
        assert told(farm.bench) == shown(farm.leases)

    test()
