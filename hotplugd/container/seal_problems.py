"""Tells of nodes that could not be sealed: of each problem once, when it begins and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from hotplugd.model.problem import Problem
from hotplugd.model.values import Entry, InstanceName


@dataclass(frozen=True, slots=True)
class Unsealed:
    """A problem of sealing, and whose node it is about: that of an entry in an instance; None if of all."""

    problem: Problem
    instance: InstanceName | None = None
    entry: Entry | None = None


class SealProblems:
    """What was told of and is not over.

    told  called with each problem once it has begun, and `over` once it is over
    """

    def __init__(self, told: Callable[[Unsealed], None], over: Callable[[Unsealed], None]) -> None:
        self._tell = told
        self._tell_over = over
        self._told: dict[Problem, Unsealed] = {}

    def are(self, now: Iterable[Unsealed]) -> None:
        """Take these as all problems: log the new ones and those that are over."""
        found = {each.problem: each for each in now}
        for problem in [each for each in found if each not in self._told]:
            self._told[problem] = found[problem]
            self._tell(found[problem])
        for problem in [each for each in self._told if each not in found]:
            self._tell_over(self._told.pop(problem))


def message_about(now: Iterable[Unsealed], names: Collection[str]) -> str:
    """The first of these problems that is about an entry of one of these names; empty if none is."""
    found = (each.problem.message for each in now if each.entry is not None and each.entry.name in names)
    return next(found, "")
