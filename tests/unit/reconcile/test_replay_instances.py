"""The events of instances alone tell which there are, and which of them run."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.virtual import at, in_virtual_time, later
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_replay import NAMES, STEPS, Step, World, back, deleted, made, starts

# What happens to instances is as frequent as all else together.
MORE = st.one_of(
    STEPS,
    st.sampled_from(
        [
            *(do(name) for do in (deleted, made) for name in NAMES),
            *(starts(name, running=running) for name in NAMES for running in (True, False)),
        ]
    ),
)
Shown = dict[str, bool]
"""By its name, whether an instance runs."""


def told(bench: Bench, at_start: Shown) -> Shown:
    found = dict(at_start)
    for each in bench.events("instance.created", "instance.started", "instance.stopped", "instance.deleted"):
        name, event = str(each["instance"]), each["event"]
        if event == "instance.created":
            assert name not in found
            found[name] = False
        elif event == "instance.deleted":
            del found[name]
        else:
            assert found[name] == (event == "instance.stopped")
            found[name] = event == "instance.started"
    return found


def shown(bench: Bench) -> Shown:
    return {str(name): instance.running for name, instance in bench.instances.items()}


@settings(max_examples=100)
@given(st.lists(st.tuples(MORE, st.sampled_from([0.0, 0.01, 0.3, 20.0])), max_size=12))
def test_the_stream_replays_into_what_the_server_has(steps: list[tuple[Step, float]]) -> None:
    @in_virtual_time
    async def test() -> None:
        world = World()
        await world.bench.start()
        at_start = shown(world.bench)
        for do, pause in steps:
            if (done := do(world)) is not None:
                await done
            await later(pause)
        await back(world)
        await at(10_000)
        assert told(world.bench, at_start) == shown(world.bench)

    test()
