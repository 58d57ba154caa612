"""What the host uses as a device is about to go in, and what it begins to use while an instance has it."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from hotplugd.model.values import CANNOT_TELL, Device
from hotplugd.plan.kinds.kind import Want
from hotplugd.reconcile.host_use import HostUse
from hotplugd.reconcile.ports import Ports
from tests.support.devices import (
    ALL,
    BOX,
    all_with,
    box,
    console,
    disk,
    entry,
    interface,
    phone,
    rule,
    ruleset,
    wanted,
)
from tests.support.virtual import at, in_virtual_time, now
from tests.unit.reconcile.bench import Bench, names

NOBODY = ruleset()
MOUNTED = "zram0 is mounted on /srv"
HELD = f"the host uses it: {MOUNTED}; `force: true` in the rule attaches it all the same"


def mounted(bench: Bench, *devices: Device, how: str = MOUNTED) -> None:
    """The host has begun to use them, and no uevent says so."""
    bench.used = {each.syspath: how for each in devices}


@in_virtual_time
async def test_a_disk_mounted_since_it_was_read_stays_on_the_host() -> None:
    bench = Bench()
    mounted(bench, disk())
    await bench.start(disk())
    assert (bench.requests, bench.links, bench.told()) == ([], set(), [HELD])


@in_virtual_time
async def test_a_mounted_disk_stays_when_a_rule_or_instance_is_added() -> None:
    bench = Bench(rules=NOBODY)
    del bench.instances[BOX]
    await bench.start(disk())
    mounted(bench, disk())
    bench.reconciler.set_rules(ALL)
    await at(10)
    bench.instances[BOX] = box()
    bench.reconciler.refresh(BOX)
    await at(20)
    assert (bench.requests, bench.told()) == ([], [HELD])


@in_virtual_time
async def test_so_it_does_where_its_instance_is_stopped() -> None:
    bench = Bench(box(running=False))
    mounted(bench, disk())
    await bench.start(disk())
    assert (bench.requests, bench.told()) == ([], [HELD])


@in_virtual_time
async def test_what_cannot_be_told_is_held_too() -> None:
    bench = Bench()
    mounted(bench, interface(), how=f"{CANNOT_TELL}: no file can be opened")
    await bench.start(interface())
    assert bench.requests == []
    assert bench.told() == [
        f"{CANNOT_TELL}: no file can be opened; `force: true` in the rule attaches it all the same"
    ]
    # So whoever knows looks again; and so for those that are read so, and that a rule takes.
    assert bench.unsure == [0]
    unknown = [replace(each, in_use=f"{CANNOT_TELL}: x") for each in (disk(), interface())]
    bench.reconciler.set_rules(NOBODY)
    bench.reconciler.device(unknown[0])
    await at(10)
    assert bench.unsure == [0]
    bench.reconciler.set_rules(ALL)
    assert bench.unsure == [0, 10, 10]
    bench.reconciler.no_device(unknown[0].syspath)
    assert bench.unsure == [0, 10, 10]


@in_virtual_time
async def test_it_goes_in_once_it_is_read_as_free_and_is() -> None:
    bench = Bench()
    mounted(bench, disk())
    await bench.start(disk())
    bench.used = {}
    await bench.plug(disk())
    assert (len(bench.ours()), bench.told()) == (1, [])


@in_virtual_time
async def test_what_went_out_is_asked_about_anew_before_it_goes_in_again_at_once() -> None:
    bench = Bench()
    await bench.start(disk())
    bench.reconciler.set_rules(NOBODY)
    await bench.reconciler.settled()
    assert bench.ours() == set()
    mounted(bench, disk())
    bench.reconciler.set_rules(ALL)
    await bench.reconciler.settled()
    assert (bench.ours(), bench.told()) == (set(), [HELD])


@in_virtual_time
async def test_a_disk_that_is_held_keeps_no_other_device_out() -> None:
    bench = Bench()
    mounted(bench, disk())
    await bench.start(console(), disk(), disk(1))
    assert bench.verified() == {"/dev/ttyUSB1": True, "/dev/zram1": True}


@pytest.mark.parametrize(("device", "times"), [(console(), 0), (disk(), 1), (interface(), 1)], ids=str)
@in_virtual_time
async def test_it_is_asked_of_what_the_host_may_use_alone_and_once(device: Device, times: int) -> None:
    bench = Bench()
    await bench.start(device)
    assert (len(bench.asked), len(bench.ours())) == (times, 1)


@in_virtual_time
async def test_nobody_asks_where_the_rule_does_not_mind() -> None:
    bench = Bench(rules=all_with("force: true"))
    mounted(bench, disk())
    await bench.start(disk())
    assert (bench.asked, len(bench.ours())) == ([], 1)


@in_virtual_time
async def test_a_disk_pulled_during_the_check_is_not_attached() -> None:
    bench = Bench()
    bench.asking = 1.0
    await bench.start()
    bench.reconciler.device(disk())
    await at(0.5)
    bench.reconciler.no_device(disk().syspath)
    bench.reconciler.device(disk(born=2))
    await bench.reconciler.settled()
    assert [each.names for each in bench.requests] == [frozenset({entry(disk(born=2)).name})]
    assert bench.links == {disk(born=2).slot}


class _Unused:
    """A host that uses nothing."""

    async def in_use(self, want: Want) -> str:
        return ""


@in_virtual_time
async def test_an_answer_holds_for_one_request_within_two_seconds() -> None:
    checks = HostUse(cast("Ports", _Unused()), lambda *_: None)
    wants = wanted(ALL, disk())
    await checks.ask(wants, now)
    assert checks.unchecked(wants, now() + 1.9) == []
    assert checks.unchecked(wants, now() + 2) == wants
    checks.free.clear()
    assert checks.unchecked(wants, now()) == wants


@in_virtual_time
async def test_a_busy_instance_gets_the_disk_all_the_same() -> None:
    bench = Bench()
    bench.asking = 0.01
    await bench.start()
    bench.reconciler.device(disk())
    for turn in range(1, 200):
        await at(turn / 200)
        bench.reconciler.look_again(BOX)
    assert len(bench.ours()) == 1


@in_virtual_time
async def test_an_attached_disk_stays_when_the_host_uses_it() -> None:
    bench = Bench()
    await bench.start(disk())
    await bench.plug(replace(disk(), in_use=MOUNTED))
    assert len(bench.requests) == 1
    assert bench.verified() == {"/dev/zram0": True}
    assert bench.told() == [
        f"the host uses it: {MOUNTED}, and it is in box, where it stays: end the host's use, or stop box"
    ]
    await bench.plug(disk())
    assert (len(bench.requests), bench.told()) == (1, [])


@in_virtual_time
async def test_so_it_does_over_a_restart_of_ours() -> None:
    bench = Bench(box([entry(disk())]))
    await bench.start(replace(disk(), in_use=MOUNTED))
    assert bench.requests == []
    assert bench.verified() == {"/dev/zram0": True}


@in_virtual_time
async def test_it_goes_once_the_instance_is_stopped() -> None:
    bench = Bench()
    await bench.start(disk())
    await bench.plug(replace(disk(), in_use=MOUNTED))
    bench.change(BOX, running=False)
    bench.reconciler.refresh(BOX)
    await at(10)
    assert (bench.ours(), bench.told()) == (set(), [HELD])


@pytest.mark.parametrize("device", [phone(), disk(), interface()], ids=str)
@in_virtual_time
async def test_whatever_the_host_may_use_is_looked_at_when_it_begins_to(device: Device) -> None:
    bench = Bench(box(running=False))
    await bench.start(device, console())
    assert [each for each, _ in bench.reconciler.usable()] == [device]


@in_virtual_time
async def test_only_where_it_is_it_stays() -> None:
    both = ruleset(rule("{subsystem: block}", "{to: [box, other], share: true}"))
    bench = Bench(box([entry(disk())]), box(name="other"), rules=both)
    await bench.start(replace(disk(), in_use=MOUNTED))
    assert bench.requests == []
    assert len(bench.told()) == 1


@in_virtual_time
async def test_several_devices_go_in_however_long_each_is_asked_for() -> None:
    bench = Bench(box())
    bench.asking = 5.0
    await bench.start(disk(1), disk(2), disk(3))
    await at(30)
    assert bench.ours() == names([disk(1), disk(2), disk(3)])
