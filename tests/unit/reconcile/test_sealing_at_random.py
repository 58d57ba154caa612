"""Whatever starts, stops and changes meanwhile, no node goes before it is sealed: the bench sees to that."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.devices import ALL, BOX, all_with, console, rule, ruleset
from tests.support.virtual import at, in_virtual_time, later
from tests.unit.reconcile.bench import Bench

NOBODY = ruleset(rule("{subsystem: none}", "{to: box}"))
DEVICES = [console(1), console(2)]


def _plug(bench: Bench, number: int, born: int) -> None:
    bench.reconciler.device(console(number + 1, born=born))


def _pull(bench: Bench, number: int, _: int) -> None:
    bench.reconciler.no_device(DEVICES[number].syspath)


def _rules(bench: Bench, number: int, born: int) -> None:
    bench.reconciler.set_rules((NOBODY, ALL, all_with("mode: '0600'"))[born % 3 if number else 0])


def _start(bench: Bench, _: int, __: int) -> None:
    bench.begin(BOX)


def _stop(bench: Bench, _: int, __: int) -> None:
    bench.end(BOX)


def _restart(bench: Bench, _: int, __: int) -> None:
    bench.end(BOX)
    bench.begin(BOX)


def _tell(bench: Bench, _: int, __: int) -> None:
    bench.reconciler.refresh(BOX)


Step = tuple[Callable[[Bench, int, int], None], int, float, bool]
STEPS = st.tuples(
    st.sampled_from([_plug, _plug, _pull, _rules, _rules, _start, _start, _stop, _restart, _tell]),
    st.integers(0, 1),
    st.sampled_from([0.0, 0.01, 0.05, 0.3, 1.0, 5.0]),
    st.booleans(),
)


# What was sealed is made anew; what did not run starts while the server has the request, or just before.
@example([(_plug, 0, 0.0, False), (_restart, 0, 0.0, False)], 0.0, 0.02)
@example([(_stop, 0, 5.0, True), (_rules, 0, 0.0, False), (_start, 0, 0.3, True)], 0.5, 0.0)
@example([(_stop, 0, 5.0, True), (_start, 0, 0.0, False), (_rules, 0, 0.0, False)], 0.02, 0.0)
# What is pulled is sealed while the server is about to replace it.
@example(
    [
        (_plug, 0, 0.0, False),
        (_plug, 0, 0.0, False),
        (_restart, 0, 0.0, False),
        (_rules, 1, 1.0, False),
        (_restart, 0, 0.0, False),
        (_plug, 1, 0.0, False),
    ],
    0.5,
    0.0,
)
@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=14), st.sampled_from([0.0, 0.02, 0.5]), st.sampled_from([0.0, 0.02]))
def test_whatever_starts_and_stops_no_node_goes_unsealed(
    steps: list[Step], takes: float, sealing: float
) -> None:
    @in_virtual_time
    async def test() -> None:
        bench = Bench()
        bench.takes, bench.looking, bench.seals.takes = takes, 0.005, sealing
        await bench.start(*DEVICES)
        when = 5.0
        for born, (do, number, pause, told) in enumerate(steps, 2):
            await at(when)
            do(bench, number, born)
            if told and do in (_start, _stop, _restart):
                bench.reconciler.refresh(BOX)
            when += pause + 0.001
        bench.reconciler.refresh(BOX)
        await later(1000)
        assert bench.seals.escaped.get(BOX, set()) <= bench.seals.missing.get(BOX, set())
        assert False not in bench.verified().values()
        assert bench.told() == []

    test()
