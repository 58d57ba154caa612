"""Whatever happens, the problems that were told of and are not over are those that `status` shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hotplugd.app.event_documents import ENDS, OVER
from hotplugd.model.ports import Refused, Unreachable, Untold
from hotplugd.model.problem import Problem
from hotplugd.reconcile.batching import CROWDED
from hotplugd.reconcile.freshness import EDITED
from hotplugd.reconcile.observed import BUSY
from tests.support.devices import rule, ruleset
from tests.support.virtual import at, in_virtual_time, later
from tests.unit.reconcile.test_replay import STEPS, World, away, back, plug

Step = Callable[[World], Awaitable[None] | None]
LINKS = ruleset(rule("{subsystem: '*'}", "{to: [box, other], link: /dev/a.b, share: true}"))
# An interval between two of what never ends is no end of it.
RESTLESS = (BUSY, CROWDED, EDITED, "something else changes it too, or takes its node out")


def deaf(world: World) -> None:
    def silent(_: object) -> None:
        raise Untold("nobody carries it")

    world.bench.deaf = silent


def blind(world: World) -> None:
    def unseen(_: object) -> None:
        raise Unreachable("it cannot be looked into")

    world.bench.glance = unseen


def full(world: World) -> None:
    def refuse(_: str) -> None:
        raise Refused("no room")

    world.bench.unlinked = refuse
    world.bench.unlinkable |= world.bench.links


def linked(world: World) -> None:
    world.bench.reconciler.set_rules(LINKS)


def well(world: World) -> None:
    world.bench.deaf = lambda _: None
    world.bench.glance = lambda _: None
    world.bench.unlinked = lambda _: None
    world.bench.unlinkable.clear()


MORE = st.one_of(STEPS, st.sampled_from([deaf, blind, full, linked, linked, well, well]))


def begun(world: World) -> list[Any]:
    """The events of the problems that are not over."""
    found: list[Any] = []
    for each in world.bench.logged.entries:
        if each["event"] in ENDS:
            found.append(each)
        elif each["event"] == OVER:
            keys = ("device", "slot", "instance", "entry", "action", "path", "reason")
            (ended, *twice) = [other for other in found if all(other.get(k) == each.get(k) for k in keys)]
            assert twice == []
            found.remove(ended)
    return found


def is_of(event: Any, problem: Problem) -> bool:
    """Whether an event told of a problem; with what is said before it, `status` says the reason."""
    return event.get("device", "") == problem.device and event["reason"] in problem.message


# The server answers once in between, and nobody had looked whether the problem is over.
@example([(plug(0), 0.0), (away, 0.0), (back, 0.0), (away, 0.0)], 0.0)
@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(MORE, st.sampled_from([0.0, 0.01, 0.3, 20.0])), max_size=12),
    st.sampled_from([0.0, 0.02]),
)
def test_each_problem_is_told_of_while_it_lasts(steps: list[tuple[Step, float]], takes: float) -> None:
    @in_virtual_time
    async def test() -> None:
        world = World()
        world.bench.takes = takes
        await world.bench.start()
        for do, pause in steps:
            if (done := do(world)) is not None:
                await done
            await later(pause)
        # What is under way may settle some of it, and is no matter of this.
        await later(100)
        await world.bench.reconciler.settled()
        now, told = world.bench.reconciler.problems(), begun(world)
        for problem in now:
            assert any(is_of(each, problem) for each in told), problem
        for each in told:
            is_restless = any(each["reason"].endswith(why) for why in RESTLESS)
            assert is_restless or any(is_of(each, problem) for problem in now), each
        well(world)
        await back(world)
        world.bench.reconciler.look_everywhere()
        await at(10_000)
        now, told = world.bench.reconciler.problems(), begun(world)
        assert len(told) <= len(now)
        assert all(any(is_of(each, problem) for each in told) for problem in now)

    test()
