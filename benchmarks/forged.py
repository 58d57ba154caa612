"""What entries cost that say to be for interfaces which their instances have not.

A hundred instances have a hundred such entries each; whoever may edit an instance writes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Final

from benchmarks.figure import Figure
from benchmarks.timing import interleaved, ms, ratio
from hotplugd.model.values import Device, Entry, Instance, InstanceName
from tests.support.devices import BOOT, box, nic_entry, rule, ruleset
from tests.support.virtual import VirtualLoop
from tests.unit.reconcile.bench import Bench

_INSTANCES: Final = 100
_EACH: Final = 100
_RULES: Final = ruleset(rule("{subsystem: net, kernel: lan0}", "{to: box}"))
_OWN: Final = Device("/sys/devices/virtual/net/lan0", "net", "lan0", slot=f"n-{BOOT}-9-9")


def figures(instances: int = _INSTANCES, each: int = _EACH, repetitions: int = 9) -> list[Figure]:
    """An event and a start beside forged entries, and beside others of the same size."""
    worlds = [
        [
            box(
                (make(InstanceName("default", f"c{one}"), one * each + place) for place in range(each)),
                name=f"c{one}",
            )
            for one in range(instances)
        ]
        for make in (_forged, _others)
    ]
    number = f"{instances * each:,}"
    with ExitStack() as undo:
        event, fair = interleaved(repetitions, *(_comes_and_goes(undo, each) for each in worlds))
    began, as_ever = interleaved(repetitions, *(lambda each=each: _start(each) for each in worlds))
    against = f"{number} entries of others"
    return [
        Figure(
            f"an interface comes and goes beside {number} forged entries",
            against,
            "≤",
            1.5,
            ratio(event, fair),
            absolute=f"{ms(event)}, {ms(fair)}",
        ),
        Figure(
            f"a start beside {number} forged entries",
            against,
            "≤",
            4,
            ratio(began, as_ever),
            absolute=f"{ms(began)}, {ms(as_ever)}",
        ),
    ]


def _forged(instance: InstanceName, number: int) -> Entry:
    """For an interface of no hardware that there is not."""
    name, slot = f"x{number}", f"n-{BOOT}-{1000 + number}-{1000 + number}"
    return nic_entry(Device(f"/sys/devices/virtual/net/{name}", "net", name, slot=slot), instance)


def _others(instance: InstanceName, number: int) -> Entry:
    return Entry(f"eth{number}", _forged(instance, number).config)


def _comes_and_goes(undo: ExitStack, instances: Iterable[Instance]) -> Callable[[], None]:
    """An interface coming and going with each call, in a bench that has started."""
    runner = undo.enter_context(asyncio.Runner(loop_factory=VirtualLoop))
    bench = runner.run(_started(instances))

    async def comes_and_goes() -> None:
        bench.requests.clear()
        bench.reconciler.device(_OWN)
        await bench.reconciler.settled()
        bench.reconciler.no_device(_OWN.syspath)
        await bench.reconciler.settled()

    return lambda: runner.run(comes_and_goes())


def _start(instances: Iterable[Instance]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        bench = runner.run(_started(instances))
        runner.run(_closed(bench))


async def _started(instances: Iterable[Instance]) -> Bench:
    bench = Bench(*instances, box(), rules=_RULES)
    bench.inside = {name: {} for name in bench.instances}
    await bench.start()
    return bench


async def _closed(bench: Bench) -> None:
    bench.reconciler.close()
