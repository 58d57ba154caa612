"""What is known and told: unprocessed devices, listings, dry runs, problems and being settled."""

from __future__ import annotations

import asyncio

from hotplugd.model.ports import Unreachable
from hotplugd.model.values import Entry, InstanceName, Node
from tests.support.devices import BOX, box, console, disk, entry, phone, rule, ruleset
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench, names

ONE, TWO = console(1), console(2)
OTHER = InstanceName("default", "other")


@in_virtual_time
async def test_an_entry_stays_until_udevd_says_what_its_device_is() -> None:
    bench = Bench(box([entry(ONE), entry(TWO)]))
    await bench.start(unprocessed=[ONE, TWO])
    await at(100)
    assert bench.requests == []
    await bench.plug(ONE)
    assert bench.requests == []
    bench.reconciler.no_device(TWO.syspath)
    await bench.reconciler.settled()
    assert bench.times == [100]
    assert bench.requests[0].names == names([TWO])
    assert bench.verified() == {"/dev/ttyUSB1": True}


@in_virtual_time
async def test_an_entry_goes_once_udevd_names_another_device() -> None:
    bench = Bench(box([entry(ONE)]))
    await bench.start(unprocessed=[ONE])
    again = console(1, born=2)
    await bench.plug(again)
    assert bench.ours() == names([again])


@in_virtual_time
async def test_a_device_that_udevd_forgot_stays_attached() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.reconciler.listed_devices([], [ONE])
    await bench.reconciler.settled()
    assert bench.ours() == names([ONE])
    assert bench.links == {ONE.slot}
    assert len(bench.requests) == 1


@in_virtual_time
async def test_an_unprocessed_device_that_is_not_listed_is_gone() -> None:
    bench = Bench(box([entry(ONE)]))
    await bench.start(unprocessed=[ONE])
    assert bench.ours() == names([ONE])
    bench.reconciler.listed_devices([], [])
    await bench.reconciler.settled()
    assert bench.ours() == set()


@in_virtual_time
async def test_a_listing_older_than_an_answer_is_not_believed() -> None:
    bench = Bench()
    await bench.start()
    bench.takes = 1
    old = list(bench.instances.values())
    await at(10)
    bench.reconciler.device(ONE)
    await at(10.5)
    await bench.reconciler.listed_instances(old)
    await at(100)
    assert bench.times == [10]
    assert bench.gets == [(11, "box")]
    assert bench.ours() == names([ONE])


@in_virtual_time
async def test_an_event_during_an_answer_has_the_server_asked_again() -> None:
    bench = Bench(box(running=False))
    await bench.start(ONE)
    bench.takes = 1
    await at(10)
    bench.reconciler.refresh(BOX)
    await at(10.5)
    bench.change(BOX, running=True)
    bench.inside[BOX] = {ONE.node: Node(ONE.devnum, 0o660)}
    bench.reconciler.refresh(BOX)
    await at(100)
    assert bench.gets[-2:] == [(10, "box"), (11, "box")]
    assert bench.looks == [(12, "box", (ONE.node,))]
    assert bench.verified() == {str(ONE): True}


@in_virtual_time
async def test_an_instance_that_no_listing_has_any_more_is_a_problem() -> None:
    bench = Bench()
    await bench.start(ONE)
    await bench.reconciler.listed_instances([])
    await bench.reconciler.settled()
    assert bench.told() == ["there is no instance 'box' in project 'default'"]
    assert bench.reconciler.attachments() == []


@in_virtual_time
async def test_a_dry_run_tells_each_change_once_and_does_nothing() -> None:
    bench = Bench(box([entry(TWO)]), dry_run=True)
    await bench.start(ONE)
    bench.reconciler.look_everywhere()
    await bench.reconciler.listed_instances(bench.instances.values())
    bench.reconciler.no_device(disk().syspath)
    await at(3600)
    assert bench.requests == []
    assert bench.journal == []
    assert [(each["action"], each["device"]) for each in bench.events("dry-run")] == [
        ("add", "/dev/ttyUSB1"),
        ("remove", "/dev/ttyUSB2"),
    ]
    assert [each.action for each in bench.reconciler.pending()] == ["add", "remove"]


@in_virtual_time
async def test_a_dry_run_leaves_the_links_of_devices_that_go() -> None:
    bench = Bench(box([entry(ONE)]), dry_run=True)
    await bench.start(ONE)
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    assert bench.journal == []
    assert [each.action for each in bench.reconciler.pending()] == ["remove"]


@in_virtual_time
async def test_a_dry_run_forgets_that_the_server_was_away() -> None:
    bench = Bench(dry_run=True)
    await bench.start()

    def answer(_: object) -> None:
        raise Unreachable("it is away")

    bench.answer = answer
    bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    assert bench.told() == ["box: it is away"]
    bench.answer = lambda _: None
    await at(60)
    assert bench.told() == []


@in_virtual_time
async def test_settled_waits_for_requests_and_looks() -> None:
    bench = Bench()
    bench.takes, bench.looking = 3, 5
    await bench.reconciler.listed_instances(bench.instances.values())
    await at(10)
    bench.reconciler.listed_devices([ONE], [])
    waiting = asyncio.ensure_future(bench.reconciler.settled())
    await at(17.9)
    assert not waiting.done()
    await at(18)
    assert waiting.done()
    assert bench.verified() == {"/dev/ttyUSB1": True}


