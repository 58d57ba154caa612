"""Plugs at full speed, people and crashes in between, and quiet points at which all must be right."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.soak.devices import Part
from tests.soak.figures import Figures, measure, times
from tests.soak.people import People
from tests.soak.scene import Scene
from tests.support.lab.container import Container
from tests.support.lab.wait import NotInTime, eventually

# A plug that is waited for is waited for so long: its container may not run, or not be there.
_PATIENCE: Final = 0.3
# Whoever has done nothing for so long has nothing to do.
_WHILE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of what. In plugs: all of them; when people do something; how long a daemon lives (0: to the
    end); how long a server; how old a daemon is at its quiet points.
    """

    plugs: int
    people: int
    daemon: int
    server: int
    quiet: int


@dataclass(slots=True)
class Quiet:
    """A quiet point, after so many plugs: the seconds until all was right, and for what at last."""

    plugs: int
    took: float
    waited_for: str
    figures: Figures


@dataclass(slots=True)
class Outcome:
    """What was done, and how it was at the quiet points. people: how often they did each kind of thing."""

    plugs: int = 0
    unplugs: int = 0
    kills: int = 0
    servers: int = 0
    people: dict[str, int] = field(default_factory=dict)
    quiet: list[Quiet] = field(default_factory=list)


class Soak:
    """One soak by a plan. The same die gives the same things in the same order."""

    def __init__(self, scene: Scene, plan: Plan, die: Random, say: Callable[[str], None]) -> None:
        self._scene = scene
        self._plan = plan
        self._die = die
        self._say = say
        self._people = People(scene, die, say)
        self.outcome = Outcome(people=self._people.done)
        self._born = 0
        self._times: tuple[int, int] | None = None

    def run(self) -> None:
        """Do all of it. Raises AssertionError where something is not as it should be."""
        self._spawn()
        while self.outcome.plugs < self._plan.plugs:
            self._storm()
        self._rest()
        self._say("pull everything")
        for each in self._scene.parts:
            each.unplug()
        self._scene.see_rest(self._people.follow)
        self._say("delete everything")
        self._scene.delete_all()
        self._scene.see_rest(self._people.follow)
        self._scene.see_nothing_left()
        self._scene.crash()

    # --- devices ----------------------------------------------------------------------------------------

    def _storm(self) -> None:
        """Some plugs and unplugs, as fast as the kernel goes or each waited for."""
        length, patient = self._die.choice((1, 3, 10, 30)), self._die.random() < 0.3
        self._say(f"storm of {length}{', each waited for' if patient else ''}")
        for _ in range(length):
            part = self._die.choice(self._scene.parts)
            if part.plugged:
                part.unplug()
                self.outcome.unplugs += 1
                continue
            part.plug()
            if patient:
                self._wait_for(part)
            self.outcome.plugs += 1
            self._count()
            if self.outcome.plugs == self._plan.plugs:
                return

    def _wait_for(self, part: Part) -> None:
        """Until the device is inside, or for a while where it has no place."""
        container = self._scene.home(part)
        if container is not None:
            with suppress(NotInTime):
                eventually(lambda: _is_inside(container, part), _PATIENCE)

    def _count(self) -> None:
        """What is due after so many plugs."""
        plugs, plan = self.outcome.plugs, self._plan
        if plugs % plan.people == 0:
            self._people.do_something()
        if (plugs - self._born) % plan.quiet == 0 and plugs != self._born:
            self._rest()
        if plan.server and plugs % plan.server == 0:
            self._other_server()
        if plan.daemon and plugs % plan.daemon == 0:
            self._say("kill hotplugd")
            self._scene.crash()
            self.outcome.kills += 1
            self._spawn()

    # --- crashes ----------------------------------------------------------------------------------------

    def _spawn(self) -> None:
        self._born = self.outcome.plugs
        self._scene.spawn()

    def _other_server(self) -> None:
        """The server crashes, or is stopped, and starts again."""
        crashes = self.outcome.servers % 2 == 0
        self._say(f"{'kill' if crashes else 'restart'} the server")
        if crashes:
            self._scene.server.kill()
        else:
            self._scene.server.stop()
        self.outcome.servers += 1
        self._scene.server.start()

    def _sleeps(self) -> bool:
        """Whether hotplugd neither ran nor waited for a processor since this was asked before."""
        before, self._times = self._times, times(self._scene.daemon.pid)
        return before == self._times

    # --- quiet points -----------------------------------------------------------------------------------

    def _rest(self) -> None:
        """Nothing happens any more: all must become right, and be so."""
        self._say("rest")
        self._people.wake_all()
        start = time.monotonic()
        self._scene.see_rest(self._people.follow)
        took = time.monotonic() - start
        waited_for = self._scene.waited_for or "nothing"
        figures = measure(self._scene.daemon.pid, self.outcome.plugs - self._born)
        self.outcome.quiet.append(Quiet(self.outcome.plugs, took, waited_for, figures))
        self._people.describe_all()
        # It has read them: what it has not heard of by a request it may write over (README, known limits).
        eventually(self._sleeps, pause=_WHILE)
        self._say(f"go on: it took {took:.1f} s, at last for this: {waited_for}")


def _is_inside(container: Container, part: Part) -> bool:
    if part.node:
        return container.look(part.node) is not None
    return part.interface(container.name) in container.interfaces()
