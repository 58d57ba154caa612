"""Who gets a device of a pool before udevd has processed it is who gets it afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotplugd.model.asker import Asker
from hotplugd.model.lease import Lease
from hotplugd.model.values import Device, InstanceName
from hotplugd.plan.desired import wants
from hotplugd.pools.cordons import Cordon, CordonKind, Cordons
from hotplugd.pools.early import is_decided
from hotplugd.pools.health import Health
from hotplugd.pools.leasing import Leasing
from hotplugd.rulefile.load import parse
from tests.support.devices import box, phone

LOADED = parse(
    "hubs: {shelf: {path: pci-0000:00:14.0, ports: {1: '1', 2: '2'}}}\n"
    "pools: {a: {instances: '*', keep: 60s}, b: {instances: '*', per_instance: 1}}\n"
    "rules:\n"
    "  - {name: b, match: {serial: 'B*'}, attach: {pool: b, mode: '0660'}}\n"
    "  - {name: a, match: {subsystem: usb}, attach: {pool: a, mode: '0660'}}\n",
    "x",
)
RULES = LOADED.rules
NAMES = ("i0", "i1", "i2")


def early(device: Device) -> Device:
    """The device before udevd has processed it."""
    return replace(device, properties={}, early=True)


def udev(device: Device, said: Mapping[str, str] | None = None) -> Device:
    """The device once udevd has processed it."""
    path = f"pci-0000:00:14.0-usb-0:{device.kernel.partition('-')[2]}"
    return replace(device, properties={**device.properties, "ID_PATH": path, **(said or {})})


def cordon(kind: CordonKind, name: str) -> Cordon:
    return Cordon(kind, name, "", "2026-01-01", Asker(0, "root"))


@dataclass
class World:
    """What there is before a phone is plugged in."""

    claims: Mapping[str, str] = field(default_factory=dict)
    there: Sequence[Device] = ()
    gone: Sequence[Device] = ()
    cordons: Cordons = field(default_factory=Cordons)
    bad: Sequence[str] = ()

    def leasing(self) -> Leasing:
        made = Leasing(RULES)
        made.set_cordons(self.cordons)
        for key in self.bad:
            made.set_health(key, Health("quarantined", "it flaps", ""))
        for number, name in enumerate(NAMES):
            claims = {"phone": self.claims[name]} if name in self.claims else {}
            instance = replace(box(name=name), claims=claims, created=str(number))
            made.learned(instance.id, instance)
        for each in (*self.there, *self.gone):
            made.judged(wants(RULES, udev(each)))
        settle(made)
        for each in self.gone:
            made.gone(each.key)
        settle(made)
        return made


def settle(made: Leasing) -> Mapping[str, Lease]:
    made.settle(lambda _: ())
    return made.allocation.leases


def plug(made: Leasing, device: Device) -> Mapping[str, Lease]:
    made.judged(wants(RULES, device))
    return settle(made)


def pool_of(device: Device) -> str:
    found = wants(RULES, device).rule
    assert found is not None
    assert found.attach is not None
    return found.attach.pool or ""


def decided(world: World, device: Device) -> bool:
    return is_decided(world.leasing(), early(device), pool_of(device))


ONE = phone(1)
TWIN = phone(2, serial="R5C001")
BLANK = phone(1, serial="")
LOCATED = World({"i0": "a location=shelf/1"})


@pytest.mark.parametrize(
    ("world", "device", "expected"),
    [
        (World(), ONE, True),
        (World({"i0": "a"}), ONE, True),
        (World({"i0": "a serial=R5C*", "i1": "a port=1-1"}), ONE, True),
        (World({"i0": "a"}, gone=[ONE]), ONE, True),
        # Udev's name of its place tells it from others.
        (World(), BLANK, False),
        (World(there=[TWIN]), ONE, False),
        (World({"i0": "a", "i1": "a"}, there=[ONE], gone=[TWIN]), phone(3, serial="R5C001"), False),
        (World(), replace(ONE, attrs={**ONE.attrs, "idVendor": "05c6", "idProduct": "9008"}), False),
        # What claims and cordons ask for.
        (LOCATED, ONE, False),
        (World({"i0": "a serial=X property.ID_MODEL=Pixel"}), ONE, True),
        (World({"i0": "a property.ID_MODEL=Pixel"}), ONE, False),
        (World({"i0": "b property.ID_MODEL=Pixel"}), ONE, True),
        (World(cordons=Cordons.made_of([cordon("location", "shelf/*")])), ONE, False),
        (World(cordons=Cordons.made_of([cordon("device", "serial:R5C001")])), ONE, True),
        # One of two with this serial number flaps, which is told from the other by its place.
        (World(bad=["serial:R5C001@pci-0000:00:14.0-usb-0:1"]), ONE, False),
        (World(bad=["serial:R5C001"]), ONE, True),
    ],
)
def test_what_udevd_may_have_a_say_in_waits(world: World, device: Device, expected: bool) -> None:
    assert decided(world, device) is expected


def test_a_pool_that_there_is_not_waits() -> None:
    assert not is_decided(Leasing(RULES), early(ONE), "other")


@pytest.mark.parametrize("early_first", [True, False])
def test_of_two_with_one_serial_number_the_second_waits(early_first: bool) -> None:
    made = World({"i0": "a", "i1": "a"}).leasing()
    plug(made, early(ONE) if early_first else udev(ONE))
    assert not is_decided(made, early(TWIN), "a")
    found = plug(made, udev(TWIN))
    assert plug(made, udev(ONE)) == found
    assert len(found) == 2


def learned(made: Leasing, name: str, text: str) -> None:
    instance = replace(box(name=name), claims={"phone": text}, created="0")
    made.learned(instance.id, instance)


def test_what_is_asked_for_later_gives_it_to_nobody_before_udevd_is_done() -> None:
    made = World().leasing()
    assert plug(made, early(ONE)) == {}
    learned(made, "i0", "a location=shelf/2")
    learned(made, "i1", "a")
    assert settle(made) == {}
    assert made.reason("serial:R5C001") == "udevd has not processed it"
    assert {key: each.instance.name for key, each in plug(made, udev(ONE)).items()} == {"serial:R5C001": "i1"}


def test_who_has_it_keeps_it_until_udevd_is_done() -> None:
    made = World({"i0": "a"}).leasing()
    before = plug(made, early(ONE))
    assert len(before) == 1
    learned(made, "i0", "a location=shelf/1")
    made.set_cordons(Cordons.made_of([cordon("location", "shelf/1")]))
    assert settle(made) == before
    assert plug(made, udev(ONE)) == before
    learned(made, "i0", "a location=shelf/2")
    assert settle(made) == {}


# --- whatever udevd says --------------------------------------------------------------------------------

SERIALS = st.sampled_from(["R5C001", "R5C002", "B1", "", "0123456789ABCDEF", "A B"])
PHONES = st.builds(phone, st.integers(1, 4), SERIALS)
SELECTORS = st.sampled_from(
    [
        "",
        " serial=R5C*",
        " serial=B1",
        " port=1-1",
        " id=18d1:*",
        " location=shelf/1",
        " location=shelf/[12]",
        " path=pci-*",
        " property.ID_MODEL=Pixel",
        " serial=X property.ID_MODEL=Pixel",
        " interface=ff:42:01",
    ]
)
TEXTS = st.builds("{}{}{}".format, st.sampled_from("ab"), st.sampled_from(["", " count=2"]), SELECTORS)
SAID = st.dictionaries(
    st.sampled_from(["ID_PATH", "ID_SERIAL_SHORT", "ID_MODEL", "ID_VENDOR_ID", "ID_MODEL_ID"]),
    st.sampled_from(["pci-0000:00:14.0-usb-0:1", "pci-0000:00:14.0-usb-0:2", "R5C001", "Pixel", "9008"]),
)
CORDONS = st.lists(
    st.sampled_from(
        [cordon("device", "serial:R5C001"), cordon("instance", "default/i0"), cordon("location", "shelf/1")]
    ),
    max_size=2,
)
WORLDS = st.builds(
    lambda claims, devices, there, cordons, bad: World(
        claims, devices[:there], devices[there:], Cordons.made_of(cordons), bad
    ),
    st.dictionaries(st.sampled_from(NAMES), TEXTS),
    st.lists(PHONES, max_size=3, unique_by=lambda each: each.key),
    st.integers(0, 3),
    CORDONS,
    st.lists(
        st.sampled_from(["serial:R5C002", "serial:B1", "serial:R5C001@pci-0000:00:14.0-usb-0:1"]), max_size=1
    ),
)


@settings(max_examples=600, deadline=None)
@given(WORLDS, st.lists(st.tuples(PHONES, SAID), min_size=1, max_size=3, unique_by=lambda each: each[0].key))
def test_the_early_lease_is_the_late_one(
    world: World, plugs: Sequence[tuple[Device, Mapping[str, str]]]
) -> None:
    """Some phones are plugged in; udevd says of each what it says, or what a hostile rule has it say."""
    before, after = world.leasing(), world.leasing()
    for device, said in plugs:
        first, then = replace(early(device), slot=f"{device.slot}0"), udev(device, said)
        then = replace(then, slot=first.slot)
        late = dict(plug(after, then))
        if before.key_of(first) or not is_decided(before, first, pool_of(first)):
            assert plug(before, then) == late
            continue
        assert plug(before, first) == late
        assert plug(before, then) == late
        assert [before.key_of(each) for each in (first, then)] == [after.key_of(then)] * 2
        holder = {each.key: before.holder(each) for each in (first, then)}
        assert holder == {then.key: after.holder(then)}


def test_the_world_is_served_early_now_and_then() -> None:
    """Else the test above would prove nothing."""
    world = World({"i0": "a", "i1": "a serial=R5C*"}, gone=[phone(2)])
    made = world.leasing()
    found = plug(made, early(phone(2)))
    assert found["serial:R5C002"].instance in {InstanceName("default", name) for name in NAMES}


def test_what_udevd_says_and_nobody_asks_for_is_no_reason_to_allocate_anew() -> None:
    made = World({"i0": "a", "i1": "a property.ID_MODEL=Pixel"}).leasing()
    told = [
        made.judged(wants(RULES, each))
        for each in (udev(ONE), udev(ONE, {"ID_MODEL": "Nexus"}), udev(ONE, {"ID_MODEL": "Pixel"}), udev(ONE))
    ]
    assert told == [True, False, True, True]
