"""What an instance's configuration says of its leases, and when it is written without a change of entries.

It is written with the entries and never read as truth: whoever may edit an instance may write anything there.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from hotplugd.aio.pace import Pace
from hotplugd.model import entry as entries
from hotplugd.model.values import Entry, Instance
from hotplugd.plan.identity import identity
from hotplugd.plan.kinds.kind import Want
from hotplugd.pools.edl import mode

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
        leased = [want for want in wants if want.unit]
        if actual.leases == (leases_text(leased, actual.entries) if leased else ""):
            return False
        known = {name for want in wants for name in entries.names_for(want.slot)}
        # That of a device that goes, or that udevd has not processed, is said with that change.
        return all(entries.MARK_UNIT not in each.config or each.name in known for each in _ours(actual))

    def written(self, now: float) -> None:
        """Take note that the server is asked to write it now."""
        self._pace.done(now)


def _ours(actual: Instance) -> Iterator[Entry]:
    return filter(entries.is_ours, actual.entries.values())


def leases_text(wants: Iterable[Want], names: Collection[str]) -> str:
    """The value of `user.hotplugd.leases`: a JSON list of the leased devices, or empty where there is none.

    wants  what should be in the instance
    names  those of the entries that it has, or will have in a moment
    """
    found = [
        {
            "pool": want.attach.pool,
            "claim": want.claim,
            "identity": want.unit if mode(want.device) else identity(want.device),
            "path": want.target,
            "link": next(iter(want.links), ""),
        }
        for want in wants
        if want.unit and not {*entries.names_for(want.slot)}.isdisjoint(names)
    ]
    return json.dumps(sorted(found, key=lambda each: (each["identity"], each["path"]))) if found else ""
