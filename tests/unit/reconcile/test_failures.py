"""What goes to the server again, and when, where something fails."""

from __future__ import annotations

from itertools import accumulate

import pytest

from hotplugd.model.ports import Busy, Gone, Refused, ServerError, Unreachable
from hotplugd.model.values import InstanceName
from tests.support.devices import ALL, BOX, box, console, phone, rule, ruleset
from tests.support.virtual import at, clock, in_virtual_time, later, now
from tests.unit.reconcile.bench import Bench, Request, fail, names, recover, refuse

ONE, TWO = console(1), console(2)
FIFTY = [phone(number) for number in range(1, 51)]
BAD = FIFTY[20]
OTHER = InstanceName("default", "other")

# Half a second, doubled up to a minute.
RETRIES = list(accumulate([0.5, 1, 2, 4, 8, 16, 32, 60, 60], initial=0))


@in_virtual_time
async def test_one_refused_of_fifty_costs_the_others_one_request() -> None:
    bench = Bench()
    bench.takes = 0.25
    refuse(bench, BAD, blame=True)
    await bench.reconciler.listed_instances(bench.instances.values())
    await at(1)
    bench.reconciler.listed_devices(FIFTY, [])
    await at(2)
    assert bench.sizes[:3] == [(1, 50), (1.25, 49), (1.5, 1)]
    assert bench.requests[2].names == names([BAD])
    assert bench.ours() == names(FIFTY) - names([BAD])


@in_virtual_time
async def test_a_refused_change_is_retried_alone_with_backoff() -> None:
    bench = Bench()
    refuse(bench, BAD, blame=True)
    await bench.start(*FIFTY)
    await at(200)
    assert bench.sizes[:2] == [(0, 50), (0, 49)]
    assert [each.names for each in bench.requests[2:]] == [names([BAD])] * len(RETRIES)
    assert bench.times[2:] == RETRIES
    assert bench.told() == ["cannot add in box: it does not fit"]
    assert len(bench.events("device.problem")) == 1


@in_virtual_time
async def test_without_blame_each_goes_alone_once() -> None:
    bench = Bench()
    refuse(bench, BAD, blame=False)
    await bench.start(*FIFTY)
    await at(0.4)
    assert bench.sizes == [(0, 50)] + [(0, 1)] * 50
    assert bench.ours() == names(FIFTY) - names([BAD])
    recover(bench)
    await at(1)
    assert bench.sizes[51:] == [(0.5, 1)]
    assert bench.ours() == names(FIFTY)
    assert bench.told() == []


@in_virtual_time
async def test_two_that_are_blamed_go_alone_each() -> None:
    bench = Bench()
    bad = names([ONE, TWO])

    def judge(request: Request) -> None:
        if blamed := request.names & bad:
            raise Refused("no", blamed)

    bench.judge = judge
    await bench.start(ONE, TWO, *FIFTY)
    await at(0.4)
    assert [size for _, size in bench.sizes] == [52, 50, 1, 1]
    assert len(bench.told()) == 2


@in_virtual_time
async def test_an_entry_that_waits_delays_nothing_that_comes() -> None:
    bench = Bench()
    refuse(bench, BAD, blame=True)
    await bench.start(BAD)
    await at(10)
    await bench.plug(ONE)
    assert bench.times[-1] == 10
    assert bench.requests[-1].names == names([ONE])
    await at(15.6)
    assert bench.times[-2:] == [10, 15.5]
    assert bench.requests[-1].names == names([BAD])


@in_virtual_time
async def test_a_device_that_goes_while_it_waits_is_forgotten() -> None:
    bench = Bench()
    refuse(bench, BAD, blame=True)
    await bench.start(BAD)
    bench.reconciler.no_device(BAD.syspath)
    await at(3600)
    assert bench.times == [0]
    assert bench.told() == []


@in_virtual_time
async def test_what_waits_is_tried_at_once_when_rules_are_read_again() -> None:
    bench = Bench()
    refuse(bench, BAD, blame=True)
    await bench.start(BAD)
    await at(20)
    recover(bench)
    bench.reconciler.set_rules(ALL)
    await bench.reconciler.settled()
    assert bench.times[-2:] == [15.5, 20]
    assert bench.told() == []


