"""The HTTP server of `hotplugd serve`: read-only, for monitoring and for people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from aiohttp import web

from hotplugd.web.daemon import DaemonAway, DaemonClient
from hotplugd.web.door import Door
from hotplugd.web.metrics import Counts, exposition
from hotplugd.web.page_routes import NO_DOCUMENT, PageRoutes

_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_LAST_PORT: Final = 0xFFFF
_DIGITS: Final = 5
_DOOR: Final = web.AppKey("door", Door)
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


def application(
    control: Path, names: frozenset[str] = frozenset(), *, serials: bool = False
) -> web.Application:
    """The application: metrics and the page.

    control  the daemon's socket
    names    what Host may say besides addresses
    serials  whether the page shows serial numbers
    """
    door = Door()

    @web.middleware
    async def see_host(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        door.asked(request.protocol)
        if request.transport is not None and not has_own_name(request.headers.get("Host", ""), names):
            return web.Response(
                status=421, headers=_HEADERS,
                text="The request names another host: use an address, or `hotplugd serve --name HOST`.\n",
            )  # fmt: skip
        return await handler(request)

    app = web.Application(middlewares=[see_host], client_max_size=0)
    app[_DOOR] = door
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

    async def metrics(request: web.Request) -> web.Response:
        try:
            body = exposition(await request.app[client].answers(), counts)
        except (DaemonAway, *NO_DOCUMENT):
            body = exposition(None, counts)
        return web.Response(body=body, headers={**_HEADERS, "Content-Type": _METRICS})

    app.cleanup_ctx.append(connected)
    app.router.add_get("/metrics", metrics)
    page.add_to(app)
    return app


@asynccontextmanager
async def serving(app: web.Application, listen: Listen) -> AsyncIterator[None]:
    """Serve an application there. Raises OSError where that cannot be."""
    async with AsyncExitStack() as undo:
        runner = web.AppRunner(app, access_log=None, keepalive_timeout=30.0)
        undo.push_async_callback(runner.cleanup)
        await runner.setup()
        assert runner.server is not None
        enter, loop = app[_DOOR].of(runner.server), asyncio.get_running_loop()
        if listen.path is not None:
            listening = await loop.create_unix_server(enter, str(listen.path))
        else:
            listening = await loop.create_server(enter, listen.host, listen.port)
        undo.callback(listening.close)
        yield
