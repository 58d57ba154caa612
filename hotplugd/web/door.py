"""Lets clients of `hotplugd serve` in: so many at a time, and none that asks for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web

# Connections at a time: a browser has six, and of streams there are fewer.
_MOST: Final = 256
# Seconds for the first request to come; later ones are aiohttp's matter.
_PATIENCE: Final = 10.0


class Door:
    """The connections of one application."""

    def __init__(self) -> None:
        self._silent: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    def of(self, server: web.Server) -> Callable[[], asyncio.BaseProtocol]:
        """Makes the protocol of each connection that comes."""

        def enter() -> asyncio.BaseProtocol:
            if len(server.connections) >= _MOST:
                return _Refused()
            handler = server()
            loop = asyncio.get_running_loop()
            self._silent[handler] = loop.call_later(_PATIENCE, self._end, handler)
            return handler

        return enter

    def asked(self, handler: web.RequestHandler) -> None:
        """A request has come on this connection."""
        if (limit := self._silent.pop(handler, None)) is not None:
            limit.cancel()

    def _end(self, handler: web.RequestHandler) -> None:
        del self._silent[handler]
        handler.force_close()


class _Refused(asyncio.Protocol):
    """Hangs up."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is no room."""
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()
