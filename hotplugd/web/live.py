"""The page as it is now, for all who look at it: made anew with the daemon's events, and stale without them.

While nobody looks the daemon is not asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from hotplugd.model.text import plain
from hotplugd.web.page import Page

# Seconds between two looks at the daemon, at least, and at most while somebody looks at the page.
_PAUSE: Final = 0.5
_REFRESH: Final = 10.0
# Seconds after a look that failed.
_AGAIN: Final = 1.0
_LONGEST: Final = 300
_ASKED: Final = "the daemon is being asked"
_NOT_HEARD: Final = "the daemon's events are not heard"
_ENDED: Final = "hotplugd serve has ended its work"


class Unmade(Exception):
    """The page cannot be made now. The text says why."""


@dataclass(frozen=True, slots=True)
class Message:
    """What whoever looks is sent: the page, or why it is stale. number: rises with each"""

    number: int
    event: str
    text: str


class Live:
    """The page of now. make: asks the daemon and makes it; raises Unmade."""

    def __init__(self, make: Callable[[], Awaitable[Page]]) -> None:
        self._make = make
        self._page: Page | None = None
        self._watching = 0
        self._is_heard = False
        self._is_closed = False
        self._due = asyncio.Event()
        self._told = asyncio.Event()
        self.message = self._stale(0, _ASKED)

    @property
    def page(self) -> Page | None:
        """The page, where it is current."""
        return self._page if self.message.event == "page" else None

    @property
    def is_closed(self) -> bool:
        """Whether nothing is told any more."""
        return self._is_closed

    @contextmanager
    def watched(self) -> Iterator[int]:
        """Keep the page current within the context. Gives the number of the message after which to listen."""
        if not self._watching:
            # The page made for the last viewer is out of date.
            self._page, self.message = None, self._stale(self.message.number + 1, _ASKED)
        self._watching += 1
        self._due.set()
        try:
            yield self.message.number - (self.message.text != _ASKED)
        finally:
            self._watching -= 1

    def heard(self) -> None:
        """The daemon's events are heard, or there is one."""
        self._is_heard = True
        self._due.set()

    def cut(self, why: str) -> None:
        """The daemon's events are not heard any more."""
        self._is_heard = False
        self._tell_stale(f"{_NOT_HEARD}: {why}")

    def close(self) -> None:
        """End: nobody waits any more."""
        self._is_closed = True
        self._told.set()

    async def after(self, number: int, patience: float) -> Message | None:
        """What is told after the message of this number; None where there is nothing for so many seconds."""
        try:
            async with asyncio.timeout(patience):
                while self.message.number <= number and not self._is_closed:
                    await self._told.wait()
        except TimeoutError:
            return None
        return self.message if self.message.number > number else None

    async def run(self) -> None:
        """Make the page whenever that is due, until cancelled."""
        try:
            while True:
                await self._wait()
                # Without viewers the page is not made; `cut` has said why it is stale.
                if self._watching and self._is_heard:
                    await self._look()
        finally:
            self._tell_stale(_ENDED)

    async def _wait(self) -> None:
        """Wait until the page is to be made."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_REFRESH if self._watching else None):
                await self._due.wait()
        self._due.clear()

    async def _look(self) -> None:
        try:
            made = await self._make()
        except Unmade as error:
            self._tell_stale(str(error))
            self._due.set()
            await asyncio.sleep(_AGAIN)
            return
        if self._is_heard:
            self._tell(made)
        await asyncio.sleep(_PAUSE)

    def _tell(self, page: Page) -> None:
        self._page = page
        at = datetime.now(UTC).isoformat(timespec="seconds")
        text = json.dumps({**page.document, "at": at}, separators=(",", ":"))
        self._say(Message(self.message.number + 1, "page", text))

    def _tell_stale(self, why: str) -> None:
        message = self._stale(self.message.number + 1, why)
        if self.message.event != "stale" or self.message.text != message.text:
            self._say(message)

    def _stale(self, number: int, why: str) -> Message:
        return Message(number, "stale", plain(why)[:_LONGEST])

    def _say(self, message: Message) -> None:
        self.message = message
        told, self._told = self._told, asyncio.Event()
        told.set()
