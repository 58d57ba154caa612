"""What goes to the server again, and when, where something fails."""

from __future__ import annotations

from itertools import accumulate

import pytest

from hotplugd.entry import name_for, place_of
from hotplugd.model import Device, Devnum, Entry, InstanceName, Node
from hotplugd.server import Busy, Gone, Refused, ServerError, Unreachable
from tests.devices import ALL, BOX, box, console, entry, phone, rule, ruleset
from tests.reconcile.bench import Bench, Request, names
from tests.virtual import at, clock, in_virtual_time, later, now

ONE, TWO = console(1), console(2)
FIFTY = [phone(number) for number in range(1, 51)]
BAD = FIFTY[20]
OTHER = InstanceName("default", "other")

# Half a second, doubled up to a minute.
RETRIES = list(accumulate([0.5, 1, 2, 4, 8, 16, 32, 60, 60], initial=0))


def refuse(bench: Bench, device: Device, *, blame: bool) -> None:
    """Have the server refuse every request with this device in it."""
    name = name_for(device.slot)

    def judge(request: Request) -> None:
        if name in request.names:
            raise Refused("it does not fit", frozenset([name]) if blame else frozenset())

    bench.judge = judge


def fail(bench: Bench, error: ServerError, *, asking: bool) -> None:
    """Have every request fail, and also asking for the instance."""

    def judge(_: object) -> None:
        raise error

    bench.judge = judge
    if asking:
        bench.answer = judge


def recover(bench: Bench) -> None:
    bench.judge = lambda _: None
    bench.answer = lambda _: None


@in_virtual_time
async def test_one_of_fifty_that_is_refused_delays_the_others_by_one_request() -> None:
    bench = Bench()
    bench.takes = 0.25
    refuse(bench, BAD, blame=True)
    bench.reconciler.listed_instances(bench.instances.values())
    await at(1)
    bench.reconciler.listed_devices(FIFTY, [])
    await at(2)
    assert bench.sizes[:3] == [(1, 50), (1.25, 49), (1.5, 1)]
    assert bench.requests[2].names == names([BAD])
    assert bench.ours() == names(FIFTY) - names([BAD])


@in_virtual_time
async def test_the_one_that_is_refused_is_tried_again_alone_ever_more_rarely() -> None:
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
    assert bench.told() == ["cannot remove in box: it does not fit"]
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
async def test_a_request_that_fails_again_and_again_is_sent_ever_more_rarely(
    error: ServerError, most: float
) -> None:
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
    bench.reconciler.listed_instances(bench.instances.values())
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
async def test_devices_that_come_and_go_while_the_server_is_away_are_one_request_then() -> None:
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
async def test_an_instance_that_the_server_does_not_find_for_a_while_is_asked_for_again() -> None:
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
async def test_an_instance_that_is_made_anew_is_asked_for_as_soon_as_there_is_word_of_it() -> None:
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
    assert bench.reconciler._writers[BOX].actual == bench.instances[BOX]


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
    bench.reconciler.listed_instances(bench.instances.values())
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
async def test_a_link_that_cannot_be_removed_is_logged_and_the_entry_goes() -> None:
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


def crash_amid(bench: Bench, error: ServerError | None = None) -> None:
    """Have the server fail while it puts things in: the nodes are inside, the entries nowhere."""

    def judge(request: Request) -> None:
        for each in request.put:
            node = Node(Devnum("char", 188, 1), 0o660)
            bench.halves[place_of(each)] = (each.name, node)
            bench.inside[BOX][place_of(each)] = node
        raise error or Unreachable("it has ended")

    bench.judge = judge


@in_virtual_time
async def test_what_the_server_was_putting_in_when_it_ended_does_not_stay_when_the_device_went() -> None:
    bench = Bench()
    await bench.start()
    crash_amid(bench)
    bench.reconciler.device(ONE)
    await later(0.05)
    bench.reconciler.no_device(ONE.syspath)
    recover(bench)
    await at(100)
    assert bench.inside[BOX] == {}
    assert bench.told() == []
    assert bench.journal.count("clear 1") == 1


@in_virtual_time
async def test_what_it_was_putting_in_and_is_still_there_is_put_in_again() -> None:
    bench = Bench()
    await bench.start()
    crash_amid(bench)
    bench.reconciler.device(ONE)
    await later(0.05)
    recover(bench)
    await at(100)
    assert bench.verified() == {str(ONE): True}
    assert "clear 1" not in bench.journal


@in_virtual_time
async def test_clearing_up_is_tried_until_the_server_answers() -> None:
    bench = Bench()
    await bench.start()
    crash_amid(bench)
    bench.reconciler.device(ONE)
    await later(0.05)
    bench.reconciler.no_device(ONE.syspath)
    fail(bench, Unreachable("away"), asking=True)
    await at(600)
    assert ONE.node in bench.inside[BOX]
    recover(bench)
    await at(1200)
    assert bench.inside[BOX] == {}


@in_virtual_time
async def test_what_the_server_refused_and_could_not_take_back_does_not_stay_when_the_device_went() -> None:
    bench = Bench()
    await bench.start()
    full = Refused("no space left on device", half=True)
    crash_amid(bench, full)
    bench.reconciler.device(ONE)
    await at(100)
    assert bench.told() == ["cannot add in box: no space left on device"]
    fail(bench, full, asking=True)
    bench.reconciler.no_device(ONE.syspath)
    await at(200)
    assert ONE.node in bench.inside[BOX]
    recover(bench)
    await at(300)
    assert bench.inside[BOX] == {}
    assert bench.told() == []


