"""What the server may have left inside of entries that it does not have is taken away."""

from __future__ import annotations

import pytest

from hotplugd.entry import name_for, place_of
from hotplugd.model import Device, Devnum, Entry, Node
from hotplugd.server import Busy, Gone, Refused, ServerError, Unreachable
from tests.devices import BOX, box, console, entry
from tests.reconcile.bench import Bench, Request, fail, recover, refuse
from tests.virtual import at, in_virtual_time, later

ONE, TWO, BAD = console(1), console(2), console(3)


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


def left_inside(bench: Bench, device: Device) -> None:
    """Have the server forget the device's entry, and not its node, nor tell of it."""
    entries = dict(bench.instances[BOX].entries)
    gone = entries.pop(name_for(device.slot))
    bench.change(BOX, entries=entries)
    bench.halves[place_of(gone)] = (gone.name, bench.inside[BOX][place_of(gone)])


def overlap(bench: Bench, device: Device) -> None:
    """Have an update of somebody else's do that."""
    left_inside(bench, device)
    bench.reconciler.updated(BOX)


@in_virtual_time
async def test_what_the_server_forgot_and_no_rule_wants_is_taken_away() -> None:
    bench = Bench()
    await bench.start(ONE, TWO)
    await at(10)
    bench.takes = 1
    overlap(bench, ONE)
    await later(0.5)
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    assert bench.inside[BOX].keys() == {TWO.node}
    assert bench.journal.count("clear 1") == 1
    assert bench.told() == []
    assert bench.notes[BOX] == set()
    assert bench.events("device.left-behind") == []


@in_virtual_time
async def test_what_the_server_forgot_and_is_wanted_is_put_in_again() -> None:
    bench = Bench()
    await bench.start(ONE, TWO)
    await at(10)
    overlap(bench, ONE)
    await at(20)
    assert bench.verified() == {ONE.node: True, TWO.node: True}
    assert [each.names for each in bench.requests[1:]] == [{name_for(ONE.slot)}]
    assert "clear 1" not in bench.journal
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_what_the_server_forgot_before_we_took_it_out_is_taken_away() -> None:
    bench = Bench()
    await bench.start(ONE)
    await at(10)
    left_inside(bench, ONE)
    node = bench.inside[BOX][ONE.node]
    bench.applied = lambda _: bench.inside[BOX].update({ONE.node: node})
    bench.reconciler.no_device(ONE.syspath)
    await at(20)
    assert bench.inside[BOX] == {}
    assert bench.told() == []


@in_virtual_time
async def test_what_we_have_taken_out_is_in_no_doubt() -> None:
    bench = Bench()
    await bench.start(ONE, TWO)
    await at(10)
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    bench.reconciler.updated(BOX)
    await at(20)
    assert bench.ours() == {name_for(TWO.slot)}
    assert "clear 1" not in bench.journal


@in_virtual_time
async def test_what_others_make_and_take_out_is_in_no_doubt() -> None:
    foreign = Entry("cam", {"type": "unix-char", "source": "/dev/video0"})
    bench = Bench(box([foreign]))
    await bench.start(ONE)
    await at(10)
    entries = dict(bench.instances[BOX].entries)
    del entries["cam"]
    bench.change(BOX, entries=entries)
    bench.reconciler.updated(BOX)
    await at(20)
    assert not [each for each in bench.journal if each.startswith("clear")]


@in_virtual_time
async def test_in_a_dry_run_nothing_is_taken_away() -> None:
    bench = Bench(dry_run=True)
    noted(bench)
    await bench.start()
    await at(10)
    assert bench.journal == []
