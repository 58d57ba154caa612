"""An alarm for what is tried again, after pauses that double."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hotplugd.aio.backoff import delay


class Alarm:
    """Rings once after a pause, which is twice as long as the one before, until `reset`.

    ring   called in the event loop when the pause is over
    first  the first pause, in seconds, and `most` the longest
    """

    def __init__(self, ring: Callable[[], None], first: float, most: float) -> None:
        self._ring = ring
        self._first = first
        self._most = most
        self._tries = 0
        self._timer: asyncio.TimerHandle | None = None

    def set(self) -> None:
        """Ring after the next pause, unless it is set already."""
        if self._timer is None:
            self._tries += 1
            pause = delay(self._tries, self._first, self._most)
            self._timer = asyncio.get_running_loop().call_later(pause, self._over)

    def reset(self) -> None:
        """Begin with the first pause again."""
        self._tries = 0

    def cancel(self) -> None:
        """Do not ring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        self._timer = None
        self._ring()
