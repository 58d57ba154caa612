"""How often something may be done: so often in a row, and from then on once in so many seconds. Pure."""

from __future__ import annotations

from typing import Final

_NEVER_DONE: Final = float("-inf")


class Pace:
    """Times are the event loop's, in seconds.

    free   so often in a row it is done without a wait, and once more
    every  from then on it is done once in so many seconds; and so long each of those takes to be free again
    due    when it may be done again
    """

    def __init__(self, free: int, every: float) -> None:
        self._free = free
        self._every = every
        # When all that was done so far is made up for.
        self._paid = _NEVER_DONE
        self.due = _NEVER_DONE

    def done(self, now: float) -> None:
        """It is done."""
        self._paid = max(self._paid, now) + self._every
        self.due = self._paid - self._free * self._every

    @property
    def calm_at(self) -> float:
        """When it will not have had to wait for a moment, unless it is done again."""
        return self.due + self._every

    def is_short(self, now: float) -> bool:
        """Whether it has to wait now, or had to a moment ago."""
        return self.calm_at > now
