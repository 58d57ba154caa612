"""What a reconciler of the bench has logged."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NoReturn

import structlog

from hotplugd.plan.about import spread


class Logged:
    """Keeps events as the daemon's stream does: what tells of a device is spread when somebody reads them."""

    def __init__(self) -> None:
        self._spread: list[dict[str, Any]] = []
        self._waiting: list[dict[str, Any]] = []

    def __call__(self, _: object, method: str, event: MutableMapping[str, Any]) -> NoReturn:
        self._waiting.append({**event, "log_level": method})
        raise structlog.DropEvent

    @property
    def entries(self) -> list[dict[str, Any]]:
        self._spread += map(spread, self._waiting)
        self._waiting.clear()
        return self._spread
