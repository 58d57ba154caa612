"""The daemon's one stream of events: each is stamped at once, and written and kept a moment later.

Nothing is written between an event of a device and its request, since that takes longer than all other steps.
An informational event waits for some milliseconds; a warning or an error is written at once, after all events
that wait, so that the order stays.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Final, NoReturn

import structlog

from hotplugd.app.event_buffer import EventBuffer, Moment
from hotplugd.model.text import plain
from hotplugd.plan.about import spread

Event = MutableMapping[str, object]
Writer = Callable[[Event, str], None]
"""Writes an event, given with all its keys and as JSON."""

_WAIT: Final = ("debug", "info")
# Seconds: a request is sent within a tenth of this pause, and answered after several times as long.
_PAUSE: Final = 0.005


class EventStream:
    """structlog's only processor: it writes the event itself.

    buffer  where events are kept, and get their cursors
    write   writes one
    """

    def __init__(self, buffer: EventBuffer, write: Writer) -> None:
        self._buffer = buffer
        self._write = write
        self._waiting: deque[tuple[Moment, str, Event]] = deque()
        self._lock = threading.Lock()
        # The loop in which the timer runs.
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self, _: object, method: str, event: Event) -> NoReturn:
        """Take an event."""
        if "exc_info" in event:
            # The exception that is handled now is another one later.
            event = traceback(method, event)
        self._waiting.append((Moment.now(), method, event))
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another thread, or none runs
            self.flush()
        else:
            if self._loop is not loop:
                self._loop = loop
                loop.call_later(_PAUSE, self._ring)
        if method not in _WAIT:
            self.flush()
        raise structlog.DropEvent

    def flush(self) -> None:
        """Write and keep all waiting events."""
        with self._lock:
            while self._waiting:
                moment, method, event = self._waiting.popleft()
                event = plain_strings(spread(event))
                event["level"] = method
                full, text = self._buffer.keep(moment, event)
                self._write(full, text)

    def _ring(self) -> None:
        self._loop = None
        self.flush()
        self._buffer.tell()


def plain_strings(event: Event) -> Event:
    """Escape texts of devices, servers and rule files: they must not forge lines or move a cursor."""
    return {
        key: plain(value) if isinstance(value, str) and key != "exception" else value
        for key, value in event.items()
    }


def traceback(method: str, event: Event) -> Event:
    """Escape an exception, which may quote a device; its lines must not look like events."""
    made = structlog.processors.format_exc_info(None, method, event)
    if isinstance(text := made.get("exception"), str):
        made["exception"] = "\n    ".join(map(plain, text.split("\n")))
    return made
