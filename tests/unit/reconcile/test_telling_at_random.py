"""Whatever happens, those inside are told what is so in the end."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.devices import ALL, BOX, all_with, console, phone, rule, ruleset
from tests.support.virtual import at, in_virtual_time, now
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_telling import HOUR, silent

DEVICES = [console(1), console(2), phone(3)]


def _plug(bench: Bench, number: int, born: int) -> None:
    device = [console(1, born=born), console(2, born=born), phone(3, born=born)][number]
    bench.reconciler.device(device)


def _pull(bench: Bench, number: int, _: int) -> None:
    bench.reconciler.no_device(DEVICES[number].syspath)


def _lose(bench: Bench, number: int, _: int) -> None:
    bench.inside[BOX].pop(DEVICES[number].node, None)
    bench.reconciler.look_again(BOX)


def _restart(bench: Bench, _: int, __: int) -> None:
    bench.heard.append((now(), "box", "restart", "", ""))
    bench.reconciler.restarted(BOX)


def _move(bench: Bench, number: int, _: int) -> None:
    only = (ALL, all_with("mode: '0600'"), ruleset(rule("{subsystem: tty}", "{to: box}")))
    bench.reconciler.set_rules(only[number])


def _fail(bench: Bench, number: int, _: int) -> None:
    bench.deaf = silent if number == 0 else lambda _: None


Step = tuple[Callable[[Bench, int, int], None], int, float]
STEPS = st.tuples(
    st.sampled_from([_plug, _plug, _pull, _lose, _restart, _move, _fail]),
    st.integers(0, 2),
    st.sampled_from([0.0, 0.01, 0.3, 5.0]),
)


# An entry that was changed too often to be removed at once, and another device for its path.
@example([(_plug, 1, 0.0), (_move, 1, 0.3), (_lose, 1, 0.01), (_move, 0, 0.3), (_plug, 1, 0.0)])
@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=14))
def test_whatever_happens_the_inside_is_told_the_truth(steps: list[Step]) -> None:
    @in_virtual_time
    async def test() -> None:
        bench = Bench()
        bench.takes, bench.looking, bench.telling = 0.02, 0.005, 0.002
        await bench.start()
        when = 1.0
        for born, (do, number, pause) in enumerate(steps, 2):
            await at(when)
            do(bench, number, born)
            when += pause + 0.001
        bench.deaf = lambda _: None
        await at(when + HOUR)
        there = {each.want.target: each.want.device.slot for each in bench.reconciler.attachments()}
        assert known(bench) == there

    test()


def known(bench: Bench) -> dict[str, str]:
    """What those inside make of what they heard: at which path there is what. Fails at nonsense."""
    found: dict[str, str] = {}
    # What the old init was about to be told when it ended, it may have heard.
    for _, _, action, path, slot in sorted(bench.heard, key=lambda each: (each[0], each[2] == "restart")):
        if action == "add":
            assert path not in found, "told twice, or not of what went"
            found[path] = slot
        elif action == "remove":
            assert found.pop(path) == slot
        else:
            found.clear()
    return found
