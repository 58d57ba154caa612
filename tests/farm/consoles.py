"""A farm of this machine: the kernel's consoles are its phones, and those of each four are on one hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from tests.farm.day import Day, begin
from tests.farm.lab import Lab
from tests.farm.model import Device, Model
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.forked import Forking
from tests.support.lab.kernel import Console
from tests.support.lab.server import Server
from tests.support.lab.udevd import settle

CONSOLES: Final = 12
JOBS: Final = 8
_HUB: Final = 4
_SEEN: Final = "a node"
# Within that time; more than all other events ever make.
_FLAPS: Final = 20
_RULES: Final = """
pools:
  sticky: {{instances: "job-*", keep: 60m, keep_stopped: true, flap: {{count: {flaps}, within: 5s}}}}
  loose: {{instances: "job-*", flap: {{count: {flaps}, within: 5s}}}}
rules:
  - {{name: sticky, match: {{subsystem: vc, kernel: "{sticky}"}}, attach: {{pool: sticky}}}}
  - {{name: loose, match: {{subsystem: vc, kernel: "{loose}"}}, attach: {{pool: loose, mode: "0640"}}}}
"""
# Consoles have one mode, and nobody to ask.
_WITHOUT: Final = frozenset({"switch", "authorise"})


class Consoles(Lab):
    """See `World`."""

    def __init__(self, server: Server, daemon: Daemon, consoles: Mapping[str, Console]) -> None:
        super().__init__(server, daemon)
        self._consoles = consoles
        names = list(consoles)
        self.hubs = [names[at : at + _HUB] for at in range(0, len(names), _HUB)]
        self.modes: list[str] = []

    def switch(self, device: str, sight: str) -> None:
        raise NotImplementedError

    @property
    def identities(self) -> Mapping[str, str]:
        return {f"kernel:{_kernel(each)}": name for name, each in self._consoles.items()}

    def words(self, device: str) -> str:
        # A path means no device that is absent.
        return f"kernel:{_kernel(self._consoles[device])}"

    def ask(self, words: Sequence[str], device: str, job: str = "") -> bool:
        # hotplugd knows a device that was plugged in just now once udevd has processed it.
        settle()
        return super().ask(words, device, job)

    def selector(self, only: frozenset[str]) -> str:
        return f"kernel={'|'.join(sorted(_kernel(self._consoles[each]) for each in only))}"

    def came_up(self, container: Container) -> None:
        container.forget_pid()

    def launch(self, job: str, config: dict[str, str]) -> Container:
        return self.server.launch(job, config=config, start=False)

    def sights(self, container: Container) -> Mapping[str, str]:
        nodes = container.nodes()
        numbers = {f"c 7:{128 + each.number}": (name, each.node) for name, each in self._consoles.items()}
        found = {}
        for path, seen in nodes.items():
            if seen.major == 7:
                name, node = numbers[seen.number]
                assert path == node, f"{container} has {seen.number} at {path}, expected {node}"
                found[name] = _SEEN
        return found

    def plug(self, device: str, sight: str) -> None:
        self._consoles[device].plug()

    def pull(self, device: str) -> None:
        self._consoles[device].unplug()


@contextmanager
def farm() -> Iterator[Consoles]:
    """A server, a daemon and consoles that are not plugged yet."""
    with ExitStack() as undo:
        consoles = {}
        for number in range(1, CONSOLES + 1):
            console = consoles[f"c{number:02}"] = Console()
            undo.callback(console.close)
        server = undo.enter_context(Server())
        kernels = [_kernel(each) for each in consoles.values()]
        rules = _RULES.format(sticky="|".join(kernels[:-_HUB]), loose="|".join(kernels[-_HUB:]), flaps=_FLAPS)
        # A few devices, each plugged more often than any that is in order: that is what such a day is.
        commands = undo.enter_context(Forking())
        daemon = Daemon(server.socket, rules, more="most_plugs: 0\n", commands=commands)
        undo.callback(daemon.close)
        lab = Consoles(server, daemon, consoles)
        lab.spawn()
        yield lab


def live(lab: Consoles, seed: int, events: int) -> Day:
    """A whole day, to its end. Raises AssertionError, with the events so far, where something is wrong."""
    names = list(lab.identities.values())
    pools = dict.fromkeys(names[:-_HUB], "sticky") | dict.fromkeys(names[-_HUB:], "loose")
    devices = {name: Device(pool, sight=_SEEN) for name, pool in pools.items()}
    model = Model(frozenset({"sticky"}), _SEEN, devices)
    day = Day(lab, begin(model, seed, JOBS), _WITHOUT)
    day.run(events)
    day.end()
    lab.see_nothing_left()
    return day


def _kernel(console: Console) -> str:
    return f"vcsa{console.number}"
