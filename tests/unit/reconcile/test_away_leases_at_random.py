"""Whatever happens, a phone that comes back within `keep` goes to its holder, and nobody shares it."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from hotplugd.pools.away_leases import NOTHING_KEPT, KeptLeases
from tests.support.virtual import at, in_virtual_time, now
from tests.unit.reconcile.bench import Bench
from tests.unit.reconcile.test_leases import once_each, rules
from tests.unit.reconcile.test_leases_at_random import Farm, check, name, will_do
from tests.unit.reconcile.test_telling import HOUR

KEEP = 60.0
RULES = rules(f"instances: 'job-*', keep: {KEEP:.0f}s")


class PatientFarm(Farm):
    """A farm whose leases outlive the absence of their phones.

    owed  whose each absent phone is, by what the server had when it was pulled, and until when
    """

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(*self.bench.instances.values(), rules=RULES)
        self.owed: dict[int, tuple[int, float]] = {}
        self._hear()
        self.bench.lease_keeper.takes = 0.003

    def pull(self, number: int, born: int) -> None:
        holder = next((job for job, ports in self.had().items() if number in ports), None)
        if holder is not None and self.bench.instances[name(holder)].running:
            self.owed[number] = holder, now() + KEEP
        super().pull(number, born)

    def forgive(self, job: int) -> None:
        """The job's leases are over."""
        self.owed = {number: owed for number, owed in self.owed.items() if owed[0] != job}

    async def restart(self) -> None:
        """Killed at any moment: what was being written may be on the disk, or not."""
        await self._next(self.bench.lease_keeper.kept)

    async def lose(self, kept: KeptLeases) -> None:
        """Killed, and the state file is another one."""
        self.owed.clear()
        await self._next(kept)

    async def _next(self, kept: KeptLeases) -> None:
        before = self.bench
        self.bench = Bench(*before.instances.values(), rules=RULES, kept=kept)
        before.reconciler.close()
        self.bench.instances, self.bench.links = before.instances, before.links
        self._hear()
        self.bench.lease_keeper.takes = 0.003
        await self.bench.start(*self.devices.values())

    def see_returned(self) -> None:
        """All is quiet: whoever was owed a phone that is there has it."""
        had = self.had()
        for number in [number for number in self.owed if number in self.devices]:
            holder, until = self.owed.pop(number)
            if now() < until and will_do(self.texts[holder], number):
                assert number in had[holder], f"phone {number} came back, and job-{holder} lacks it"


ENDS = (Farm.delete, Farm.withdraw, Farm.stop, Farm.make, Farm.restore)
ACTS: list[Callable[[PatientFarm, int, int], None]] = [
    PatientFarm.plug, PatientFarm.plug, PatientFarm.pull, PatientFarm.pull, PatientFarm.make,
    PatientFarm.make, PatientFarm.delete, PatientFarm.withdraw, PatientFarm.stop, PatientFarm.start,
    PatientFarm.snapshot, PatientFarm.restore,
]  # fmt: skip
STEPS = st.tuples(
    st.one_of(st.sampled_from(ACTS), st.none(), st.sampled_from(["lost", "old"])),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.01, 0.3, 5.0, 20.0]),
)


@settings(max_examples=250, deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_whatever_happens(
    steps: list[tuple[Callable[[PatientFarm, int, int], None] | str | None, int, float]],
) -> None:
    @in_virtual_time
    async def test() -> None:
        farm, when, old = PatientFarm(), 1.0, NOTHING_KEPT
        await farm.bench.start()
        for born, (act, number, pause) in enumerate(steps, 2):
            await at(when)
            if isinstance(act, str):
                old, kept = farm.bench.lease_keeper.kept, old if act == "old" else NOTHING_KEPT
                await farm.lose(kept)
            elif act is None:
                await farm.restart()
            else:
                if act in (PatientFarm.plug, PatientFarm.pull):
                    # What is under way decides who has what.
                    await farm.bench.reconciler.settled()
                    if number in farm.devices and act is PatientFarm.plug:
                        farm.pull(number, born)
                elif act in ENDS:
                    farm.forgive(number)
                act(farm, number, born)
                if act is PatientFarm.plug:
                    await farm.bench.reconciler.settled()
                    farm.see_returned()
            when = max(when + pause + 0.001, now())
        await at(when + HOUR)
        await farm.bench.reconciler.settled()
        once_each(farm.bench)
        check(farm)

    test()
