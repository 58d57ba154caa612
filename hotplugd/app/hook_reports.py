"""What `hotplugd hooks` says of itself, for `status`.

It says so on the control socket: the daemon neither asks systemd nor reads files of a user without
privileges. No event tells of it, since a hook on events of problems would run for its own failure, and fail
again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hotplugd.app import endpoints
from hotplugd.app.control_request import ControlRequest, Handler
from hotplugd.app.endpoints import Endpoint, HookReportTakenJson
from hotplugd.model.problem import Problem
from hotplugd.model.text import plain

# Seconds after which it should have said something.
SILENCE: Final = 150.0
_MOST: Final = 50
_MOST_USERS: Final = 16
_LONGEST: Final = 500
_SILENT: Final = "hotplugd-hooks says nothing any more; `systemctl status hotplugd-hooks` says how it is"


@dataclass(frozen=True, slots=True)
class _Report:
    at: float
    failing: tuple[str, ...]


class HookReports:
    """Keeps the last report of each user. now: the time in seconds, by any clock that only goes on"""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        # By uid, the oldest report first.
        self._last: dict[int, _Report] = {}

    @property
    def handlers(self) -> Mapping[Endpoint, Handler]:
        """What the control socket offers of it."""
        return {endpoints.HOOKS: self._take}

    def problems(self) -> list[Problem]:
        """What fails, by the last report."""
        now, found = self._now(), list[Problem]()
        for each in self._last.values():
            texts = (_SILENT,) if now - each.at > SILENCE else each.failing
            found += (Problem("", "", text) for text in texts)
        return found

    def _take(self, asked: ControlRequest) -> HookReportTakenJson:
        """Take a report. Raises ValueError."""
        try:
            document = json.loads(asked.body)
            failing, ended = document["failing"], document["ended"]
            texts = [_text(each) for each in failing]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise ValueError('expected {"failing": [TEXT, …], "ended": false} as JSON') from None
        shown = texts[:_MOST]
        if more := len(texts) - len(shown):
            shown.append(f"{more} more hooks fail")
        self._last.pop(asked.peer.uid, None)
        if ended is not True:
            self._last[asked.peer.uid] = _Report(self._now(), tuple(shown))
        while len(self._last) > _MOST_USERS:
            del self._last[next(iter(self._last))]
        return {"problems": len(shown)}


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError
    return plain(found[:_LONGEST])
