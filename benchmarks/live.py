"""One device at a time: from plug to its node inside, and from unplug until it is gone, beside the floor.

The floor, the same with entries that name links which stay, as hotplugd's do, and hotplugd run at the same
time, each with a console of its own for each container, and take turns plug by plug: what disturbs one
disturbs the others.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from benchmarks.figure import Figure
from benchmarks.interval import interval, told
from benchmarks.watch import Watch
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.script import Script
from tests.support.lab.server import Server
from tests.support.lab.udevd import udevd

_WHO = ("hotplugd", "floor", "linked")
_ROUNDS = 100
_CONTAINERS = 4
_DEADLINE = 10.0
# Between two measurements everybody has finished what the last one was about.
_PAUSE = 0.06


@dataclass(frozen=True)
class Times:
    """Milliseconds from plug to inside, and from unplug to gone."""

    add: list[float] = field(default_factory=list)
    remove: list[float] = field(default_factory=list)


def figures() -> list[Figure]:
    """What hotplugd adds to what has to be done in any case."""
    with udevd(), Server() as server:
        found = compare(server)
    ours, floor, linked = found["hotplugd"], found["floor"], found["linked"]
    plugged = "bare udev listener, one ready-made PATCH"
    pulled = "bare udev listener, GET + PUT + wait"
    return [
        _figure("plug to node inside, median of 100", plugged, 1.03, median, ours.add, floor.add),
        _figure("plug to node inside, p95 of 100", plugged, 1.20, p95, ours.add, floor.add),
        _figure("unplug to gone, median of 100", pulled, 1.05, median, ours.remove, floor.remove),
        _figure("the same", f"{pulled}; links that stay", 1.05, median, ours.remove, linked.remove),
    ]


def compare(server: Server, rounds: int = _ROUNDS) -> dict[str, Times]:
    """The times of `floor`, of `linked`, whose entries name links, and of `hotplugd`: `rounds` of each."""
    with ExitStack() as undo:
        containers = [server.launch() for _ in range(_CONTAINERS)]
        for home in containers:
            undo.callback(home.delete)
        consoles: dict[str, list[Console]] = {each: [] for each in _WHO}
        for each in consoles.values():
            for _ in containers:
                each.append(Console())
                undo.callback(each[-1].close)
        places = {
            who: {
                f"vcsa{console.number}": str(containers[_home(who, number)])
                for number, console in enumerate(found)
            }
            for who, found in consoles.items()
        }
        undo.enter_context(Daemon(server.socket, rules(places["hotplugd"])))
        undo.enter_context(Script(server.socket, places["floor"], name="floor"))
        # The server takes nothing from elsewhere.
        links = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="hpb-", dir="/dev")))
        undo.enter_context(Script(server.socket, places["linked"], name="floor", links=links))
        watches = [undo.enter_context(Watch([each])) for each in containers]
        found = {who: Times() for who in consoles}
        for number in range(rounds):
            at = number % _CONTAINERS
            for who in random.sample(list(found), len(found)):
                place = _home(who, at)
                _once(consoles[who][at], containers[place], watches[place], found[who])
        return found


def rules(places: dict[str, str]) -> str:
    """A rule for each device (by the kernel's name of it), for its instance."""
    return "rules:\n" + "".join(
        f"  - {{name: {kernel}, match: {{subsystem: vc, kernel: {kernel}}}, attach: {{to: {instance}}}}}\n"
        for kernel, instance in places.items()
    )


def p95(values: Sequence[float]) -> float:
    """The 95th percentile."""
    return quantiles(values, n=20)[-1]


def _figure(
    measure: str,
    against: str,
    limit: float,
    of: Callable[[Sequence[float]], float],
    ours: Sequence[float],
    floor: Sequence[float],
) -> Figure:
    bounds = interval(lambda these, those: of(these) / of(those), ours, floor)
    absolute = f"{of(ours):.1f} ms against {of(floor):.1f} ms; {told(bounds)}"
    return Figure(measure, against, "≤", limit, of(ours) / of(floor), absolute=absolute)


def _home(who: str, number: int) -> int:
    """The container of the console with this number. Never the same for two at a time: the server refuses
    an update of an instance while it carries out another's.
    """
    return (number + _WHO.index(who)) % _CONTAINERS


def _once(console: Console, container: Container, watch: Watch, times: Times) -> None:
    """One plug and one unplug."""
    homes = {console.node: container}
    time.sleep(_PAUSE)
    start = time.perf_counter()
    console.plug()
    left = watch.until(homes, {console.node: f"c 7:{128 + console.number}"}, _DEADLINE)
    times.add.append((time.perf_counter() - start) * 1000)
    assert not left, f"expected {console.node} in {container} within {_DEADLINE:.0f} s"
    time.sleep(_PAUSE)
    start = time.perf_counter()
    console.unplug()
    left = watch.until(homes, {}, _DEADLINE)
    times.remove.append((time.perf_counter() - start) * 1000)
    assert not left, f"expected {console.node} out of {container} within {_DEADLINE:.0f} s"
