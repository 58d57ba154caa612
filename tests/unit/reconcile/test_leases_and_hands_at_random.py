"""Pools, companions, decisions by hand, reloads, restarts: one place at a time, and all is done then."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from hotplugd.model.values import Device, InstanceName
from hotplugd.plan.overrides import Lasting, Override
from tests.support.devices import box, phone, plugged
from tests.support.virtual import in_virtual_time
from tests.unit import devices as made_up
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_by_hand import decided, override
from tests.unit.reconcile.test_leases import job, once_each, rules
from tests.unit.reconcile.test_leases_at_random import Farm, live, name

ZOO = InstanceName("default", "zoo")
RULES = (
    rules(attach="{pool: android, with: tty}"),
    rules(),
    rules("instances: 'job-*', keep_stopped: true"),
    rules("instances: 'job-*', per_instance: 1", attach="{pool: android, with: tty}"),
    rules("instances: 'job-*', keep: 60s", attach="{pool: android, with: tty}"),
    rules(attach="{to: zoo}"),
    rules().without_leases(),
)


class Hands(Farm):
    """A farm whose phones have modems, and whose people do not leave it alone."""

    def __init__(self) -> None:
        super().__init__()
        self.rules = RULES[0]
        self.modems: dict[int, Device] = {}
        self.overrides: dict[Lasting, Override] = {}
        self._new(Bench(job(0), box(name="zoo"), rules=self.rules))

    def _new(self, bench: Bench) -> None:
        self.bench = bench
        self._hear()
        self._decide("start")

    def _all(self) -> list[Device]:
        return [*self.devices.values(), *self.modems.values()]

    def _decide(self, cause: str) -> None:
        self.bench.reconciler.set_overrides(
            decided(*self.overrides.values()), "start" if cause == "start" else "asked"
        )

    def plug(self, number: int, born: int) -> None:
        self.pull(number, born)
        self.devices[number] = one = phone(number, born=born)
        self.modems[number] = plugged(made_up.tty(one, f"ttyACM{number}"), 166, number, born)
        # Either may be told of first.
        for each in sorted((one, self.modems[number]), key=str, reverse=born % 2 == 0):
            self.bench.reconciler.device(each)

    def pull(self, number: int, _: int) -> None:
        for gone in (self.modems.pop(number, None), self.devices.pop(number, None)):
            if gone is not None:
                self.bench.reconciler.no_device(gone.syspath)

    def hand(self, number: int, born: int) -> None:
        device = (self.devices if born % 3 else self.modems).get(number)
        if device is not None:
            made = override(device, (ZOO, name(1), None)[born % 3], *self._all())
            self.overrides[made.of] = made
            self._decide("asked")

    def undo(self, number: int, _: int) -> None:
        for of in sorted(self.overrides, key=str)[number : number + 1]:
            del self.overrides[of]
        self._decide("asked")

    def reload(self, _: int, born: int) -> None:
        self.rules = RULES[born % len(RULES)]
        self.bench.reconciler.set_rules(self.rules)

    async def restart(self) -> None:
        before = self.bench
        before.reconciler.close()
        bench = Bench(*before.instances.values(), rules=self.rules)
        bench.instances, bench.links = before.instances, before.links
        self._new(bench)
        await bench.start(*self._all())


Act = Callable[[Hands, int, int], None]
ACTS: list[Act] = [
    Hands.plug, Hands.plug, Hands.pull, Hands.make, Hands.make, Hands.delete, Hands.withdraw, Hands.stop,
    Hands.start, Hands.hand, Hands.hand, Hands.undo, Hands.reload,
]  # fmt: skip
STEPS = st.tuples(
    st.one_of(st.sampled_from(ACTS), st.none()), st.integers(1, 3), st.sampled_from([0.0, 0.01, 0.3, 5.0])
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_whatever_people_do(steps: list[tuple[Act | None, int, float]]) -> None:
    @in_virtual_time
    async def test() -> None:
        farm = Hands()
        await live(farm, steps)
        check(farm.bench)
        # What was applied is applied, also for whoever comes new to it.
        asked = len(farm.bench.requests)
        farm.bench.reconciler.set_rules(farm.rules)
        await farm.bench.reconciler.settled()
        assert len(farm.bench.requests) == asked
        await farm.restart()
        await farm.bench.reconciler.settled()
        assert farm.bench.requests == []

    test()


def check(bench: Bench) -> None:
    """Nothing is in two places, and nothing waits."""
    once_each(bench)
    assert bench.reconciler.pending() == []
    assert bench.reconciler.held() == []
    assert not bench.reconciler.assignments.leases.leasing.is_releasing
