"""All that people, phones and servers do to a farm: one place at a time, and nothing is left over."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hotplugd.pools.cordons import NO_CORDONS
from tests.support.virtual import at, in_virtual_time, now
from tests.unit.reconcile.farm import PLAIN, TROUBLES, ZOO, Farm, own_once
from tests.unit.reconcile.test_by_hand import decided
from tests.unit.reconcile.test_leases_at_random import name, will_do
from tests.unit.reconcile.test_telling import HOUR

# Seconds: the longest pause after a refusal (`batching`), and some for what goes then.
_LONGEST = 65.0

Act = Callable[[Farm, int, int], None]
F = Farm
ACTS: list[Act] = [
    F.plug, F.plug, F.plug, F.pull, F.make, F.make, F.make, F.delete, F.withdraw, F.two_claims, F.stop,
    F.start, F.snapshot, F.restore, F.rename, F.copy, F.scribble, F.hand, F.undo, F.reload, F.cordon,
    F.drain, F.uncordon, F.release, F.move, F.trouble_on, F.trouble_on, F.calm, F.edl, F.edl, F.unheard,
    F.lock,
]  # fmt: skip
Step = tuple[Act | str | None, int, float]
STEPS: st.SearchStrategy[Step] = st.tuples(
    st.sampled_from([*ACTS, None, "old"]),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.01, 0.3, 5.0, 20.0, 40.0]),
)


async def happen(farm: Farm, steps: list[Step]) -> None:
    """All of that, one after the other; afterwards nothing is in trouble."""
    when = 1.0
    await farm.bench.start()
    for born, (act, number, pause) in enumerate(steps, 2):
        await at(when)
        if act is None or isinstance(act, str):
            old, farm.old = farm.old, farm.bench.lease_keeper.kept
            was, farm.trouble = farm.trouble, set()
            await farm.restart(old if act == "old" else None)
            farm.trouble = was
            farm._troubles()
            when = max(when, now())
        else:
            act(farm, number, born)
        when = max(when, now()) + pause + 0.001
    farm.calm()
    if farm.locked:
        farm.lock()


async def live(farm: Farm, steps: list[Step]) -> None:
    await happen(farm, steps)
    for n in range(4):
        farm.bench.reconciler.refresh(name(n))
    await at(now() + 3 * HOUR)
    await farm.bench.reconciler.settled()


def check(farm: Farm) -> None:
    """Nothing is in two places, nothing waits for what is over, and what is free completes no claim."""
    bench, leases = farm.bench, farm.leases
    own_once(bench)
    assert (bench.reconciler.pending(), bench.reconciler.held()) == ([], [])
    assert not leases.leasing.is_releasing
    assert leases.quarantines.all == ()
    if farm.rules is PLAIN:
        return
    by_hand = {
        port
        for port in farm.devices
        for each in farm.overrides.values()
        if each.of.subsystem == "usb" and each.of.identity == f"serial:R5C{port:03}"
    }
    wants = bench.reconciler.assignments.wants
    edl_by_hand = {
        port
        for port in farm.in_edl
        if (found := wants.get(farm.devices[port].key)) is not None and found.override is not None
    }
    assert leases.leasing._units._in_edl == {
        leases.leasing.key_of(farm.devices[port]) for port in farm.in_edl - edl_by_hand
    }
    by_hand |= edl_by_hand
    had = {number: ports - by_hand for number, ports in farm.had().items()}
    free = {port for port in farm.devices if farm.may_be_given(port)} - by_hand
    free -= {port for ports in had.values() for port in ports}
    lacks: dict[int, int] = {}
    for number, ports in had.items():
        instance, text = bench.instances[name(number)], farm.texts.get(number)
        keeps = farm.rules.pools["android"].keep_stopped
        assert not ports or instance.running or keeps
        if text is None or not instance.running or farm.cordons.of_instance(name(number)) is not None:
            continue
        count = 2 if "count=2" in text else 1
        assert len(ports) <= count
        if len(ports) < count:
            lacks[number] = count - len(ports)
    for number, lack in lacks.items():
        # What is free may be kept for another that asks for two.
        if not any("count=2" in farm.texts[other] for other in lacks if other != number):
            there = [port for port in free if will_do(farm.texts[number], port)]
            assert len(there) < lack, f"job-{number} waits, and {there} are free"


async def clean_up(farm: Farm) -> None:
    farm.overrides.clear()
    farm.bench.reconciler.set_overrides(decided(), "asked")
    farm.cordons = NO_CORDONS
    farm.leases.set_cordons(NO_CORDONS)
    for n in range(4):
        farm.pull(n, 0)
        farm.delete(n, 0)
    await at(now() + 3 * HOUR)
    await farm.bench.reconciler.settled()


def left(farm: Farm) -> dict[str, object]:
    """What is kept of devices and instances, none of which are there any more."""
    leases, handovers = farm.leases, farm.bench.reconciler.inventory.handovers
    leasing, units, claimants = leases.leasing, leases.leasing._units, leases.leasing.claimants
    ready, files, tries = leases.readiness, leases._files, leases.revocations
    kept = {
        "handovers": (handovers._by_instance, handovers._by_slot, handovers._left, handovers._by_hand),
        "why": (handovers.why, handovers._revoking, tries._tries, tries.problems()),
        "leases": (leasing.allocation.leases, [*leasing.away], leasing._releasing, leasing._health),
        "units": (units._units, units._unit_of, units._anchor_of, units._along, units.new, units.awaited),
        "edl": (units._in_edl, units._twin_of, leasing.away.in_edl),
        "claims": (claimants._order, claimants._known.keys() - {ZOO}, claimants.new - {ZOO}),
        "readiness": (ready._watched, ready._by_instance, ready._bad),
        "files": (files._has.keys() - {ZOO}, files.leases.keys() - {ZOO}, files._wrong),
        "quarantines": (leases.quarantines.all, leases.quarantines._told),
        "links": (farm.bench.links,),
        "noted": (farm.bench.lease_keeper._noted.away, farm.bench.lease_keeper._noted.order),
        "told": (farm.bench.told(),),
    }
    return {what: each for what, found in kept.items() for each in found if each}


# A restart while a modem goes from a pool to who has its phone.
BY_HAND = [
    (F.uncordon, 2, 5.0), (F.undo, 0, 5.0), (F.make, 1, 0.3), (F.plug, 2, 0.0), (F.make, 2, 40.0),
    (F.make, 3, 20.0), (F.plug, 2, 0.01), (F.make, 2, 0.01), (F.two_claims, 3, 0.3), (F.trouble_on, 0, 0.0),
    (F.plug, 3, 5.0), (F.plug, 1, 20.0), (F.two_claims, 2, 0.3), (F.hand, 1, 0.0), (F.uncordon, 2, 5.0),
    (None, 1, 0.0),
]  # fmt: skip


# The device that is of no pool any more was ready.
UNSERVED = [(F.plug, 1, 0.0), (F.make, 0, 0.3), (F.lock, 0, 0.0), (F.pull, 1, 0.0)]


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=30))
@example(BY_HAND)
@example(UNSERVED)
def test_whatever_happens(steps: list[Step]) -> None:
    @in_virtual_time
    async def test() -> None:
        farm = Farm()
        await live(farm, steps)
        check(farm)
        await clean_up(farm)
        assert left(farm) == {}

    test()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(STEPS, max_size=12), st.sampled_from(TROUBLES), st.integers(1, 3), st.sampled_from([0.3, 40.0])
)
def test_nothing_waits_for_longer_than_after_a_refusal(
    steps: list[Step], trouble: str, number: int, seconds: float
) -> None:
    """No wake-up is lost: what waits goes by itself once what it waited for is over, and nobody asks."""

    @in_virtual_time
    async def test() -> None:
        farm = Farm()
        await happen(farm, steps)
        farm.make(number, len(steps) + 3)
        await at(now() + 1)
        farm.trouble = {trouble}
        farm._troubles()
        farm.plug(number, 90)
        farm.pull(number % 3 + 1, 91)
        await at(now() + seconds)
        farm.calm()
        reconciler, since = farm.bench.reconciler, now()
        while now() < since + _LONGEST:
            await at(now() + 0.5)
            if not (reconciler.pending() or reconciler.held()):
                return
        left = [(each.action, str(each.instance), each.device) for each in reconciler.pending()]
        raise AssertionError(f"{left} {[each.wait for each in reconciler.held()]}")

    test()
