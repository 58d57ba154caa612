"""What is kept of leases, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hotplugd.pools.away_leases import NOTHING_KEPT, KeptLeases
from tests.support.virtual import later

UPTIME: Final = 1000.0
"""How long the host was up, in seconds, when a test begins."""


class ScriptedLeaseKeeper:
    """The state file's part about leases.

    kept    what is on the disk
    takes   how long it takes to write it, in seconds
    """

    def __init__(self, kept: KeptLeases, wrote: Callable[[KeptLeases], None]) -> None:
        self.kept = kept
        self.takes = 0.0
        self._before = kept
        self._noted = kept
        self._wrote = wrote

    def before(self) -> KeptLeases:
        return self._before

    def note(self, kept: KeptLeases) -> None:
        self._noted = kept

    async def written(self) -> None:
        if self.kept != self._noted:
            noted = self._noted
            await later(self.takes)
            self.kept = noted
            self._wrote(noted)


def no_leases() -> ScriptedLeaseKeeper:
    """One that has nothing, and that nobody asks."""
    return ScriptedLeaseKeeper(NOTHING_KEPT, lambda _: None)
