"""A rate limit: an action is free a number of times in a row, and then allowed once in an interval. Pure."""

from __future__ import annotations

from typing import Final

_NEVER_DONE: Final = float("-inf")


class Pace:
    """Times are the event loop's, in seconds.

    free   how many times in a row the action is free, and once more
    every  the interval after that; each free action becomes free again after one interval
    due    when the action is allowed again
    """

    def __init__(self, free: int, every: float) -> None:
        self._free = free
        self._every = every
        # When every action so far is free again.
        self._paid = _NEVER_DONE
        self.due = _NEVER_DONE

    def done(self, now: float) -> None:
        """Take note that the action is done."""
        self._paid = max(self._paid, now) + self._every
        self.due = self._paid - self._free * self._every

    @property
    def calm_at(self) -> float:
        """When the limit will have been free for a moment, unless the action is done again."""
        return self.due + self._every

    def is_short(self, now: float) -> bool:
        """Whether the action has to wait now, or had to a moment ago."""
        return self.calm_at > now
