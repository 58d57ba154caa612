"""What a plan costs: with few and many rules that take the same devices, and after one event.

A hundred instances have nine devices each, and a tenth of each is to be added. A hundred rules take them by
lists of ten serials or ids each, a thousand by one each; of ten thousand, nine thousand are for devices that
are not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from benchmarks.figure import Figure
from benchmarks.timing import interleaved, ms, ratio
from hotplugd.model.values import Device, Entry, Inside, Instance, InstanceName, Node
from hotplugd.plan.change import Plan
from hotplugd.plan.desired import wants
from hotplugd.plan.kinds.kind import Want
from hotplugd.plan.planner import plan_instance
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import box, entry, phone, plugged, rule, ruleset
from tests.support.virtual import VirtualLoop
from tests.unit import devices as made
from tests.unit.reconcile.bench import Bench

_INSTANCES: Final = 100
_EACH: Final = 10
_DEVICES: Final = _INSTANCES * _EACH


def figures(rules: Sequence[int] = (1_000, 10_000), repetitions: int = 15) -> list[Figure]:
    """Many rules beside a hundred, and one event beside everything."""
    world = World.of()
    sets = [_rules(number) for number in (_INSTANCES, *rules)]
    assert {len(_changes(world.plan(each))) for each in sets} == {_INSTANCES}
    few, *many = interleaved(repetitions, *(lambda each=each: world.plan(each) for each in sets))
    found = [
        Figure(
            f"plan of {_DEVICES:,} devices in {_INSTANCES} instances by {number:,} rules",
            f"by {_INSTANCES} rules",
            "≤",
            2,
            ratio(took, few),
            absolute=f"{ms(took)}, {ms(few)}",
        )
        for number, took in zip(rules, many, strict=True)
    ]
    return [*found, _after_an_event(world, sets[-1], rules[-1], repetitions)]


@dataclass(frozen=True, slots=True)
class World:
    """Devices, and the instances and what is inside them: all but one device each are attached."""

    devices: tuple[Device, ...]
    instances: tuple[Instance, ...]
    inside: tuple[Inside, ...]

    @classmethod
    def of(cls) -> World:
        """As it says above."""
        devices = tuple(map(_device, range(_DEVICES)))
        there = [devices[number::_INSTANCES][1:] for number in range(_INSTANCES)]
        return cls(
            devices,
            tuple(box(_entries(number, each), name=f"c{number}") for number, each in enumerate(there)),
            tuple(Inside({each.node: Node(each.devnum, 0o660) for each in found}) for found in there),
        )

    def plan(self, rules: RuleSet) -> list[Plan]:
        """All of it, as `hotplugd plan` does it."""
        wanted: dict[InstanceName, list[Want]] = {}
        for device in self.devices:
            for want in wants(rules, device).wants:
                wanted.setdefault(want.instance, []).append(want)
        return [
            plan_instance(instance.id, instance, wanted.get(instance.id, ()), inside)
            for instance, inside in zip(self.instances, self.inside, strict=True)
        ]


def _changes(plans: Iterable[Plan]) -> list[tuple[str, str]]:
    return [(each.action, each.entry.name) for plan in plans for each in plan.changes]


def _after_an_event(world: World, rules: RuleSet, number: int, repetitions: int) -> Figure:
    """In the reconciler, with everything that it asks for and does, of a scripted server in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        bench = runner.run(_started(world, rules))
        born = count(2)

        async def everything() -> None:
            bench.reconciler.set_rules(rules)
            await bench.reconciler.settled()

        async def unplugged_and_plugged() -> None:
            bench.requests.clear()
            bench.reconciler.no_device(world.devices[0].syspath)
            await bench.reconciler.settled()
            await bench.plug(_device(0, next(born)))
            assert [len(each.names) for each in bench.requests] == [1, 1]

        event, full = interleaved(
            repetitions, lambda: runner.run(unplugged_and_plugged()), lambda: runner.run(everything())
        )
        assert len(bench.reconciler.attachments()) == _DEVICES
    return Figure(
        f"the same after one event, {number:,} rules",
        "the whole plan",
        "≤",
        1 / 20,
        ratio(event, full) / 2,
        absolute=f"{ms([each / 2 for each in event])}, {ms(full)}",
    )


async def _started(world: World, rules: RuleSet) -> Bench:
    bench = Bench(*world.instances, rules=rules)
    await bench.start(*world.devices)
    return bench


def _device(number: int, born: int = 1) -> Device:
    """A phone with a serial, or a cable whose ids no other has; ten of one kind to an instance."""
    if number % 2:
        return phone(number, f"R5C{number:04}", born)
    cable = made.usb(f"2-{number}", f"{number:04x}", "6001", serial="")
    return plugged(made.tty(cable, f"ttyUSB{number}"), 188, number, born)


def _match(numbers: Iterable[int]) -> str:
    listed = list(numbers)
    if listed[0] % 2:
        return f"{{serial: [{', '.join(f'R5C{number:04}' for number in listed)}]}}"
    ids = ", ".join(f'"{number:04x}:6001"' for number in listed)
    return f"{{subsystem: tty, id: [{ids}]}}"


def _rules(number: int) -> RuleSet:
    """So many rules that take all devices, with others between them where there are more than devices."""
    takers = min(number, _DEVICES)
    stride = number // takers
    written: list[str] = []
    for position in range(number):
        first, other = divmod(position, stride)
        match = _match([_DEVICES + position] if other else range(first, _DEVICES, takers))
        written.append(rule(match, f"{{to: c{first % _INSTANCES}}}", f"r{position}"))
    return ruleset(*written)


def _entries(number: int, found: Iterable[Device]) -> list[Entry]:
    return [entry(each, instance=InstanceName("default", f"c{number}")) for each in found]
