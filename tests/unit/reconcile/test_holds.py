"""What has to wait is told with until when and why."""

from __future__ import annotations

from hotplugd.aio.backoff import NEVER
from hotplugd.model.entry import name_for
from hotplugd.model.ports import Busy, Refused, Stuck
from hotplugd.model.values import InstanceName
from hotplugd.reconcile.batching import CROWDED
from hotplugd.reconcile.freshness import EDITED
from hotplugd.reconcile.server_backoff import HANDS_OFF_WHY
from tests.support.devices import BOX, box, channel, console, entry, nic_entry, rule, ruleset
from tests.support.virtual import at, in_virtual_time, later, now
from tests.unit.reconcile.bench import Bench, Request
from tests.unit.reconcile.test_leases import PHONES, job, rules

ONE, TWO = console(1), console(2)


def told(bench: Bench) -> list[tuple[str, float, str, str]]:
    """Which devices wait, until when, and why; or for which event."""
    return [
        (each.device, round(each.wait.until, 3), each.wait.why, each.wait.event)
        for each in bench.reconciler.held()
    ]


@in_virtual_time
async def test_where_all_is_well_nothing_waits() -> None:
    bench = Bench()
    await bench.start(ONE)
    assert told(bench) == []


@in_virtual_time
async def test_what_is_refused_until_it_is_tried_again() -> None:
    bench = Bench()

    def judge(_: Request) -> None:
        raise Refused("it does not fit")

    bench.judge = judge
    await bench.start(ONE)
    why = "cannot add in box: it does not fit"
    assert told(bench) == [(ONE.node, 0.5, why, "")]
    (held,) = bench.reconciler.held()
    assert (held.instance, held.rule, held.place) == (BOX, "r", "")
    await at(1)
    assert told(bench) == [(ONE.node, 1.5, why, "")]
    bench.judge = lambda _: None
    await at(2)
    assert told(bench) == []


@in_virtual_time
async def test_what_the_server_does_not_answer_is_told_while_that_lasts() -> None:
    bench = Bench()
    await bench.start()
    bench.takes = 30.0
    bench.reconciler.device(ONE)
    await at(1)
    assert (len(bench.reconciler.pending()), told(bench)) == (1, [])
    await at(20)
    assert told(bench) == [(ONE.node, NEVER, "its server was asked 20 s ago", "that answers")]
    await at(31)
    assert (bench.reconciler.pending(), told(bench)) == ([], [])


@in_virtual_time
async def test_what_a_disk_does_not_write_is_told_while_that_lasts() -> None:
    bench = Bench(job(1), rules=rules())
    await bench.start(PHONES[0])
    bench.lease_keeper.takes = 15.0
    bench.reconciler.no_device(PHONES[0].syspath)
    await at(10)
    why = "the disk with the state file was asked 10 s ago"
    assert told(bench) == [(PHONES[0].node, NEVER, why, "that answers")]
    await at(16)
    assert (bench.reconciler.pending(), told(bench)) == ([], [])


@in_virtual_time
async def test_what_cannot_be_done_before_it_stops() -> None:
    bench = Bench()
    await bench.start(ONE)

    def judge(request: Request) -> None:
        if request.remove:
            raise Stuck("it was renamed inside")

    bench.judge = judge
    bench.reconciler.no_device(ONE.syspath)
    await at(10)
    ((device, until, why, event),) = told(bench)
    assert (device, until, event) == (ONE.node, NEVER, "box is stopped")
    assert "it was renamed inside" in why


@in_virtual_time
async def test_what_somebody_fights_over() -> None:
    bench = Bench()
    await bench.start(ONE)
    while not told(bench):
        if ONE.node in bench.inside[BOX]:
            bench.unmount(ONE)
        await later(0.1)
    ((device, until, why, _),) = told(bench)
    assert (device, until > now()) == (ONE.node, True)
    assert "was changed again and again" in why


@in_virtual_time
async def test_what_the_server_is_too_busy_for() -> None:
    bench = Bench()

    def judge(_: Request) -> None:
        raise Busy("it starts")

    bench.judge = judge
    await bench.start(ONE)
    await at(5)
    ((device, until, why, event),) = told(bench)
    assert (device, why, event) == (ONE.node, "it starts", "")
    assert now() < until <= now() + 5


@in_virtual_time
async def test_what_waits_since_its_instance_was_stopped_just_now() -> None:
    bench = Bench(box([entry(ONE)]), rules=ruleset(rule("{kernel: none}", "{to: box}")))
    bench.change(BOX, running=True)
    await bench.reconciler.listed_instances(bench.instances.values())
    await bench.reconciler.settled()
    bench.change(BOX, running=False)
    bench.reconciler.restarted(BOX)
    bench.reconciler.listed_devices([ONE], ())
    await bench.reconciler.settled()
    ((device, until, why, _),) = told(bench)
    assert (device, until, why) == (ONE.node, 1, HANDS_OFF_WHY)
    await at(2)
    assert told(bench) == []


@in_virtual_time
async def test_what_waits_for_a_server_that_starts_its_instance_for_long() -> None:
    bench = Bench(box([entry(ONE)], running=False), rules=ruleset(rule("{kernel: none}", "{to: box}")))

    def judge(_: Request) -> None:
        raise Busy("the server is at it: Starting instance")

    bench.judge = judge
    await bench.start(ONE)
    await at(100)
    ((device, until, why, _),) = told(bench)
    assert (device, why) == (ONE.node, "the server is at it: Starting instance")
    assert now() < until <= now() + 5
    bench.judge = lambda _: None
    await at(106)
    assert told(bench) == []


@in_virtual_time
async def test_what_waits_until_its_instance_is_made() -> None:
    new = InstanceName("default", "new")
    bench = Bench(rules=ruleset(rule("{subsystem: '*'}", "{to: new}")))
    await bench.start(ONE)
    bench.instances[new] = box(name="new", running=False)
    bench.change(new, made=False)
    bench.reconciler.refresh(new)
    await at(5)
    ((device, _, why, event),) = told(bench)
    assert (device, why, event) == (ONE.node, "its server still makes it", "its server has made it")


@in_virtual_time
async def test_what_kept_an_instance_from_starting_until_it_runs() -> None:
    zero = channel(0)
    bench = Bench(box([nic_entry(zero)], running=False))
    await bench.start(zero)
    await at(10)
    bench.reconciler.start_failed(BOX, f'Failed to start device "{name_for(zero.slot)}": no', "1")
    await at(20)
    ((device, until, why, event),) = told(bench)
    assert (device, until, event) == ("can0", NEVER, "box runs")
    assert "could not be started with its entry" in why


@in_virtual_time
async def test_what_waits_where_devices_change_all_the_time() -> None:
    bench = Bench()
    await bench.start(ONE)
    for number in range(2, 110):
        bench.reconciler.device(console(number))
        await later(0.001)
    ((_, until, why, _), *_) = told(bench)
    assert (now() < until <= now() + 0.5, why) == (True, CROWDED)


@in_virtual_time
async def test_what_waits_where_the_instance_is_edited_all_the_time() -> None:
    bench = Bench()
    await bench.start(ONE)
    while len(bench.gets) < 230:
        bench.reconciler.refresh(BOX)
        await later(0.01)
    await later(0.1)
    bench.reconciler.refresh(BOX)
    bench.reconciler.set_rules(ruleset(rule("{kernel: none}", "{to: box}")))
    await later(0.01)
    assert [why for _, _, why, _ in told(bench)] == [EDITED]
