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


@dataclass(frozen=True, slots=True)
class Ready:
    """How it is found out inside whether a device is ready. All times are in seconds.

    command  a program and its words, templates, which exits with 0 where it is; none: the adb server is asked
    within   a device that is not ready for so long is bad
    every    so often a device that is not ready is looked at
    timeout  the command is killed after so long
    """

    command: tuple[str, ...] = ()
    within: float = 60.0
    every: float = 10.0
    timeout: float = 5.0
