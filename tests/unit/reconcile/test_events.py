"""What is told as events: of devices, of attachments and why, of instances, and of problems that are over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hotplugd.model.entry import name_for
from hotplugd.model.ports import Refused, Unreachable
from tests.support.devices import ALL, BOX, all_with, box, console, phone, rule, ruleset
from tests.support.virtual import at, in_virtual_time, later
from tests.unit import devices
from tests.unit.reconcile.bench import Bench, fail, recover, refuse

ONE, TWO, PHONE = console(1), console(2), phone(1)
PHONES = ruleset(rule("{subsystem: usb}", "{to: box}", "phones"))


def told(bench: Bench, since: int = 0) -> list[str]:
    """The names of the events."""
    entries = bench.logged.entries[since:]
    return [each["event"] for each in entries if each["log_level"] != "debug"]


def last(bench: Bench, name: str) -> dict[str, Any]:
    """The last event of a name, without its level."""
    found = dict(bench.events(name)[-1])
    del found["log_level"], found["event"]
    return found


@in_virtual_time
async def test_a_plug_is_told_of_from_the_port_to_the_inside() -> None:
    bench = Bench()
    await bench.start()
    await bench.plug(PHONE)
    assert told(bench) == ["device.seen", "device.asked", "device.add", "device.inside"]
    about = {
        "device": PHONE.node, "identity": "serial:R5C001", "serial": "R5C001", "port": "1-1",
        "slot": PHONE.slot, "rule": "r",
    }  # fmt: skip
    assert last(bench, "device.seen") == {**about, "cause": "plug"}
    where = {"instance": "box", "entry": name_for(PHONE.slot), "path": PHONE.node, "cause": "plug"}
    asked = {**about, **where, "action": "add", "why": "it is not attached"}
    assert last(bench, "device.asked") == asked
    assert last(bench, "device.add") == {**asked, "after_plug": "0.0 ms"}
    assert last(bench, "device.inside") == {**about, **where}


@in_virtual_time
async def test_how_long_a_plug_took_counts_while_the_host_sleeps() -> None:
    bench = Bench()
    await bench.start()
    bench.takes = 0.5
    bench.reconciler.device(PHONE)
    await later(0.1)
    bench.asleep = 60.0
    await bench.reconciler.settled()
    assert last(bench, "device.add")["after_plug"] == "60500.0 ms"


@in_virtual_time
async def test_a_pull_is_told_of_with_all_that_was_known() -> None:
    bench = Bench()
    await bench.start()
    await bench.plug(replace(PHONE, properties={**PHONE.properties, "ID_MODEL": "Pixel_8"}))
    before = len(bench.logged.entries)
    bench.reconciler.no_device(PHONE.syspath)
    await bench.reconciler.settled()
    assert told(bench, before) == ["device.gone", "device.asked", "device.remove"]
    removed = last(bench, "device.remove")
    assert (removed["serial"], removed["port"], removed["model"]) == ("R5C001", "1-1", "Pixel_8")
    assert (removed["cause"], removed["slot"]) == ("plug", PHONE.slot)


@in_virtual_time
async def test_the_last_word_of_a_flap_is_that_the_device_is_there() -> None:
    bench = Bench()
    await bench.start(PHONE)
    again = replace(phone(1, born=2), node="/dev/bus/usb/001/065")
    bench.reconciler.no_device(PHONE.syspath)
    bench.reconciler.device(again)
    await bench.reconciler.settled()
    changes = [(each["event"], each["device"]) for each in bench.events("device.add", "device.remove")]
    assert changes[1:] == [("device.remove", PHONE.node), ("device.add", again.node)]
    assert told(bench)[-1] == "device.inside"


@in_virtual_time
async def test_a_usb_device_that_no_rule_takes_is_told_of_and_a_hub_or_another_device_is_not() -> None:
    bench = Bench(rules=ruleset(rule("{serial: NONE}", "{to: box}")))
    hub = replace(devices.usb("1-2", serial="HUB"), attrs={"maxchild": "4"}, slot="c-189-9-1a2b3c4d-1")
    root = replace(devices.usb("usb1"), slot="c-189-0-1a2b3c4d-1")
    await bench.start(PHONE, ONE, hub, root)
    seen = [each["device"] for each in bench.events("device.seen")]
    assert seen == [PHONE.node, str(hub)]
    (unmatched,) = bench.events("device.unmatched")
    assert (unmatched["serial"], unmatched["cause"]) == ("R5C001", "start")
    bench.reconciler.no_device(root.syspath)
    bench.reconciler.set_rules(PHONES)
    bench.reconciler.set_rules(ruleset())
    assert last(bench, "device.unmatched")["cause"] == "reload"
    assert len(bench.events("device.unmatched")) == 2


@in_virtual_time
async def test_a_change_has_its_cause() -> None:
    bench = Bench(rules=ruleset())
    await bench.start(PHONE)
    bench.reconciler.set_rules(ALL)
    await bench.reconciler.settled()
    assert last(bench, "device.add")["cause"] == "reload"
    bench.unmount(PHONE)
    await later(1)
    assert last(bench, "device.repair")["cause"] == "inside"
    bench.change(BOX, entries={})
    bench.reconciler.updated(BOX)
    await later(1)
    assert last(bench, "device.add")["cause"] == "by hand"
    del bench.instances[BOX]
    bench.reconciler.refresh(BOX)
    await later(1)
    bench.instances[BOX] = box()
    bench.reconciler.refresh(BOX)
    await later(5)
    assert last(bench, "device.add")["cause"] == "instance"
    bench.reconciler.listed_devices([], [])
    await later(1)
    assert (last(bench, "device.gone")["cause"], last(bench, "device.remove")["cause"]) == (
        "listing", "listing",
    )  # fmt: skip


@in_virtual_time
async def test_the_cause_of_a_plug_is_not_that_of_what_comes_later() -> None:
    bench = Bench()
    await bench.start()
    await bench.plug(PHONE)
    assert last(bench, "device.inside")["cause"] == "plug"
    bench.change(BOX, running=False)
    bench.reconciler.restarted(BOX)
    await later(5)
    bench.change(BOX, running=True)
    bench.reconciler.refresh(BOX)
    await later(5)
    assert len(bench.events("device.inside")) == 2
    assert last(bench, "device.inside")["cause"] == "instance"
    bench.instances.clear()
    bench.reconciler.refresh(BOX)
    await later(5)
    assert last(bench, "device.detached")["cause"] == "instance"


@in_virtual_time
async def test_what_is_attached_when_hotplugd_starts_is_told_of() -> None:
    before = Bench()
    await before.start(PHONE)
    bench = Bench(*before.instances.values())
    await bench.start(PHONE)
    assert told(bench) == ["device.seen", "device.attached", "device.inside"]
    assert last(bench, "device.attached")["cause"] == "start"


@in_virtual_time
async def test_an_instance_that_goes_takes_its_devices_along() -> None:
    bench = Bench()
    await bench.start(PHONE, ONE)
    bench.change(BOX, running=False)
    bench.reconciler.restarted(BOX)
    await later(5)
    assert last(bench, "instance.stopped") == {"instance": "box", "devices": f"{PHONE.node}, {ONE.node}"}
    bench.change(BOX, running=True)
    bench.reconciler.refresh(BOX)
    await later(5)
    assert last(bench, "instance.started")["instance"] == "box"
    before = len(bench.logged.entries)
    del bench.instances[BOX]
    bench.reconciler.refresh(BOX)
    await later(5)
    assert told(bench, before)[:3] == ["instance.deleted", "device.detached", "device.detached"]
    bench.instances[BOX] = box()
    bench.reconciler.refresh(BOX)
    await later(5)
    assert last(bench, "instance.created") == {"instance": "box", "kind": "container"}
    assert last(bench, "instance.started") == {"instance": "box"}


@in_virtual_time
async def test_many_devices_that_go_with_an_instance_are_counted() -> None:
    bench = Bench()
    await bench.start(*(console(number) for number in range(60)))
    bench.change(BOX, running=False)
    bench.reconciler.restarted(BOX)
    await later(5)
    assert last(bench, "instance.stopped")["devices"].endswith(" and 10 more")


class TestProblems:
    @staticmethod
    @in_virtual_time
    async def test_one_of_the_plan_has_what_the_device_is_called_and_is_over() -> None:
        bench = Bench(rules=all_with("path: /dev/x"))
        await bench.start(ONE)
        await bench.plug(TWO)
        problem = last(bench, "device.problem")
        assert (problem["serial"], problem["port"], problem["instance"]) == ("A5002", "2-2", "box")
        bench.reconciler.no_device(ONE.syspath)
        await bench.reconciler.settled()
        assert last(bench, "problem.over") == problem

    @staticmethod
    @in_virtual_time
    async def test_one_of_a_device_without_an_instance_is_over() -> None:
        bench = Bench()
        await bench.start()
        used = replace(PHONE, in_use="mounted on /srv")
        await bench.plug(used)
        problem = last(bench, "device.problem")
        assert problem["serial"] == "R5C001"
        await bench.plug(PHONE)
        assert last(bench, "problem.over") == problem

    @staticmethod
    @in_virtual_time
    async def test_one_of_a_request_is_over_once_it_is_done() -> None:
        bench = Bench()
        await bench.start()
        refuse(bench, PHONE, blame=True)
        await bench.plug(PHONE)
        assert last(bench, "device.problem")["serial"] == "R5C001"
        assert bench.events("problem.over") == []
        recover(bench)
        await at(100)
        assert last(bench, "problem.over")["reason"] == "it does not fit"

    @staticmethod
    @in_virtual_time
    async def test_one_of_an_instance_is_over_once_the_server_answers() -> None:
        bench = Bench()
        await bench.start()
        fail(bench, Unreachable("no answer"), asking=True)
        await bench.plug(PHONE)
        recover(bench)
        await at(100)
        assert last(bench, "problem.over") == {"instance": "box", "reason": "no answer"}

    @staticmethod
    @in_virtual_time
    async def test_one_of_an_instance_is_over_when_the_instance_is_no_more() -> None:
        bench = Bench()
        await bench.start()
        fail(bench, Unreachable("no answer"), asking=True)
        bench.change(BOX, running=False)
        bench.reconciler.refresh(BOX)
        await later(1)
        assert bench.events("instance.problem")
        recover(bench)
        bench.instances.clear()
        await bench.reconciler.listed_instances([])
        await later(60)
        assert last(bench, "problem.over") == {"instance": "box", "reason": "no answer"}

    @staticmethod
    @in_virtual_time
    async def test_one_of_what_never_ends_is_over_soon_after_it_ends() -> None:
        bench = Bench()
        await bench.start(PHONE)
        for _ in range(2000):
            bench.reconciler.refresh(BOX)
            bench.reconciler.look_again(BOX)
            await later(0.05)
        problems = bench.events("instance.problem")
        assert len(problems) == 2
        await later(5)
        assert bench.told() == []
        over = [each["reason"] for each in bench.events("problem.over")]
        assert sorted(over) == sorted(each["reason"] for each in problems)

    @staticmethod
    @in_virtual_time
    async def test_one_of_what_never_ends_is_over_with_the_instance() -> None:
        bench = Bench(rules=ruleset())
        await bench.start()
        for _ in range(2000):
            bench.reconciler.refresh(BOX)
            await later(0.05)
        bench.instances.clear()
        await later(1)
        assert not bench.reconciler.knows(BOX)
        assert last(bench, "problem.over")["reason"] == last(bench, "instance.problem")["reason"]

    @staticmethod
    @in_virtual_time
    async def test_each_of_several_devices_for_the_same_reason_is_over_by_itself() -> None:
        bench = Bench()
        await bench.start()
        fail(bench, Refused("no space left on device"), asking=False)
        await bench.plug(ONE, TWO)
        await later(60)
        assert sorted(each["device"] for each in bench.events("device.problem")) == [ONE.node, TWO.node]
        bench.reconciler.no_device(ONE.syspath)
        await later(1)
        assert [each["device"] for each in bench.events("problem.over")] == [ONE.node]
        recover(bench)
        await later(100)
        assert [each["device"] for each in bench.events("problem.over")] == [ONE.node, TWO.node]

    @staticmethod
    @in_virtual_time
    async def test_one_of_a_fight_is_over_once_it_is_calm_or_with_the_instance() -> None:
        for gone in (False, True):
            bench = Bench()
            await bench.start(PHONE)
            for _ in range(5):
                bench.change(BOX, entries={})
                bench.reconciler.refresh(BOX)
                await later(0.1)
            (problem,) = bench.events("device.problem")
            await later(1)
            if gone:
                bench.reconciler.no_device(PHONE.syspath)
                await later(1)
                bench.instances.clear()
                bench.reconciler.refresh(BOX)
            await later(1 if gone else 70)
            assert bench.told() == []
            assert last(bench, "problem.over")["reason"] == problem["reason"]

    @staticmethod
    @in_virtual_time
    async def test_one_of_an_inside_that_changes_all_the_time_is_over_when_it_stops() -> None:
        bench = Bench()
        await bench.start(PHONE)
        for _ in range(500):
            bench.reconciler.look_again(BOX)
            await later(0.2)
        bench.change(BOX, running=False)
        bench.reconciler.restarted(BOX)
        await later(5)
        assert last(bench, "problem.over")["reason"] == last(bench, "instance.problem")["reason"]


def test_a_hostile_model_is_cut() -> None:
    @in_virtual_time
    async def test() -> None:
        bench = Bench()
        await bench.start(replace(PHONE, properties={**PHONE.properties, "ID_MODEL": "x\n" * 9999}))
        assert len(last(bench, "device.seen")["model"]) < 400

    test()
