"""Devices of pools that come and go more often than their pool allows, and are quarantined. Pure.

    plugs x Flap -> Quarantine     `Flaps`

A quarantine is of a device, by its identity, and is over once it was not plugged in for its quiet time. Times
are of one clock that goes on while nothing happens; after a start of the daemon the quiet time starts anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from hotplugd.pools.health import Health
from hotplugd.rules.pool_health import Flap

LEAST_QUIET: Final = 60.0
"""In seconds: the quiet time of a first quarantine, unless the pool counts plugs within a longer time."""

MOST_QUIET: Final = 3600.0
"""In seconds: a quiet time is no longer than this, and one that is over for so long is forgotten."""

MOST: Final = 1000
"""So many devices are counted, and so many quarantined, at a time: serial numbers are what devices say."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A device that is in no instance because it came and went too often.

    key    what the device is known by in leases
    pool   its pool
    place  the name or number of the port where it came and went too often; empty where it has none
    count  how often it was plugged in, within so many seconds
    since  when it was quarantined: ISO 8601, UTC
    quiet  so many seconds without a plug end it
    """

    key: str
    pool: str
    place: str
    count: int
    within: float
    since: str
    quiet: float

    @property
    def reason(self) -> str:
        """What happened, and what ends it. It stays the same while the quarantine lasts."""
        at = f" at {self.place}" if self.place else ""
        return (
            f"it came and went {self.count} times within {self.within:.0f} s{at}: a bad cable, too little "
            f"power, or it starts again and again; it is in quarantine until "
            f"{self.quiet / 60:.0f} min pass without another plug"
        )

    @property
    def health(self) -> Health:
        """The health of the device meanwhile."""
        return Health("quarantined", self.reason, self.since)


@dataclass(slots=True)
class _Count:
    """The plugs of one device.

    token  the enumeration of the last plug
    since  when it was plugged in, within the time that its pool counts
    """

    token: str = ""
    since: deque[float] = field(default_factory=deque)


class Flaps:
    """Counts plugs, and knows who is quarantined."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}
        self._quarantines: dict[str, Quarantine] = {}
        self._until: dict[str, float] = {}
        # The quiet time of quarantines that are over, and when they were.
        self._over: dict[str, tuple[float, float]] = {}

    def __iter__(self) -> Iterator[Quarantine]:
        return iter(self._quarantines.values())

    def of(self, key: str) -> Quarantine | None:
        """The quarantine of a device, if it is in one."""
        return self._quarantines.get(key)

    def restore(self, quarantines: Iterable[Quarantine], now: float) -> None:
        """Take what was so when the daemon ended. What is there already stays."""
        for each in quarantines:
            if each.key not in self._quarantines and len(self._quarantines) < MOST:
                self._quarantines[each.key] = each
                self._until[each.key] = now + each.quiet

    def plugged(
        self, key: str, pool: str, flap: Flap, token: str, place: str, now: float, since: str
    ) -> bool:
        """A device of a pool is there. Returns whether it is quarantined from now on, and was not.

        key    what it is known by; token tells one enumeration of it from another
        place  where it is plugged in; since: the time of day, for people
        """
        count = self._counts.pop(key, None) or _Count()
        if len(self._counts) >= MOST:
            del self._counts[next(iter(self._counts))]
        self._counts[key] = count
        if count.token == token:
            return False
        count.token = token
        if (known := self._quarantines.get(key)) is not None:
            # Elsewhere it is as quarantined: where it came and went stays the reason.
            self._until[key] = now + known.quiet
            return False
        count.since.append(now)
        while now - count.since[0] > flap.within:
            count.since.popleft()
        if len(count.since) <= flap.count or len(self._quarantines) >= MOST:
            return False
        quiet = self._quiet(key, flap, now)
        self._quarantines[key] = Quarantine(key, pool, place, len(count.since), flap.within, since, quiet)
        self._until[key] = now + quiet
        count.since.clear()
        return True

    def calm(self, now: float) -> list[Quarantine]:
        """End the quarantines whose quiet time is over. Returns them."""
        return [self._end(key, now) for key in [key for key, until in self._until.items() if until <= now]]

    def lift(self, key: str) -> Quarantine | None:
        """End a quarantine since somebody says so: the next one is as the first. Returns it."""
        self._over.pop(key, None)
        self._until.pop(key, None)
        return self._quarantines.pop(key, None)

    def due(self) -> float | None:
        """When the first quarantine may be over; None where there is none."""
        return min(self._until.values(), default=None)

    def _end(self, key: str, now: float) -> Quarantine:
        del self._until[key]
        ended = self._quarantines.pop(key)
        if len(self._over) >= MOST:
            del self._over[next(iter(self._over))]
        self._over[key] = ended.quiet, now
        return ended

    def _quiet(self, key: str, flap: Flap, now: float) -> float:
        """The quiet time of a new quarantine."""
        first = min(max(LEAST_QUIET, flap.within), MOST_QUIET)
        before, at = self._over.pop(key, (0.0, now))
        return min(2 * before, MOST_QUIET) if before and now - at <= MOST_QUIET else first
