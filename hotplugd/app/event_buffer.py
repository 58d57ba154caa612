"""Keeps the daemon's last events, bounded by number and by bytes, each with a cursor.

A cursor is the boot's id and a number that rises with each event of that boot, also over restarts of the
daemon: it begins with the microseconds since the boot.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

_MOST: Final = 10_000
_MOST_BYTES: Final = 8 << 20
# The most events of one answer.
_PAGE: Final = 1000
_PAGE_BYTES: Final = 1 << 20
# At most this many clients may wait for the next event; others get an empty answer at once.
_MOST_WAITING: Final = 64
# Seconds between two empty lines, at least.
_PAUSE: Final = 1.0
_CURSOR: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,20})", re.ASCII)
END: Final = "end"
"""In place of a cursor: after the newest event."""


class Moment(NamedTuple):
    """The time of an event in nanoseconds: `time` by the clock (UTC), `boottime` since the boot."""

    time: int
    boottime: int

    @classmethod
    def now(cls) -> Moment:
        """The present time."""
        return cls(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))


class Page(NamedTuple):
    """Some of the events that are kept.

    events  as JSON texts, the oldest first
    cursor  of the last of them
    more    whether there are further ones
    lost    whether some after the cursor that was asked for are not kept any more
    """

    events: tuple[str, ...]
    cursor: str
    more: bool
    lost: bool

    def json(self) -> str:
        """The document of this page, as JSON."""
        rest = json.dumps({"cursor": self.cursor, "more": self.more, "lost": self.lost})
        return f'{{"events": [{", ".join(self.events)}], {rest[1:]}'


class EventBuffer:
    """Events as JSON texts, in the order in which they happened.

    boot        the first 8 digits of the boot's id
    most        how many are kept, and `most_bytes` how large all of them may be
    """

    def __init__(self, boot: str, most: int = _MOST, most_bytes: int = _MOST_BYTES) -> None:
        self._boot = boot
        self._most = most
        self._most_bytes = most_bytes
        self._kept: deque[str] = deque()
        self._bytes = 0
        self._next = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        self._first = self._next
        self._dropped = False
        self._waiting: set[asyncio.Future[None]] = set()

    def keep(self, moment: Moment, event: Mapping[str, object]) -> tuple[dict[str, object], str]:
        """Keep an event. Returns it with its cursor and times, and as JSON.

        Values that JSON cannot express are kept as their `repr`.
        """
        number, self._next = self._next, self._next + 1
        at = datetime.fromtimestamp(moment.time / 1e9, UTC).isoformat(timespec="microseconds")
        full = {
            **event,
            "timestamp": at.replace("+00:00", "Z"),
            "boottime": round(moment.boottime / 1e9, 6),
            "cursor": f"{self._boot}-{number}",
        }
        text = json.dumps(full, default=repr)
        self._kept.append(text)
        self._bytes += len(text)
        while len(self._kept) > self._most or (self._bytes > self._most_bytes and len(self._kept) > 1):
            self._bytes -= len(self._kept.popleft())
            self._first += 1
            self._dropped = True
        return full, text

    @property
    def cursor(self) -> str:
        """The cursor of the last event; before the first event, one that is older than all."""
        return f"{self._boot}-{self._next - 1}"

    def worst(self) -> str:
        """The reason of the last critical event; empty where there is none."""
        for text in reversed(self._kept):
            event = json.loads(text)
            if event.get("level") == "critical":
                return str(event.get("reason", ""))
        return ""

    def tell(self) -> None:
        """Wake the waiting clients: there are new events. To be called in the event loop."""
        for each in self._waiting:
            if not each.done():
                each.set_result(None)
        self._waiting.clear()

    def page(self, cursor: str) -> Page:
        """The events after a cursor, the oldest first, as many as one answer may have.

        cursor  empty: from the oldest; `end`: none
        Raises ValueError: it is no cursor.
        """
        after = self._number(cursor)
        start = min(max(after + 1 - self._first, 0), len(self._kept))
        events: list[str] = []
        size = 0
        for place in range(start, min(start + _PAGE, len(self._kept))):
            text = self._kept[place]
            size += len(text)
            if events and size > _PAGE_BYTES:
                break
            events.append(text)
        last = self._first + start + len(events) - 1
        return Page(
            tuple(events),
            # The cursor before the first event: the next page begins with the first.
            f"{self._boot}-{last}",
            start + len(events) < len(self._kept),
            # After a cursor of another boot all events of this one are missing.
            self._dropped and cursor != "" and after < self._first - 1,
        )

    async def after(self, cursor: str, patience: float) -> Page:
        """As `page`, but waits for the next event for this many seconds if there is none."""
        found = self.page(cursor)
        if found.events or len(self._waiting) >= _MOST_WAITING:
            return found
        told = asyncio.get_running_loop().create_future()
        self._waiting.add(told)
        try:
            async with asyncio.timeout(patience):
                await told
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(told)
        return self.page(found.cursor)

    def lines(self, cursor: str, patience: float) -> AsyncGenerator[str, None]:
        """The events after a cursor and all that follow, as JSON texts, without end.

        patience  after so many seconds without an event there is an empty text
        Where some are not kept any more there is an event `events.lost` in their place. Raises ValueError: it
        is no cursor.
        """
        return self._lines(self.page(cursor), patience)

    async def _lines(self, page: Page, patience: float) -> AsyncGenerator[str, None]:
        while True:
            if page.lost:
                yield json.dumps({"event": "events.lost", "cursor": page.cursor})
            for text in page.events:
                yield text
            if page.more:
                page = self.page(page.cursor)
                continue
            page = await self.after(page.cursor, patience)
            if not page.events:
                yield ""
                # Where too many wait it was not waited for.
                await asyncio.sleep(_PAUSE)

    def _number(self, cursor: str) -> int:
        """The number of the last event before this cursor; -1 where there is none."""
        if not cursor:
            return -1
        if cursor == END:
            return self._next - 1
        found = _CURSOR.fullmatch(cursor)
        if found is None:
            raise ValueError("no cursor")
        return int(found[2]) if found[1] == self._boot else -1
