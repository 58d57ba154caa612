"""One device or one container that never rests: what it costs the daemon, and another container's plug.

Each disturber runs beside a daemon of its own. A flap is a console that is plugged and pulled again every
40 ms or as fast as the kernel goes; a storm is some hundred events a second.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.figure import Figure
from benchmarks.live import rules
from benchmarks.watch import Watch
from tests.soak.figures import cpu
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.restless import DISTURBERS, Disturber
from tests.support.lab.server import Server
from tests.support.lab.udevd import udevd

_PLUGS: Final = 25
_PAUSE: Final = 0.15
_DEADLINE: Final = 10.0
# Until a limit holds.
_BEFORE: Final = 15.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Beside one disturber: the daemon's share of a processor, lines logged a second, and plugs in ms."""

    busy: float
    lines: float
    plug: float


def figures() -> list[Figure]:
    """What each disturber costs."""
    with udevd(), Server() as server:
        found = {name: measure(server, disturb) for name, disturb in DISTURBERS.items()}
    quiet = found.pop("nothing")
    made = []
    for name, cost in found.items():
        made += [
            Figure(f"{name}: CPU", "", "≤", 25, 100 * cost.busy, "%", f"{100 * quiet.busy:.1f} % without"),
            Figure(f"{name}: log", "", "≤", 1, cost.lines, "lines a second"),
            Figure(
                f"{name}: another container's plug", "nothing", "≤", 2, cost.plug / quiet.plug,
                absolute=f"{cost.plug:.1f} ms against {quiet.plug:.1f} ms",
            ),
        ]  # fmt: skip
    return made


def measure(server: Server, disturb: Disturber) -> Cost:
    """What one disturber costs that has a container and a console of its own."""
    with ExitStack() as undo:
        homes = [server.launch() for _ in range(2)]
        consoles = [undo.enter_context(Console()) for _ in homes]
        for home in homes:
            undo.callback(home.delete)
        places = {f"vcsa{each.number}": str(home) for each, home in zip(consoles, homes, strict=True)}
        daemon = undo.enter_context(Daemon(server.socket, rules(places)))
        watch = undo.enter_context(Watch(homes[1:]))
        undo.enter_context(disturb(server, homes[0], consoles[0]))
        time.sleep(_BEFORE)
        start, spent, said = time.monotonic(), cpu(daemon.pid), len(daemon.log().splitlines())
        plugs = [_once(consoles[1], homes[1], watch) for _ in range(_PLUGS)]
        took = time.monotonic() - start
        mine = 2 * _PLUGS
        lines = len(daemon.log().splitlines()) - said - mine
        return Cost((cpu(daemon.pid) - spent) / took, lines / took, median(plugs) * 1000)


def _once(console: Console, home: Container, watch: Watch) -> float:
    console.unplug()
    assert not watch.until({console.node: home}, {}, _DEADLINE)
    time.sleep(_PAUSE)
    start = time.perf_counter()
    console.plug()
    number = f"c 7:{128 + console.number}"
    assert not watch.until({console.node: home}, {console.node: number}, _DEADLINE)
    took = time.perf_counter() - start
    time.sleep(_PAUSE)
    return took
