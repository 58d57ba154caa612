"""A device is revoked after it is out of one instance, and before another one is asked to have it."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.model.entry import name_for, slot_of
from hotplugd.model.lease import Lease
from hotplugd.model.values import Device, InstanceName
from hotplugd.pools.leasing import Leasing
from hotplugd.rulefile.load import parse
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import BOX, box, console, plugged, rule, ruleset
from tests.support.virtual import in_virtual_time, later
from tests.unit.reconcile.bench import Bench, recover, refuse
from tests.unit.reconcile.test_by_hand import ZOO, decided, override, where
from tests.unit.reconcile.test_leases import PHONES, deleted, job, made, places, rules, told
from tests.unit.reconcile.test_not_given import cordon

PHONE = PHONES[0]
KEY = "serial:R5C001"
ONE = InstanceName("default", "job-1")


def lab(*, takes: float = 0.05) -> Bench:
    """Two jobs that claim a phone; whoever has it revoked must have taken it out before."""
    bench = Bench(job(1), job(2), rules=rules())
    bench.revoker.takes = takes
    nobody_has_it(bench)
    return bench


def nobody_has_it(bench: Bench) -> None:
    def see(device: Device) -> None:
        entries = [each for instance in bench.instances.values() for each in instance.entries.values()]
        assert device.slot not in map(slot_of, entries), f"{device} is revoked while an instance has it"

    bench.revoker.begun = bench.revoker.done = see


def withdrawn(bench: Bench) -> None:
    bench.change(ONE, claims={"phone": "none"})
    bench.reconciler.refresh(ONE)


def leasing(bench: Bench) -> Leasing:
    return bench.reconciler.assignments.leases.leasing


@in_virtual_time
async def test_between_two_leases_it_is_revoked() -> None:
    bench = lab()
    await bench.start(PHONE)
    assert places(bench) == {"job-1": ["1-1"]}
    # One that was never in an instance is nobody's.
    assert bench.revoker.asked == []
    withdrawn(bench)
    await later(0.01)
    assert (places(bench), leasing(bench).state(KEY)) == ({}, "releasing")
    assert leasing(bench).reason(KEY) == "job-1 has it, or has it open"
    await bench.reconciler.settled()
    assert places(bench) == {"job-2": ["1-1"]}
    assert bench.revoker.asked == [(0.0, "1-1")]
    # There is no timer in between.
    assert bench.times == [0.0, 0.0, 0.05]
    (event,) = bench.events("device.revoked")
    assert (event["instance"], event["identity"]) == ("job-1", KEY)


@in_virtual_time
async def test_it_is_revoked_at_once_also_where_nobody_waits() -> None:
    bench = Bench(job(1), rules=rules())
    nobody_has_it(bench)
    await bench.start(PHONE)
    await deleted(bench, 1)
    assert (bench.revoker.names, leasing(bench).state(KEY)) == (["1-1"], "free")
    await made(bench, job(2))
    assert (bench.revoker.names, places(bench)) == (["1-1"], {"job-2": ["1-1"]})


@in_virtual_time
async def test_it_is_revoked_after_its_instance_is_deleted_or_stopped() -> None:
    for stops in (True, False):
        bench = lab()
        await bench.start(PHONE)
        if stops:
            bench.end(ONE)
            await later(1.5)
        else:
            await deleted(bench, 1)
        assert bench.revoker.names == ["1-1"]
        assert places(bench) == {"job-2": ["1-1"]}


@in_virtual_time
async def test_whoever_had_it_waits_as_well() -> None:
    bench = Bench(job(1), job(2, None), rules=rules())
    bench.revoker.open["1-1"] = "it is open"
    await bench.start(PHONE)
    await made(bench, replace(bench.instances[ONE], claims={}))
    assert (places(bench), leasing(bench).state(KEY)) == ({}, "releasing")
    await made(bench, replace(bench.instances[ONE], claims={"phone": "android"}))
    await later(3.0)
    assert (places(bench), leasing(bench).state(KEY)) == ({}, "releasing")
    bench.revoker.open.clear()
    await later(20.0)
    assert places(bench) == {"job-1": ["1-1"]}
    assert bench.told() == []


@in_virtual_time
async def test_one_that_cannot_be_revoked_waits_and_is_a_problem() -> None:
    bench = lab()
    await bench.start(PHONE)
    bench.revoker.open["1-1"] = "it is open in adb (process 7 in job-1)"
    withdrawn(bench)
    await bench.reconciler.settled()
    assert (leasing(bench).state(KEY), bench.told()) == ("releasing", [])
    assert leasing(bench).reason(KEY) == "it is open in adb (process 7 in job-1)"
    await later(10.0)
    problem = (
        "job-1 is without it, and it is not given to another instance: it is open in adb (process 7 in job-1)"
    )
    assert bench.told() == [problem]
    assert [each["reason"] for each in bench.events("lease.problem")] == [problem]
    # Ever less often.
    assert 3 <= len(bench.revoker.asked) <= 6
    assert places(bench) == {}
    del bench.revoker.open["1-1"]
    await later(20.0)
    assert places(bench) == {"job-2": ["1-1"]}
    assert bench.told() == []
    assert len(bench.events("problem.over")) == 1


@in_virtual_time
async def test_a_node_that_is_not_sealed_could_be_opened_again() -> None:
    bench = lab()
    await bench.start(PHONE)
    bench.seals.open[name_for(PHONE.slot)] = "it is not sealed"
    withdrawn(bench)
    await later(6.0)
    assert (bench.revoker.asked, leasing(bench).reason(KEY)) == ([], "it is not sealed")
    bench.seals.open.clear()
    await later(20.0)
    assert places(bench) == {"job-2": ["1-1"]}


@in_virtual_time
async def test_its_own_uevents_are_no_replug() -> None:
    """Without its driver it looks different for a moment, and a rule may ask for that."""
    pool = "pools: {android: {instances: 'job-*'}}\n"
    loaded = parse(f"{pool}rules: [{{name: p, match: {{driver: usb}}, attach: {{pool: android}}}}]", "x")
    bench = Bench(job(1), job(2), rules=loaded.rules)
    phone = replace(PHONE, driver="usb")
    bench.revoker.takes = 1.0
    await bench.start(phone)
    withdrawn(bench)
    await later(0.5)
    bench.reconciler.device(replace(phone, driver=""))
    await later(0.2)
    assert places(bench) == {}
    bench.reconciler.device(phone)
    await bench.reconciler.settled()
    assert places(bench) == {"job-2": ["1-1"]}
    assert bench.revoker.names == ["1-1"]
    assert bench.events("device.gone") == []


@in_virtual_time
async def test_what_hangs_from_it_goes_by_that_and_need_not_be_closed() -> None:
    pool = "pools: {lab: {instances: 'job-*'}}\n"
    match = "{subsystem: usb, devtype: usb_device}"
    loaded = parse(f"{pool}rules: [{{name: r, match: {match}, attach: {{pool: lab, with: tty}}}}]", "x")
    assert not loaded.errors, loaded.errors[0].render()
    tty = console(1)
    cable = plugged(replace(found, node="/dev/bus/usb/002/001"), 189, 129) if (found := tty.usb) else tty
    tty = replace(tty, parent=cable)
    bench = Bench(job(1, "lab"), job(2, "lab"), rules=loaded.rules)
    bench.revoker.open[tty.kernel] = "it is open"

    def unbound(device: Device) -> None:
        assert device.syspath == cable.syspath
        bench.reconciler.no_device(tty.syspath)
        bench.reconciler.device(replace(tty, slot=tty.slot[:-1] + "2"))

    await bench.start(cable, tty)
    assert len(bench.ours(ONE)) == 2
    bench.revoker.takes = 0.1
    bench.revoker.done = unbound
    bench.change(ONE, claims={})
    bench.reconciler.refresh(ONE)
    await later(2.0)
    await bench.reconciler.settled()
    assert bench.revoker.names == [cable.kernel]
    assert (len(bench.ours(ONE)), len(bench.ours(InstanceName("default", "job-2")))) == (0, 2)


@in_virtual_time
async def test_one_that_is_pulled_meanwhile_is_another_when_it_is_back() -> None:
    bench = lab(takes=5.0)
    await bench.start(PHONE)
    withdrawn(bench)
    await later(1.0)
    bench.reconciler.no_device(PHONE.syspath)
    again = replace(PHONE, slot=PHONE.slot[:-1] + "2")
    bench.reconciler.device(again)
    await later(1.0)
    assert [each.instance for each in bench.requests] == ["job-1", "job-1", "job-2"]
    await bench.reconciler.settled()
    assert bench.revoker.names == ["1-1"]
    assert bench.told() == []


@in_virtual_time
async def test_one_of_before_a_restart_may_be_open_still() -> None:
    bench = lab()
    bench.links.add(PHONE.slot)
    await bench.start(PHONE)
    assert bench.revoker.names == ["1-1"]
    assert places(bench) == {"job-1": ["1-1"]}
    # It is not asked again.
    await deleted(bench, 1)
    assert bench.revoker.names == ["1-1", "1-1"]


@in_virtual_time
async def test_after_a_restart_what_an_instance_has_stays_there() -> None:
    before = lab()
    await before.start(PHONE)
    bench = Bench(*before.instances.values(), rules=rules())
    bench.links.add(PHONE.slot)
    await bench.start(PHONE)
    assert (bench.requests, bench.revoker.asked) == ([], [])
    assert places(bench) == {"job-1": ["1-1"]}


@in_virtual_time
async def test_a_refused_request_may_have_been_done() -> None:
    bench = lab()
    refuse(bench, PHONE, blame=True)
    await bench.start(PHONE)
    recover(bench)
    withdrawn(bench)
    await later(2.0)
    assert places(bench) == {"job-2": ["1-1"]}
    assert bench.revoker.names == ["1-1"]


@in_virtual_time
async def test_a_device_attached_by_hand_is_revoked_on_its_way() -> None:
    bench = Bench(box(), box(name="zoo"), rules=ruleset(rule("{vendor_id: 18d1}", "{to: box}")))
    bench.revoker.takes = 1.0
    nobody_has_it(bench)
    await bench.start(PHONE)
    bench.reconciler.set_overrides(decided(override(PHONE, ZOO)), "asked")
    await later(0.5)
    (held,) = bench.reconciler.held()
    assert held.wait.why == "box had it, and may have it open: that is being ended"
    await bench.reconciler.settled()
    assert where(bench) == [(PHONE.node, "zoo")]
    bench.reconciler.set_overrides(decided(), "asked")
    await bench.reconciler.settled()
    assert where(bench) == [(PHONE.node, "box")]
    assert bench.revoker.names == ["1-1", "1-1"]


@in_virtual_time
async def test_a_plain_rule_that_takes_a_pools_device_waits_as_well() -> None:
    bench = Bench(job(1), box(), rules=rules())
    nobody_has_it(bench)
    await bench.start(PHONE)
    bench.reconciler.set_rules(ruleset(rule("{vendor_id: 18d1}", "{to: box}")))
    await bench.reconciler.settled()
    assert bench.revoker.names == ["1-1"]
    assert where(bench) == [(PHONE.node, str(BOX))]


@in_virtual_time
async def test_a_rule_that_names_another_instance_moves_it_at_once() -> None:
    bench = Bench(box(), box(name="zoo"), rules=ruleset(rule("{vendor_id: 18d1}", "{to: box}")))
    await bench.start(PHONE)
    bench.reconciler.set_rules(ruleset(rule("{vendor_id: 18d1}", "{to: zoo}")))
    await bench.reconciler.settled()
    assert (bench.revoker.asked, where(bench)) == ([], [(PHONE.node, "zoo")])


@in_virtual_time
async def test_a_dry_run_revokes_nothing() -> None:
    bench = Bench(job(1), job(2), rules=rules(), dry_run=True)
    bench.links.add(PHONE.slot)
    await bench.start(PHONE)
    assert (bench.revoker.asked, bench.requests) == ([], [])


@in_virtual_time
async def test_a_session_that_ends_leaves_no_timer() -> None:
    bench = lab()
    await bench.start(PHONE)
    bench.revoker.open["1-1"] = "it is open"
    withdrawn(bench)
    await bench.reconciler.settled()
    asked = len(bench.revoker.asked)
    bench.reconciler.close()
    await later(60.0)
    assert len(bench.revoker.asked) == asked


@in_virtual_time
async def test_what_is_out_is_revoked_also_while_its_instance_is_busy_with_another_device() -> None:
    bench = Bench(job(1, "android count=2"), job(2), rules=rules())
    await bench.start(*PHONES[:2])
    assert places(bench) == {"job-1": ["1-1", "1-2"]}
    nobody_has_it(bench)
    bench.takes = 1.0
    leases = bench.reconciler.assignments.leases
    leases.move(KEY, Lease(InstanceName("default", "job-2"), "phone"), "moved")
    await later(0.5)
    # This goes as the next request.
    leases.set_cordons(cordon("device", "serial:R5C002"))
    leases.release(["serial:R5C002"], "drained")
    await later(0.6)
    assert places(bench) == {"job-1": ["1-2"]}
    bench.takes, bench.revoker.takes = 0.1, 0.3
    await told(bench, "job-2")
    assert places(bench) == {"job-2": ["1-1"]}
    (given,) = [each.at for each in bench.changes if each.instance == "job-2"]
    ((revoked, name), *_) = bench.revoker.asked
    assert (name, revoked + 0.3 <= given) == ("1-1", True)


@in_virtual_time
async def test_it_is_revoked_once_an_instance_is_known_that_is_new_meanwhile() -> None:
    bench = Bench(job(1), box(), rules=rules())
    bench.takes = 0.02
    await bench.start(PHONE)
    bench.reconciler.set_rules(ruleset(rule("{vendor_id: 18d1}", "{to: box}")))
    await later(0.01)
    # Nobody knows yet what this one has.
    bench.instances[job(3).id] = job(3, None)
    bench.inside[job(3).id] = {}
    bench.reconciler.refresh(job(3).id)
    await bench.reconciler.settled()
    assert places(bench) == {"box": ["1-1"]}
    assert bench.revoker.names == ["1-1"]


@in_virtual_time
async def test_it_is_revoked_again_where_its_holder_had_it_meanwhile() -> None:
    bench = Bench(job(1), job(2, None), rules=rules())
    bench.revoker.takes = 5.0
    await bench.start(PHONE)
    withdrawn(bench)
    await later(1)
    # It is back, and out again.
    bench.reconciler.set_overrides(decided(override(PHONE, ONE)), "asked")
    await later(1)
    assert places(bench) == {"job-1": ["1-1"]}
    bench.reconciler.set_overrides(decided(), "asked")
    await made(bench, job(2))
    assert places(bench) == {"job-2": ["1-1"]}
    assert bench.revoker.asked == [(0.0, "1-1"), (5.0, "1-1")]
    assert bench.times[-1] == 10.0


PLAIN = ruleset(rule("{vendor_id: 18d1}", "{to: box}"))


async def killed_before_it_was_revoked(*, by_hand: bool = False) -> Bench:
    """A bench of a daemon that was killed when a device was out of one instance, and open there yet."""
    bench = Bench(job(1), box(), rules=ruleset() if by_hand else rules())
    bench.revoker.open["1-1"] = "it is open"
    await bench.start(PHONE)
    if by_hand:
        bench.reconciler.set_overrides(decided(override(PHONE, ONE)), "asked")
        await bench.reconciler.settled()
        bench.reconciler.set_overrides(decided(), "asked")
    else:
        assert places(bench) == {"job-1": ["1-1"]}
        withdrawn(bench)
    await bench.reconciler.settled()
    assert places(bench) == {}
    return bench


def started_after(before: Bench, with_rules: RuleSet) -> Bench:
    """The daemon that is started after that one, with these rules."""
    bench = Bench(*before.instances.values(), rules=with_rules)
    bench.links, bench.alone = before.links, before.alone
    bench.revoker.takes = 0.05
    nobody_has_it(bench)
    return bench


@in_virtual_time
async def test_after_a_restart_a_plain_rule_waits_for_what_a_pool_gave_before() -> None:
    for by_hand in (False, True):
        bench = started_after(await killed_before_it_was_revoked(by_hand=by_hand), PLAIN)
        await bench.start(PHONE)
        assert (bench.revoker.names, places(bench)) == (["1-1"], {"box": ["1-1"]})


@in_virtual_time
async def test_after_a_restart_without_any_rule_a_reload_waits_for_it() -> None:
    bench = started_after(await killed_before_it_was_revoked(), ruleset())
    await bench.start(PHONE)
    assert places(bench) == {}
    bench.reconciler.set_rules(PLAIN)
    await bench.reconciler.settled()
    assert (bench.revoker.names, places(bench)) == (["1-1"], {"box": ["1-1"]})


@in_virtual_time
async def test_after_a_restart_it_waits_also_where_udevd_is_late() -> None:
    bench = started_after(await killed_before_it_was_revoked(), PLAIN)
    await bench.start(unprocessed=[PHONE])
    await bench.plug(PHONE)
    assert (bench.revoker.names, places(bench)) == (["1-1"], {"box": ["1-1"]})


@in_virtual_time
async def test_after_a_restart_what_a_pool_gave_is_revoked_whatever_rule_takes_it() -> None:
    pools = "pools: {android: {instances: 'job-*'}, b: {instances: 'job-*'}}\n"
    loaded = parse(f"{pools}rules: [{{name: p, match: {{vendor_id: 18d1}}, attach: {{pool: b}}}}]", "x")
    assert not loaded.errors, loaded.errors[0].render()
    for with_rules, where_then in ((PLAIN, "box"), (loaded.rules, "job-2")):
        before = Bench(job(1), job(2, "b"), box(), rules=rules())
        await before.start(PHONE)
        assert places(before) == {"job-1": ["1-1"]}
        bench = started_after(before, with_rules)
        await bench.start(PHONE)
        assert (bench.revoker.names, places(bench)) == (["1-1"], {where_then: ["1-1"]})


@in_virtual_time
async def test_what_plain_rules_alone_attached_goes_on_at_once_after_a_restart() -> None:
    before = Bench(box(), box(name="zoo"), rules=PLAIN)
    await before.start(PHONE)
    before.reconciler.set_rules(ruleset())
    await before.reconciler.settled()
    bench = started_after(before, PLAIN)
    await bench.start(PHONE)
    assert (bench.revoker.asked, places(bench)) == ([], {"box": ["1-1"]})
