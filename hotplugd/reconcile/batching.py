"""Which changes go as one request, and when: after failures, and for entries that change all the time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hotplugd.aio.backoff import LONG_AGO, NEVER, delay
from hotplugd.aio.pace import Pace
from hotplugd.model.problem import Problem
from hotplugd.plan.change import Change

# This many requests in a row go at once; then one goes in this many seconds, and changes gather.
_FREE_REQUESTS: Final = 100
_REQUEST: Final = 0.5

CROWDED: Final = (
    f"its devices change all the time: what changes goes in one request in {_REQUEST} s until it is calm, "
    f"and what is pulled at once; end what plugs, edits or takes out there"
)

# An entry may change this often in a row before it has to wait: another program may change it back.
_FREE_CHANGES: Final = 3
_CALM: Final = 60.0


@dataclass(slots=True)
class _History:
    """The recent history of one entry.

    failures  how often a change failed in a row
    changes   how often it was changed in a row
    last      when something happened to it
    until     when it may be changed again
    alone     it goes in a request of its own, since a request that contained it was refused
    problem   why it cannot be changed
    fight     the problem that it was changed too often
    """

    failures: int = 0
    changes: int = 0
    last: float = LONG_AGO
    until: float = LONG_AGO
    alone: bool = False
    problem: Problem | None = None
    fight: Problem | None = None

    @property
    def over_at(self) -> float:
        return max(self.last, self.until) + _CALM

    def is_over(self, now: float) -> bool:
        return self.over_at <= now


class Batching:
    """The changes of one instance's entries. Times are the event loop's, in seconds."""

    def __init__(self) -> None:
        self._records: dict[str, _History] = {}
        self._pace = Pace(_FREE_REQUESTS, _REQUEST)
        # Entries of devices that should not be in the instance any more: their removal does not wait.
        self._leaving: set[str] = set()

    def leaves(self, names: Iterable[str]) -> None:
        """Take note that the devices of these entries should not be in the instance any more."""
        self._leaving.update(names)

    def sent(self, now: float) -> None:
        """Take note that a request is sent."""
        self._pace.done(now)

    def is_busy(self, now: float) -> bool:
        """Whether so many requests were sent that changes have to gather."""
        return self._pace.is_short(now)

    @property
    def calm_at(self) -> float:
        """When changes need not gather any more, if no further request is sent."""
        return self._pace.calm_at

    def batch(self, changes: Sequence[Change], now: float) -> list[Change]:
        """What can go as one request now: everything that is ready, or one entry that has to go alone.

        A change whose target another entry of ours still has goes together with the change of that entry, or
        after it: of two entries at one path the server silently mounts only the first.
        """
        ready = [change for change in changes if self._when(change) <= now]
        together = _with_room([change for change in ready if not self._of(change).alone], changes)
        if together:
            return together
        alone = next((change for change in ready if _with_room([change], changes)), None)
        # Entries that swap their targets: one of them has to go first.
        return [alone] if alone is not None else _with_room(ready, changes)[:1]

    def spoiled(self, change: Change, now: float) -> None:
        """A request with this change and others was refused, perhaps because of this one: it goes alone."""
        self._touch(change, now).alone = True

    def held(self, change: Change, message: str, now: float) -> tuple[float, bool]:
        """The change alone was refused. Returns the seconds to wait, and whether the problem is new."""
        record = self._touch(change, now)
        record.failures += 1
        record.alone = True
        pause = delay(record.failures)
        record.until = now + pause
        problem = Problem(
            change.device, change.rule, f"cannot {change.action} in {change.instance}: {message}"
        )
        new, record.problem = record.problem != problem, problem
        return pause, new

    def stuck(self, change: Change, message: str, now: float) -> bool:
        """The change cannot be made before the instance restarts. Returns whether the problem is new."""
        _, new = self.held(change, message, now)
        self._touch(change, now).until = NEVER
        return new

    def done(self, change: Change, now: float) -> Problem | None:
        """The change was made. Returns a problem where it was made so often that the next one has to wait."""
        record = self._touch(change, now)
        record.failures, record.alone, record.problem = 0, False, None
        if change.action == "remove" and change.entry.name in self._leaving:
            # A rule or a person wanted it out: what follows is no answer to what somebody else did.
            record.changes, record.until, record.fight = 0, now, None
            return None
        record.changes += 1
        excess = record.changes - _FREE_CHANGES
        record.until = now
        if excess <= 0:
            return None
        record.until += delay(excess)
        record.fight = Problem(
            change.device,
            change.rule,
            f"its entry in {change.instance} was changed again and again: "
            f"something else changes it too, or takes its node out",
        )
        return record.fight if excess == 1 else None

    def hurry(self) -> None:
        """Something changed: nothing has to wait any more."""
        for record in self._records.values():
            record.until = LONG_AGO

    def rest(self, changes: Iterable[Change], now: float) -> Iterator[float]:
        """These changes are left. Yields when each may be made, and when a fight will be over.

        Forgets histories that are over.
        """
        left = {change.entry.name: change for change in changes}
        self._leaving &= left.keys()
        if left and self._pace.due > now:
            yield self._pace.due
        for name, record in list(self._records.items()):
            if name in left:
                yield record.until
                continue
            record.problem = None
            if record.is_over(now):
                del self._records[name]
            elif record.fight is not None:
                # The problem is reported until then.
                yield record.over_at

    def wait(self, change: Change) -> tuple[float, str]:
        """When this change may be made, and why not before that."""
        record, until = self._of(change), self._when(change)
        if until > record.until:
            return until, CROWDED
        reason = record.problem or record.fight
        return until, reason.message if reason is not None else ""

    def problems(self, now: float) -> list[Problem]:
        """Why changes cannot be made, and which entries were changed too often lately."""
        records = self._records.values()
        failed = [record.problem for record in records if record.problem is not None]
        return failed + [
            record.fight for record in records if record.fight is not None and not record.is_over(now)
        ]

    def _when(self, change: Change) -> float:
        """When the change may be made."""
        until = self._of(change).until
        goes = change.action == "remove" and change.entry.name in self._leaving
        return until if goes else max(until, self._pace.due)

    def _of(self, change: Change) -> _History:
        return self._records.get(change.entry.name) or _History()

    def _touch(self, change: Change, now: float) -> _History:
        record = self._records.setdefault(change.entry.name, _History())
        if record.is_over(now):
            record.failures, record.changes, record.fight = 0, 0, None
        record.last = now
        return record


def _with_room(chosen: list[Change], changes: Sequence[Change]) -> list[Change]:
    """The chosen changes whose targets are free once all of the chosen were made."""
    while True:
        names = {change.entry.name for change in chosen}
        occupied = {change.frees for change in changes if change.frees and change.entry.name not in names}
        fit = [change for change in chosen if change.want is None or change.want.target not in occupied]
        if len(fit) == len(chosen):
            return chosen
        chosen = fit
