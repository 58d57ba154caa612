"""Events of instances from an LXD or Incus server: the event stream, and what its messages mean."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

import aiohttp

from hotplugd.model.names import is_instance_name
from hotplugd.model.ports import Busy, Unreachable
from hotplugd.model.text import quoted
from hotplugd.model.values import InstanceName
from hotplugd.server.errors import refusal, short

# The server pings an event stream every 10 s: three missed pings mean that it is gone.
_SILENCE: Final = 35.0
# The first message has no more time than any other answer.
_GREETING: Final = 30.0
# Events may use the loop for this many seconds in a row; then other work has three times as long. Otherwise a
# stream that never pauses would keep the loop, since messages that have come are read without a wait.
_TURN: Final = 0.005
_OTHERS: Final = 3
# The least seconds that a message counts.
_MESSAGE: Final = 1e-5
_MOST: Final = 1 << 20
# With more events than these that were not taken, all instances are listed instead.
_MOST_HEARD: Final = 10_000
# We never have more updates than these under way: further ones are of other clients.
_MOST_TIMES: Final = 10
# Our own name: the server announces the operation, and not that the instance did not start.
START_FAILED: Final = "start-failed"
_RESOURCES: Final = ("instances", "containers", "virtual-machines")
_FAILURE: Final = 400
_HTTPS: Final = 443
_STARTS: Final = ("Starting", "Restarting")
_ENDS: Final = frozenset(
    {
        aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED,
        aiohttp.WSMsgType.ERROR,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Something happened: the server's name for it (`instance-started`), and to which instance.

    name    None where it may be several: of a profile, which gives entries to all that use it, or a project
    reason     why it could not be started, where that is what happened
    operation  the server's id of the operation that should have started it
    project    where name is None: the one in which the instances are, empty where they may be in any
    asked      of `instance-shutdown`: somebody asked the server for it
    """

    action: str
    name: InstanceName | None
    reason: str = ""
    operation: str = ""
    project: str = ""
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """How to speak to a server over https: its certificate, our own and our key, all of them PEM files."""

    server: Path
    cert: str
    key: str


async def lifecycle(
    address: str, identity: Identity | None, projects: Sequence[str] | None
) -> AsyncGenerator[Lifecycle | None, None]:
    """What happens to instances, as it happens. The first item is None: from here on nothing is missed.

    address   a socket's path, or an https URL: then `identity` says who is who
    projects  those that we may see; None for all
    Ends by Unreachable when the server goes away, or falls silent.
    """
    session = aiohttp.ClientSession(connector=connector_to(address, identity))
    base = "http://localhost" if identity is None else address.rstrip("/")
    scopes = (
        ["all-projects=true"] if projects is None else [f"project={quote(project)}" for project in projects]
    )
    timeout = aiohttp.ClientWSTimeout(ws_receive=None, ws_close=1.0)
    heard = _Heard()
    tasks: list[asyncio.Task[None]] = []
    streams: list[aiohttp.ClientWebSocketResponse] = []
    try:
        async with session:
            try:
                for scope in scopes:
                    async with asyncio.timeout(_GREETING):
                        url = f"{base}/1.0/events?type=lifecycle,operation&{scope}"
                        stream = await session.ws_connect(
                            url, timeout=timeout, max_msg_size=_MOST, autoping=False
                        )
                    streams.append(stream)
                    tasks.append(asyncio.create_task(_hear(stream, heard)))
                yield None
                while tasks and (some := await heard.take()):
                    for happened in some:
                        yield happened
                for task in tasks:
                    if task.done():
                        task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                for stream in streams:
                    cut(stream)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Unreachable(f"no events from {address}: {str(error) or 'it fell silent'}") from error
    raise Unreachable(f"{address} closed the event stream")


def cut(stream: aiohttp.ClientWebSocketResponse) -> None:
    """End its connection now. By itself it would wait until the server has read all that was sent."""
    channel = stream.get_extra_info("socket")
    if channel is not None:
        with suppress(OSError):
            channel.shutdown(socket.SHUT_RDWR)
    stream._response.close()  # noqa: SLF001  # its own `close` reads first whatever has come


class _Heard:
    """The events that were heard and not taken yet, each once, with how often it was heard."""

    def __init__(self) -> None:
        self._waiting: dict[Lifecycle, int] = {}
        self._news = asyncio.Event()
        self._ended = False

    def put(self, happened: Lifecycle) -> None:
        """Add an event."""
        if len(self._waiting) >= _MOST_HEARD:
            self._waiting = {Lifecycle("too-much", None): 1}
        self._waiting[happened] = min(self._waiting.get(happened, 0) + 1, _MOST_TIMES)
        self._news.set()

    def end(self) -> None:
        """Take note that the stream has ended."""
        self._ended = True
        self._news.set()

    async def take(self) -> list[Lifecycle]:
        """Wait for events, and take them; none once the stream has ended."""
        await self._news.wait()
        self._news.clear()
        waiting, self._waiting = self._waiting, {}
        return [] if self._ended else [each for each, times in waiting.items() for _ in range(times)]


