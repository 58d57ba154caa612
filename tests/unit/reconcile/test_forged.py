"""Entries for an interface that is somewhere else: whoever may edit an instance can write them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from types import FrameType, MappingProxyType

import pytest

from hotplugd.model.entry import (
    MARK_DEVICE,
    MARK_INSTANCE,
    MARK_MEMBER,
    MARK_SEEN,
    MARK_SLOT,
    mark_for,
    name_for,
)
from hotplugd.model.nic_snapshot import remember
from hotplugd.model.ports import Stuck
from hotplugd.model.values import Device, Entry, Instance, InstanceName, Node
from tests.support.devices import BOOT, BOX, box, channel, folder, interface, nic_entry, rule, ruleset
from tests.support.virtual import VirtualLoop, at, in_virtual_time
from tests.unit.reconcile.bench import Bench, Request

EVIL = InstanceName("default", "evil")
NIC = interface()
# A virtual one of the victim's, and what it has itself.
VETH = Device(
    "/sys/devices/virtual/net/lan0",
    "net",
    "lan0",
    attrs={"address": "02:00:00:00:00:01"},
    slot=f"n-{BOOT}-9-9",
)
OWN = replace(VETH, syspath="/sys/devices/virtual/net/eth0", kernel="eth0", slot=f"n-{BOOT}-11-11")
RULES = ruleset(rule("{subsystem: net, kernel: [enp1s0, lan0]}", "{to: box}"))
THERE = Node(None, 0)


def entry(
    device: Device, says: Device | None = None, marks: Mapping[str, str] = MappingProxyType({})
) -> Entry:
    """An entry of evil's for a device that it has not, as if it had it."""
    made = nic_entry(device, EVIL)
    seen = {MARK_SEEN: remember(says)} if says is not None else {}
    return Entry(made.name, {**made.config, **seen, **marks})


def virtual(device: Device) -> Device:
    """As who forges it would have it: nothing on the host says that it is not so."""
    return replace(device, syspath="/sys/devices/virtual/net/x", kernel="x", attrs={}, properties={})


# How evil may write down that it has what box has.
FORGED: dict[str, Callable[[Device], Entry]] = {
    "as box has it": entry,
    "of no hardware": lambda device: entry(device, virtual(device)),
    "under another name on the host": lambda device: entry(device, marks={"parent": "eth7"}),
    "for box": lambda device: entry(device, marks={MARK_INSTANCE: mark_for(BOX)}),
    "for another member": lambda device: entry(device, marks={MARK_MEMBER: "two"}),
    "as another device": lambda device: entry(device, marks={MARK_DEVICE: "mac:0"}),
    "under the slot of an earlier version": lambda device: nic_entry(
        device, EVIL, f"n-{device.attrs['address'].replace(':', '')}-{folder(device).above}"
    ),
}
KINDS = {
    "a container": lambda bench: bench.hanging_looks.discard(EVIL),
    "a container that shows nothing": lambda bench: bench.veiled.add(EVIL),
    "a container that cannot be looked into": lambda bench: bench.hanging_looks.add(EVIL),
    "a virtual machine": lambda bench: bench.change(EVIL, kind="virtual-machine"),
}


def evil(*entries: Entry) -> Instance:
    return box(entries, name="evil")


def beside(
    device: Device, forged: Iterable[Entry], before: Callable[[Bench], None] = lambda _: None
) -> Bench:
    """A bench on which box has the device inside, and evil says so of itself; evil is looked at first."""
    bench = Bench(evil(*forged), box([nic_entry(device)]), rules=RULES)
    bench.inside[BOX][device.kernel] = THERE
    bench.inside[EVIL] = {"eth0": THERE}
    bench.folders = {(BOX, device.kernel): folder(device), (EVIL, "eth0"): folder(OWN)}
    before(bench)
    return bench


def of(bench: Bench, name: InstanceName) -> list[Request]:
    return [each for each in bench.requests if each.instance == str(name)]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("device", [NIC, VETH], ids=["hardware", "virtual"])
@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_what_is_in_another_instance_stays_there(
    forge: Callable[[Device], Entry], device: Device, kind: Callable[[Bench], None]
) -> None:
    @in_virtual_time
    async def run() -> None:
        bench = beside(device, [forge(device)], kind)
        bench.reconciler.listed_devices([], [])
        await bench.reconciler.listed_instances(bench.instances.values())
        await at(400)
        assert of(bench, BOX) == []
        assert bench.verified()[device.kernel] is True
        assert [each.want.instance for each in bench.reconciler.attachments()] == [BOX]
        assert not [each for each in bench.reconciler.problems() if "box" in each.message]
        # As long as it is so, whatever is looked at, listed and restarted.
        bench.reconciler.look_everywhere()
        bench.reconciler.listed_devices([], [])
        bench.reconciler.restarted(EVIL)
        bench.reconciler.restarted(BOX)
        await at(800)
        assert of(bench, BOX) == []
        assert bench.verified()[device.kernel] is True

    run()


