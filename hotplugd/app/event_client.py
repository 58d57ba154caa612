"""Follows the daemon's events over its control socket, without blocking."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

# The host's name in an URL does not matter: it is a unix socket.
_AT: Final = "http://localhost/1"
_PATIENCE: Final = aiohttp.ClientTimeout(total=10.0)
# A stream without an event has an empty line every 15 seconds.
_STILL: Final = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=40.0)
_LONGEST: Final = 1 << 20
_MOST: Final = 64 << 20
_REFUSED: Final = 400
_FORBIDDEN: Final = 403
_FAILURES: Final = (OSError, aiohttp.ClientError, HttpProcessingError, TimeoutError)


class DaemonAway(Exception):
    """The daemon does not answer, or the stream of its events was cut off. The text says why."""


class Refused(Exception):
    """The daemon does not let this one do that. The text is the daemon's own, or says what to do."""


class NoEvent(ValueError):
    """What the daemon sent is no event, or it does not know the cursor: it is another version."""


class EventClient:
    """One client of a daemon's control socket."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    @asynccontextmanager
    async def at(cls, control: Path) -> AsyncIterator[EventClient]:
        """A client of the daemon on this socket."""
        # The daemon hangs up soon after an answer: a request on a connection that is kept may come too late.
        connector = aiohttp.UnixConnector(str(control), limit=4, force_close=True)
        async with aiohttp.ClientSession(connector=connector, read_bufsize=_LONGEST) as session:
            yield cls(session)

    async def cursor(self) -> str:
        """The cursor of the last event until now. Raises DaemonAway, Refused, NoEvent."""
        found = await self._ask("GET", "status")
        return str(found.get("cursor", "end"))

    async def post(self, name: str, document: Mapping[str, object]) -> Mapping[str, object]:
        """What is answered to a document. Raises DaemonAway, Refused, NoEvent."""
        return await self._ask("POST", name, json.dumps(document, ensure_ascii=False))

    async def events(self, after: str) -> AsyncIterator[Mapping[str, object]]:
        """The events after a cursor, and all that follow. Raises DaemonAway, Refused, NoEvent."""
        try:
            async with self._session.get(
                f"{_AT}/events/stream", params={"after": after}, timeout=_STILL
            ) as response:
                await _see_taken(response)
                async for line in response.content:
                    if line.strip():
                        yield _object(line)
        except PermissionError as error:
            raise Refused(_not_let_in()) from error
        except ValueError as error:
            # Of aiohttp: a line has no end.
            raise NoEvent(str(error)) from error
        except _FAILURES as error:
            raise _away(error) from error
        raise DaemonAway("the daemon has ended")

    async def _ask(self, method: str, name: str, body: str | None = None) -> Mapping[str, object]:
        try:
            async with self._session.request(
                method, f"{_AT}/{name}", data=body, timeout=_PATIENCE
            ) as response:
                await _see_taken(response)
                return _object(await bounded(response, _MOST))
        except _FAILURES as error:
            raise _away(error) from error


async def _see_taken(response: aiohttp.ClientResponse) -> None:
    if response.status < _REFUSED:
        return
    text = (await bounded(response, _LONGEST)).decode("utf-8", "replace").strip()
    if response.status == _FORBIDDEN:
        raise Refused(text)
    raise NoEvent(f"HTTP status {response.status}: {text}")


async def bounded(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body of an answer. Raises NoEvent: it is longer than any is."""
    raw = bytearray()
    async for part in response.content.iter_any():
        raw += part
        if len(raw) > most:
            raise NoEvent(f"expected at most {most >> 20} MiB, and found more")
    return bytes(raw)


def _away(error: BaseException) -> DaemonAway | Refused:
    """What a failure to connect means."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, PermissionError):
        return Refused(_not_let_in())
    why = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return DaemonAway(why or type(cause).__name__)


def _not_let_in() -> str:
    return "this user is not let in: `allow` in the daemon's configuration has to grant `read` to its group"


def _object(raw: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise NoEvent(f"expected JSON: {error}") from error
    if not isinstance(found, dict):
        raise NoEvent("expected an object")
    return found