@in_virtual_time
async def test_an_entry_that_cannot_be_removed_is_tried_again() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(100)
    refuse(bench, ONE, blame=False)
    bench.reconciler.no_device(ONE.syspath)
    await at(102)
    assert bench.times == [0, 100, 100.5, 101.5]
    (said,) = bench.told()
    assert said.startswith("cannot remove in box: it does not fit; its node in there is sealed")
    recover(bench)
    await at(104)
    assert bench.times[4:] == [103.5]
    assert bench.ours() == set()
    assert bench.told() == []


BACK_OFF = {
    "busy": (Busy("it starts"), 5.0),
    "unreachable": (Unreachable("it is away"), 30.0),
    "gone": (Gone("it is gone"), 30.0),
    "something else": (ServerError("what?"), 30.0),
}


def doubling(most: float, count: int) -> list[float]:
    """Times from a tenth of a second on, in pauses that double up to `most`."""
    pauses = [min(0.1 * 2**each, most) for each in range(count)]
    return [round(each, 6) for each in accumulate(pauses, initial=0)]


@pytest.mark.parametrize(("error", "most"), BACK_OFF.values(), ids=BACK_OFF)
@in_virtual_time
async def test_a_failing_request_is_retried_with_backoff(error: ServerError, most: float) -> None:
    bench = Bench()
    fail(bench, error, asking=False)
    await bench.start(ONE)
    await at(doubling(most, 12)[-1] - 0.01)
    assert bench.times == doubling(most, 11)
    assert bench.told() == [f"box: {error}"]
    assert len(bench.events("instance.problem")) == 1
    recover(bench)
    await at(now() + most)
    assert bench.ours() == names([ONE])
    assert bench.told() == []


@pytest.mark.parametrize("error", [Busy("it starts"), Unreachable("it is away")], ids=["busy", "unreachable"])
@in_virtual_time
async def test_a_server_that_is_away_is_asked_ever_more_rarely(error: ServerError) -> None:
    most = 5.0 if isinstance(error, Busy) else 30.0
    bench = Bench()
    await bench.start()
    fail(bench, error, asking=True)
    await at(100)
    bench.reconciler.device(ONE)
    await at(100 + doubling(most, 12)[-1] - 0.01)
    assert bench.times == [100]
    assert [round(when - 100, 6) for when, _ in bench.gets] == doubling(most, 11)[1:]
    assert bench.told() == [f"box: {error}"]
    assert len(bench.events("instance.problem")) == 1


@in_virtual_time
async def test_a_listing_ends_the_waiting() -> None:
    bench = Bench()
    await bench.start()
    fail(bench, Unreachable("it is away"), asking=True)
    bench.reconciler.device(ONE)
    await at(59)
    recover(bench)
    await bench.reconciler.listed_instances(bench.instances.values())
    await bench.reconciler.settled()
    assert bench.times == [0, 59]
    assert bench.told() == []


@in_virtual_time
async def test_what_happens_to_an_instance_does_not_end_the_waiting() -> None:
    bench = Bench()
    await bench.start()
    fail(bench, Unreachable("it is away"), asking=True)
    bench.reconciler.device(ONE)
    for tenth in range(300):
        await at(5 + tenth / 10)
        bench.reconciler.refresh(BOX)
        bench.reconciler.look_again(BOX)
    assert len(bench.gets) < 10
    assert len(bench.requests) == 1


@in_virtual_time
async def test_changes_while_the_server_is_away_are_one_request() -> None:
    bench = Bench()
    await bench.start(ONE)
    fail(bench, Unreachable("it is away"), asking=True)
    bench.reconciler.no_device(ONE.syspath)
    for each in FIFTY:
        await later(1)
        bench.reconciler.device(each)
    recover(bench)
    await at(120)
    assert bench.requests[-1].names == names([ONE, *FIFTY])
    assert bench.ours() == names(FIFTY)
    assert len(bench.requests) == 3


