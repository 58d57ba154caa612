"""The reconciler beside a simulated server that takes as long as a real one was measured to take."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time
from typing import Final

from hotplugd.model.entry import is_ours, slot_of
from hotplugd.model.values import Entry, Instance, InstanceName
from hotplugd.rules.ruleset import RuleSet
from tests.support.virtual import VirtualLoop, now
from tests.unit.reconcile.bench import Bench

# Seconds, of LXD 5.0.2 with a pool of the driver `dir` on an idle machine: what an update takes, and each
# device in it; a GET of one instance. Measured were 15 to 16 ms for an update with one device, 0.58 to 0.68 s
# for 40 of them, each of another instance, and 0.18 s for 40 devices of four. So the server carries out one
# update after the other, whatever instances they are about.
CHANGE: Final = 0.012
DEVICE: Final = 0.0035
QUESTION: Final = 0.002
# Until a node was seen inside that is there.
_LOOK: Final = 0.001
_ROOM: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """What a scenario took.

    seconds    of virtual time, until all is as it should be
    slowest    the 95th percentile of those from a phone's event to its node inside; 0 where no phone came
    changes    how many requests changed an instance, and `questions` how many asked for one
    processor  seconds on a processor, with the simulated server's
    memory     MB of the process at the end, likewise
    """

    seconds: float
    slowest: float
    changes: int
    questions: int
    processor: float
    memory: float

    def __str__(self) -> str:
        return (
            f"{self.seconds:.2f} s; {self.changes:,} changes, {self.questions:,} questions, "
            f"{self.processor:.1f} s of CPU, {self.memory:.0f} MB"
        )


Scenario = Callable[[], Awaitable[Run]]


class FarmServer(Bench):
    """One update at a time. `inside_at` is when the entry of a slot was first in an instance."""

    def __init__(self, instances: Iterable[Instance], rules: RuleSet) -> None:
        super().__init__(*instances, rules=rules)
        self.patience, self.edited = _ROOM, True
        self.looking = _LOOK
        self.inside_at: dict[str, float] = {}
        self._one = asyncio.Lock()
        self._begun = process_time()

    async def apply(
        self,
        name: InstanceName,
        put: Sequence[Entry],
        remove: Sequence[str],
        sealed: Instance | None = None,
        leases: str | None = None,
    ) -> Instance:
        """Change an instance, once the updates before that are done."""
        async with self._one:
            self.takes = CHANGE + DEVICE * (len(put) + len(remove))
            found = await super().apply(name, put, remove, sealed, leases)
        for each in put:
            self.inside_at.setdefault(slot_of(each), now())
        return found

    async def get(self, name: InstanceName) -> Instance:
        """Ask for an instance, whatever else is asked for or done meanwhile."""
        self.takes = QUESTION
        return await super().get(name)

    @property
    def attached(self) -> int:
        """How many entries of ours there are."""
        return sum(is_ours(each) for one in self.instances.values() for each in one.entries.values())

    def run(self, since: float, slowest: float = 0.0) -> Run:
        """What it took from then until the last device was in, or until now where none came."""
        seconds = max(self.inside_at.values(), default=now()) - since
        spent = process_time() - self._begun
        return Run(seconds, slowest, len(self.requests), len(self.gets), spent, _resident())


def ran(module: str, name: str) -> Run:
    """What a scenario of this module took, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", module, name],
        cwd=Path(__file__).parents[1], check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    return Run(**json.loads(done.stdout))


def tell(scenario: Scenario) -> None:
    """Print what a scenario took, in virtual time, as JSON."""

    async def run() -> Run:
        return await scenario()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        print(json.dumps(asdict(runner.run(run()))))


def _resident() -> float:
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return float(found[1]) / 1024
