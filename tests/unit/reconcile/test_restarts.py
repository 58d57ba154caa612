"""An instance that may be in the middle of a restart: what it has stays until it is known that it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.model.server_traits import NO_TRAITS, ServerTraits
from hotplugd.model.values import Instance, InstanceName, Stop
from hotplugd.reconcile.restarts import RESTART, Restarts
from tests.support.devices import BOX, box, console, entry, phone
from tests.support.virtual import at, in_virtual_time, later, now
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_leases import job, places, rules

ONE, TWO = InstanceName("default", "job-1"), InstanceName("default", "job-2")
PHONE = phone(1)
APART = ServerTraits(tells_reboots_apart=True)
RUNS = box(running=True)
UP = replace(RUNS, started="at 1")
DOWN = replace(UP, running=False)


async def two_jobs(server: ServerTraits = NO_TRAITS) -> Bench:
    """The first one has the phone, and the other one waits for it."""
    jobs = [replace(job(number), started="at 1", server=server) for number in (1, 2)]
    bench = Bench(*jobs, rules=rules())
    await bench.start(PHONE)
    assert places(bench) == {"job-1": ["1-1"]}
    return bench


async def becomes(bench: Bench, stop: Stop | None = None, **changes: object) -> None:
    """The first job is otherwise, and the server tells of that."""
    bench.change(ONE, **changes)
    bench.reconciler.refresh(ONE, stop)
    await bench.reconciler.settled()


def gave(bench: Bench) -> list[str]:
    """Why leases ended."""
    return [each["why"] for each in bench.events("lease.over")]


@in_virtual_time
async def test_a_reboot_from_inside_changes_nothing() -> None:
    bench = await two_jobs()
    sent = len(bench.requests)
    # LXD tells of it as of a poweroff.
    await becomes(bench, "own", running=False)
    await later(RESTART - 1)
    await becomes(bench, running=True, started="at 2")
    await later(60)
    assert (places(bench), gave(bench), len(bench.requests)) == ({"job-1": ["1-1"]}, [], sent)
    # It asks for the instance meanwhile, and no more once it runs.
    asked = len(bench.gets)
    await later(600)
    assert len(bench.gets) == asked


@pytest.mark.parametrize(
    ("stop", "server", "wait"),
    [
        ("asked", NO_TRAITS, 0.0),
        ("asked", APART, 0.0),
        ("own", APART, 0.0),
        ("own", NO_TRAITS, RESTART),
        # The event was lost.
        (None, APART, RESTART),
    ],
)
@in_virtual_time
async def test_a_stop_ends_the_lease(stop: Stop | None, server: ServerTraits, wait: float) -> None:
    bench = await two_jobs(server)
    start = now()
    await becomes(bench, stop, running=False)
    if wait:
        await at(start + wait - 0.1)
        assert gave(bench) == []
    await at(start + wait + 0.1)
    assert gave(bench) == ["job-1 is stopped"]
    await later(1.5)
    assert places(bench) == {"job-2": ["1-1"]}


@in_virtual_time
async def test_the_event_that_somebody_stopped_it_comes_after_it_was_seen_to_be_stopped() -> None:
    bench = await two_jobs()
    await becomes(bench, running=False)
    await later(0.6)
    assert gave(bench) == []
    await becomes(bench, "asked")
    assert gave(bench) == ["job-1 is stopped"]


@in_virtual_time
async def test_a_stop_of_before_says_nothing_of_the_next_one() -> None:
    bench = await two_jobs()
    await becomes(bench, "asked", running=False)
    await becomes(bench, running=True, started="at 2")
    await later(5)
    have = places(bench)
    over = len(gave(bench))
    for name in (ONE, TWO):
        bench.change(name, running=False, started="at 2")
        bench.reconciler.refresh(name)
    await later(RESTART - 1)
    assert (places(bench), len(gave(bench))) == (have, over)


async def cannot_be_told(bench: Bench, seconds: float) -> None:
    """So long the server cannot tell how the first job is; then it is as before."""
    before = bench.instances[ONE]
    bench.instances[ONE] = Instance(ONE, here=False, known=False)
    bench.reconciler.refresh(ONE)
    await later(seconds)
    bench.instances[ONE] = before


@in_virtual_time
async def test_it_keeps_them_while_the_server_cannot_tell_whether_it_runs() -> None:
    bench = await two_jobs()
    await becomes(bench, running=False)
    await later(5)
    await cannot_be_told(bench, 600)
    assert (places(bench), gave(bench)) == ({"job-1": ["1-1"]}, [])
    # The start failed: it is asked for now and then.
    await later(35)
    assert (places(bench), gave(bench)) == ({"job-2": ["1-1"]}, ["job-1 is stopped"])


@in_virtual_time
async def test_nor_is_the_lease_of_an_absent_phone_over_then() -> None:
    jobs = [replace(job(number), started="at 1") for number in (1, 2)]
    bench = Bench(*jobs, rules=rules("instances: 'job-*', keep: 10m"))
    await bench.start(PHONE)
    bench.reconciler.no_device(PHONE.syspath)
    await later(5)
    await becomes(bench, running=False)
    await cannot_be_told(bench, 60)
    await becomes(bench, running=True, started="at 2")
    await bench.plug(replace(PHONE, slot="c-189-1-1a2b3c4d-77"))
    await later(35)
    assert gave(bench) == []
    assert [name.name for name, each in bench.instances.items() if each.entries] == ["job-1"]


@in_virtual_time
async def test_a_daemon_that_starts_meanwhile_waits_as_long() -> None:
    bench = await two_jobs()
    stopped = replace(bench.instances[ONE], running=False)
    new = Bench(stopped, bench.instances[TWO], rules=rules())
    new.links = bench.links
    await new.start(PHONE)
    await later(RESTART - 1)
    assert (places(new), gave(new)) == ({"job-1": ["1-1"]}, [])
    await later(3)
    assert (places(new), gave(new)) == ({"job-2": ["1-1"]}, ["job-1 is stopped"])


@pytest.mark.parametrize("runs", [True, False])
@in_virtual_time
async def test_a_daemon_that_starts_while_the_server_cannot_tell_waits_for_that(runs: bool) -> None:
    bench = await two_jobs()
    before = replace(bench.instances[ONE], running=runs)
    new = Bench(Instance(ONE, here=False, known=False), bench.instances[TWO], rules=rules())
    new.links = bench.links
    await new.start(PHONE)
    await later(20)
    new.instances[ONE] = before
    new.reconciler.refresh(ONE)
    await later(29)
    assert (places(new), gave(new)) == ({"job-1": ["1-1"]}, [])
    await later(60)
    assert (places(new) == {"job-1": ["1-1"]}) is runs


@in_virtual_time
async def test_it_gets_nothing_more_meanwhile() -> None:
    bench = Bench(replace(job(1, "android count=2"), started="at 1"), job(2), rules=rules())
    await bench.start(PHONE, phone(2))
    assert places(bench) == {"job-1": ["1-1", "1-2"]}
    await becomes(bench, running=False)
    await bench.plug(phone(3))
    await later(5)
    assert places(bench) == {"job-1": ["1-1", "1-2"], "job-2": ["1-3"]}


@in_virtual_time
async def test_no_update_goes_between_the_halves_of_a_restart() -> None:
    devices = [console(1), console(2)]
    bench = Bench(replace(box([entry(each) for each in devices]), started="at 1"))
    await bench.start(*devices)
    sent = len(bench.requests)
    bench.change(BOX, running=False)
    bench.reconciler.refresh(BOX)
    bench.reconciler.no_device(devices[1].syspath)
    await later(RESTART - 1)
    assert len(bench.requests) == sent
    bench.change(BOX, running=True, started="at 2")
    bench.reconciler.refresh(BOX)
    await later(0.1)
    assert len(bench.requests) == sent + 1


@pytest.mark.parametrize(
    ("before", "actual"),
    [
        (UP, None),
        (UP, replace(UP, started="at 2")),
        (UP, replace(DOWN, here=False)),
        (UP, replace(DOWN, known=False)),
        # It never ran.
        (RUNS, replace(RUNS, running=False)),
        # It was stopped before anything was known.
        (None, DOWN),
    ],
)
def test_what_is_in_no_restart_is_as_the_server_says(
    before: Instance | None, actual: Instance | None
) -> None:
    restarts = Restarts()
    assert restarts.judged(before, actual, 1.0, has_leases=True) == actual
    assert restarts.until < 1.0
