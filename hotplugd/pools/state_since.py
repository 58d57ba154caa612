"""Since when each device of a pool is free, leased, releasing or cordoned. Pure."""

from __future__ import annotations

from collections.abc import Iterable


class StateSince:
    """By what the devices are known by in leases. Of how it was found at first nobody knows since when."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}
        self._begun = False

    def note(self, states: Iterable[tuple[str, str]], day: str) -> None:
        """All devices are like this now: key and state, from this time on (ISO 8601)."""
        before, self._known = self._known, {}
        for key, state in states:
            same = before.get(key)
            if same is not None and same[0] == state:
                self._known[key] = same
            else:
                self._known[key] = state, day if self._begun else ""
        self._begun = True

    def of(self, key: str) -> str:
        """Since when a device's state is so, by its key; empty where nobody knows."""
        return self._known.get(key, ("", ""))[1]
