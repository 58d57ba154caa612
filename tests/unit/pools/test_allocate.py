"""Which device of a pool goes to which instance: case by case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hotplugd.model.lease import Lease
from hotplugd.model.values import InstanceName
from hotplugd.pools.allocate import Allocation, Asking, ClaimState, allocate
from hotplugd.pools.claims import claims_of
from hotplugd.pools.devices import PoolDevice, PoolDevices
from hotplugd.rules.pattern import Pattern
from hotplugd.rules.pools import Pool
from tests.unit.devices import usb

POOLS = {name: Pool(name, (Pattern.of("*"),)) for name in ("android", "ios")}


def who(name: str) -> InstanceName:
    return InstanceName("default", name)


def pool(*serials: str, unfit: Sequence[str] = ()) -> PoolDevices:
    """Phones of the pool `android`, each known by its serial."""
    devices = PoolDevices()
    for serial in serials:
        why = "the host uses it" if serial in unfit else ""
        devices.put(PoolDevice(serial, "android", usb(f"1-{serial}", serial=serial), why))
    return devices


def asks(
    instance: str, text: str = "android", order: int = 0, *, gets: bool = True, name: str = "phone"
) -> Asking:
    (claim,), problems = claims_of(who(instance), {name: text}, POOLS)
    assert not problems
    return Asking(who(instance), claim, order, gets)


def has(**instances: str) -> dict[str, Lease]:
    """Leases by serials: `a="job"`."""
    return {serial: Lease(who(instance), "phone") for serial, instance in instances.items()}


def places(allocation: Allocation) -> dict[str, str]:
    return {key: lease.instance.name for key, lease in allocation.leases.items()}


def state_of(allocation: Allocation, instance: str) -> ClaimState:
    (state,) = [each for each in allocation.claims if each.asking.instance.name == instance]
    return state


def test_claims_are_served_in_order_and_then_by_name() -> None:
    claims = [asks("c", order=2), asks("b", order=1), asks("a", order=2)]
    assert places(allocate(pool("x"), claims, {})) == {"x": "b"}
    assert places(allocate(pool("x", "y"), claims, {})) == {"x": "b", "y": "a"}


def test_a_lease_is_not_moved_for_an_older_claim() -> None:
    found = allocate(pool("x"), [asks("old", order=1), asks("new", order=2)], has(x="new"))
    assert places(found) == {"x": "new"}
    assert (found.new, found.ended) == ((), ())
    assert state_of(found, "old").state == "waiting"
    assert state_of(found, "old").reason == "1 device of pool 'android', of which none is free"


def test_a_claim_gets_what_the_fewest_others_could_use() -> None:
    claims = [
        asks("any", order=1),
        asks("picky", "android serial=a*", 2),
        asks("pickier", "android serial=ab", 3),
    ]
    assert places(allocate(pool("aa", "ab", "b"), claims, {})) == {"b": "any", "aa": "picky", "ab": "pickier"}


def test_a_claim_of_several_gets_all_at_once() -> None:
    found = allocate(pool("x"), [asks("two", "android count=2", 1), asks("one", order=2)], has(y="other"))
    # There are not two: nothing is kept for it.
    assert places(found) == {"x": "one"}
    two = state_of(found, "two")
    assert two.state == "unsatisfiable"
    assert two.reason == "it asks for 2, and there is 1 device of pool 'android'"


def test_what_is_free_is_kept_for_an_older_claim_of_several() -> None:
    claims = [asks("two", "android count=2", 1), asks("one", order=2), asks("other", order=0)]
    found = allocate(pool("x", "y"), claims, has(y="other"))
    assert places(found) == {"y": "other"}
    assert state_of(found, "two").reason == "2 devices of pool 'android', of which 1 is free, and it lacks 2"
    one = state_of(found, "one")
    assert one.state == "waiting"
    assert (
        one.reason == "2 devices of pool 'android', of which what is free is kept for two, which waits for 2"
    )
    # The other gives its device back.
    assert places(allocate(pool("x", "y"), claims[:2], {})) == {"x": "two", "y": "two"}


def test_a_claim_of_several_keeps_what_it_has() -> None:
    found = allocate(pool("x"), [asks("two", "android count=2"), asks("one", order=1)], has(x="two"))
    assert places(found) == {"x": "two"}


def test_a_withdrawn_claim_ends_its_lease() -> None:
    found = allocate(pool("x"), [asks("next")], has(x="gone"), silence=lambda name: f"{name} is stopped")
    # Its entry is in the instance, for a while.
    assert places(found) == {}
    (ended,) = found.ended
    assert (ended.key, ended.why) == ("x", "gone is stopped")
    assert places(allocate(pool("x"), [asks("next")], {}, {"x"})) == {}
    assert places(allocate(pool("x"), [asks("next")], {})) == {"x": "next"}


def test_a_claim_that_takes_other_devices_now_ends_its_lease() -> None:
    found = allocate(pool("a", "b"), [asks("job", "android serial=b")], has(a="job"))
    assert places(found) == {"b": "job"}
    assert [each.why for each in found.ended] == [
        "claim 'phone' asks for a device of pool 'android' with serial=b now"
    ]


def test_a_lease_goes_on_by_another_claim_of_its_instance() -> None:
    renamed = asks("job", order=2, name="other")
    found = allocate(pool("x"), [asks("next", order=1), renamed], has(x="job"))
    assert found.leases == {"x": Lease(who("job"), "other")}
    assert (found.new, found.ended) == ((), ())


def test_a_device_that_is_away_stays_its_holders() -> None:
    found = allocate(pool(), [asks("job"), asks("next", order=1)], has(x="job"))
    assert places(found) == {"x": "job"}
    assert places(allocate(pool("x"), [asks("job"), asks("next", order=1)], found.leases)) == {"x": "job"}


def test_what_is_stopped_keeps_and_gets_nothing() -> None:
    stopped = asks("job", "android count=2", gets=False)
    found = allocate(pool("x", "y"), [stopped], has(x="job"))
    assert places(found) == {"x": "job"}
    assert found.claims == ()


def test_what_cannot_be_given_is_no_ones() -> None:
    found = allocate(pool("x", unfit=["x"]), [asks("job")], {})
    assert places(found) == {}
    job = state_of(found, "job")
    assert job.state == "unsatisfiable"
    assert job.reason == (
        "it asks for 1, and there is 1 device of pool 'android', 1 of which cannot be given to anybody: "
        "`hotplugd pool android` says why"
    )
    assert places(allocate(pool("x", unfit=["x"]), [asks("job")], has(x="job"))) == {"x": "job"}


def test_there_are_no_such_devices() -> None:
    assert state_of(allocate(pool(), [asks("job")], {}), "job").reason == "pool 'android' has no device"
    found = state_of(allocate(pool("x", "y"), [asks("job", "android serial=z")], {}), "job")
    assert found.reason == "none of the devices of pool 'android' is one with serial=z"


def test_what_nobody_claims_goes_one_by_one() -> None:
    pools = {"android": Pool("android", (Pattern.of("runner-*"),), per_instance=2)}
    every: Mapping[str, str] = {}
    asking = [
        Asking(who(name), claim, order)
        for order, name in enumerate(("runner-1", "runner-2"))
        for claim in claims_of(who(name), every, pools)[0]
    ]
    found = allocate(pool("x", "y", "z"), asking, {})
    assert places(found) == {"x": "runner-1", "y": "runner-1", "z": "runner-2"}
    assert state_of(found, "runner-2").state == "waiting"


def test_a_device_that_changes_is_compared_again() -> None:
    devices = pool("a", "b")
    claim = asks("job", "android serial=b")
    assert places(allocate(devices, [claim], {})) == {"b": "job"}
    devices.put(PoolDevice("b", "android", usb("1-b", serial="c")))
    assert places(allocate(devices, [claim], {})) == {}
    devices.drop("b")
    devices.put(PoolDevice("d", "android", usb("1-d", serial="b")))
    assert places(allocate(devices, [claim], {})) == {"d": "job"}


def test_what_nobody_claims_any_more_is_forgotten() -> None:
    devices = pool("a", "b")
    claims = [asks("job", f"android serial={number}").claim for number in range(100)]
    for claim in claims:
        devices.taken_by(claim)
        devices.absent_for(claim)
        devices.forget_others([claim])
    assert len(devices._taken) <= 2  # nothing else tells of it
    assert len(devices._absent_taken) <= 2
    assert devices.taken_by(asks("job", "android serial=b").claim) == devices.bit("b")
