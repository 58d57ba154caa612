"""How well a device of a pool does, which is one thing, and whose it is, which is another. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Health:
    """How well a device does.

    state   good; unknown: nobody has looked; bad or quarantined: it is not given to anybody who has it not
    reason  why, fit to be shown; empty where there is nothing to say
    since   since when, ISO 8601; empty where nobody knows
    """

    state: Literal["good", "unknown", "bad", "quarantined"] = "unknown"
    reason: str = ""
    since: str = ""

    @property
    def not_given(self) -> str:
        """Why a device of this health is not given to anybody; empty where it is given."""
        if self.state not in ("bad", "quarantined"):
            return ""
        return f"{self.state}: {self.reason}" if self.reason else self.state


UNKNOWN: Final = Health()
