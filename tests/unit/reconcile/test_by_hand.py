"""What people decide by hand, in the reconciler: at once, over replugs, and whatever rules come to say."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.model.asker import Asker
from hotplugd.model.values import Device, InstanceName
from hotplugd.plan.overrides import Override, Overrides, kept_by
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import ALL, BOX, box, console, phone, rule, ruleset
from tests.support.virtual import in_virtual_time
from tests.unit.reconcile.bench import Bench

ZOO = InstanceName("default", "zoo")
ONE, TWO = phone(1), phone(2)


def override(device: Device, to: InstanceName | None, *others: Device) -> Override:
    of = kept_by(device, (device, *others))
    assert of is not None
    return Override(of, to, "2026-11-27T18:00:00+00:00", Asker(0, "root"), str(device))


def decided(*overrides: Override) -> Overrides:
    return Overrides.made_of(overrides)


def beds(rules: RuleSet = ALL) -> Bench:
    return Bench(box(), box(name="zoo"), rules=rules)


def where(bench: Bench) -> list[tuple[str, str]]:
    return [(str(each.want.device), str(each.want.instance)) for each in bench.reconciler.attachments()]


@in_virtual_time
async def test_a_decision_is_done_at_once_and_undone_at_once() -> None:
    bench = beds()
    await bench.start(ONE, TWO)
    bench.reconciler.set_overrides(decided(override(ONE, ZOO)), "asked")
    await bench.reconciler.settled()
    assert where(bench) == [(TWO.node, "box"), (ONE.node, "zoo")]
    bench.reconciler.set_overrides(decided(override(ONE, None)), "asked")
    await bench.reconciler.settled()
    assert where(bench) == [(TWO.node, "box")]
    bench.reconciler.set_overrides(decided(), "asked")
    await bench.reconciler.settled()
    assert where(bench) == [(ONE.node, "box"), (TWO.node, "box")]
    assert set(bench.times) == {0.0}
    causes = [(each["event"], each["instance"], each["cause"]) for each in bench.events("device.asked")][2:]
    assert sorted(causes) == [("device.asked", "box", "asked")] * 2 + [("device.asked", "zoo", "asked")] * 2
    (first, *_) = [each["why"] for each in bench.events("device.remove")]
    assert first == "its device was attached to zoo by hand (2026-11-27T18:00:00+00:00, uid 0 (root))"


@in_virtual_time
async def test_it_holds_from_the_start_over_replugs_and_other_rules() -> None:
    bench = beds()
    bench.reconciler.set_overrides(decided(override(ONE, ZOO), override(TWO, None)), "start")
    await bench.start(ONE, TWO)
    assert where(bench) == [(ONE.node, "zoo")]
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    assert where(bench) == []
    await bench.plug(phone(1, born=2))
    assert where(bench) == [(ONE.node, "zoo")]
    for rules in (ruleset(rule("{vendor_id: 18d1}", None)), RuleSet(), ALL):
        bench.reconciler.set_rules(rules)
        await bench.reconciler.settled()
        assert where(bench) == [(ONE.node, "zoo")]
    assert len(bench.requests) == 3
    assert bench.told() == []


@in_virtual_time
async def test_a_plan_that_was_applied_changes_nothing_when_it_was_decided_again() -> None:
    bench = beds()
    await bench.start(ONE)
    requests = len(bench.requests)
    bench.reconciler.set_overrides(decided(override(ONE, BOX)), "asked")
    await bench.reconciler.settled()
    assert len(bench.requests) == requests
    (attachment,) = bench.reconciler.attachments()
    assert attachment.want.override is not None


@in_virtual_time
async def test_of_two_that_come_with_one_serial_later_the_first_stays_alone() -> None:
    bench = beds()
    bench.reconciler.set_overrides(decided(override(ONE, ZOO)), "start")
    await bench.start(ONE)
    twin = replace(phone(7, "R5C001"), node="/dev/bus/usb/001/099")
    await bench.plug(twin)
    assert where(bench) == [(ONE.node, "zoo")]
    (message,) = bench.told()
    assert message.startswith("two devices have the serial 'R5C001'")
    assert message.endswith("decide about each by its node with `hotplugd attach` or `hotplugd detach`")
    # Told apart by their places.
    both = decided(override(ONE, ZOO, twin), override(twin, None, ONE))
    bench.reconciler.set_overrides(both, "asked")
    await bench.reconciler.settled()
    assert (where(bench), bench.told()) == ([(ONE.node, "zoo")], [])


@in_virtual_time
async def test_an_instance_that_went_is_a_problem_and_one_that_comes_gets_it() -> None:
    bench = Bench(box())
    bench.reconciler.set_overrides(decided(override(ONE, ZOO)), "start")
    await bench.start(ONE)
    assert (where(bench), bench.told()) == ([], ["there is no instance 'zoo' in project 'default'"])
    bench.instances[ZOO] = box(name="zoo")
    bench.inside[ZOO] = {}
    bench.reconciler.refresh(ZOO)
    await bench.reconciler.settled()
    assert (where(bench), bench.told()) == ([(ONE.node, "zoo")], [])


@in_virtual_time
async def test_what_is_detached_is_left_to_the_software_of_the_host() -> None:
    bench = beds()
    await bench.start(ONE, console())
    assert bench.reconciler.assignments.kept() == []
    bench.reconciler.set_overrides(decided(override(ONE, None)), "asked")
    assert bench.reconciler.assignments.kept() == [ONE.syspath]
    bench.reconciler.no_device(ONE.syspath)
    assert bench.reconciler.assignments.kept() == []
    assert bench.reconciler.inventory.by_hand == {}


@in_virtual_time
async def test_what_would_be_is_told_without_being_done() -> None:
    bench = beds()
    await bench.start(ONE)
    found = bench.reconciler.assignments.would(ONE, override(ONE, ZOO))
    assert [str(want.instance) for want in found.wants] == ["zoo"]
    used = bench.reconciler.assignments.would(replace(ONE, in_use="swap"), override(ONE, ZOO))
    assert used.wants == ()
    assert where(bench) == [(ONE.node, "box")]
