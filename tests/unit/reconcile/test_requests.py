"""What goes to the server, and when, where nothing fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from hotplugd.model.entry import name_for, slot_links
from hotplugd.model.ports import Busy, Unreachable
from hotplugd.model.values import Device, Entry, InstanceName
from hotplugd.plan.desired import Holder, Wants
from hotplugd.plan.desired import judged as judged_by
from hotplugd.plan.kinds.kind import Want
from hotplugd.plan.overrides import Overrides
from hotplugd.reconcile import assignments
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import ALL, BOX, all_with, box, console, disk, entry, phone, rule, ruleset
from tests.support.virtual import at, in_virtual_time, later, now
from tests.unit.reconcile.bench import Bench, Request, fail, names, recover

ONE, TWO = console(1), console(2)
FIFTY = [phone(number) for number in range(1, 51)]
OTHER = InstanceName("default", "other")


@in_virtual_time
async def test_one_device_is_one_request_at_once() -> None:
    bench = Bench()
    await bench.start()
    await at(7)
    await bench.plug(ONE)
    assert bench.sizes == [(7, 1)]
    assert bench.requests[0].put == (entry(ONE, {"user.hotplugd.since": "at 7.0"}),)
    assert bench.verified() == {"/dev/ttyUSB1": True}
    assert bench.told() == []


@in_virtual_time
async def test_what_is_there_at_the_start_is_one_request() -> None:
    bench = Bench()
    await bench.start(*FIFTY)
    assert bench.sizes == [(0, 50)]
    assert bench.ours() == names(FIFTY)


@in_virtual_time
async def test_a_storm_of_fifty_devices_is_two_requests() -> None:
    bench = Bench()
    bench.takes = 0.25
    await bench.start()
    begun = now()
    for number, each in enumerate(FIFTY):
        await at(begun + number * 0.004)
        bench.reconciler.device(each)
    await bench.reconciler.settled()
    assert bench.sizes == [(begun, 1), (begun + 0.25, 49)]
    assert bench.ours() == names(FIFTY)


@in_virtual_time
async def test_a_storm_of_removals_is_two_requests() -> None:
    bench = Bench()
    bench.takes = 0.25
    await bench.start(*FIFTY)
    before = len(bench.requests)
    begun = now()
    for number, each in enumerate(FIFTY):
        await at(begun + number * 0.004)
        bench.reconciler.no_device(each.syspath)
    await bench.reconciler.settled()
    assert bench.sizes[before:] == [(begun, 1), (begun + 0.25, 49)]
    assert bench.ours() == set()


@in_virtual_time
async def test_nothing_is_sent_before_the_devices_were_listed() -> None:
    bench = Bench(box([entry(ONE), entry(TWO)]))
    bench.make(ONE)
    await bench.reconciler.listed_instances(bench.instances.values())
    bench.reconciler.device(ONE)
    await at(3600)
    assert bench.requests == []
    assert bench.reconciler.attachments() == []
    bench.reconciler.listed_devices([ONE], [])
    await bench.reconciler.settled()
    assert [(each.at, each.remove) for each in bench.requests] == [(3600, (entry(TWO).name,))]


@in_virtual_time
async def test_nothing_is_sent_before_the_instances_were_listed() -> None:
    bench = Bench()
    bench.reconciler.listed_devices([ONE], [])
    await at(3600)
    assert bench.requests == []
    await bench.reconciler.listed_instances(bench.instances.values())
    await bench.reconciler.settled()
    assert bench.sizes == [(3600, 1)]


@in_virtual_time
async def test_a_slot_is_cut_before_the_removal_and_removed_after() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    assert bench.journal == ["request +1 -0", f"cut {ONE.slot}", "request +0 -1", f"unlink {ONE.slot}"]


@in_virtual_time
async def test_a_link_goes_once_the_last_instance_has_lost_the_entry() -> None:
    bench = Bench(box(), box(name="other"), rules=ruleset(rule("{subsystem: tty}", "{to: [box, other]}")))
    await bench.start(ONE)

    def stops(request: Request) -> None:
        if request.instance == str(OTHER):
            raise Busy("it is busy with its stop")

    bench.judge = stops
    bench.reconciler.no_device(ONE.syspath)
    await at(30)
    assert (bench.ours(), bench.ours(OTHER)) == (set(), {name_for(ONE.slot)})
    assert bench.links == {ONE.slot}
    recover(bench)
    await at(60)
    assert bench.ours(OTHER) == set()
    assert bench.links == set()


@in_virtual_time
async def test_a_slot_stays_while_its_entry_may_exist() -> None:
    bench = Bench()
    await bench.start()
    fail(bench, Unreachable("the server does not answer"), asking=True)
    bench.reconciler.device(ONE)
    await at(1)
    bench.reconciler.no_device(ONE.syspath)
    await at(60)
    assert bench.links == {ONE.slot}
    recover(bench)
    await bench.reconciler.listed_instances(bench.instances.values(), now())
    await bench.reconciler.settled()
    assert bench.links == set()


@in_virtual_time
async def test_the_links_of_one_that_comes_back_stay() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.takes = 1
    bench.reconciler.no_device(ONE.syspath)
    await later(0.5)
    bench.reconciler.device(ONE)
    await bench.reconciler.settled()
    assert bench.ours() == names([ONE])
    assert bench.links == {ONE.slot}


@in_virtual_time
async def test_links_left_over_go_once_every_instance_is_known() -> None:
    bench = Bench(box([entry(ONE)]))
    bench.links.add(ONE.slot)
    bench.reconciler.listed_devices([], [])
    bench.reconciler.left_over(ONE.slot)
    await at(1)
    assert bench.links == {ONE.slot}
    await bench.reconciler.listed_instances(bench.instances.values())
    await bench.reconciler.settled()
    assert bench.ours() == set()
    assert bench.journal == [f"cut {ONE.slot}", "request +0 -1", f"unlink {ONE.slot}"]


@in_virtual_time
async def test_a_device_that_rules_dropped_leaves_no_slot() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.reconciler.set_rules(ruleset(rule("{vendor_id: 1050}", "{to: box}")))
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    assert bench.links == set()


@in_virtual_time
async def test_what_no_listing_has_any_more_is_gone() -> None:
    bench = Bench()
    await bench.start(ONE, TWO)
    bench.reconciler.listed_devices([TWO], [])
    await bench.reconciler.settled()
    assert bench.journal[1:] == [f"cut {ONE.slot}", "request +0 -1", f"unlink {ONE.slot}"]
    assert bench.ours() == names([TWO])


@in_virtual_time
async def test_a_replug_that_nobody_saw_is_one_request() -> None:
    bench = Bench()
    await bench.start(ONE)
    again = console(1, born=2)
    bench.reconciler.listed_devices([again], [])
    await bench.reconciler.settled()
    assert bench.journal[1:] == [f"cut {ONE.slot}", "request +1 -1", f"unlink {ONE.slot}"]
    assert bench.ours() == names([again])


@in_virtual_time
async def test_a_replug_during_a_request_ends_in_the_new_device() -> None:
    bench = Bench()
    bench.takes = 1
    await bench.start()
    bench.reconciler.device(ONE)
    begun = now()
    again = console(1, born=2)
    await at(begun + 0.5)
    bench.reconciler.no_device(ONE.syspath)
    await at(begun + 0.75)
    bench.reconciler.device(again)
    await bench.reconciler.settled()
    assert bench.times == [begun, begun + 1]
    assert [each.names for each in bench.requests] == [names([ONE]), names([ONE, again])]
    assert bench.links == {again.slot}
    assert bench.verified() == {"/dev/ttyUSB1": True}


@in_virtual_time
async def test_a_short_plug_during_a_request_is_never_sent() -> None:
    bench = Bench()
    bench.takes = 1
    await bench.start()
    bench.reconciler.device(ONE)
    await at(now() + 0.5)
    bench.reconciler.device(TWO)
    bench.reconciler.no_device(TWO.syspath)
    await bench.reconciler.settled()
    assert [each.names for each in bench.requests] == [names([ONE])]


@in_virtual_time
async def test_the_same_device_told_again_is_nothing_new() -> None:
    bench = Bench()
    await bench.start(ONE)
    looks = len(bench.looks)
    await bench.plug(ONE)
    bench.reconciler.listed_devices([ONE], [])
    await bench.reconciler.settled()
    assert len(bench.requests) == 1
    assert len(bench.looks) == looks


@in_virtual_time
async def test_hearing_of_our_own_request_asks_once_and_sends_nothing() -> None:
    bench = Bench()
    await bench.start()
    bench.applied = lambda _: bench.reconciler.refresh(BOX)
    await at(10)
    await bench.plug(*FIFTY)
    await at(60)
    assert bench.times == [10]
    assert bench.gets == [(10, "box")]


@in_virtual_time
async def test_an_entry_that_somebody_deleted_comes_back() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    bench.change(BOX, entries={})
    bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    assert bench.sizes == [(0, 1), (10, 1)]


@in_virtual_time
async def test_an_edited_entry_is_corrected_and_keeps_its_time() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    edited = entry(ONE, {"mode": "0777", "user.hotplugd.since": "at 0.0"})
    bench.change(BOX, entries={edited.name: edited})
    bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    assert bench.requests[1].put == (entry(ONE, {"user.hotplugd.since": "at 0.0"}),)


@in_virtual_time
async def test_an_edit_that_nobody_told_of_comes_with_the_next_answer() -> None:
    bench = Bench()
    await bench.start(ONE)
    edited = entry(ONE, {"mode": "0777"})
    bench.change(BOX, entries={edited.name: edited})
    await at(10)
    await bench.plug(TWO)
    assert bench.times == [0, 10, 10]
    assert [each.names for each in bench.requests[1:]] == [names([TWO]), names([ONE])]


@in_virtual_time
async def test_a_copy_takes_over_the_entries_that_its_original_had() -> None:
    bench = Bench(box(), box([entry(ONE)], name="other"))
    await bench.start(ONE)
    assert {(each.instance, len(each.put), each.remove) for each in bench.requests} == {
        ("box", 1, ()),
        ("other", 0, (entry(ONE).name,)),
    }


@in_virtual_time
async def test_a_renamed_instance_loses_what_its_old_name_had() -> None:
    bench = Bench()
    await bench.start(ONE)
    renamed = replace(bench.instances.pop(BOX), id=OTHER)
    bench.instances[OTHER] = renamed
    bench.inside[OTHER] = bench.inside.pop(BOX)
    bench.reconciler.refresh(BOX)
    bench.reconciler.refresh(OTHER)
    await bench.reconciler.settled()
    assert bench.ours(OTHER) == set()
    assert bench.told() == ["there is no instance 'box' in project 'default'"]


@in_virtual_time
async def test_an_instance_that_appears_gets_what_waits_for_it() -> None:
    bench = Bench(box(name="other"))
    await bench.start(ONE)
    assert bench.requests == []
    bench.instances[BOX], bench.inside[BOX] = box(), {}
    await at(5)
    bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    assert bench.sizes == [(5, 1)]
    assert bench.told() == []


@in_virtual_time
async def test_other_rules_take_effect_at_once() -> None:
    bench = Bench(box(), box(name="other"))
    await bench.start(ONE, disk())
    await at(5)
    bench.reconciler.set_rules(
        ruleset(rule("{subsystem: tty}", "{to: other}", "a"), rule("{subsystem: block}", "{to: box}", "b"))
    )
    await bench.reconciler.settled()
    assert {(each.at, each.instance, len(each.put), len(each.remove)) for each in bench.requests[1:]} == {
        (5, "other", 1, 0),
        (5, "box", 0, 1),
    }
    assert bench.ours() == names([disk()])


@in_virtual_time
async def test_the_same_rules_read_again_send_nothing() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.reconciler.set_rules(ALL)
    await bench.reconciler.settled()
    assert len(bench.requests) == 1


@in_virtual_time
async def test_another_mode_in_the_rules_is_an_update() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.reconciler.set_rules(all_with("mode: '0600'"))
    await bench.reconciler.settled()
    assert [each.config.get("mode") for one in bench.requests for each in one.put] == [None, "0600"]
    assert bench.verified() == {"/dev/ttyUSB1": True}


@in_virtual_time
async def test_a_stopped_instance_gets_entries_and_no_look() -> None:
    bench = Bench(box(running=False))
    await bench.start(ONE)
    await at(3600)
    assert bench.sizes == [(0, 1)]
    assert bench.looks == []
    assert bench.verified() == {"/dev/ttyUSB1": None}


@in_virtual_time
async def test_either_link_may_be_the_one_in_use() -> None:
    second = entry(ONE, {"source": slot_links(ONE.slot)[1]})
    bench = Bench(box([second]))
    await bench.start(ONE)
    bench.reconciler.set_rules(all_with("gid: 5"))
    await bench.reconciler.settled()
    assert bench.requests[-1].put[0].config["source"] == slot_links(ONE.slot)[1]


THEIRS = Entry("theirs", {"type": "unix-char", "source": "/dev/ttyUSB1", "path": "/dev/theirs"})


@in_virtual_time
async def test_a_device_of_anothers_entry_is_attached_once_free() -> None:
    bench = Bench(box(), box([THEIRS], name="other"))
    await bench.start(console(1))
    assert bench.requests == []
    (told,) = bench.told()
    assert told.startswith("it belongs to other by its entry 'theirs', which is not ours")
    other = InstanceName("default", "other")
    bench.change(other, entries={})
    bench.reconciler.refresh(other)
    await bench.reconciler.settled()
    assert len(bench.ours()) == 1
    assert bench.told() == []


@pytest.mark.parametrize("devices_first", [True, False])
def test_entries_about_other_devices_judge_nothing_again(
    monkeypatch: pytest.MonkeyPatch, *, devices_first: bool
) -> None:
    judged: list[str] = []

    def judge(
        rules: RuleSet, device: Device, has: Callable[[Want], bool], overrides: Overrides, *, holder: Holder
    ) -> Wants:
        judged.append(device.kernel)
        return judged_by(rules, device, has, overrides, holder=holder)

    monkeypatch.setattr(assignments, "judged", judge)
    disk = Entry("root", {"type": "disk", "path": "/", "pool": "default"})
    theirs = [
        box([replace(THEIRS, config={**THEIRS.config, "source": f"/dev/ttyUSB{number}"})], [disk], name=name)
        for number, name in ((1, "one"), (70, "two"), (80, "three"))
    ]

    @in_virtual_time
    async def run() -> None:
        bench = Bench(box([], [disk]), *theirs)
        known = bench.reconciler
        if devices_first:
            known.listed_devices([*FIFTY, ONE], [])
        await known.listed_instances(bench.instances.values())
        if not devices_first:
            known.listed_devices([*FIFTY, ONE], [])
        await known.settled()
        assert bench.requests[0].instance == "box"
        assert entry(ONE).name not in bench.ours()

    run()
    assert Counter(judged) == Counter([each.kernel for each in [*FIFTY, ONE, *([ONE] * devices_first)]])


@in_virtual_time
async def test_an_attached_device_stays_despite_anothers_entry() -> None:
    bench = Bench(box(), box(name="other"))
    await bench.start(console(1))
    other = InstanceName("default", "other")
    bench.change(other, entries={"theirs": THEIRS})
    bench.reconciler.refresh(other)
    await at(20)
    assert len(bench.ours()) == 1
    assert len(bench.requests) == 1
