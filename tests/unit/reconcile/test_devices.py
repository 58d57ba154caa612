"""What a reconciler knows of devices, and what it tells others of them."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.model.entry import slot_of
from hotplugd.model.values import Descriptors
from tests.support.devices import (
    ALL,
    BOX,
    all_with,
    box,
    channel,
    console,
    disk,
    entry,
    interface,
    nic_entry,
    phone,
    rule,
    ruleset,
)
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench

ONE, TWO = console(1), console(2)
NIC = interface()
USED = "it carries the default route"
HUB = replace(phone(3), attrs={**phone(3).attrs, "bDeviceClass": "09"})


@in_virtual_time
async def test_what_a_guard_rail_keeps_is_known_by_its_place() -> None:
    used, forced, ignored = replace(disk(0), in_use="swap"), replace(disk(1), in_use="swap"), disk(2)
    rules = ruleset(
        rule("{subsystem: block, kernel: zram1}", "{to: box, force: true}", "forced"),
        rule("{subsystem: block, kernel: zram2}", None, "ignored"),
        rule("{subsystem: block}", "{to: box}", "disks"),
        rule("{vendor_id: 18d1}", "{to: box}", "phones"),
    )
    bench = Bench(rules=rules)
    await bench.start(used, forced, replace(ignored, in_use="swap"), HUB, phone(1), replace(ONE, in_use="x"))
    assert sorted(bench.reconciler.assignments.kept()) == sorted([used.syspath, HUB.syspath])
    bench.reconciler.device(replace(used, in_use=""))
    assert bench.reconciler.assignments.kept() == [HUB.syspath]


@in_virtual_time
async def test_a_guarded_device_is_known_by_its_path_while_away() -> None:
    zero = channel(0)
    assert zero.parent is not None
    hides = replace(zero.parent, descriptors=Descriptors(fault="too many"))
    bench = Bench(box([nic_entry(zero)]))
    bench.restored = lambda device: replace(device, parent=hides)
    await bench.start()
    assert bench.reconciler.assignments.kept() == [zero.syspath]


@in_virtual_time
async def test_an_interface_that_is_inside_is_in_use_by_nobody_here() -> None:
    bench = Bench(rules=all_with("force: true"))
    bench.applied = lambda _: bench.reconciler.no_device(NIC.syspath)
    await bench.start(replace(NIC, in_use=USED))
    assert [each.device for each in bench.reconciler.assignments.wants.values()] == [replace(NIC, away=True)]
    assert bench.verified() == {"enp1s0": True}


@in_virtual_time
async def test_attachments_changes_and_problems_come_by_instance() -> None:
    rules = ruleset(
        rule("{subsystem: tty, kernel: ttyUSB1}", "{to: zoo}", "late"),
        rule("{subsystem: tty}", "{to: box}", "early"),
        rule("{subsystem: block}", "{to: [zoo, box], share: true}", "both"),
    )
    bench = Bench(box(name="zoo"), box(), rules=rules, dry_run=True)
    await bench.start(ONE, TWO, disk())
    assert [(str(each.instance), each.device) for each in bench.reconciler.pending()] == [
        ("box", "/dev/ttyUSB2"),
        ("box", "/dev/zram0"),
        ("zoo", "/dev/ttyUSB1"),
        ("zoo", "/dev/zram0"),
    ]
    bench = Bench(box(name="zoo"), box(), rules=rules)
    await bench.start(ONE, TWO, disk())
    assert [(str(each.want.instance), str(each.want.device)) for each in bench.reconciler.attachments()] == [
        ("box", "/dev/ttyUSB2"),
        ("box", "/dev/zram0"),
        ("zoo", "/dev/ttyUSB1"),
        ("zoo", "/dev/zram0"),
    ]
    bench = Bench(rules=ruleset(rule("{subsystem: tty}", "{to: [z, a]}")))
    await bench.start(ONE)
    assert [each.message for each in bench.reconciler.problems()] == [
        "there is no instance 'a' in project 'default'",
        "there is no instance 'z' in project 'default'",
    ]


@in_virtual_time
async def test_what_a_guard_rail_did_is_no_problem() -> None:
    bench = Bench()
    await bench.start(HUB, replace(disk(), in_use="swap"))
    assert [each.device for each in bench.reconciler.problems()] == ["/dev/zram0"]
    assert [each["device"] for each in bench.events("device.problem")] == ["/dev/zram0"]


@in_virtual_time
async def test_a_problem_of_a_device_is_logged_once_with_its_rule() -> None:
    bench = Bench()
    used = replace(disk(), in_use="swap")
    await bench.start(used)
    bench.reconciler.device(replace(used, properties={"A": "b"}))
    bench.reconciler.set_rules(ALL)
    (logged,) = bench.events("device.problem")
    assert (logged["device"], logged["rule"], logged["log_level"]) == ("/dev/zram0", "r", "warning")
    assert "the host uses it: swap" in logged["reason"]
    bench.reconciler.device(replace(used, in_use="mounted"))
    assert len(bench.events("device.problem")) == 2


@in_virtual_time
async def test_a_link_that_cannot_be_removed_is_logged() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.unlinkable.add(ONE.slot)
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    (logged,) = bench.events("slot.problem")
    assert (logged["device"], logged["reason"], logged["log_level"]) == (
        "/dev/ttyUSB1",
        "it cannot be removed",
        "error",
    )
    # It is tried again until it can be, and that is not told each time.
    await at(10)
    assert ONE.slot in bench.links
    bench.unlinkable.clear()
    await at(20)
    assert ONE.slot not in bench.links
    assert len(bench.events("slot.problem")) == 1


@in_virtual_time
async def test_links_that_another_hotplugd_has_locked_go_once_that_one_has_ended() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.locked.add(ONE.slot)
    bench.reconciler.no_device(ONE.syspath)
    await at(600)
    assert ONE.slot in bench.links
    bench.locked.clear()
    await at(661)
    assert ONE.slot not in bench.links
    assert (bench.told(), bench.events("slot.problem")) == ([], [])


@in_virtual_time
async def test_links_that_cannot_be_removed_and_then_are_locked_are_no_problem_any_more() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.unlinkable.add(ONE.slot)
    bench.reconciler.no_device(ONE.syspath)
    await at(1)
    assert len(bench.told()) == 1
    bench.unlinkable.clear()
    bench.locked.add(ONE.slot)
    await at(20)
    assert bench.told() == []
    assert len(bench.events("problem.over")) == 1


@in_virtual_time
async def test_a_link_that_could_not_be_removed_stays_once_its_device_is_back() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.unlinkable.add(ONE.slot)
    bench.reconciler.no_device(ONE.syspath)
    await at(10)
    await bench.plug(ONE)
    bench.unlinkable.clear()
    before = list(bench.journal)
    await at(100)
    assert bench.journal == before
    assert ONE.slot in bench.links
    assert bench.verified() == {"/dev/ttyUSB1": True}


@in_virtual_time
async def test_an_event_without_a_change_does_nothing() -> None:
    bench = Bench()
    await bench.start()
    await bench.plug(ONE)
    before = (list(bench.journal), len(bench.looks))
    await at(5)
    await bench.plug(ONE)
    assert (bench.journal, len(bench.looks)) == before
    assert bench.reconciler.devices == 1


@in_virtual_time
async def test_a_slot_goes_when_the_next_enumeration_comes() -> None:
    bench = Bench()
    await bench.start(ONE)
    again = console(1, born=2)
    await bench.plug(again)
    assert bench.journal.count(f"unlink {ONE.slot}") == 1
    assert bench.links == {again.slot}
    assert bench.reconciler.devices == 1
    assert {slot_of(each) for each in bench.instances[BOX].entries.values()} == {again.slot}
    assert [each["why"] for each in bench.events("device.remove")] == ["its device is gone"]


@in_virtual_time
async def test_nothing_is_sent_before_the_instances_were_listed() -> None:
    bench = Bench()
    bench.reconciler.listed_devices([ONE], [])
    bench.reconciler.refresh(BOX)
    await at(100)
    assert (bench.requests, bench.told()) == ([], [])
    await bench.reconciler.listed_instances(bench.instances.values())
    await bench.reconciler.settled()
    assert bench.sizes == [(100, 1)]


@in_virtual_time
async def test_what_is_logged_counts_from_the_plug() -> None:
    bench = Bench()
    here = bench.instances.pop(BOX)
    await bench.start(TWO)
    await at(5)
    await bench.plug(ONE)
    await at(8)
    await bench.plug(replace(ONE, properties={"A": "b"}))
    await at(10)
    bench.instances[BOX] = here
    bench.reconciler.refresh(BOX)
    await at(12)
    await bench.plug(console(1, born=2))
    added = [(each["device"], each.get("after_plug")) for each in bench.events("device.add")]
    # Nobody knows since when what was listed is there.
    assert sorted(added[:2]) == [("/dev/ttyUSB1", "5000.0 ms"), ("/dev/ttyUSB2", None)]
    assert added[2:] == [("/dev/ttyUSB1", "0.0 ms")]


@in_virtual_time
async def test_each_leave_of_an_interface_has_its_own_ten_seconds() -> None:
    bench = Bench()
    bench.applied = lambda _: bench.reconciler.no_device(NIC.syspath)
    await bench.start(NIC)
    await at(10)
    bench.applied = lambda _: None
    bench.change(BOX, running=False)
    bench.reconciler.device(NIC)
    bench.reconciler.restarted(BOX)
    await at(20)
    bench.reconciler.no_device(NIC.syspath)
    await at(25)
    bench.reconciler.device(NIC)
    await at(26)
    bench.reconciler.no_device(NIC.syspath)
    await at(35)
    assert bench.reconciler.devices == 1
    await at(37)
    assert bench.reconciler.devices == 0


@in_virtual_time
async def test_a_dry_run_leaves_links_alone() -> None:
    bench = Bench(dry_run=True)
    await bench.start(ONE)
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    assert bench.journal == []


@in_virtual_time
async def test_a_listing_removes_and_adds_devices() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.reconciler.listed_devices([TWO], [])
    await bench.reconciler.settled()
    assert bench.reconciler.devices == 1
    assert list(bench.verified()) == ["/dev/ttyUSB2"]


@in_virtual_time
async def test_an_unprocessed_devices_entry_stays_until_udevd_is_done() -> None:
    bench = Bench(box([entry(ONE), entry(TWO)]))
    bare = replace(ONE, slot="", properties={}, parent=None)
    await bench.start(unprocessed=[bare])
    assert bench.ours() == {entry(ONE).name}
    # Of another device nothing follows.
    bench.reconciler.no_device(TWO.syspath)
    await bench.reconciler.settled()
    assert bench.ours() == {entry(ONE).name}
    bench.reconciler.device(console(1, born=2))
    await bench.reconciler.settled()
    assert bench.ours() == {entry(console(1, born=2)).name}


@in_virtual_time
async def test_what_is_unprocessed_and_goes_takes_its_entry_along() -> None:
    bench = Bench(box([entry(ONE)]))
    await bench.start(unprocessed=[replace(ONE, slot="", properties={}, parent=None)])
    assert bench.ours() == {entry(ONE).name}
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    assert bench.ours() == set()


@in_virtual_time
async def test_what_udevd_processes_again_stays_what_it_was() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.reconciler.listed_devices([], [replace(ONE, slot="", properties={}, parent=None)])
    await bench.reconciler.settled()
    assert bench.verified() == {"/dev/ttyUSB1": True}
    assert bench.reconciler.devices == 1


@in_virtual_time
async def test_an_interface_in_an_unseen_instance_is_not_given_up() -> None:
    bench = Bench()
    bench.applied = lambda _: bench.reconciler.no_device(NIC.syspath)
    await bench.start(NIC)
    await at(10)
    bench.change(BOX, running=False)
    bench.reconciler.device(NIC)
    bench.reconciler.restarted(BOX)
    await at(20)
    bench.reconciler.no_device(NIC.syspath)
    bench.hanging_looks.add(BOX)
    bench.change(BOX, running=True)
    bench.reconciler.restarted(BOX)
    await at(60)
    assert bench.reconciler.devices == 1
    assert len(bench.ours()) == 1


@in_virtual_time
async def test_an_old_slot_belongs_to_the_device_with_its_number() -> None:
    bench = Bench()
    before, now_there, other = console(1), console(1, born=2), console(2)
    assert not bench.reconciler.inventory.is_of_another(before.slot)
    await bench.start(other)
    assert not bench.reconciler.inventory.is_of_another(before.slot)
    await bench.plug(now_there)
    assert bench.reconciler.inventory.is_of_another(before.slot)
    assert not bench.reconciler.inventory.is_of_another(now_there.slot)
