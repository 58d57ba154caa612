"""What holds of every allocation, by a model of its own that compares each device with each claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from hotplugd.model.lease import Lease
from hotplugd.pools.allocate import Allocation, Asking, allocate
from hotplugd.pools.claims import claims_of
from hotplugd.pools.devices import PoolDevice, PoolDevices
from hotplugd.rules.pattern import Pattern
from hotplugd.rules.pools import Pool
from tests.unit.devices import usb
from tests.unit.pools.test_allocate import who

UNTIMED = settings(deadline=None)
POOLS = {
    "a": Pool("a", (Pattern.of("*"),)),
    "b": Pool("b", (Pattern.of("*"),)),
    "u": Pool("u", (Pattern.of("*"),), per_instance=2),
}
SERIALS = [f"{first}{second}" for first in "ab" for second in "0123"]
SELECTORS = ["", " serial=a*", " serial=b*", " serial=?0", " serial=a0|b1"]
TEXTS = st.builds(
    lambda pool, count, selector: f"{pool} count={count}{selector}",
    st.sampled_from("ab"),
    st.integers(1, 3),
    st.sampled_from(SELECTORS),
)
NAMES = [f"i{number}" for number in range(5)]
CLAIMS = st.dictionaries(st.tuples(st.sampled_from(NAMES), st.sampled_from("pq")), TEXTS, max_size=8)
# Of one pool, and more free than there are claims: which of them a claim gets is open.
MANY = st.lists(st.sampled_from(SERIALS), min_size=5, unique=True)
PICKY = st.lists(st.builds("a count={}{}".format, st.integers(1, 2), st.sampled_from(SELECTORS)), max_size=5)


def in_edl(key: str, pool: str, unfit: str = "", not_given: str = "") -> PoolDevice:
    """A phone in emergency download mode: its serial number is known by its lease, or not at all."""
    return PoolDevice(key, pool, usb(f"1-{key}", "05c6", "9008", ""), unfit, not_given, "it is in EDL")


DEVICES = st.lists(
    st.builds(
        lambda serial, pool, edl, *why: (
            in_edl(serial, pool, *why)
            if edl
            else PoolDevice(serial, pool, usb(f"1-{serial}", serial=serial), *why)
        ),
        st.sampled_from(SERIALS),
        st.sampled_from("aabu"),
        st.sampled_from([False, False, True]),
        st.sampled_from(["", "", "", "it is a hub"]),
        st.sampled_from(["", "", "", "it is cordoned"]),
    ),
    unique_by=lambda each: each.key,
)
LEASES = st.dictionaries(
    st.sampled_from(SERIALS), st.builds(Lease, st.sampled_from([*map(who, NAMES)]), st.sampled_from("pqu"))
)


@st.composite
def asking(draw: st.DrawFn) -> list[Asking]:
    found = draw(CLAIMS)
    every: list[Asking] = []
    for name in NAMES:
        texts = {claim: text for (instance, claim), text in found.items() if instance == name}
        claims, problems = claims_of(who(name), texts, POOLS)
        assert not problems
        gets = draw(st.booleans()) or draw(st.booleans())
        every += [Asking(who(name), claim, draw(st.integers(0, 4)), gets) for claim in claims]
    return every


def stock(devices: Sequence[PoolDevice]) -> PoolDevices:
    found = PoolDevices()
    for each in devices:
        found.put(each)
    return found


def given_to(leases: Mapping[str, Lease], each: Asking) -> set[str]:
    return {
        key
        for key, lease in leases.items()
        if lease.instance == each.instance and lease.claim == each.claim.name
    }


def will_do(each: Asking, device: PoolDevice) -> bool:
    return device.pool == each.claim.pool and device.will_do(each.claim)


def may_keep(each: Asking, device: PoolDevice) -> bool:
    return will_do(each, device) or (device.in_edl and device.pool == each.claim.pool)


@given(DEVICES, asking(), LEASES, st.sets(st.sampled_from(SERIALS)))
@UNTIMED
def test_every_allocation(
    devices: list[PoolDevice], claims: list[Asking], leases: dict[str, Lease], releasing: set[str]
) -> None:
    releasing -= leases.keys()
    found = allocate(stock(devices), claims, leases, releasing)
    there = {each.key: each for each in devices}
    by_name = {(each.instance, each.claim.name): each for each in claims}
    over = {each.key for each in found.ended}

    # Nothing is moved, and nothing is lost: a lease goes on in its instance, or is over.
    for key, lease in leases.items():
        assert (key in over) != (key in found.leases and found.leases[key].instance == lease.instance)
    # What is given was free, and will do for a claim that may get it.
    for key in found.new:
        each = by_name[found.leases[key].instance, found.leases[key].claim]
        assert key not in leases
        assert key not in releasing
        assert there[key].reason == ""
        assert each.gets
        assert will_do(each, there[key])
    assert {*found.new} | (leases.keys() - over) == found.leases.keys()
    # Nobody has more than it asks for, and what it has will do.
    for key, lease in found.leases.items():
        each = by_name[lease.instance, lease.claim]
        assert key not in there or may_keep(each, there[key])
    for each in claims:
        has, had = given_to(found.leases, each), given_to(leases, each)
        assert len(has) <= each.claim.count
        # All of what is lacking, or nothing of it.
        gained = has & {*found.new}
        assert not each.claim.asked or not gained or len(has) == each.claim.count
        # A lease is over only where its claim asks for no such device, or for fewer.
        if each.claim.count >= len(had):
            assert all(key in has for key in had if key not in there or may_keep(each, there[key]))


@given(DEVICES, asking(), LEASES)
@UNTIMED
def test_what_becomes_of_claims(
    devices: list[PoolDevice], claims: list[Asking], leases: dict[str, Lease]
) -> None:
    there = {one.key for one in devices}
    absent = {key: ("a", None) for key in leases if key not in there}
    pool = stock(devices)
    pool.set_absent(absent)
    found = allocate(pool, claims, leases)
    states = {(each.asking.instance, each.asking.claim.name): each for each in found.claims}
    # A device whose lease is over is not free before its entry is gone.
    free = [each for each in devices if not each.reason and each.key not in {*found.leases, *leases}]
    order = sorted(claims, key=lambda each: (each.order, each.instance, each.claim.name))
    kept: set[str] = set()
    for each in order:
        has = given_to(found.leases, each)
        if len(has) == each.claim.count:
            assert states[each.instance, each.claim.name].state == "bound"
            continue
        if not each.gets:
            assert (each.instance, each.claim.name) not in states
            continue
        state = states[each.instance, each.claim.name]
        fit = [one for one in devices if not one.reason or one.comes_back]
        others = [one.key for one in fit if will_do(each, one) and one.key not in has]
        others += [key for key, (of, _) in absent.items() if of == each.claim.pool and key not in has]
        enough = (each.claim.count - len(has)) if each.claim.asked else 1
        assert state.state == ("waiting" if len(others) >= enough else "unsatisfiable")
        assert state.reason
        # No device stays free that would complete it, but what is kept for an older claim of several.
        completes = {one.key for one in free if will_do(each, one)} - kept
        assert len(completes) < enough
        if state.state == "waiting":
            kept |= completes


@given(DEVICES, asking(), LEASES, st.randoms())
@UNTIMED
def test_the_same_state_gives_the_same_result(
    devices: list[PoolDevice], claims: list[Asking], leases: dict[str, Lease], random: object
) -> None:
    first = allocate(stock(devices), claims, leases)
    other = PoolDevices()
    for each in (*reversed(devices), *devices[:2]):
        other.put(replace(each, unfit="for a moment"))
        other.put(each)
    assert allocate(other, [*reversed(claims)], dict(reversed(leases.items()))) == first


@given(DEVICES, asking(), LEASES)
@UNTIMED
def test_a_second_allocation_changes_nothing(
    devices: list[PoolDevice], claims: list[Asking], leases: dict[str, Lease]
) -> None:
    first = allocate(stock(devices), claims, leases)
    # What is over is in its instance, for now.
    again = allocate(stock(devices), claims, first.leases, {each.key for each in first.ended})
    assert again.leases == first.leases
    assert (again.new, again.ended) == ((), ())


@given(MANY, PICKY)
@UNTIMED
def test_a_claim_gets_what_the_fewest_others_could_use(serials: list[str], texts: list[str]) -> None:
    devices = [PoolDevice(serial, "a", usb(f"1-{serial}", serial=serial)) for serial in serials]
    claims = [
        Asking(who(name), claim)
        for name, text in zip(NAMES, texts, strict=False)
        for claim in claims_of(who(name), {"p": text}, {"a": POOLS["a"]})[0]
    ]
    found, leases = allocate(stock(devices), claims, {}), dict[str, Lease]()
    before = {key: lease for key, lease in found.leases.items() if key not in found.new}
    free = {one.key: one for one in devices if not one.unfit and one.key not in {*leases, *before}}
    wait = [
        each
        for each in sorted(claims, key=lambda each: (each.order, each.instance, each.claim.name))
        if each.gets and len(given_to(before, each)) < each.claim.count
    ]
    states = {(each.asking.instance, each.asking.claim.name): each.state for each in found.claims}
    could = [each for each in wait if states[each.instance, each.claim.name] != "unsatisfiable"]
    for each in wait:
        could = [other for other in could if other is not each]
        mine = sorted(given_to(found.leases, each) & {*found.new})
        others = {
            key: sum(will_do(other, one) for other in could)
            for key, one in free.items()
            if will_do(each, one)
        }
        assert mine == sorted(sorted(others, key=lambda key: (others[key], key))[: len(mine)])
        if not mine and states[each.instance, each.claim.name] == "waiting":
            mine = [*others]
        free = {key: one for key, one in free.items() if key not in mine}


def events() -> st.SearchStrategy[list[tuple[str, str]]]:
    plugs = st.tuples(st.sampled_from(["plug", "pull", "edl"]), st.sampled_from(SERIALS))
    claims = st.tuples(st.sampled_from(["claim", "withdraw"]), st.sampled_from(NAMES))
    return st.lists(st.one_of(plugs, claims), max_size=40)


@given(events(), st.data())
@UNTIMED
def test_a_day(day: list[tuple[str, str]], data: st.DataObject) -> None:
    """One change after the other: what is kept from one allocation to the next is as good as made anew."""
    devices, leases, claims = PoolDevices(), dict[str, Lease](), dict[str, Asking]()
    there: dict[str, PoolDevice] = {}
    for number, (what, name) in enumerate(day):
        if what == "plug":
            there[name] = PoolDevice(name, "a", usb(f"1-{name}", serial=name))
            devices.put(there[name])
        elif what == "edl":
            there[name] = in_edl(name, "a")
            devices.put(there[name])
        elif what == "pull":
            there.pop(name, None)
            devices.drop(name)
        elif what == "claim":
            (claim,), _ = claims_of(who(name), {"p": data.draw(TEXTS)}, {**POOLS, "u": POOLS["a"]})
            order = claims[name].order if name in claims else number
            claims[name] = Asking(who(name), claim, order)
        else:
            claims.pop(name, None)
        found = allocate(devices, claims.values(), leases)
        assert found == allocate(stock([*there.values()]), claims.values(), leases)
        for key in leases.keys() & found.leases.keys():
            assert found.leases[key] == leases[key]
        leases = {**found.leases}
    assert _most(leases) <= 3  # what a claim may ask for here


def _most(leases: Mapping[str, Lease]) -> int:
    return max(Counter((lease.instance, lease.claim) for lease in leases.values()).values(), default=0)


def test_an_empty_world() -> None:
    assert allocate(PoolDevices(), [], {}) == Allocation()