@in_virtual_time
async def test_an_answer_that_never_came_may_have_been_a_yes() -> None:
    bench = Bench()

    def applied(_: Request) -> None:
        bench.applied = lambda _: None
        raise Unreachable("no answer")

    bench.applied = applied
    await bench.start(ONE)
    await at(60)
    assert bench.times == [0]
    assert bench.verified() == {"/dev/ttyUSB1": True}
    assert bench.told() == []


@in_virtual_time
async def test_an_instance_that_is_gone_is_asked_of_nothing_more() -> None:
    bench = Bench()
    await bench.start()
    del bench.instances[BOX]
    bench.reconciler.device(ONE)
    await at(3600)
    assert len(bench.requests) == 1
    # It went without a word, so that was not believed at once.
    assert [when < 60 for when, _ in bench.gets] == [True] * 7
    assert bench.told() == ["there is no instance 'box' in project 'default'"]


@in_virtual_time
async def test_a_missing_instance_is_asked_for_again() -> None:
    bench = Bench()
    await bench.start(ONE)
    missing = bench.instances.pop(BOX)
    bench.reconciler.refresh(BOX)
    await at(10)
    assert bench.told() == ["there is no instance 'box' in project 'default'"]
    bench.instances[BOX] = missing
    await at(40)
    assert bench.told() == []


@in_virtual_time
async def test_an_event_of_a_recreated_instance_ends_the_wait() -> None:
    bench = Bench()
    await bench.start(ONE)
    del bench.instances[BOX]
    bench.reconciler.refresh(BOX)
    await at(8)
    bench.instances[BOX] = box()
    bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    assert bench.times[-1] == 8
    assert bench.ours() == names([ONE])


@in_virtual_time
async def test_events_without_end_do_not_make_it_ask_without_end() -> None:
    bench = Bench()
    await bench.start(ONE)
    before = len(bench.gets)
    for number in range(1000):
        bench.reconciler.refresh(BOX)
        await at(10 + number / 100)
    assert len(bench.gets) - before < 10 + 10 * 10 + 5
    # What is plugged meanwhile goes in at once, and what was said last is heard.
    bench.reconciler.device(TWO)
    bench.change(BOX, description="last")
    bench.reconciler.refresh(BOX)
    await at(20.05)
    assert bench.ours() == names([ONE, TWO])
    await at(21)
    assert bench.reconciler._workers.all[BOX].actual == bench.instances[BOX]


@in_virtual_time
async def test_where_events_never_end_nothing_is_sent_by_what_is_old() -> None:
    bench = Bench()
    bench.takes = 0.02
    await bench.start(ONE)
    for number in range(1000):
        if number == 755:
            bench.reconciler.device(TWO)
        bench.reconciler.refresh(BOX)
        await at(10 + number / 100)
    assert bench.ours() == names([ONE, TWO])
    plugged, sent = 17.54, bench.times[-1]
    assert any(plugged <= asked <= sent - bench.takes for asked, _ in bench.gets)
    assert sent < plugged + 0.2


@in_virtual_time
async def test_an_instance_that_hangs_delays_no_other() -> None:
    bench = Bench(box(), box(name="other"), rules=ruleset(rule("{subsystem: '*'}", "{to: [box, other]}")))
    bench.reconciler.listed_devices([], [])
    await bench.reconciler.listed_instances(bench.instances.values())
    bench.hanging_requests.add(BOX)
    bench.reconciler.device(ONE)
    await at(10)
    bench.reconciler.device(TWO)
    await at(20)
    assert [(each.at, each.instance) for each in bench.requests if each.instance == "other"] == [
        (0, "other"),
        (10, "other"),
    ]
    assert bench.ours(OTHER) == names([ONE, TWO])


