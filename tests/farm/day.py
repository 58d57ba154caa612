"""A day of a farm: which events come when, by a die, and its quiet moments."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Final

from tests.farm.diary import Diary, State
from tests.farm.events import Events
from tests.farm.model import Model
from tests.farm.world import World

# The most events between two quiet moments.
_REST: Final = 6


class Day(Events):
    """One day. The same seed gives the same events in the same order.

    Each kind of event is done once before any of them comes by the die, so that a short day has all of them.
    """

    def __init__(self, world: World, state: State, without: frozenset[str]) -> None:
        """without: kinds of events that this world does not have."""
        super().__init__(world, state)
        every: tuple[Callable[[int], bool], ...] = (
            self.plug, self.create, self.plug, self.create, self.edit, self.pull, self.stop_or_start,
            self.claim, self.restart, self.copy, self.power_cycle, self.snapshot, self.release, self.move,
            self.drain, self.kill, self.switch, self.flap, self.restore, self.delete, self.uncordon,
            self.restart_server, self.kill_server, self.withdraw, self.authorise,
        )  # fmt: skip
        # Whether nothing has happened since all was right.
        self._is_quiet = False
        self._kinds = [each for each in every if each.__name__ not in without]
        for each in self._kinds:
            self.diary.done.setdefault(each.__name__, 0)

    def run(self, until: int) -> None:
        """Go on until so many events happened and all is quiet. What is wrong is raised with the diary."""
        try:
            if not self.state.events:
                self._morning()
            while self.state.events < until:
                self._event()
            if not self._is_quiet:
                self.rest()
        except BaseException as error:
            error.add_note(self.diary.told())
            raise

    def end(self) -> None:
        """The power fails in the room, and comes back; then everything is pulled and deleted."""
        there = [name for name in self._there() if self._is_calm(name)]
        for name in there:
            self._pull(name)
        for name in there:
            self._plug(name)
        self.rest()
        for job in sorted(self.model.jobs):
            self.diary.say(f"delete {job}")
            self._world.delete(job)
            self.model.deleted(job)
        while self.uncordon(0):
            continue
        for name, device in self.model.devices.items():
            if device.there:
                self._pull(name)
        self.rest()

    def rest(self) -> None:
        self.diary.say("rest")
        begun = time.monotonic()
        seen = self._world.rest(self.model.judge)
        self._is_quiet = True
        self.diary.rests.append(time.monotonic() - begun)
        self.model.adopt(seen)
        leased = ", ".join(f"{name} {job}" for name, job in sorted(seen.listed.items()))
        self.diary.say(f"right after {self.diary.rests[-1]:.1f} s: {leased or 'no lease'}")
        self.state.due = self.state.events + self.state.die.randint(1, _REST)

    def _morning(self) -> None:
        """Most devices are there when the day begins, and half of the instances."""
        die = self.state.die
        names = list(self.model.devices)
        for name in names[: -len(names) // 4]:
            self._plug(name)
        while len(self.model.jobs) < self.state.most // 2:
            self.create(die.randrange(1 << 30))

    def _event(self) -> None:
        """One event, of the first kind that is possible; the die is thrown as often whatever comes of it."""
        self._is_quiet = False
        die, done = self.state.die, self.diary.done
        at, pick = die.randrange(len(self._kinds)), die.randrange(1 << 30)
        never = [each for each in self._kinds if not done[each.__name__]]
        for each in (*never, *self._kinds[at:], *self._kinds[:at]):
            if each(pick):
                done[each.__name__] += 1
                self.state.events += 1
                break
        if self.state.events >= self.state.due:
            self.rest()


def begin(model: Model, seed: int, most: int) -> State:
    """A day that has not begun. most: of instances at a time."""
    return State(model, Diary(seed), Random(seed), most)
