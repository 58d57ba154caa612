"""The control socket: other programs ask the daemon by HTTP and get JSON documents (see `endpoints`).

Root may ask for everything, and groups for what the configuration allows them: by the socket's access control
list, and by its peer's credentials, since a mode says nothing of descriptors that were passed on.
Each client gets a limited time, and each user a limited number of connections.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server

from hotplugd.app.control_connection import connection, logger_of, request_of
from hotplugd.app.control_file import listen
from hotplugd.app.control_request import ControlRequest, Forbidden, Handler, Unavailable
from hotplugd.app.endpoints import Endpoint
from hotplugd.app.grants import NO_GRANTS, Grants
from hotplugd.app.peer import Peer

# Seconds for a request to come, for its answer to be taken, and until the next request.
_PATIENCE: Final = 5.0
# Seconds for the work on a request: a reload reads files, and an event may be waited for.
_LONG: Final = 90.0
# Connections of root, of one other user, and of all others.
_OF_ROOT: Final = 64
_OF_ONE: Final = 16
_OF_OTHERS: Final = 48
# Seconds for what was asked for to come to its end, while the socket goes.
_GRACE: Final = 1.0
# Seconds until the next try to let somebody in, where descriptors are short.
_PAUSE: Final = 1.0


@asynccontextmanager
async def serve(
    path: Path,
    handlers: Mapping[Endpoint, Handler],
    grants: Grants = NO_GRANTS,
    refused: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[None]:
    """Answer requests on a socket at `path`. Raises ControlError where the socket cannot be made.

    grants   what others than root may ask for
    refused  is told why somebody cannot be let in, for want of descriptors
    """
    listening = listen(path, grants.gids, must=not grants.by_default)
    inode = os.stat(path).st_ino
    clients = _Clients(handlers, grants)
    server = Server(clients.answer, handler_cancellation=True, request_factory=request_of)
    logger = logger_of(asyncio.get_running_loop())
    door = _Door(listening, partial(connection, server, logger), clients, refused)
    try:
        yield
    finally:
        await door.close()
        await clients.end()
        with suppress(OSError):
            if os.stat(path).st_ino == inode:
                os.unlink(path)


class _Door:
    """Lets clients in. Not by asyncio's own accept(), which loses a client that comes as it is cancelled."""

    def __init__(
        self,
        listening: socket.socket,
        connection: Callable[[], RequestHandler],
        clients: _Clients,
        refused: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._connection = connection
        self._clients = clients
        self._refused = refused
        self._entering: dict[socket.socket, Peer] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._open()

    async def close(self) -> None:
        """Accept no more connections."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()
        if self._work:
            await asyncio.wait(self._work)

    def _open(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        try:
            channel, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            self._refused(error.strerror or str(error))
            self._loop.remove_reader(self._listening)
            self._pause = self._loop.call_later(_PAUSE, self._open)
            return
        peer = Peer.of(channel)
        if not self._clients.has_room(peer, self._entering.values()):
            channel.close()
            return
        channel.setblocking(False)
        self._entering[channel] = peer
        task = self._loop.create_task(self._enter(channel, peer))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _enter(self, channel: socket.socket, peer: Peer) -> None:
        # Nothing is read before the next turn of the loop, in which this goes on first.
        transport, _ = await self._loop.connect_accepted_socket(self._connection, channel)
        del self._entering[channel]
        self._clients.add(transport, peer)


class _Client:
    """A connection, which is closed when its time is over."""

    def __init__(self, transport: asyncio.BaseTransport, peer: Peer) -> None:
        self.peer = peer
        self.transport = transport
        self._loop = asyncio.get_running_loop()
        self._limit = self._loop.call_later(_PATIENCE, self.end)

    def has(self, seconds: float | None) -> None:
        """Give it so long from now; None: until it hangs up."""
        self._limit.cancel()
        if seconds is not None:
            self._limit = self._loop.call_later(seconds, self.end)

    def end(self) -> None:
        """Close it at once, whatever is still to be sent."""
        self._limit.cancel()
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()


class _Clients:
    """The clients that are connected."""

    def __init__(self, handlers: Mapping[Endpoint, Handler], grants: Grants) -> None:
        self._handlers: Mapping[tuple[str, str], tuple[Endpoint, Handler]] = {
            (each.path, each.method): (each, handler) for each, handler in handlers.items()
        }
        self._grants = grants
        self._there: dict[asyncio.BaseTransport, _Client] = {}
        # The task of each request, and whether the request is an order.
        self._work: dict[asyncio.Task[None], bool] = {}
        # Orders, which go on where their clients hang up, and who gave them.
        self._orders: dict[asyncio.Task[object], _Client] = {}

    def has_room(self, peer: Peer, entering: Iterable[Peer]) -> bool:
        """Whether one more may connect. entering: those who are not added yet"""
        for each in [each for each in self._there if each.is_closing()]:
            self._there.pop(each).has(None)
        gone = (each.peer for each in self._orders.values() if each.transport.is_closing())
        there = [*(each.peer for each in self._there.values()), *entering, *gone]
        own = sum(each.uid == peer.uid for each in there)
        if peer.is_root:
            return own < _OF_ROOT
        return own < _OF_ONE and sum(not each.is_root for each in there) < _OF_OTHERS

    def add(self, transport: asyncio.BaseTransport, peer: Peer) -> None:
        """A client has connected."""
        self._there[transport] = _Client(transport, peer)

    async def end(self) -> None:
        """Hang up on all of them, and wait until nothing is done for them any more.

        Whoever asked for something to be done, as a reload, is told what came of it where that is soon.
        """
        asked = [task for task, is_order in self._work.items() if is_order]
        if orders := [*asked, *self._orders]:
            await asyncio.wait(orders, timeout=_GRACE)
        for each in self._there.values():
            each.end()
        # Their sockets are closed in the next turn of the loop, and what was done for them is cancelled then.
        await asyncio.sleep(0)
        if self._work:
            await asyncio.wait(self._work)
        if left := [*self._orders]:
            for task in left:
                task.cancel()
            await asyncio.wait(left)

    async def answer(self, request: BaseRequest) -> StreamResponse:
        """Answer a request."""
        client = self._there.get(request.transport) if request.transport is not None else None
        if client is None:
            # It has hung up.
            return Response()
        task = asyncio.current_task()
        assert task is not None
        self._work[task] = request.method == "POST"
        try:
            response = await self._answer(request, client)
            # Here and not by aiohttp: until it is sent it is work. Where the client has hung up aiohttp finds
            # that, too, when it goes on with the response.
            with suppress(ConnectionError):
                await response.prepare(request)
                await response.write_eof()
        finally:
            del self._work[task]
        return response

    async def _answer(self, request: BaseRequest, client: _Client) -> StreamResponse:
        # Before anything is refused: a client that has more to send would not hear why.
        raw = await request.read()
        grant = self._grants.of(client.peer)
        found = self._handlers.get((request.path, request.method))
        if found is None:
            return self._unknown(request.path)
        endpoint, handler = found
        if not grant.may(endpoint.verb):
            return _error(403, f"user {client.peer.uid} may not {endpoint.verb}; {_WHO_MAY}")
        try:
            body = raw.decode()
            client.has(_LONG)
            answer = handler(ControlRequest(client.peer, grant, request.query, body))
            if isinstance(answer, AsyncIterator):
                return await _stream(request, client, answer)
            if isinstance(answer, Coroutine) and endpoint.method == "POST":
                document = await self._done(answer, client)
            else:
                document = await answer if isinstance(answer, Awaitable) else answer
        except (Forbidden, Unavailable, ValueError) as error:
            return _error(_refused(error), str(error))
        finally:
            client.has(_PATIENCE)
        return _json(_status(document), document)

    async def _done(self, order: Coroutine[object, object, object], client: _Client) -> object:
        """What comes of an order. Where its client hangs up it goes on: half of it may be done."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(order)
        self._orders[task] = client
        task.add_done_callback(self._orders.pop)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                limit = loop.call_later(_LONG, task.cancel)
                task.add_done_callback(partial(_abandoned_done, limit))
            raise

    def _unknown(self, path: str) -> Response:
        methods = [method for known, method in self._handlers if known == path]
        if methods:
            answer = _error(405, f"{path} is asked for by {' or '.join(methods)}")
            answer.headers["Allow"] = ", ".join(methods)
            return answer
        known = ", ".join(f"{method} {path}" for path, method in self._handlers)
        return _error(404, f"nothing is at that path; known: {known}")


def _abandoned_done(limit: asyncio.TimerHandle, task: asyncio.Task[object]) -> None:
    """An order is over whose client had hung up."""
    limit.cancel()
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, Forbidden | ValueError):
        context = {"message": "an order failed whose client had hung up", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)


_WHO_MAY: Final = "root may, and groups that `allow` in the configuration names"


def _refused(error: Forbidden | Unavailable | ValueError) -> int:
    """The HTTP status of what is not answered."""
    return 403 if isinstance(error, Forbidden) else 503 if isinstance(error, Unavailable) else 400


def _status(document: object) -> int:
    """The HTTP status of a document: of what was refused, and of what is down, another than 200."""
    if isinstance(document, Mapping):
        if document.get("taken") is False:
            return 409
        if document.get("health") == "down":
            return 503
    return 200


def _json(status: int, document: object) -> Response:
    text = document if isinstance(document, str) else json.dumps(document)
    return Response(body=f"{text}\n".encode(), status=status, content_type="application/json")


def _error(status: int, why: str) -> Response:
    return _json(status, {"error": why})


async def _stream(request: BaseRequest, client: _Client, lines: AsyncIterator[str]) -> StreamResponse:
    response = StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    with suppress(ConnectionError):
        await response.prepare(request)
        client.has(None)
        async for line in lines:
            client.has(_PATIENCE)
            await response.write(f"{line}\n".encode())
            client.has(None)
    return response
