"""What a server had begun to put in when it failed is completed, or taken away."""

from __future__ import annotations

import pytest

from hotplugd.model.entry import name_for, target_of
from hotplugd.model.ports import Busy, Gone, Refused, ServerError, Unreachable
from hotplugd.model.values import Devnum, InstanceName, Node
from tests.support.devices import BOX, box
from tests.support.virtual import at, in_virtual_time, later
from tests.unit.reconcile.bench import Bench, Request, fail, recover, refuse
from tests.unit.reconcile.orphans_bench import BAD, ONE, TWO, noted
from tests.unit.reconcile.test_leases import PHONES, job, rules, told


def crash_amid(bench: Bench, error: ServerError | None = None) -> None:
    """Have the server fail while it puts things in: the nodes are inside, the entries nowhere."""

    def judge(request: Request) -> None:
        for each in request.put:
            node = Node(Devnum("char", 188, 1), 0o660)
            bench.halves[target_of(each)] = (each.name, node)
            bench.inside[BOX][target_of(each)] = node
        raise error or Unreachable("it has ended")

    bench.judge = judge


@in_virtual_time
async def test_a_half_done_attach_is_cleared_once_the_device_went() -> None:
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
async def test_a_half_done_attach_of_a_present_device_is_repeated() -> None:
    bench = Bench()
    await bench.start()
    crash_amid(bench)
    bench.reconciler.device(ONE)
    await later(0.05)
    recover(bench)
    await at(100)
    assert bench.verified() == {str(ONE): True}
    assert bench.journal.count("clear 1") == 1
    assert bench.told() == []


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
async def test_a_half_refused_attach_is_cleared_once_the_device_went() -> None:
    bench = Bench()
    await bench.start()
    full = Refused("no space left on device", half=True)
    crash_amid(bench, full)
    bench.reconciler.device(ONE)
    await at(100)
    assert bench.told() == ["cannot add in box: no space left on device"]
    bench.reconciler.no_device(ONE.syspath)
    await at(300)
    assert bench.inside[BOX] == {}
    assert bench.told() == []


@in_virtual_time
async def test_a_refused_attach_that_was_undone_is_not_cleared() -> None:
    bench = Bench()
    await bench.start()
    refuse(bench, ONE, blame=True)
    bench.reconciler.device(ONE)
    await at(10)
    bench.reconciler.no_device(ONE.syspath)
    await at(100)
    assert "clear 1" not in bench.journal


@in_virtual_time
async def test_the_journal_keeps_an_attach_until_it_is_certain() -> None:
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
async def test_a_doubt_outlasts_the_next_refusal() -> None:
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


@pytest.mark.parametrize("error", [Busy("it stops"), Gone("not found"), Unreachable("it is away")])
@in_virtual_time
async def test_clearing_is_retried_after_any_error(error: ServerError) -> None:
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
async def test_an_attach_that_ended_after_a_crash_has_its_entry() -> None:
    bench = Bench()
    one = noted(bench)
    bench.change(BOX, entries={one.name: one})
    await bench.start(ONE)
    assert bench.requests == []
    assert "clear 1" not in bench.journal
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_a_journaled_attach_that_is_wanted_is_repeated() -> None:
    bench = Bench()
    noted(bench)
    await bench.start(ONE)
    assert bench.verified() == {str(ONE): True}
    assert bench.journal == ["clear 1", "request +1 -0"]
    assert bench.notes[BOX] == set()


@pytest.mark.parametrize("there", [True, False])
@in_virtual_time
async def test_the_journal_of_a_stopped_or_missing_instance_goes(*, there: bool) -> None:
    bench = Bench(box(running=False) if there else box(name="other"))
    noted(bench)
    await bench.start()
    assert bench.notes[BOX] == set()
    assert "clear 1" not in bench.journal


@in_virtual_time
async def test_the_journal_outlasts_a_device_that_goes() -> None:
    bench = Bench()
    noted(bench)
    bench.reconciler.listed_devices([ONE], [])
    await bench.reconciler.settled()
    bench.reconciler.no_device(ONE.syspath)
    await bench.reconciler.settled()
    await bench.reconciler.listed_instances(bench.instances.values())
    await at(10)
    assert bench.inside[BOX] == {}
    assert bench.notes[BOX] == set()


@in_virtual_time
async def test_the_journal_is_kept_while_the_instance_is_unknown() -> None:
    bench = Bench()
    noted(bench)
    bench.change(BOX, known=False, here=False, running=False)
    await bench.start()
    assert bench.notes[BOX] != set()
    bench.change(BOX, known=True, here=True, running=True)
    await bench.reconciler.listed_instances(bench.instances.values())
    await at(10)
    assert bench.inside[BOX] == {}
    assert bench.notes[BOX] == set()


@pytest.mark.parametrize("seconds", [30, 300, 1000])
@in_virtual_time
async def test_a_server_that_was_busy_for_long_is_asked_soon_after_that(seconds: int) -> None:
    first, second = [InstanceName("default", f"job-{number}") for number in (1, 2)]
    bench = Bench(job(1), job(2), rules=rules())
    bench.change(second, claims={})
    is_busy = Busy("Instance is busy running a update operation")

    def judge(request: Request) -> None:
        raise Unreachable("it has not finished the update") if request.put else is_busy

    def busy(_: object) -> None:
        raise is_busy

    bench.judge, bench.unclear = judge, busy
    await bench.start(PHONES[0])
    bench.change(first, claims={})
    bench.change(second, claims={"phone": "android"})
    await told(bench, "job-1", "job-2")
    await at(seconds)
    assert bench.ours(second) == set()
    recover(bench)
    bench.unclear = lambda _: None
    await at(seconds + 25)
    assert bench.ours(second) == {name_for(PHONES[0].slot)}
