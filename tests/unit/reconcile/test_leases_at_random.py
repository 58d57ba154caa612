"""Whatever happens, no device of a pool is in two instances, and in the end whoever can have one has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from hotplugd.model.entry import is_ours, names_for, slot_of
from hotplugd.model.values import Device, Instance, InstanceName
from tests.support.devices import phone
from tests.support.virtual import at, in_virtual_time, now
from tests.unit.reconcile.bench import Bench, Request
from tests.unit.reconcile.test_leases import job, once_each, rules
from tests.unit.reconcile.test_telling import HOUR

CLAIMS = ("android", "android count=2", "android serial=R5C001", "android serial=R5C00[12]")
RULES = rules()


class Farm:
    """Three ports and four jobs, and a daemon that may be restarted."""

    def __init__(self) -> None:
        self.bench = Bench(*[job(0)], rules=RULES)
        self.devices: dict[int, Device] = {}
        self.texts: dict[int, str] = {0: "android"}
        self.snapshots: dict[int, Instance] = {}
        # Which instance had a slot's device last, and what was revoked since.
        self.last: dict[str, str] = {}
        self.revoked: set[str] = set()
        self._hear()

    def _hear(self) -> None:
        self.bench.takes, self.bench.looking = 0.02, 0.005
        self.bench.applied = self._applied
        self.bench.revoker.takes = 0.01
        self.bench.revoker.done = lambda device: self.revoked.add(device.slot)

    def _applied(self, request: Request) -> None:
        once_each(self.bench)
        for slot in map(slot_of, request.put):
            before = self.last.get(slot, request.instance)
            assert before == request.instance or slot in self.revoked, f"{before} may have it open"
            self.last[slot] = request.instance
            self.revoked.discard(slot)

    def plug(self, number: int, born: int) -> None:
        self.devices[number] = phone(number, born=born)
        self.bench.reconciler.device(self.devices[number])

    def pull(self, number: int, _: int) -> None:
        if (gone := self.devices.pop(number, None)) is not None:
            self.bench.reconciler.no_device(gone.syspath)

    def make(self, number: int, born: int) -> None:
        self.texts[number] = CLAIMS[born % len(CLAIMS)]
        made = job(number, self.texts[number], created=f"{born:04}")
        self._change(number, replace(made, started=f"at {born}"))

    def delete(self, number: int, _: int) -> None:
        self.texts.pop(number, None)
        self.bench.instances.pop(name(number), None)
        self.bench.reconciler.refresh(name(number))

    def withdraw(self, number: int, _: int) -> None:
        if (actual := self.bench.instances.get(name(number))) is not None:
            self.texts.pop(number, None)
            self._change(number, replace(actual, claims={"phone": "none"}))

    def stop(self, number: int, born: int) -> None:
        """Somebody stops it, or it stops by itself: then it may be about to start again."""
        if (actual := self.bench.instances.get(name(number))) is not None:
            self._change(number, replace(actual, running=False))
            self.bench.reconciler.refresh(name(number), "asked" if born % 2 else "own")

    def start(self, number: int, born: int) -> None:
        if (actual := self.bench.instances.get(name(number))) is not None:
            started = actual.started if actual.running else f"at {born}"
            self._change(number, replace(actual, running=True, started=started))

    def snapshot(self, number: int, _: int) -> None:
        if (actual := self.bench.instances.get(name(number))) is not None:
            self.snapshots[number] = actual

    def restore(self, number: int, _: int) -> None:
        """The entries are those of before, while the instance is stopped."""
        actual, before = self.bench.instances.get(name(number)), self.snapshots.get(number)
        if actual is not None and before is not None:
            self._change(number, replace(actual, entries=before.entries, running=False))

    def _change(self, number: int, instance: Instance) -> None:
        self.bench.instances[name(number)] = instance
        self.bench.inside.setdefault(name(number), {})
        self.bench.reconciler.refresh(name(number))

    async def restart(self) -> None:
        before, self.bench = self.bench, Bench(*self.bench.instances.values(), rules=RULES)
        before.reconciler.close()
        self.bench.instances = before.instances
        self.bench.links = before.links
        self._hear()
        await self.bench.start(*self.devices.values())

    def had(self) -> dict[int, set[int]]:
        """The phones that jobs have an entry for."""
        return had(self.bench, self.devices)


def had(bench: Bench, devices: Mapping[int, Device]) -> dict[int, set[int]]:
    """The phones, by their ports, that jobs have an entry for, by the jobs' numbers."""
    return {
        number: {
            port
            for port, device in devices.items()
            if not {*names_for(device.slot)}.isdisjoint(instance.entries)
        }
        for number in range(4)
        if (instance := bench.instances.get(name(number))) is not None
    }


def name(number: int) -> InstanceName:
    return InstanceName("default", f"job-{number}")


F = TypeVar("F", bound=Farm)


async def live(farm: F, steps: Iterable[tuple[Callable[[F, int, int], None] | None, int, float]]) -> None:
    """Do these steps one after the other, and wait until all has settled. No act: a restart."""
    when = 1.0
    await farm.bench.start()
    for born, (act, number, pause) in enumerate(steps, 2):
        await at(when)
        if act is None:
            await farm.restart()
            when = max(when, now())
        else:
            act(farm, number, born)
        when += pause + 0.001
    await at(when + HOUR)
    await farm.bench.reconciler.settled()


Act = Callable[[Farm, int, int], None]
ACTS: list[Act] = [
    Farm.plug, Farm.plug, Farm.pull, Farm.make, Farm.make, Farm.delete, Farm.withdraw, Farm.stop, Farm.start,
    Farm.snapshot, Farm.restore,
]  # fmt: skip
STEPS = st.tuples(
    st.one_of(st.sampled_from(ACTS), st.none()), st.integers(0, 3), st.sampled_from([0.0, 0.01, 0.3, 5.0])
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_whatever_happens(steps: list[tuple[Act | None, int, float]]) -> None:
    @in_virtual_time
    async def test() -> None:
        farm = Farm()
        await live(farm, steps)
        check(farm)

    test()


def check(farm: Farm) -> None:
    """By the claims' texts alone: who has what, and whether what is free could complete any."""
    once_each(farm.bench)
    had = farm.had()
    free = {*farm.devices} - {port for ports in had.values() for port in ports}
    lacks: dict[int, int] = {}
    for number, ports in had.items():
        instance, text = farm.bench.instances[name(number)], farm.texts.get(number)
        ours = [each for each in instance.entries.values() if is_ours(each)]
        assert len(ours) == len(ports), "an entry of no device is left"
        if text is None or not instance.running:
            assert not ports
            continue
        count = 2 if "count=2" in text else 1
        assert all(will_do(text, port) for port in ports)
        assert len(ports) <= count
        if len(ports) < count:
            lacks[number] = count - len(ports)
    for number, lack in lacks.items():
        # What is free may be kept for another that asks for two.
        if not any("count=2" in farm.texts[other] for other in lacks if other != number):
            there = [port for port in free if will_do(farm.texts[number], port)]
            assert len(there) < lack, f"job-{number} waits, and {there} are free"


def will_do(text: str, port: int) -> bool:
    if "serial=R5C001" in text:
        return port == 1
    return port in (1, 2) if "serial=R5C00[12]" in text else True
