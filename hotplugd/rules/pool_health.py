"""What a pool says of the health of its devices: how often they may come and go."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flap:
    """A device of a pool that is plugged in more often than this is quarantined.

    count   so many times
    within  in so many seconds
    """

    count: int
    within: float
