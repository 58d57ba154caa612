"""Forty devices at once, in and out: hotplugd, the script that people write, and the server by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median

from benchmarks.figure import Figure
from benchmarks.interval import interval, told
from benchmarks.live import rules
from benchmarks.watch import Watch
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.script import Script
from tests.support.lab.server import Server
from tests.support.lab.udevd import udevd
from tests.support.lab.wait import eventually

_ROUNDS = 7
_DEVICES = 40
_CONTAINERS = 4
_DEADLINE = 8.0

_MINORS = {"vcs": 0, "vcsu": 64, "vcsa": 128}


@dataclass(frozen=True)
class Storms:
    """Of each round: seconds until the last was inside and until the last was gone; what never was."""

    into: list[float] = field(default_factory=list)
    out: list[float] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    stuck: list[int] = field(default_factory=list)


Contender = Callable[[Server, dict[str, Container]], AbstractContextManager[object]]


def figures() -> list[Figure]:
    """How much sooner hotplugd is done, and what is lost on the way."""
    with udevd(), Server() as server:
        found = compare(server)
    ours, script, alone = found["hotplugd"], found["script"], found["server alone"]
    # What never came counts as having taken the whole time, which would be our gain.
    assert not failed(script), f"the script lost {script.lost} and left {script.stuck} of {_DEVICES}"
    assert failed(alone), "storms in which LXD alone loses nothing prove nothing"
    into, out = _told(ours.into, script.into), _told(ours.out, script.out)
    lost = f"LXD alone: {median(alone.lost):.0f} never there, {median(alone.stuck):.0f} never gone"
    return [
        Figure(
            f"{_DEVICES} devices into {_CONTAINERS} containers", "script, one save() an event", "≥", 5,
            median(script.into) / median(ours.into), "times faster", into,
        ),
        Figure(
            f"{_DEVICES} devices out", "script, one save() an event", "≥", 4,
            median(script.out) / median(ours.out), "times faster", out,
        ),
        Figure(
            f"of {_DEVICES} devices in and out, {_ROUNDS} times", "LXD alone, static entries", "≤", 0,
            failed(ours), "lost or stuck", lost,
        ),
    ]  # fmt: skip


def _told(ours: list[float], script: list[float]) -> str:
    bounds = interval(lambda these, those: median(those) / median(these), ours, script)
    return f"{median(ours):.2f} s against {median(script):.2f} s; {told(bounds)}"


def failed(storms: Storms) -> int:
    """How many devices were not there, or did not go, in time."""
    return sum(storms.lost) + sum(storms.stuck)


def compare(server: Server, rounds: int = _ROUNDS) -> dict[str, Storms]:
    """The storms of each, in turns."""
    contenders: dict[str, Contender] = {"hotplugd": _hotplugd, "script": _script, "server alone": _alone}
    found = {who: Storms() for who in contenders}
    with ExitStack() as undo:
        containers = [server.launch() for _ in range(_CONTAINERS)]
        for home in containers:
            undo.callback(home.delete)
        consoles = [Console() for _ in range(-(-_DEVICES // len(_MINORS)))]
        for each in consoles:
            undo.callback(each.close)
        numbers = dict(
            [
                (f"/dev/{kind}{each.number}", f"c 7:{minor + each.number}")
                for each in consoles
                for kind, minor in _MINORS.items()
            ][:_DEVICES]
        )
        homes = {path: containers[at % _CONTAINERS] for at, path in enumerate(numbers)}
        watch = undo.enter_context(Watch(containers))
        for _ in range(rounds):
            for who, contender in contenders.items():
                with contender(server, homes):
                    _storm(consoles, homes, numbers, watch, found[who])
                for container in containers:
                    eventually(lambda each=container: _clean(each))  # type: ignore[misc]
    return found


def _storm(
    consoles: list[Console],
    homes: dict[str, Container],
    numbers: dict[str, str],
    watch: Watch,
    storms: Storms,
) -> None:
    start = time.perf_counter()
    for each in consoles:
        each.plug()
    storms.lost.append(len(watch.until(homes, numbers, _DEADLINE)))
    storms.into.append(time.perf_counter() - start)
    start = time.perf_counter()
    for each in consoles:
        each.unplug()
    storms.stuck.append(len(watch.until(homes, {}, _DEADLINE)))
    storms.out.append(time.perf_counter() - start)


def _clean(container: Container) -> bool:
    """Take out what a contender left, which takes its nodes along."""
    for name in container.devices:
        container.remove_device(name)
    return not any(path.startswith("/dev/vcs") for path in container.nodes())


def _names(homes: dict[str, Container]) -> dict[str, str]:
    return {path.removeprefix("/dev/"): str(home) for path, home in homes.items()}


def _hotplugd(server: Server, homes: dict[str, Container]) -> Daemon:
    return Daemon(server.socket, rules(_names(homes)))


def _script(server: Server, homes: dict[str, Container]) -> Script:
    return Script(server.socket, _names(homes))


@contextmanager
def _alone(_: Server, homes: dict[str, Container]) -> Iterator[None]:
    for home in set(homes.values()):
        mine = [path for path in homes if homes[path] is home]
        entries = {
            path.removeprefix("/dev/"): {"type": "unix-char", "source": path, "required": "false"}
            for path in mine
        }
        home.patch({"devices": entries})
    yield
