"""What one client of `hotplugd serve` may take: connections, time and memory are bounded.

Over TCP nobody knows who asks, and on loopback every local user may. So nobody has places of their own: where
all are taken, whoever has waited longest without a request gives way to whoever comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from hotplugd.app.control_connection import Connection, logger_of

# Bytes of a request's first line, and of one of its headers: browsers send the cookies of all on this host.
_LINE: Final = 8190
_HEADERS: Final = 64
_BACKLOG: Final = 128
# Bytes of requests that are read before the first of them is answered.
_BUFFER: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Limits:
    """How much there may be.

    connections  at a time
    streams      of events at a time
    first        seconds for a request to come on a new connection
    each         seconds from one request to the next: for the work, the answer, and the next one to come
    """

    connections: int = 128
    streams: int = 32
    first: float = 10.0
    each: float = 40.0


LIMITS: Final = Limits()


class Limiter:
    """Keeps the connections of one server within limits."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        # In the order in which they came, or had their last request.
        self._there: dict[_Connection, None] = {}
        self._streams = 0

    def came(self, connection: _Connection) -> None:
        """A connection is there. One is closed where there are too many."""
        self._there[connection] = None
        if len(self._there) > self.limits.connections:
            idle = (each for each in self._there if not each.busy and each is not connection)
            next(idle, connection).end()

    def went(self, connection: _Connection) -> None:
        """It is closed."""
        self._there.pop(connection, None)

    @contextmanager
    def request(self, request: web.BaseRequest) -> Iterator[None]:
        """A request is worked on."""
        connection = request.protocol
        if not isinstance(connection, _Connection) or connection not in self._there:
            yield
            return
        self._there[connection] = self._there.pop(connection)
        connection.has(self.limits.each)
        connection.busy = True
        try:
            yield
        finally:
            connection.busy = False

    @contextmanager
    def stream(self, request: web.BaseRequest) -> Iterator[Callable[[Awaitable[object]], Awaitable[None]]]:
        """A stream is sent, for as long as the client takes it. Gives what awaits one write to it.

        Raises HTTPServiceUnavailable: there are too many.
        """
        if self._streams >= self.limits.streams:
            raise web.HTTPServiceUnavailable(
                text="Too many clients listen to events; close one, or ask later.\n",
                headers={"Retry-After": "10"},
            )
        connection = request.protocol
        self._streams += 1
        limited = connection if isinstance(connection, _Connection) else None

        async def write(written: Awaitable[object]) -> None:
            if limited is not None:
                limited.has(self.limits.first)
            await written
            if limited is not None:
                limited.has(None)

        try:
            if limited is not None:
                limited.has(None)
            yield write
        finally:
            self._streams -= 1
            if limited is not None:
                limited.has(self.limits.each)

    @asynccontextmanager
    async def serving(
        self, runner: web.AppRunner, path: Path | None, host: str, port: int
    ) -> AsyncIterator[None]:
        """Serve there: at a unix socket's path, or at a port. Raises OSError where that cannot be."""
        loop, server = asyncio.get_running_loop(), runner.server
        assert server is not None
        logger = logger_of(loop)

        def connection() -> _Connection:
            return _Connection(
                server, self, loop=loop, logger=logger, access_log=logger, keepalive_timeout=self.limits.each,
                max_line_size=_LINE, max_field_size=_LINE, max_headers=_HEADERS, lingering_time=0,
                read_bufsize=_BUFFER, auto_decompress=False,
            )  # fmt: skip

        if path is not None:
            listening = await loop.create_unix_server(connection, str(path), backlog=_BACKLOG)
        else:
            listening = await loop.create_server(connection, host, port, backlog=_BACKLOG)
        try:
            yield
        finally:
            listening.close()


LIMITER: Final = web.AppKey("LIMITER", Limiter)
"""The limiter of an application."""


class _Connection(Connection):
    """A connection, which is closed when its time is over. busy: a request is worked on"""

    def __init__(self, server: web.Server, limiter: Limiter, **words: object) -> None:
        super().__init__(server, **words)  # type: ignore[arg-type]
        self.busy = False
        self._limiter = limiter
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count a connection that was opened."""
        super().connection_made(transport)
        self.has(self._limiter.limits.first)
        self._limiter.came(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is closed."""
        self.has(None)
        self._limiter.went(self)
        super().connection_lost(exc)

    def has(self, seconds: float | None) -> None:
        """Give it so long from now; None: until it hangs up."""
        if self._limit is not None:
            self._limit.cancel()
        self._limit = (
            asyncio.get_running_loop().call_later(seconds, self.end) if seconds is not None else None
        )

    def end(self) -> None:
        """Close it at once, whatever is still to be sent."""
        self._limiter.went(self)
        if self.transport is not None:
            self.transport.abort()