@pytest.mark.parametrize("device", [NIC, VETH], ids=["hardware", "virtual"])
@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_what_is_on_the_host_is_given_to_whom_it_should_be(
    forge: Callable[[Device], Entry], device: Device
) -> None:
    @in_virtual_time
    async def run() -> None:
        bench = Bench(evil(forge(device)), box(), rules=RULES)
        bench.inside[EVIL] = {}

        def judge(request: Request) -> None:
            if request.instance == "evil":
                raise Stuck("it is not where the server put it")

        def applied(request: Request) -> None:
            bench.reconciler.no_device(device.syspath)

        bench.judge, bench.applied = judge, applied
        await bench.start(device)
        await at(50)
        assert bench.verified() == {device.kernel: True}
        assert [len(each.put) for each in of(bench, BOX)] == [1]

    run()


@pytest.mark.parametrize("kind", [KINDS["a container"], KINDS["a virtual machine"]])
@pytest.mark.parametrize("says", [None, virtual(NIC)], ids=["itself", "of no hardware"])
def test_a_forged_device_does_not_exist(says: Device | None, kind: Callable[[Bench], None]) -> None:
    @in_virtual_time
    async def run() -> None:
        bench = Bench(evil(entry(NIC, says)), box(), rules=RULES)
        bench.inside[EVIL] = {}
        kind(bench)
        bench.pulled.add(NIC.slot)
        await bench.start()
        await at(20)
        assert bench.reconciler.devices == 0
        later = interface(born=2)
        bench.applied = lambda _: bench.reconciler.no_device(later.syspath)
        await bench.plug(later)
        await at(50)
        assert [len(each.put) for each in of(bench, BOX)] == [1]
        assert bench.verified()["enp1s0"] is True

    run()


@in_virtual_time
async def test_forged_marks_do_not_make_an_interface_ours() -> None:
    mine = nic_entry(NIC, EVIL, slot=OWN.slot)
    bench = Bench(evil(mine), box(), rules=RULES)
    bench.inside[EVIL] = {"eth0": THERE}
    bench.folders = {(EVIL, "eth0"): folder(OWN)}

    def judge(request: Request) -> None:
        if request.instance == "evil":
            raise Stuck("it is not where the server put it")

    bench.judge = judge
    bench.applied = lambda _: bench.reconciler.no_device(NIC.syspath)
    await bench.start()
    await at(20)
    assert of(bench, BOX) == []
    await bench.plug(NIC)
    await at(60)
    assert [len(each.put) for each in of(bench, BOX)] == [1]
    there = [each.want.instance for each in bench.reconciler.attachments() if each.verified]
    assert there == [BOX]


@in_virtual_time
async def test_an_unplugged_interface_is_gone_whatever_entries_say() -> None:
    bench = Bench(evil(entry(VETH)), rules=RULES)
    bench.inside[EVIL] = {}
    await bench.start(VETH)
    bench.reconciler.no_device(VETH.syspath)
    await at(30)
    assert bench.reconciler.devices == 0


@in_virtual_time
async def test_of_several_that_say_so_the_one_has_it_in_which_it_is() -> None:
    many = [box([nic_entry(NIC, InstanceName("default", f"c{each}"))], name=f"c{each}") for each in range(20)]
    bench = Bench(*many, box([nic_entry(NIC)]), rules=RULES)
    bench.inside = {name: {} for name in bench.instances}
    bench.inside[BOX]["enp1s0"] = THERE
    bench.folders = {(BOX, "enp1s0"): folder(NIC)}
    await bench.start()
    await at(30)
    assert [each.want.instance for each in bench.reconciler.attachments()] == [BOX]
    assert bench.requests == []


@in_virtual_time
async def test_where_nobody_can_look_two_entries_prove_nothing() -> None:
    bench = Bench(box([nic_entry(NIC)]), evil(entry(NIC)), rules=RULES)
    bench.change(EVIL, kind="virtual-machine")
    bench.hanging_looks.add(BOX)
    bench.reconciler.listed_devices([], [])
    await bench.reconciler.listed_instances(bench.instances.values())
    await at(400)
    assert bench.reconciler.devices == 0
    assert bench.requests == []


