"""When what an instance's configuration says of its leases is written without a change of its entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hotplugd.aio.pace import Pace
from hotplugd.model import entry as entries
from hotplugd.model.values import Entry, Instance
from hotplugd.plan.kinds.kind import Want
from hotplugd.pools.lease_view import leases_text

# So often in a row, and then once in so many seconds: others may write it as well, or the server refuses it.
_PACE: Final = (3, 60.0)


class LeaseView:
    """Whether, and how often, one instance's configuration is written for its leases alone."""

    def __init__(self) -> None:
        self._pace = Pace(*_PACE)

    @property
    def until(self) -> float:
        """When it may be written again, in the loop's time."""
        return self._pace.due

    def differs(self, actual: Instance | None, wants: list[Want]) -> bool:
        """Whether the instance's configuration says anything else than what the instance has."""
        if actual is None or not actual.here or not actual.known:
            return False
        if actual.leases == leases_text(wants, actual.entries):
            return False
        known = {name for want in wants for name in entries.names_for(want.slot)}
        # That of a device that goes, or that udevd has not processed, is said with that change.
        return all(entries.MARK_UNIT not in each.config or each.name in known for each in _ours(actual))

    def written(self, now: float) -> None:
        """Take note that the server is asked to write it now."""
        self._pace.done(now)


def _ours(actual: Instance) -> Iterator[Entry]:
    return filter(entries.is_ours, actual.entries.values())
