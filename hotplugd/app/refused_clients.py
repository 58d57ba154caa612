"""Clients of the control socket that nobody can let in, for want of descriptors."""

from __future__ import annotations

from typing import Final

from structlog.typing import FilteringBoundLogger

# Seconds without one that is refused, until others can connect again.
_CALM: Final = 10.0


class RefusedClients:
    """Tells that nobody can connect to the control socket, once for as long as it lasts."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._reason = ""
        self._at = float("-inf")

    def refused(self, reason: str, now: float) -> None:
        """A client was refused. now: the event loop's time."""
        if not self._reason:
            self._reason = reason
            self._log.warning("control.problem", reason=reason)
        self._at = now

    def tell_over(self, now: float) -> None:
        """Tell that others can connect again, where they can."""
        if self._reason and now - self._at > _CALM:
            self._log.info("problem.over", reason=self._reason)
            self._reason = ""
