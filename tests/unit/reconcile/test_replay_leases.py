"""The events of a farm tell which leases there are, which devices are absent, and what is wrong."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hotplugd.app.event_documents import ENDS
from hotplugd.app.event_views import standing
from hotplugd.model.problem import Problem
from hotplugd.reconcile.leases import Leases
from tests.support.virtual import in_virtual_time
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.farm import Farm
from tests.unit.reconcile.test_farm_at_random import STEPS, Step, live
from tests.unit.reconcile.test_problems_at_random import RESTLESS, is_of

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


# A lease goes on by another claim of its instance: what each gets of the pool unasked.
@example([(Farm.plug, 0, 0.0), (Farm.reload, 0, 0.0), (Farm.make, 0, 0.0), (Farm.withdraw, 0, 0.0)])
# A phone in EDL has no serial number, and its lease is told by that all the same.
@example(
    [(Farm.make, 0, 0.0), (Farm.plug, 0, 0.3), (Farm.edl, 0, 0.0), (Farm.lock, 0, 0.3), (Farm.pull, 0, 0.0)]
)
@example(
    [(Farm.plug, 0, 0.0), (Farm.plug, 0, 0.0), (Farm.make, 0, 0.0), (Farm.plug, 0, 0.3), (Farm.edl, 0, 0.0)]
)
@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_the_stream_replays_into_what_pool_shows(steps: list[Step]) -> None:
    @in_virtual_time
    async def test() -> None:
        farm = Farm()
        await live(farm, steps)
        assert told(farm.bench) == shown(farm.leases)

    test()


def waiting(bench: Bench) -> set[tuple[str, str]]:
    """The instances and names of the claims that wait, by the events."""
    found: set[tuple[str, str]] = set()
    for each in bench.events("claim.waiting", "claim.bound", "claim.withdrawn", "claim.problem"):
        key = str(each.get("instance")), str(each.get("claim"))
        if each["event"] == "claim.waiting":
            assert key not in found
            found.add(key)
        else:
            found.discard(key)
    return found


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_the_stream_replays_into_the_claims_that_wait(steps: list[Step]) -> None:
    @in_virtual_time
    async def test() -> None:
        farm = Farm()
        await live(farm, steps)
        states = {
            (str(each.asking.instance), each.asking.claim.name): each.state
            for each in farm.leases.leasing.allocation.claims
            if each.asking.claim.asked
        }
        told = waiting(farm.bench)
        # An instance of which it is not known yet what it has gets nothing, and waits on.
        assert {states.get(each, "waiting") for each in told} <= {"waiting"}
        assert {each for each, state in states.items() if state == "waiting"} <= told

    test()


@settings(max_examples=100, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_the_stream_replays_into_the_problems_that_status_shows(steps: list[Step]) -> None:
    @in_virtual_time
    async def test() -> None:
        farm = Farm()
        await live(farm, steps)
        begun = [each for each in standing(farm.bench.logged.entries) if each["event"] in ENDS]
        now: list[Problem] = farm.bench.reconciler.problems()
        for problem in now:
            assert any(is_of(each, problem) for each in begun), problem
        for each in begun:
            is_restless = any(str(each["reason"]).endswith(why) for why in RESTLESS)
            assert is_restless or any(is_of(each, problem) for problem in now), each

    test()
