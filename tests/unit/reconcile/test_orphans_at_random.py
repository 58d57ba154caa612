"""Whatever a server forgets, the inside is right in the end."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hotplugd.model.entry import name_for, target_of
from hotplugd.model.values import Device, Node
from tests.support.devices import ALL, BOX, all_with
from tests.support.virtual import at, in_virtual_time, later
from tests.unit.reconcile.orphans_bench import (
    BAD,
    ONE,
    TWO,
    Files,
    devnum_of,
    forget,
    never_clear,
    nodes,
    one_at,
)


def _forget(bench: Files, device: Device) -> None:
    if name_for(device.slot) in bench.instances[BOX].entries:
        forget(bench, device)


def _overlap(bench: Files, device: Device) -> None:
    _forget(bench, device)
    bench.reconciler.updated(BOX)


def _take_out(bench: Files, device: Device) -> None:
    _forget(bench, device)
    bench._away({name_for(device.slot)})
    bench.reconciler.updated(BOX)


def _plug(bench: Files, device: Device) -> None:
    bench.reconciler.device(device)


def _pull(bench: Files, device: Device) -> None:
    bench.reconciler.no_device(device.syspath)


def _share(bench: Files, _: Device) -> None:
    bench.reconciler.set_rules(all_with("path: /dev/lab"))


def _alone(bench: Files, device: Device) -> None:
    bench.reconciler.set_rules(one_at(int(device.kernel[-1]), "/dev/lab"))


def _apart(bench: Files, _: Device) -> None:
    bench.reconciler.set_rules(ALL)


def _restart(bench: Files, _: Device) -> None:
    bench.files.clear()
    bench.inside[BOX].clear()
    for each in bench.instances[BOX].entries.values():
        bench.inside[BOX].setdefault(target_of(each), Node(devnum_of(each), 0o660))
        bench.files.add((each.name, target_of(each)))
    bench.reconciler.restarted(BOX)


def _unmount(bench: Files, device: Device) -> None:
    """Somebody inside does, and the server's file stays."""
    for name, path in bench.files:
        if name == name_for(device.slot):
            bench.inside[BOX].pop(path, None)
    bench.reconciler.look_again(BOX)


def _refuse(bench: Files, _: Device) -> None:
    never_clear(bench)


Step = tuple[Callable[[Files, Device], None], Device, float]
DO = (
    _overlap, _overlap, _forget, _take_out, _plug, _pull, _share, _alone, _apart, _restart, _refuse, _unmount,
)  # fmt: skip
STEPS = st.tuples(
    st.sampled_from(DO), st.sampled_from([ONE, TWO, BAD]), st.sampled_from([0.0, 0.01, 0.05, 0.3, 3.0])
)

# What is left of the first one is at two places, and the server takes nothing away at first.
AT_TWO_PLACES: list[Step] = [
    (_forget, TWO, 0.0), (_alone, TWO, 0.0), (_refuse, ONE, 0.0), (_share, ONE, 0.0), (_overlap, ONE, 0.3),
    (_pull, ONE, 0.0),
]  # fmt: skip

# Root inside unmounts what the server would not take away yet, and the server's file stays.
UNMOUNTED: list[Step] = [
    (_forget, ONE, 0.05), (_refuse, ONE, 0.3), (_unmount, ONE, 3.0), (_alone, TWO, 3.0),
]  # fmt: skip


@example(AT_TWO_PLACES, 0.0, 0.0)
@example(UNMOUNTED, 0.0, 0.3)
@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=9), st.sampled_from([0.0, 0.02]), st.sampled_from([0.0, 0.05, 0.3]))
def test_whatever_is_forgotten_the_inside_is_right_in_the_end(
    steps: list[Step], takes: float, looking: float
) -> None:
    @in_virtual_time
    async def test() -> None:
        bench = Files()
        bench.takes, bench.looking = takes, looking
        await bench.start(ONE, TWO)
        await at(10)
        for do, device, pause in steps:
            # In the middle of a request nothing is as it will be.
            await later(2 * takes if do in (_overlap, _forget, _take_out, _restart) else 0.0)
            do(bench, device)
            await later(pause)
        bench.unclear = lambda _: None
        await later(1000)
        bench.reconciler.updated(BOX)
        await later(1000)
        entries = bench.instances[BOX].entries.values()
        assert {name for name, _ in bench.files} <= bench.instances[BOX].entries.keys()
        assert nodes(bench) == {target_of(each): str(devnum_of(each)) for each in entries}
        assert not any("still there" in each for each in bench.told())
        assert all(bench.verified().values())
        assert bench.notes.get(BOX, set()) == set()

    test()
