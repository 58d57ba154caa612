"""What came of undoing a decision is said by where the device is, and not by what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

from hotplugd.app.outcome import undone
from hotplugd.app.session import Session
from hotplugd.model.asker import Asker
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, InstanceName
from hotplugd.plan.overrides import NONE, Override, Overrides, kept_by
from tests.support.devices import box, phone
from tests.support.virtual import in_virtual_time
from tests.unit.reconcile.bench import Bench

ZOO = InstanceName("default", "zoo")
ONE = phone(1)


def session(bench: Bench, *, connected: bool = True, problems: Sequence[Problem] = ()) -> Session:
    """As much of one as is looked at."""
    known = SimpleNamespace(
        reconciler=bench.reconciler,
        connected=connected,
        problems=lambda: [*problems, *bench.reconciler.problems()],
        held=bench.reconciler.held,
    )
    return cast("Session", known)


def override(device: Device, to: InstanceName | None) -> Override:
    of = kept_by(device, [device])
    assert of is not None
    return Override(of, to, "2026-11-27T18:00:00+00:00", Asker(0, "root"), str(device))


async def put_into_zoo(bench: Bench) -> Override:
    made = override(ONE, ZOO)
    bench.reconciler.set_overrides(Overrides.made_of([made]), "start")
    await bench.start(ONE)
    return made


@in_virtual_time
async def test_it_is_done_once_the_device_is_where_the_rules_say() -> None:
    bench = Bench(box(), box(name="zoo"))
    made = await put_into_zoo(bench)
    bench.reconciler.set_overrides(NONE, "asked")
    found = undone(session(bench), [made])
    assert (found.taken, found.done) == (True, False)
    assert f"{ONE} is not in box yet; `hotplugd status` says how it goes" in found.message
    assert f"{ONE} is not out of zoo yet" in found.message
    await bench.reconciler.settled()
    found = undone(session(bench), [made])
    assert (found.done, found.message) == (
        True, f"the rules decide again about serial:R5C001: {ONE} is in box",
    )  # fmt: skip


@in_virtual_time
async def test_it_is_not_done_while_the_server_is_away() -> None:
    bench = Bench(box(), box(name="zoo"))
    made = await put_into_zoo(bench)
    bench.reconciler.set_overrides(NONE, "asked")
    found = undone(session(bench, connected=False), [made])
    assert (found.taken, found.done) == (True, False)
    assert undone(None, [made]).done is False


@in_virtual_time
async def test_a_server_that_is_away_is_told_of_once() -> None:
    bench = Bench(box(), box(name="zoo"))
    made = await put_into_zoo(bench)
    bench.reconciler.set_overrides(NONE, "asked")
    told = [Problem("", "", "LXD is away"), Problem("", "", "box: LXD is away")]
    away = session(bench, connected=False, problems=told)
    assert undone(away, [made]).message.count("not in box yet: LXD is away") == 1
    assert "box: LXD is away" not in undone(away, [made]).message


@in_virtual_time
async def test_what_the_rules_cannot_do_is_told() -> None:
    bench = Bench(box(name="zoo"))
    made = await put_into_zoo(bench)
    bench.reconciler.set_overrides(NONE, "asked")
    await bench.reconciler.settled()
    found = undone(session(bench), [made])
    assert found.done is False
    assert "is not in box yet: there is no instance 'box' in project 'default'" in found.message


@in_virtual_time
async def test_a_device_that_is_not_there_has_nowhere_to_go() -> None:
    bench = Bench(box())
    await bench.start()
    found = undone(session(bench), [override(ONE, ZOO)])
    assert (found.done, found.message) == (True, "the rules decide again about serial:R5C001")