@pytest.mark.parametrize("first", ["evil", "box"])
def test_a_virtual_machine_has_it_still_once_anothers_entry_is_gone(first: str) -> None:
    @in_virtual_time
    async def run() -> None:
        both = {"evil": evil(entry(NIC)), "box": box([nic_entry(NIC)])}
        bench = Bench(*sorted(both.values(), key=lambda each: each.id.name != first), rules=RULES)
        for name in (BOX, EVIL):
            bench.change(name, kind="virtual-machine")
        bench.reconciler.listed_devices([], [])
        await bench.reconciler.listed_instances(bench.instances.values())
        await at(30)
        assert of(bench, BOX) == []
        assert [each.want.instance for each in bench.reconciler.attachments()] == [BOX]
        assert not [each for each in bench.told() if "box" in each]

    run()


@in_virtual_time
async def test_an_entrys_parent_device_is_read_from_sysfs() -> None:
    zero = channel(0)
    forged = replace(zero, properties={"ID_VENDOR_ID": "18d1", "ID_MODEL_ID": "4ee7"})
    rules = ruleset(rule("{subsystem: net, id: '1d50:606f'}", "{to: box}"))
    bench = Bench(box([nic_entry(forged)]), rules=rules)
    bench.inside[BOX]["can0"] = THERE
    bench.folders = {(BOX, "can0"): folder(zero)}
    await bench.start()
    assert bench.reconciler.devices == 1


# --- what it costs ------------------------------------------------------------------------------------------


def forged(number: int, instance: str = "evil") -> Entry:
    """One of many that say to be for an interface of no hardware."""
    there = replace(VETH, slot=f"n-{BOOT}-{1000 + number}-{1000 + number}", kernel=f"x{number}")
    mine = {MARK_INSTANCE: f"default/{instance}"}
    return entry(there, virtual(there), {**mine, "parent": f"x{number}", "name": f"x{number}"})


def many(instances: int, each: int) -> list[Instance]:
    """Instances with so many forged entries each."""
    return [
        box((forged(number * each + place, f"c{number}") for place in range(each)), name=f"c{number}")
        for number in range(instances)
    ]


def steps(work: Callable[[], None]) -> int:
    """How many functions are called."""
    found = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


def costs(*instances: Instance, true: bool = False) -> tuple[int, int, int]:
    """What it costs to start, for an interface to come and go, and for one that has entries to be updated.

    true  the instances do have interfaces of their own of which their entries say so
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:

        async def made() -> Bench:
            bench = Bench(*instances, box(), rules=RULES)
            bench.inside = {name: {} for name in bench.instances} if not true else bench.inside
            return bench

        bench = runner.run(made())

        async def settled(what: Awaitable[None] | None = None) -> None:
            if what is not None:
                await what
            await bench.reconciler.settled()

        async def plugged() -> None:
            bench.reconciler.device(VETH)
            await bench.reconciler.settled()
            bench.reconciler.no_device(VETH.syspath)
            await bench.reconciler.settled()

        async def updated() -> None:
            bench.reconciler.updated(InstanceName("default", "c0"))
            await bench.reconciler.settled()

        began = steps(lambda: runner.run(settled(bench.start())))
        event = steps(lambda: runner.run(plugged()))
        update = steps(lambda: runner.run(updated()))
        runner.run(close(bench))
    return began, event, update


async def close(bench: Bench) -> None:
    bench.reconciler.close()


def test_forged_entries_cost_what_they_are_and_no_more() -> None:
    few, _, update = costs(*many(10, 10))
    twice, event, same = costs(*many(20, 10))
    none = costs(*many(20, 0))[1]
    # So much for each, however many there are.
    assert twice < few * 2.2
    # An event of another instance's costs nothing for them, nor does one that has some for those of others.
    assert event < none * 1.1
    assert same < update * 1.1


def test_many_in_one_instance_cost_that_much_more() -> None:
    few, _, update = costs(*many(1, 100))
    ten, event, more = costs(*many(1, 1000))
    assert ten < few * 12
    assert more < update * 12
    assert event < costs(*many(1, 0))[1] * 1.1


def test_forged_interfaces_cost_other_instances_nothing() -> None:
    _, event, _ = costs(*many(20, 10), true=True)
    assert event < costs(*many(20, 0))[1] * 1.1


def test_the_name_is_that_of_its_slot() -> None:
    assert forged(1).name == name_for(forged(1).config[MARK_SLOT])
