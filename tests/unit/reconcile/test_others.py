"""What others' entries take: who comes first, what is said, and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from hotplugd.model.entry import slot_links, slot_node
from hotplugd.model.values import Device, Entry, Instance, InstanceName
from hotplugd.plan.desired import Holder, Wants
from hotplugd.plan.desired import judged as judged_by
from hotplugd.plan.kinds.kind import Want
from hotplugd.plan.overrides import Overrides
from hotplugd.reconcile import assignments
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import BOX, box, console, disk, interface, nic_entry, phone
from tests.support.virtual import at, in_virtual_time, later
from tests.unit.reconcile.bench import Bench

PHONE, NIC = phone(1), interface()
OTHER = InstanceName("default", "other")
FOREIGN = "its entry 'theirs', which is not ours"
BOTH = f"it is in box, and other has it too, by {FOREIGN}"
# A device, and an entry of somebody's that takes it.
SHARED = {
    "usb": (PHONE, {"type": "usb", "vendorid": "18d1"}),
    "every usb": (PHONE, {"type": "usb"}),
    "unix-char": (console(1), {"type": "unix-char", "source": "/dev/ttyUSB1", "path": "/dev/x"}),
    "unix-hotplug": (console(1), {"type": "unix-hotplug", "productid": "6001"}),
    "unix-block": (disk(), {"type": "unix-block", "source": "/dev/zram0", "path": "/dev/x"}),
    "disk": (disk(), {"type": "disk", "source": "/dev/zram0", "path": "/srv"}),
}
TAKES = {"type": "nic", "nictype": "physical", "parent": "enp1s0"}


def other(config: dict[str, str], *, running: bool = True) -> Instance:
    return box([Entry("theirs", config)], name="other", running=running)


async def change(bench: Bench, **changes: object) -> None:
    """Somebody changes the other instance, and the server tells."""
    bench.change(OTHER, **changes)
    bench.reconciler.refresh(OTHER)
    await bench.reconciler.settled()


def logged(bench: Bench) -> list[str]:
    return [each["reason"] for each in bench.events("device.problem")]


@pytest.mark.parametrize(("device", "config"), SHARED.values(), ids=SHARED)
def test_anothers_entry_for_an_attached_device_is_a_problem(device: Device, config: dict[str, str]) -> None:
    @in_virtual_time
    async def run() -> None:
        bench = Bench(box(), box(name="other"))
        await bench.start(device)
        assert bench.told() == []
        await change(bench, entries=other(config).entries)
        (told,) = bench.told()
        assert told.startswith(BOTH)
        assert logged(bench) == [told]
        assert bench.verified() == {str(device): True}
        await change(bench, description="something else")
        assert logged(bench) == [told]
        await change(bench, entries={})
        assert bench.told() == []
        assert len(bench.requests) == 1

    run()


@pytest.mark.parametrize(("device", "config"), SHARED.values(), ids=SHARED)
def test_anothers_earlier_claim_is_a_problem_until_it_ends(device: Device, config: dict[str, str]) -> None:
    @in_virtual_time
    async def run() -> None:
        bench = Bench(box(), other(config))
        await bench.start()
        await bench.plug(device)
        (told,) = bench.told()
        assert told.startswith(f"it belongs to other by {FOREIGN}")
        assert logged(bench) == [told]
        await change(bench, running=False)
        assert bench.told() == []
        assert bench.verified() == {str(device): True}
        await change(bench, running=True)
        (told,) = bench.told()
        assert told.startswith(BOTH)
        await change(bench, entries={})
        assert bench.told() == []
        assert bench.verified() == {str(device): True}

    run()


@in_virtual_time
async def test_what_two_had_before_we_started_stays_and_is_said() -> None:
    before = Bench()
    await before.start(PHONE)
    bench = Bench(before.instances[BOX], other({"type": "usb"}))
    await bench.start(PHONE)
    assert bench.requests == []
    assert bench.verified() == {PHONE.node: True}
    (told,) = bench.told()
    assert told.startswith(BOTH)
    assert logged(bench)[-1] == told


@pytest.mark.parametrize("slot", [NIC.slot, "n-00e04c000001-11"], ids=["of today", "of version 1"])
def test_a_device_found_to_be_attached_stays(slot: str) -> None:
    @in_virtual_time
    async def run() -> None:
        bench = Bench(box([nic_entry(NIC, slot=slot)], running=False), other(TAKES))
        bench.reconciler.listed_devices([NIC], [])
        await bench.reconciler.listed_instances([bench.instances[OTHER]])
        (told,) = bench.told()
        assert told.startswith(f"it belongs to other by {FOREIGN}")
        bench.reconciler.refresh(BOX)
        await bench.reconciler.settled()
        assert bench.requests == []
        (told,) = bench.told()
        assert told.startswith(BOTH)

    run()


@in_virtual_time
async def test_who_does_not_run_keeps_nothing_and_that_is_no_problem() -> None:
    bench = Bench(box(), other({"type": "usb"}, running=False))
    await bench.start(PHONE, phone(2))
    assert len(bench.ours()) == 2
    assert bench.told() == []
    assert logged(bench) == []


@in_virtual_time
async def test_an_entry_that_comes_while_the_device_goes_in_was_first() -> None:
    bench = Bench(box(), box(name="other"))
    bench.takes = 1.0
    await bench.start()
    bench.reconciler.device(PHONE)
    await at(2.5)
    bench.change(OTHER, entries=other({"type": "usb"}).entries)
    bench.reconciler.refresh(OTHER)
    await bench.reconciler.settled()
    (told,) = bench.told()
    assert told.startswith(BOTH if bench.ours() else f"it belongs to other by {FOREIGN}")


class TestWhatOneAloneCanHave:
    @in_virtual_time
    async def test_a_restart_of_who_has_it_loses_it_to_no_rule(self) -> None:
        bench = Bench(box(), other(TAKES))
        await bench.start(NIC)
        assert bench.requests == []
        await change(bench, running=False)
        await at(9)
        await change(bench, description="x")
        assert bench.requests == []
        await change(bench, running=True)
        await at(60)
        assert bench.requests == []
        assert bench.told()[0].startswith(f"it belongs to other by {FOREIGN}")

    @in_virtual_time
    async def test_a_slow_reboot_from_inside_of_who_has_it_loses_it_to_no_rule(self) -> None:
        bench = Bench(box(), replace(other(TAKES), started="at 1"))
        await bench.start(NIC)
        await change(bench, running=False)
        await at(29)
        assert bench.requests == []
        # It did not start again.
        await at(60)
        assert len(bench.requests) == 1

    @in_virtual_time
    async def test_who_stays_stopped_keeps_it_no_longer_whatever_is_done_to_it(self) -> None:
        bench = Bench(box(), other(TAKES))
        await bench.start(NIC)
        await change(bench, running=False)
        for second in range(1, 10):
            await at(second)
            await change(bench, description=str(second))
        assert bench.requests == []
        await at(10)
        await bench.reconciler.settled()
        assert len(bench.ours()) == 1
        (told,) = bench.told()
        assert told.startswith("other, which does not run, cannot start while it is in box")
        await change(bench, entries={})
        assert bench.told() == []

    @in_virtual_time
    async def test_who_is_deleted_keeps_nothing(self) -> None:
        bench = Bench(box(), other(TAKES))
        await bench.start(NIC)
        await change(bench, running=False)
        del bench.instances[OTHER]
        bench.reconciler.refresh(OTHER)
        await bench.reconciler.settled()
        assert len(bench.ours()) == 1
        await at(60)
        assert bench.told() == []

    @in_virtual_time
    async def test_nothing_is_done_after_the_end(self) -> None:
        bench = Bench(box(), other(TAKES))
        await bench.start(NIC)
        await change(bench, running=False)
        bench.reconciler.close()
        await at(60)
        assert bench.requests == []


def test_others_entries_judge_only_what_they_claim(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged: list[str] = []

    def judge(
        rules: RuleSet, device: Device, has: Callable[[Want], bool], overrides: Overrides, *, holder: Holder
    ) -> Wants:
        judged.append(device.kernel)
        return judged_by(rules, device, has, overrides, holder=holder)

    monkeypatch.setattr(assignments, "judged", judge)

    def forged(number: int) -> dict[str, str]:
        kind = ("usb", "unix-hotplug")[number % 2]
        return {"type": kind, "vendorid": f"{number:04x}", "productid": f"{number:04x}"}

    @in_virtual_time
    async def run() -> None:
        everybody = [
            box([Entry(f"e{each}", forged(50 * number + each)) for each in range(50)], name=f"c{number}")
            for number in range(200)
        ]
        bench = Bench(box(), *everybody)
        plugged = [phone(number) for number in range(1, 51)]
        await bench.start(*plugged)
        judged.clear()
        for each in everybody[:20]:
            bench.change(each.id, entries={})
            bench.reconciler.refresh(each.id)
        await bench.reconciler.settled()
        assert judged == []
        await bench.plug(console(1))
        assert judged == ["ttyUSB1"]

    run()


@pytest.mark.parametrize("which", [0, 1, 2], ids=["the first link", "the other", "the one behind"])
def test_a_link_that_another_names_stays_until_it_does_not(which: int) -> None:
    @in_virtual_time
    async def run() -> None:
        device = console(1)
        link = (*slot_links(device.slot), slot_node(device.slot))[which]
        bench = Bench(box(), box(name="other"))
        await bench.start(device)
        await change(bench, entries=other({"type": "unix-char", "source": link, "path": "/dev/x"}).entries)
        # The server watches it, and hangs where it goes as it stops the instance.
        bench.reconciler.no_device(device.syspath)
        await at(60)
        assert bench.ours() == set()
        assert device.slot in bench.links
        await change(bench, running=False)
        await at(120)
        assert device.slot not in bench.links

    run()


def test_what_changes_all_the_time_is_judged_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = 0

    def judge(
        rules: RuleSet, device: Device, has: Callable[[Want], bool], overrides: Overrides, *, holder: Holder
    ) -> Wants:
        nonlocal judged
        judged += 1
        return judged_by(rules, device, has, overrides, holder=holder)

    monkeypatch.setattr(assignments, "judged", judge)

    @in_virtual_time
    async def run() -> None:
        bench = Bench(box(), box(name="other"))
        await bench.start(PHONE)
        entries = other({"type": "usb"}).entries
        for number in range(1001):
            bench.change(OTHER, entries={} if number % 2 else entries)
            # As of many instances, whose questions have no pace in common.
            bench.reconciler.learned(OTHER, bench.instances[OTHER])
            await later(0.001)
        assert judged <= 70
        # The last one counts, soon.
        await later(0.1)
        assert BOTH in bench.told()[0]

    run()
