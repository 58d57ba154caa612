"""How far an event goes through the code, counted for a plug and for a repair: `python -m benchmarks.shape`.

Counts from the moment at which the reconciler hears of an event to the request to the server, in virtual time
with the tests' server: the files of the core in which a function runs, how often a call goes from one file to
another, and how many plans and tasks there are. The values of `model`, which every file reads, do not count.
With `--path` each switch is printed too.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Final

import hotplugd
from hotplugd.aio.tasks import Activity
from hotplugd.model.values import Entry, Instance, InstanceName
from hotplugd.plan.planner import plan_instance
from tests.support.devices import console
from tests.support.virtual import at, in_virtual_time
from tests.unit.reconcile.bench import Bench

_ROOT: Final = os.path.dirname(hotplugd.__file__) + os.sep
_CORE: Final = ("aio", "plan", "pools", "reconcile", "rules")
_DEVICE: Final = console()


@dataclass(slots=True)
class Shape:
    """What one event takes.

    path   the first function that runs after each switch between files: its file and its name
    plans  how often an instance was planned
    tasks  how many tasks were started
    """

    path: list[tuple[str, str]] = field(default_factory=list)
    plans: int = 0
    tasks: int = 0

    @property
    def files(self) -> set[str]:
        """The files in which a function ran."""
        return {file for file, _ in self.path}

    @property
    def switches(self) -> int:
        """How often a call went from one file to another."""
        return len(self.path)

    def by_package(self) -> dict[str, tuple[int, int]]:
        """How many files and how many switches into one of them there are in each package."""
        files = Counter(each.partition("/")[0] for each in self.files)
        switches = Counter(file.partition("/")[0] for file, _ in self.path)
        return {each: (files[each], switches[each]) for each in sorted(files)}

    def note(self, code: CodeType) -> None:
        """Take note that this is called."""
        self.plans += code is plan_instance.__code__
        self.tasks += code is Activity.start.__code__
        file = code.co_filename.removeprefix(_ROOT)
        is_core = code.co_filename.startswith(_ROOT) and file.partition("/")[0] in _CORE
        if is_core and (not self.path or self.path[-1][0] != file):
            self.path.append((file, code.co_qualname))


class _Watched(Bench):
    """Ends the recording when the request comes."""

    async def apply(
        self,
        name: InstanceName,
        put: Sequence[Entry],
        remove: Sequence[str],
        sealed: Instance | None = None,
        leases: str | None = None,
    ) -> Instance:
        sys.setprofile(None)
        return await super().apply(name, put, remove, sealed, leases)


def shape_of(event: Callable[[Bench], None], *present: object) -> Shape:
    """What happens from this event to the next request. present: whether the device is there before."""
    shape = Shape()

    def called(frame: FrameType, what: str, _: object) -> None:
        if what == "call":
            shape.note(frame.f_code)

    @in_virtual_time
    async def run() -> None:
        bench = _Watched()
        await bench.start(*[_DEVICE] * bool(present))
        await at(100)
        sys.setprofile(called)
        try:
            event(bench)
            await at(100)
        finally:
            sys.setprofile(None)

    run()
    return shape


def plug() -> Shape:
    """A device is plugged in that a rule takes."""
    return shape_of(lambda bench: bench.reconciler.device(_DEVICE))


def repair() -> Shape:
    """An attached device's node is unmounted inside."""
    return shape_of(lambda bench: bench.unmount(_DEVICE), _DEVICE)


def main() -> None:
    """Print the figures."""
    for name, shape in (("plug", plug()), ("repair", repair())):
        print(
            f"{name}: {len(shape.files)} files, {shape.switches} switches between files, "
            f"{shape.plans} plans, {shape.tasks} tasks"
        )
        for package, (files, switches) in shape.by_package().items():
            print(f"    {package}: {files} files, {switches} switches")
        if "--path" in sys.argv[1:]:
            print(*(f"    {file}: {function}" for file, function in shape.path), sep="\n")


if __name__ == "__main__":
    main()