@in_virtual_time
async def test_what_the_server_refused_and_took_back_is_not_cleared_up() -> None:
    bench = Bench()
    await bench.start()
    refuse(bench, ONE, blame=True)
    bench.reconciler.device(ONE)
    await at(10)
    bench.reconciler.no_device(ONE.syspath)
    await at(100)
    assert "clear 1" not in bench.journal


@in_virtual_time
async def test_what_is_being_put_in_is_noted_until_it_is_known_what_became_of_it() -> None:
    bench = Bench()
    await bench.start()
    seen: list[set[str]] = []
    bench.applied = lambda _: seen.append(bench.notes[BOX])
    await bench.plug(ONE)
    assert seen == [{name_for(ONE.slot)}]
    assert bench.notes[BOX] == set()
    refuse(bench, TWO, blame=True)
    await bench.plug(TWO)
    assert bench.notes[BOX] == set()
    fail(bench, Unreachable("away"), asking=True)
    bench.reconciler.device(BAD)
    await later(0.05)
    assert bench.notes[BOX] == {name_for(BAD.slot)}
    recover(bench)
    await at(100)
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_what_was_in_doubt_stays_so_when_the_next_try_is_refused() -> None:
    bench = Bench()
    await bench.start()
    crash_amid(bench)
    bench.reconciler.device(ONE)
    await later(0.05)
    refuse(bench, ONE, blame=True)
    await at(10)
    bench.reconciler.no_device(ONE.syspath)
    recover(bench)
    await at(100)
    assert bench.inside[BOX] == {}
    assert bench.notes[BOX] == set()


def noted(bench: Bench) -> Entry:
    """An entry that was being put in when another hotplugd ended, and that the server did not write down."""
    one = entry(ONE)
    bench.before[BOX] = {one.name: one}
    bench.notes[BOX] = {one.name}
    node = Node(ONE.devnum, 0o660)
    bench.halves[place_of(one)] = (one.name, node)
    bench.inside.setdefault(BOX, {})[place_of(one)] = node
    return one


@pytest.mark.parametrize("error", [Busy("it stops"), Gone("not found"), Unreachable("it is away")])
@in_virtual_time
async def test_clearing_up_alone_is_tried_again_whatever_was_in_its_way(error: ServerError) -> None:
    bench = Bench()
    noted(bench)
    failed: list[int] = []

    def fail_thrice(_: object) -> None:
        tries = bench.journal.count("clear 1")
        if len(failed) < min(tries, 3):
            failed.append(tries)
            raise error

    bench.answer = fail_thrice
    await bench.start()
    await at(100)
    assert bench.inside[BOX] == {}
    assert bench.journal.count("clear 1") == 4


@in_virtual_time
async def test_what_was_being_put_in_when_we_ended_too_does_not_stay() -> None:
    bench = Bench()
    noted(bench)
    await bench.start()
    assert bench.inside[BOX] == {}
    assert bench.notes[BOX] == set()
    assert bench.told() == []


@in_virtual_time
async def test_what_the_server_finished_after_we_ended_is_known_by_its_entry() -> None:
    bench = Bench()
    one = noted(bench)
    bench.change(BOX, entries={one.name: one})
    await bench.start(ONE)
    assert bench.requests == []
    assert "clear 1" not in bench.journal
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_what_was_being_put_in_and_is_wanted_still_is_put_in_again() -> None:
    bench = Bench()
    noted(bench)
    await bench.start(ONE)
    assert bench.verified() == {str(ONE): True}
    assert "clear 1" not in bench.journal
    assert bench.notes[BOX] == set()


@pytest.mark.parametrize("there", [True, False])
@in_virtual_time
async def test_a_note_of_an_instance_that_does_not_run_or_is_none_goes(*, there: bool) -> None:
    bench = Bench(box(running=False) if there else box(name="other"))
    noted(bench)
    await bench.start()
    assert bench.notes[BOX] == set()
    assert "clear 1" not in bench.journal


@in_virtual_time
async def test_a_note_is_kept_over_a_device_that_goes_before_the_server_is_back() -> None:
    bench = Bench()
    noted(bench)
    bench.reconciler.listed_devices([ONE], [])
    await bench.reconciler.settled()
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    bench.reconciler.listed_instances(bench.instances.values())
    await at(10)
    assert bench.inside[BOX] == {}
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_a_note_is_kept_while_nobody_can_say_how_the_instance_is() -> None:
    bench = Bench()
    noted(bench)
    bench.change(BOX, known=False, here=False, running=False)
    await bench.start()
    assert bench.notes[BOX] != set()
    bench.change(BOX, known=True, here=True, running=True)
    bench.reconciler.listed_instances(bench.instances.values())
    await at(10)
    assert bench.inside[BOX] == {}
    assert bench.notes[BOX] == set()


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
async def test_one_that_is_made_anew_after_it_was_busy_gets_its_devices_as_soon_as_it_runs() -> None:
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
async def test_one_that_was_made_anew_before_anybody_asked_gets_its_devices_soon() -> None:
    bench = Bench()
    await refused(bench, *[Busy("it stops")] * 8, Gone("Instance not found"))
    await later(0.3)
    assert bench.verified() == {ONE.node: True}


@in_virtual_time
async def test_one_that_is_made_anew_does_not_wait_for_what_was_refused_to_the_one_before() -> None:
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
async def test_what_is_said_to_be_none_and_is_there_is_tried_ever_more_rarely() -> None:
    bench = Bench()

    def judge(_: Request) -> None:
        raise Gone("Storage volume not found")

    bench.judge = judge
    await bench.start(ONE)
    await at(60)
    assert len(bench.requests) < 12
    assert any("Storage volume not found" in each for each in bench.told())


@in_virtual_time
async def test_what_was_done_though_the_server_says_that_there_is_none_is_soon_no_problem() -> None:
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
