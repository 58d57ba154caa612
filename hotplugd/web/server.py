"""The HTTP server of `hotplugd serve`: read-only, for monitoring and for people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from aiohttp import web

from hotplugd.web.daemon import DaemonAway, DaemonClient
from hotplugd.web.limits import LIMITER, LIMITS, Limiter, Limits
from hotplugd.web.metrics import Counts, exposition
from hotplugd.web.page_routes import NO_DOCUMENT, PageRoutes

_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# Seconds between two looks at the daemon for metrics, at least.
_PAUSE: Final = 0.5
_LAST_PORT: Final = 0xFFFF
_DIGITS: Final = 5
_LOCAL: Final = frozenset({"localhost", "localhost.localdomain"})


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen: a unix socket's path, or a host with a port."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @classmethod
    def of(cls, text: str) -> Listen:
        """Where a text says: `/PATH`, `HOST:PORT` or `[IPv6]:PORT`. Raises ValueError."""
        if text.startswith("/"):
            return cls(Path(text))
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        is_number = port.isascii() and port.isdecimal() and len(port) <= _DIGITS
        if not colon or not host or not is_number or not 0 < int(port) <= _LAST_PORT:
            raise ValueError("expected /PATH, HOST:PORT or [IPv6]:PORT, such as 127.0.0.1:9417")
        return cls(None, host, int(port))


def has_own_name(host: str, names: frozenset[str]) -> bool:
    """Whether a request's Host header names this server: an address, localhost, or one of `names`.

    A page of somebody else's, whose name was made to lead here (DNS rebinding), names its own.
    """
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.removeprefix("[").removesuffix("]").lower()
    if name in _LOCAL or name in names:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class _Shared:
    """Metrics for all who ask at a time. On loopback each user may ask, as often as it wants to.

    make  asks the daemon and makes them
    """

    def __init__(self, make: Callable[[], Coroutine[object, object, bytes]]) -> None:
        self._make = make
        self._task: asyncio.Task[bytes] | None = None
        self._until = 0.0

    async def get(self) -> bytes:
        """The metrics of half a second ago at most."""
        now = asyncio.get_running_loop().time()
        if self._task is None or (self._task.done() and now >= self._until):
            self._until = now + _PAUSE
            self._task = asyncio.create_task(self._make())
        # A client that hangs up must not disturb the others.
        return await asyncio.shield(self._task)


def application(
    control: Path,
    names: frozenset[str] = frozenset(),
    *,
    serials: bool = False,
    limits: Limits = LIMITS,
) -> web.Application:
    """The application: metrics and the page.

    control  the daemon's socket
    names    what Host may say besides addresses
    serials  whether the page shows serial numbers
    """

    @web.middleware
    async def see_host(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.transport is not None and not has_own_name(request.headers.get("Host", ""), names):
            return web.Response(
                status=421, headers=_HEADERS,
                text="The request names another host: use an address, or `hotplugd serve --name HOST`.\n",
            )  # fmt: skip
        return await handler(request)

    @web.middleware
    async def see_time(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        with request.app[LIMITER].request(request):
            return await handler(request)

    app = web.Application(middlewares=[see_time, see_host], client_max_size=0)
    app[LIMITER] = Limiter(limits)
    counts = Counts()
    client: web.AppKey[DaemonClient] = web.AppKey("client", DaemonClient)
    page = PageRoutes(lambda: app[client], serials=serials)

    async def connected(app: web.Application) -> AsyncIterator[None]:
        async with DaemonClient.at(control) as found:
            app[client] = found
            following = asyncio.create_task(found.follow(counts, page.live.heard, page.live.cut))
            yield
            following.cancel()
            await asyncio.wait([following])

    async def made() -> bytes:
        try:
            return exposition(await app[client].answers(), counts)
        except (DaemonAway, *NO_DOCUMENT):
            return exposition(None, counts)

    shared = _Shared(made)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=await shared.get(), headers={**_HEADERS, "Content-Type": _METRICS})

    app.cleanup_ctx.append(connected)
    app.router.add_get("/metrics", metrics)
    page.add_to(app)
    return app


@asynccontextmanager
async def serving(app: web.Application, listen: Listen) -> AsyncIterator[None]:
    """Serve an application there. Raises OSError where that cannot be."""
    runner = web.AppRunner(app, shutdown_timeout=1.0, handler_cancellation=True)
    await runner.setup()
    try:
        async with app[LIMITER].serving(runner, listen.path, listen.host, listen.port):
            yield
    finally:
        await runner.cleanup()
