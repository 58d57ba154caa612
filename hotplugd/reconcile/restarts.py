"""Whether one instance that does not run may be in the middle of a restart. Pure.

A reboot from inside is no operation of the server's: the hook that hears of the stop starts the instance
again (LXD, Incus: instance/drivers/driver_lxc.go, onStop). Between the two halves the server says "Stopped",
as of a stop; and "Error" while hooks hold the start up, since it cannot tell the state then: such an answer
changes nothing. Of a stop that somebody asked for an event tells who did. Of a poweroff from inside, and of
an init that died, LXD tells as it does of a reboot; Incus from 6.0.2 on does not (measured on LXD 5.0.2 and
Incus 7.0.2).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hotplugd.aio.backoff import LONG_AGO
from hotplugd.model.entry import MARK_INSTANCE, MARK_POOL, mark_for
from hotplugd.model.values import Instance, Stop

# For so many seconds LXD 5.0 itself keeps other changes of an instance out while it restarts it
# (instance/operationlock, TimeoutDefault).
RESTART: Final = 30.0
RESTARTS_WHY: Final = (
    f"it does not run, and nobody stopped it: it may be about to start again, within {RESTART:.0f} s"
)


class Restarts:
    """The restarts of one instance. Times are the event loop's, in seconds.

    until  until when it may be in the middle of one
    """

    def __init__(self) -> None:
        self.until = LONG_AGO
        # When it was started, in its server's words, before the stop that the server told of at last.
        self._stopped: str | None = None

    def stops(self, actual: Instance | None, stop: Stop) -> None:
        """The server tells that it has stopped. actual: as it was known until now"""
        if actual is not None and (stop == "asked" or actual.server.tells_reboots_apart):
            self._stopped = actual.started

    def judged(
        self, before: Instance | None, actual: Instance | None, now: float, *, has_leases: bool
    ) -> Instance | None:
        """The instance as the server says it is now, and whether it may be in the middle of a restart.

        before      as it was known until now; None where it was not
        has_leases  whether pools are served: what an instance had of them when hotplugd was not there yet may
                    be its own still
        """
        if actual is None or actual.running or not (actual.known and actual.here):
            self.until = LONG_AGO
            return actual
        if actual.started == self._stopped or not actual.started:
            self.until = LONG_AGO
        elif before.running if before is not None else has_leases and _has_leased(actual):
            self.until = now + RESTART
        return replace(actual, restarts=True) if now < self.until else actual


def _has_leased(instance: Instance) -> bool:
    """Whether it has devices of pools by entries of ours."""
    own = mark_for(instance.id)
    found = (each.config for each in instance.entries.values())
    return any(MARK_POOL in each and each.get(MARK_INSTANCE) == own for each in found)