@in_virtual_time
async def test_settled_does_not_wait_for_the_next_try() -> None:
    bench = Bench()
    bench.unmakeable.add(ONE.slot)
    await bench.start(ONE)
    await bench.reconciler.settled()
    assert bench.requests == []
    assert len(bench.reconciler.pending()) == 1


@in_virtual_time
async def test_settled_returns_at_once_where_nothing_happens() -> None:
    await Bench().reconciler.settled()


@in_virtual_time
async def test_a_problem_is_logged_once_and_shown_while_it_lasts() -> None:
    bench = Bench(rules=ruleset(rule("{vendor_id: 18d1}", "{to: 'ci-{serial}'}")))
    bad = phone(1, "a b")
    await bench.start(bad)
    bench.reconciler.set_rules(ruleset(rule("{vendor_id: 18d1}", "{to: 'ci-{serial}'}")))
    await bench.reconciler.settled()
    assert [each["device"] for each in bench.events("device.problem")] == [bad.node]
    assert len(bench.told()) == 1
    bench.reconciler.no_device(bad.syspath)
    await bench.reconciler.settled()
    assert bench.told() == []


@in_virtual_time
async def test_what_was_done_is_logged_with_how_long_it_took() -> None:
    bench = Bench()
    bench.takes = 0.25
    await bench.start()
    await at(10)
    await bench.plug(ONE)
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    assert [
        (each["event"], each["device"], each["instance"], each["path"], each.get("after_plug"))
        for each in bench.events("device.add", "device.remove")
    ] == [
        ("device.add", "/dev/ttyUSB1", "box", "/dev/ttyUSB1", "250.0 ms"),
        ("device.remove", "/dev/ttyUSB1", "box", "/dev/ttyUSB1", None),
    ]


@in_virtual_time
async def test_devices_that_rules_see_are_counted() -> None:
    bench = Bench()
    await bench.start(ONE, TWO)
    bench.reconciler.no_device(ONE.syspath)
    assert bench.reconciler.devices == 1
    assert [str(each.device) for each in bench.reconciler.assignments.wants.values()] == ["/dev/ttyUSB2"]


@in_virtual_time
async def test_what_is_no_instance_and_wanted_by_nobody_is_forgotten() -> None:
    bench = Bench(box(), box(name="other"))
    await bench.start(ONE)
    bench.reconciler.refresh(InstanceName("default", "short-lived"))
    del bench.instances[OTHER]
    bench.reconciler.refresh(OTHER)
    await bench.reconciler.settled()
    assert bench.reconciler._workers.all.keys() == {BOX}
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    assert bench.reconciler._workers.all.keys() == {BOX}
    await bench.reconciler.listed_instances([])
    await bench.reconciler.settled()
    assert bench.reconciler._workers.all.keys() == set()


@in_virtual_time
async def test_an_instance_is_not_forgotten_when_a_question_fails() -> None:
    bench = Bench()
    await bench.start()

    def answer(_: object) -> None:
        raise Unreachable("no answer")

    bench.answer = answer
    late = box([entry(ONE)], name="other")
    bench.instances[OTHER] = late
    bench.reconciler.refresh(OTHER)
    await at(1)
    bench.answer = lambda _: None
    await at(60)
    assert bench.ours(OTHER) == set()


@in_virtual_time
async def test_a_listing_from_before_a_deletion_is_stale() -> None:
    other = box([Entry("theirs", {"type": "unix-char", "source": ONE.node, "path": ONE.node})], name="other")
    bench = Bench(box(), other)
    await bench.start()
    before = list(bench.instances.values())
    await at(2)
    del bench.instances[OTHER]
    bench.reconciler.refresh(OTHER)
    await bench.reconciler.settled()
    await bench.reconciler.listed_instances(before, asked=1.0)
    await bench.plug(ONE)
    assert bench.verified() == {str(ONE): True}


@in_virtual_time
async def test_once_closed_nothing_is_done_any_more() -> None:
    bench = Bench(rules=ruleset(rule("{subsystem: tty}", "{to: box, user: nobody}")))
    bench.takes = 1.0
    await bench.start(ONE)
    bench.users["nobody"] = 7
    await at(10.5)
    bench.reconciler.close()
    asked = len(bench.requests), len(bench.looks), len(bench.gets)
    bench.reconciler.no_device(ONE.syspath)
    bench.reconciler.refresh(BOX)
    bench.reconciler.look_everywhere()
    await at(1000)
    assert (len(bench.requests), len(bench.looks), len(bench.gets)) == asked
    await bench.reconciler.settled()


@in_virtual_time
async def test_what_could_not_be_listed_is_asked_for_once_a_device_is_for_it() -> None:
    bench = Bench()
    bench.reconciler.listed_devices([], [])
    await bench.reconciler.listed_instances([], unlisted={"default": "it takes long"})
    await bench.plug(ONE)
    assert bench.ours() == names([ONE])
    asked = len(bench.gets)
    await bench.plug(TWO)
    assert bench.ours() == names([ONE, TWO])
    assert len(bench.gets) == asked, "it is known now"


@in_virtual_time
async def test_links_stay_while_instances_that_may_name_them_could_not_be_listed() -> None:
    bench = Bench(box([entry(ONE)]), rules=ruleset())
    bench.links.add(ONE.slot)
    bench.reconciler.listed_devices([ONE], [])
    await bench.reconciler.listed_instances([], unlisted={"default": "it takes long"})
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    assert bench.links == {ONE.slot}
    await bench.reconciler.listed_instances(bench.instances.values(), only={"default"})
    await bench.reconciler.settled()
    assert bench.ours() == set()
    assert bench.links == set()
