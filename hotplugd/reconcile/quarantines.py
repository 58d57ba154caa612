"""Quarantines devices of pools that come and go too often, and ends that once they are quiet.

`pools.flaps` says which devices these are; here are the clock, what is told of it, and who has to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from structlog.typing import FilteringBoundLogger

from hotplugd.model.problem import Problem
from hotplugd.model.text import quoted
from hotplugd.plan.about import ABOUT, Fields
from hotplugd.pools.devices import PoolDevice
from hotplugd.pools.flaps import Flaps, Quarantine
from hotplugd.pools.health import UNKNOWN, Health
from hotplugd.rules.pool_health import Flap


class Quarantines:
    """The quarantines of all pools' devices. All of it belongs to the event loop.

    has   called with what a device is known by in leases, and its health, when that is another
    now   the time of day, ISO 8601
    """

    def __init__(
        self,
        has: Callable[[str, Health], None],
        log: FilteringBoundLogger,
        now: Callable[[], str],
    ) -> None:
        self._flaps = Flaps()
        self._has = has
        self._log = log
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._told: dict[str, Fields] = {}

    @property
    def all(self) -> tuple[Quarantine, ...]:
        """The quarantines that are in force."""
        return tuple(self._flaps)

    def restore(self, quarantines: Iterable[Quarantine]) -> None:
        """Take what was in force when the daemon ended: each quiet time starts anew."""
        self._flaps.restore(quarantines, self._loop.time())
        for each in self._flaps:
            self._begins(each, {"identity": each.key})
        self._set_timer()

    def plugged(self, known: PoolDevice, flap: Flap, place: str) -> None:
        """A device of a pool is there. place: where it is plugged in, for people; may be empty."""
        now = self._loop.time()
        device = known.device
        if self._flaps.plugged(known.key, known.pool, flap, device.slot, place, now, self._now()):
            quarantine = self._flaps.of(known.key)
            assert quarantine is not None
            self._begins(quarantine, {ABOUT: device})
            self._set_timer()

    def lift(self, key: str) -> bool:
        """End the quarantine of a device, since somebody says so. Returns whether there was one."""
        ended = self._flaps.lift(key)
        if ended is not None:
            self._ends([ended])
        return ended is not None

    def problems(self) -> list[Problem]:
        """Which devices are in quarantine, and why."""
        return [Problem("", "", _message(each), pool=each.pool) for each in self._flaps]

    def close(self) -> None:
        """Do nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    # --- within -----------------------------------------------------------------------------------------

    def _begins(self, quarantine: Quarantine, about: Fields) -> None:
        if quarantine.key not in self._told:
            self._told[quarantine.key] = {**about, "pool": quarantine.pool, "reason": quarantine.reason}
            self._log.warning("health.problem", **self._told[quarantine.key])
        self._has(quarantine.key, quarantine.health)

    def _ends(self, ended: Iterable[Quarantine]) -> None:
        for each in ended:
            if (fields := self._told.pop(each.key, None)) is not None:
                self._log.info("problem.over", **fields)
            self._has(each.key, UNKNOWN)
        self._set_timer()

    def _set_timer(self) -> None:
        """Look again when the first of them may be over. One that was plugged in meanwhile is not."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (due := self._flaps.due()) is not None:
            self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        if ended := self._flaps.calm(self._loop.time()):
            self._ends(ended)
        else:
            self._set_timer()


def _message(quarantine: Quarantine) -> str:
    name = quoted(quarantine.key)
    return f"{name}: {quarantine.reason}; `hotplugd uncordon {name}` ends that at once"