@in_virtual_time
async def test_a_link_that_cannot_be_made_holds_only_its_device() -> None:
    bench = Bench()
    bench.unmakeable.add(ONE.slot)
    await bench.start(ONE, TWO)
    await at(10)
    assert [each.names for each in bench.requests] == [names([TWO])]
    assert bench.told() == ["cannot add in box: its link in /dev/hotplugd cannot be made: it leads elsewhere"]
    assert len(bench.events("device.problem")) == 1
    bench.unmakeable.clear()
    await at(16)
    assert bench.sizes == [(0, 1), (15.5, 1)]
    assert bench.told() == []


@in_virtual_time
async def test_a_slot_that_cannot_be_removed_is_logged() -> None:
    bench = Bench()
    await bench.start(ONE)
    bench.unlinkable.add(ONE.slot)
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    assert bench.ours() == set()
    assert [each["reason"] for each in bench.events("slot.problem")] == ["it cannot be removed"]


@in_virtual_time
async def test_a_defect_reaches_the_loop() -> None:
    bench = Bench()

    def judge(_: Request) -> None:
        raise RuntimeError("nobody foresaw this")

    bench.judge = judge
    await bench.start(ONE)
    assert [str(each) for each in clock().defects] == ["nobody foresaw this"]
    clock().defects.clear()
    await at(3600)
    assert len(bench.requests) == 1


async def refused(bench: Bench, *errors: ServerError) -> None:
    """A device comes, and the requests for it fail with these, one after the other."""
    left = list(errors)

    def judge(_: Request) -> None:
        if left:
            raise left.pop(0)

    bench.judge = judge
    await bench.start(ONE)
    while left:
        await later(0.1)


@in_virtual_time
async def test_a_recreated_instance_does_not_wait_for_a_busy_one() -> None:
    bench = Bench()
    await refused(bench, *[Busy("it stops")] * 7, Gone("Instance not found"))
    del bench.instances[BOX]
    bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    start = now()
    bench.instances[BOX] = box()
    bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    assert bench.verified() == {ONE.node: True}
    assert now() - start < 0.1


@in_virtual_time
async def test_an_instance_recreated_unnoticed_gets_its_devices_soon() -> None:
    bench = Bench()
    await refused(bench, *[Busy("it stops")] * 8, Gone("Instance not found"))
    await later(0.3)
    assert bench.verified() == {ONE.node: True}


@in_virtual_time
async def test_a_recreated_instance_does_not_inherit_refusals() -> None:
    bench = Bench()
    refuse(bench, ONE, blame=True)
    await bench.start(ONE)
    await at(60)
    bench.judge = lambda _: None
    there = bench.instances.pop(BOX)
    bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    bench.instances[BOX] = there
    bench.reconciler.refresh(BOX)
    await bench.reconciler.settled()
    assert bench.verified() == {ONE.node: True}


@in_virtual_time
async def test_an_instance_wrongly_said_to_be_gone_is_backed_off() -> None:
    bench = Bench()

    def judge(_: Request) -> None:
        raise Gone("Storage volume not found")

    bench.judge = judge
    await bench.start(ONE)
    await at(60)
    assert len(bench.requests) < 12
    assert any("Storage volume not found" in each for each in bench.told())


@in_virtual_time
async def test_a_change_done_in_spite_of_gone_is_soon_no_problem() -> None:
    bench = Bench()

    def applied(_: Request) -> None:
        bench.applied = lambda _: None
        raise Gone("the operation is forgotten")

    bench.applied = applied
    await bench.start(ONE)
    assert len(bench.told()) == 1
    await at(0.2)
    assert bench.told() == []
    assert len(bench.requests) == 1
    assert bench.verified() == {str(ONE): True}


@in_virtual_time
async def test_a_question_answered_busy_waits_whatever_happens() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)

    def answer(_: object) -> None:
        raise Busy("it starts")

    bench.answer = answer
    bench.gets.clear()
    for _ in range(500):
        bench.reconciler.refresh(BOX)
        await later(0.01)
    assert len(bench.gets) < 10


@in_virtual_time
async def test_whether_one_is_gone_is_asked_at_once() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    del bench.instances[BOX]
    bench.gets.clear()
    bench.reconciler.device(TWO)
    await later(0.05)
    assert bench.gets[0] == (10, "box")
