"""Network interfaces that share their device, their address or the lack of one, and their name in turn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.entry import MARK_SLOT, name_for
from hotplugd.model.nic_slot import read
from hotplugd.model.values import Device, InstanceName, Node
from hotplugd.plan.identity import identity
from tests.support.devices import (
    ALL,
    BOX,
    all_with,
    box,
    channel,
    folder,
    interface,
    nic_entry,
    rule,
    ruleset,
)
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench, Request

ZERO, ONE = channel(0), channel(1)
EACH = ruleset(
    rule("{subsystem: net, kernel: can0}", "{to: box}", "zero"),
    rule("{subsystem: net, kernel: can1}", "{to: other}", "one"),
)
THERE = Node(None, 0)


def moving(bench: Bench, *devices: Device) -> None:
    """Have each leave the host when its entry is put in, and come back when it is taken out."""
    of = {name_for(each.slot): each for each in devices}

    def applied(request: Request) -> None:
        for each in request.put:
            bench.reconciler.no_device(of[each.name].syspath)
        for name in filter(of.__contains__, request.remove):
            bench.reconciler.device(of[name])

    bench.applied = applied


def stop(bench: Bench, *devices: Device, name: InstanceName = BOX) -> None:
    bench.change(name, running=False)
    for each in devices:
        bench.reconciler.device(each)
    bench.reconciler.restarted(name)


def start(bench: Bench, *devices: Device, name: InstanceName = BOX) -> None:
    for each in devices:
        bench.reconciler.no_device(each.syspath)
    bench.change(name, running=True)
    bench.reconciler.restarted(name)


def test_each_has_an_identity_of_its_own() -> None:
    assert identity(ZERO) != identity(ONE)
    shared = {"address": "02:00:00:00:00:01"}
    assert identity(replace(ZERO, attrs=shared)) != identity(replace(ONE, attrs=shared))


@in_virtual_time
async def test_both_go_in_and_nothing_is_asked_for_any_more() -> None:
    bench = Bench()
    moving(bench, ZERO, ONE)
    await bench.start()
    await bench.plug(ZERO, ONE)
    await at(100)
    assert bench.verified() == {"can0": True, "can1": True}
    assert sorted(len(each.put) for each in bench.requests) in ([2], [1, 1])
    assert bench.told() == []


@in_virtual_time
async def test_they_are_themselves_after_a_stop_and_a_start() -> None:
    bench = Bench()
    moving(bench, ZERO, ONE)
    await bench.start(ZERO, ONE)
    await at(10)
    for when in (20, 60):
        stop(bench, ONE, ZERO)
        await at(when)
        assert bench.verified() == {"can0": None, "can1": None}
        start(bench, ZERO, ONE)
        await at(when + 20)
        assert bench.verified() == {"can0": True, "can1": True}
    assert len(bench.requests) == 1
    assert bench.told() == []


@in_virtual_time
async def test_each_goes_where_its_rule_says() -> None:
    bench = Bench(box(), box(name="other"), rules=EACH)
    moving(bench, ZERO, ONE)
    await bench.start(ZERO, ONE)
    await at(20)
    assert {(each.instance, tuple(e.config["parent"] for e in each.put)) for each in bench.requests} == {
        ("box", ("can0",)),
        ("other", ("can1",)),
    }
    assert bench.verified() == {"can0": True, "can1": True}


@in_virtual_time
async def test_the_second_interface_for_one_name_is_a_problem() -> None:
    bench = Bench(rules=all_with("name: can0"))
    moving(bench, ZERO, ONE)
    await bench.start(ZERO, ONE)
    await at(100)
    assert bench.verified() == {"can0": True}
    assert bench.told() == ["can0 in box is taken by can0 (rule 'r', serial 'CAN', port 1-1)"]
    assert len(bench.requests) == 1


@in_virtual_time
async def test_another_interface_of_that_name_is_not_verified() -> None:
    bench = Bench()
    moving(bench, ZERO)
    await bench.start(ZERO)
    bench.folders[BOX, "can0"] = folder(ONE)
    bench.reconciler.look_everywhere()
    await at(5)
    assert bench.verified() == {"can0": False}
    assert "another interface is can0 in box" in bench.told()[0]


@in_virtual_time
async def test_an_interface_that_reuses_a_host_name_is_another() -> None:
    bench = Bench(rules=EACH)
    bench.instances[InstanceName("default", "other")] = box(name="other")
    moving(bench, ZERO)
    await bench.start(ZERO)
    await at(10)
    # Only the name: it stays the second channel.
    renamed = replace(ONE, kernel="can0", syspath=ZERO.syspath)
    bench.reconciler.device(renamed)
    await at(20)
    assert bench.reconciler.devices == 2
    assert bench.verified() == {"can0": True}
    assert bench.told() == ["can0 in box is taken by can0 (rule 'zero', serial 'CAN', port 1-1)"]
    bench.reconciler.no_device(renamed.syspath)
    await at(40)
    assert bench.reconciler.devices == 1
    assert bench.verified() == {"can0": True}


@in_virtual_time
async def test_a_replug_of_two_channels_replaces_both_entries() -> None:
    bench = Bench()
    again = channel(0, born=2), channel(1, born=2)
    moving(bench, ZERO, ONE)
    await bench.start(ZERO, ONE)
    await at(10)
    bench.applied = lambda _: None
    assert ZERO.parent is not None
    bench.reconciler.no_device(ZERO.parent.syspath)
    moving(bench, *again)
    await bench.plug(*again)
    await at(60)
    assert bench.verified() == {"can0": True, "can1": True}
    assert len(bench.instances[BOX].entries) == 2
    assert bench.told() == []


def earlier(device: Device, address: str = "") -> str:
    """The slot that an earlier version gave it."""
    return f"n-{address}-{folder(device).above}"


@in_virtual_time
async def test_an_entry_of_an_earlier_version_stays_as_it_is() -> None:
    nic = interface()
    for device, address in ((nic, "00e04c000001"), (ZERO, "")):
        old = nic_entry(device, slot=earlier(device, address))
        bench = Bench(box([old]))
        bench.inside[BOX][device.kernel] = THERE
        bench.folders[BOX, device.kernel] = folder(device)
        await bench.start()
        assert bench.verified() == {device.kernel: True}
        stop(bench, device)
        await bench.reconciler.settled()
        assert bench.verified() == {device.kernel: None}
        start(bench, device)
        await bench.reconciler.settled()
        assert bench.verified() == {device.kernel: True}
        assert bench.requests == []
        assert bench.told() == []
        assert bench.instances[BOX].entries[old.name].config[MARK_SLOT] == old.config[MARK_SLOT]
        bench.applied = lambda _, bench=bench, device=device: bench.reconciler.device(device)  # type: ignore[misc]
        bench.reconciler.set_rules(ruleset(rule("{subsystem: '*'}", None)))
        await bench.reconciler.settled()
        assert bench.ours() == set()


@in_virtual_time
async def test_a_second_channel_beside_a_version_1_entry_is_added() -> None:
    bench = Bench(box([nic_entry(ZERO, slot=earlier(ZERO))]))
    bench.inside[BOX]["can0"] = THERE
    bench.folders[BOX, "can0"] = folder(ZERO)
    moving(bench, ONE)
    await bench.start(ONE)
    await at(20)
    assert bench.verified() == {"can0": True, "can1": True}
    assert [[each.config["parent"] for each in request.put] for request in bench.requests] == [["can1"]]


@in_virtual_time
async def test_an_interface_attached_at_boot_is_recognised() -> None:
    before = replace(ZERO, slot="n-00000000-1-2")
    bench = Bench(box([nic_entry(before)]))
    bench.inside[BOX]["can0"] = THERE
    bench.folders[BOX, "can0"] = folder(ZERO)
    await bench.start()
    assert bench.verified() == {"can0": True}
    assert bench.requests == []


@pytest.mark.parametrize("slot", ["abc", "-", "n-1", "c-1", "p"])
def test_an_invalid_slot_in_an_entry_does_no_harm(slot: str) -> None:
    @in_virtual_time
    async def run() -> None:
        bench = Bench(box([nic_entry(ZERO, slot=slot)]))
        bench.inside[BOX]["can0"] = THERE
        bench.folders[BOX, "can0"] = folder(ZERO)
        await bench.start()
        assert bench.verified() == {"can0": True}
        assert bench.requests == []

    run()


@in_virtual_time
async def test_without_sysfs_inside_the_only_entry_counts() -> None:
    bench = Bench()
    bench.veiled.add(BOX)
    moving(bench, ZERO)
    await bench.start(ZERO)
    await at(100)
    assert bench.verified() == {"can0": None}
    assert bench.told() == []
    assert len(bench.requests) == 1


def test_the_rules_of_these_tests_take_them() -> None:
    assert ALL.decide(ZERO) is not None


@in_virtual_time
async def test_a_virtual_machine_gives_another_interface_back() -> None:
    nic = interface()
    bench = Bench(replace(box(), kind="virtual-machine"))
    moving(bench, nic)
    await bench.start(nic)
    await at(60)
    assert bench.verified() == {"enp1s0": None}
    before = dict(bench.instances[BOX].entries)
    slot = read(nic.slot)
    assert slot is not None
    for own in (901, 902):
        # Its driver makes a new one each time.
        again = replace(nic, slot=str(replace(slot, own=own)))
        stop(bench, again)
        await bench.reconciler.settled()
        assert bench.verified() == {"enp1s0": None}
        start(bench, again)
        await at(60 + own)
        assert bench.verified() == {"enp1s0": None}
        assert bench.reconciler.devices == 1
    assert bench.instances[BOX].entries == before
    # As another daemon finds it.
    other = Bench(*bench.instances.values())
    await other.start()
    await at(2000)
    assert other.verified() == {"enp1s0": None}
    assert other.requests == []
    assert other.told() == []
