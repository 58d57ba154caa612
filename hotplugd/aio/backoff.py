"""When something that failed is tried again: after pauses that double. Times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NEVER: Final = float("inf")
LONG_AGO: Final = float("-inf")


def delay(tries: int, first: float = 0.5, most: float = 60.0) -> float:
    """Seconds to wait after the `tries`-th failure in a row (1 or more)."""
    return min(first * 2.0 ** min(tries - 1, 16), most)


@dataclass(slots=True)
class Retry:
    """How often something failed in a row, what was said last, and when it may be tried again."""

    tries: int = 0
    until: float = LONG_AGO
    message: str = ""

    def reset(self) -> None:
        """Take note of a success."""
        self.tries, self.until, self.message = 0, LONG_AGO, ""

    def failed(self, message: str, now: float, first: float, most: float) -> tuple[float, bool]:
        """Take note of a failure. Returns the seconds to wait, and whether the message is new."""
        self.tries += 1
        pause = delay(self.tries, first, most)
        self.until = now + pause
        new, self.message = self.message != message, message
        return pause, new
