"""When an instance that does not run may be changed. Pure.

Whoever stops an instance, or makes one, is often about to do more (restore, rename, start), and is refused
while the server carries out an update of ours. Nothing is urgent in what does not run.
"""

from __future__ import annotations

from typing import Final

from hotplugd.model.values import Instance
from hotplugd.reconcile.retry import LONG_AGO, NEVER

HANDS_OFF: Final = 1.0
HANDS_OFF_WHY: Final = (
    f"it was stopped or made less than {HANDS_OFF:.0f} s ago, and whoever did that may be about to do more"
)
# The server tells of an instance when it begins to make it, and not when it is done. It refuses updates
# meanwhile, but for 30 s alone (LXD: lxd/instance/operationlock). What it never says to be made is taken for
# made in the end.
_MAKING: Final = 600.0


class Stopped:
    """Keeps our hands off one instance for a while. Times are the event loop's, in seconds.

    until  nothing is sent before
    making  whether that is since its server makes it, and for that long at most
    """

    def __init__(self) -> None:
        self.until = LONG_AGO
        self.making = False
        self._learned = LONG_AGO
        # What is heard of, was not known and is made was made just now.
        self._new = True

    def listed(self) -> None:
        """Instances were listed: those that the first listing names are not new."""
        self._new = self._new and self._learned > LONG_AGO

    def learned(self, before: Instance | None, actual: Instance | None, now: float) -> None:
        """The instance is now like this, and was like that when it was looked at before."""
        if actual is None or actual.running or not actual.known:
            self.until, self.making = LONG_AGO, False
        elif before is None and not actual.made:
            self.until, self.making = now + _MAKING, True
        elif self._new if before is None else before.running or before.made != actual.made:
            self.until, self.making = now + HANDS_OFF, False
        self._learned, self._new = now, actual is None

    def look_at(self) -> float:
        """When the server is to be asked whether whoever stopped or makes the instance has gone on."""
        return min(self.until, self._learned + HANDS_OFF) if self._learned < self.until else NEVER
