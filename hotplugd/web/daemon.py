"""Asks the daemon over its control socket, and follows its events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from hotplugd.app.event_client import bounded
from hotplugd.app.event_views import Event
from hotplugd.app.history import parse_page
from hotplugd.web.metrics import Answers, Counts

if TYPE_CHECKING:
    from hotplugd.app.device_documents import ExplainJson
    from hotplugd.app.documents import StatusJson
    from hotplugd.app.pool_documents import PoolsJson
    from hotplugd.app.topology import TopologyJson

# The host's name in an URL does not matter: it is a unix socket.
_AT: Final = "http://localhost/1"
_PATIENCE: Final = aiohttp.ClientTimeout(total=5.0)
# A stream without an event has an empty line every 15 seconds.
_STILL: Final = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=25.0)
_PAUSE: Final = 1.0
_LONGEST: Final = 1 << 20
_ANSWER_MOST: Final = 64 << 20
# A daemon that goes on telling of more events is not listened to for ever.
_MOST_PAGES: Final = 20
# Whoever does not answer, or not as expected. RecursionError: JSON that is nested too deep.
_FAILURES: Final = (
    OSError, aiohttp.ClientError, HttpProcessingError, TimeoutError, ValueError, RecursionError,
)  # fmt: skip


class DaemonAway(Exception):
    """The daemon does not answer. The text says why."""


class Rack(NamedTuple):
    """What the daemon says of all ports now."""

    status: StatusJson
    topology: TopologyJson
    pools: PoolsJson


class DaemonClient:
    """One client of a daemon's control socket."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._cursor = "end"

    @classmethod
    @asynccontextmanager
    async def at(cls, control: Path) -> AsyncIterator[DaemonClient]:
        """A client of the daemon on this socket."""
        connector = aiohttp.UnixConnector(str(control), limit=4)
        async with aiohttp.ClientSession(connector=connector, read_bufsize=_LONGEST) as session:
            yield cls(session)

    async def answers(self) -> Answers:
        """What metrics are made of. Raises DaemonAway."""
        status, pools, health = [await self._get(each) for each in ("status", "pools", "health")]
        return Answers(
            cast("StatusJson", status), cast("PoolsJson", pools), str(health.get("health", "down"))
        )

    async def rack(self) -> Rack:
        """What the page is made of. Raises DaemonAway."""
        status, topology, pools = [await self._get(each) for each in ("status", "topology", "pools")]
        return Rack(cast("StatusJson", status), cast("TopologyJson", topology), cast("PoolsJson", pools))

    async def explain(self, device: str) -> ExplainJson:
        """What becomes of a device. Raises DaemonAway, also where there is no such device."""
        return cast("ExplainJson", await self._get("explain", {"device": device}))

    async def events(self, pages: Callable[[list[Event]], None]) -> bool:
        """All events that the daemon keeps, the oldest first, a page at a time. Returns whether that is all.

        Raises DaemonAway.
        """
        cursor = ""
        for _ in range(_MOST_PAGES):
            page = await self._get("events", {"after": cursor})
            found, cursor = parse_page(page)
            pages(found)
            if page.get("more") is not True:
                return page.get("lost") is not True
        return False

    async def _get(self, name: str, query: Mapping[str, str] = MappingProxyType({})) -> Mapping[str, object]:
        try:
            async with self._session.get(f"{_AT}/{name}", params=query, timeout=_PATIENCE) as response:
                document = json.loads(await bounded(response, _ANSWER_MOST))
        except _FAILURES as error:
            raise DaemonAway(f"{type(error).__name__}: {error}") from error
        if not isinstance(document, dict) or "error" in document:
            why = document.get("error") if isinstance(document, dict) else "no document"
            raise DaemonAway(str(why))
        return document

    async def follow(
        self,
        counts: Counts,
        heard: Callable[[], None] = lambda: None,
        cut: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Count the daemon's events, without end; where the stream is cut off go on after the last event.

        heard  called once they are heard, and after each
        cut    called with the reason once they are not heard any more
        """
        while True:
            why = "the daemon hung up"
            try:
                await self._listen(counts, heard)
            except aiohttp.ClientResponseError as error:
                if error.status == HTTPStatus.BAD_REQUEST:
                    # A cursor that this daemon does not know, as of another version.
                    self._cursor = "end"
                why = f"the daemon answers {error.status}"
            except _FAILURES as error:
                why = str(error) or type(error).__name__
            finally:
                # Also where nobody listens any more.
                cut(why)
            await asyncio.sleep(_PAUSE)

    async def _listen(self, counts: Counts, heard: Callable[[], None]) -> None:
        query = {"after": self._cursor}
        async with self._session.get(f"{_AT}/events/stream", params=query, timeout=_STILL) as response:
            response.raise_for_status()
            heard()
            try:
                async for line in response.content:
                    if not line.strip():
                        continue
                    event = json.loads(line)
                    if isinstance(event, dict):
                        self._cursor = str(event.get("cursor", self._cursor))
                        counts.count(event)
                        heard()
            finally:
                counts.cut += 1