async def _hear(stream: aiohttp.ClientWebSocketResponse, heard: _Heard) -> None:
    """Pass on the events of a stream until it ends. Raises TimeoutError where it is silent, or does not read
    our answers.
    """
    loop = asyncio.get_running_loop()
    spent = 0.0
    try:
        while True:
            async with asyncio.timeout(_SILENCE):
                message = await stream.receive()
                start = loop.time()
                if message.type is aiohttp.WSMsgType.PING:
                    await stream.pong(message.data)
            if message.type in _ENDS:
                return
            if message.type is aiohttp.WSMsgType.TEXT:
                for happened in meaning(message.data):
                    heard.put(happened)
            spent += max(loop.time() - start, _MESSAGE)
            if spent > _TURN:
                await asyncio.sleep(_OTHERS * min(spent, 1.0))
                spent = 0.0
    finally:
        heard.end()


class _OneServer(aiohttp.TCPConnector):
    """Connects to one server over https, and follows no redirect: a request from this host could reach hosts
    that the server itself cannot.
    """

    def __init__(self, address: str, context: ssl.SSLContext) -> None:
        super().__init__(ssl=context)
        parts = urlsplit(address)
        self._server = parts.scheme, parts.hostname, parts.port or _HTTPS

    async def connect(self, req: aiohttp.ClientRequest, *arguments: Any, **options: Any) -> Any:
        """A connection, to this server alone."""
        if (req.url.scheme, req.url.host, req.url.port) != self._server:
            raise aiohttp.ClientConnectionError(f"it sends us to {quoted(str(req.url.origin()))}")
        return await super().connect(req, *arguments, **options)


def connector_to(address: str, identity: Identity | None) -> aiohttp.BaseConnector:
    """How aiohttp reaches a server, and no other. Raises OSError and ValueError for bad certificates."""
    if identity is None:
        return aiohttp.UnixConnector(address)
    pinned = ssl.PEM_cert_to_DER_cert(identity.server.read_text("ascii"))
    # Trusts this certificate alone, with any name in it, and no certificate authority of the system.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=pinned)
    context.load_cert_chain(identity.cert, identity.key)
    return _OneServer(address, context)


def meaning(text: str) -> list[Lifecycle]:
    """The instances that a lifecycle event or a failed start is about; none for other messages."""
    try:
        event = json.loads(text)
        metadata = event["metadata"]
        if event.get("type") == "operation":
            return _failed_start(metadata)
        action = str(metadata["action"])
        if action.startswith("project-"):
            return [Lifecycle(action, None)]
        source = urlsplit(str(metadata["source"]))
        if action.startswith("profile-"):
            project = parse_qs(source.query).get("project", ["default"])[0]
            # Instances of other projects may use profiles of the default project.
            return [Lifecycle(action, None, project="" if project == "default" else project)]
        kind, name = source.path.strip("/").split("/")[1:3]
        project = parse_qs(source.query).get("project", ["default"])[0]
        old = (metadata.get("context") or {}).get("old_name")
        # LXD 6 says of nobody that the name and the protocol are empty (request.CreateRequestor).
        who = metadata.get("requestor") if action == "instance-shutdown" else None
        asked = isinstance(who, dict) and any(who.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    if not action.startswith("instance-") or kind not in ("instances", "containers", "virtual-machines"):
        return []
    names = [unquote(name), *([str(old)] if old else [])]
    # Names become parts of request paths.
    named = (InstanceName(project, each) for each in names if is_instance_name(each))
    return [Lifecycle(action, each, asked=asked) for each in named]


def _failed_start(operation: Any) -> list[Lifecycle]:
    """The instances that an operation should have started and did not. Raises what `meaning` expects.

    An operation that did not start because the server was busy with the instance gives none.
    """
    reason = str(operation.get("err") or "")
    if operation["status_code"] != _FAILURE or not str(operation["description"]).startswith(_STARTS):
        return []
    if isinstance(refusal(reason), Busy):
        return []
    sources = [each for key in _RESOURCES for each in (operation["resources"].get(key) or [])]
    names = dict.fromkeys(_named(str(each)) for each in sources)
    ident = str(operation["id"])
    return [Lifecycle(START_FAILED, name, short(reason), ident) for name in names if name is not None]


def _named(source: str) -> InstanceName | None:
    """The instance at this path of the API; None where there is none."""
    parts = urlsplit(source)
    kind, name = parts.path.strip("/").split("/")[1:3]
    project = parse_qs(parts.query).get("project", ["default"])[0]
    name = unquote(name)
    return InstanceName(project, name) if kind in _RESOURCES and is_instance_name(name) else None
