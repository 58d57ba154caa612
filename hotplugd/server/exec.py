"""Commands inside instances: the server's exec, over websockets.

A command whose output the server records cannot be ended by anybody (LXD and Incus: its operation cannot be
cancelled). One with websockets is killed by a message on its `control` websocket, and by the server itself
where that breaks off. So its three streams and `control` are opened, and its exit code is its operation's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final
from urllib.parse import quote

import aiohttp

from hotplugd.model.ports import Ran, Refused, Unreachable
from hotplugd.model.values import InstanceName
from hotplugd.server.errors import NOT_LXD, failure, refusal, short
from hotplugd.server.events import Identity, connector_to, cut

# So many bytes of a command's output are kept. One that writes more than the second number is killed.
_KEPT: Final = 1 << 13
_MOST: Final = 1 << 18
# An answer of the server's is no larger.
_ANSWER: Final = 1 << 20
# Seconds that the server may take beside the command itself: to start it, and to say how it ended.
_SERVER: Final = 10.0
# Seconds after which a command that was killed is given up: what it started may still write to its streams.
_KILLED: Final = 2.0
_KILL: Final = json.dumps({"command": "signal", "signal": 9})
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOT_FOUND: Final = 127
_CONTROL: Final = "control"
_OUT: Final = ("1", "2")
_BAD: Final = 400
_ENDS: Final = (
    aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR,
)  # fmt: skip


class Exec:
    """Runs commands in instances of one server.

    address, identity  as in `events.lifecycle`
    """

    def __init__(self, address: str, identity: Identity | None) -> None:
        self._address = address
        self._identity = identity
        self._base = "http://localhost" if identity is None else address.rstrip("/")

    async def run(self, name: InstanceName, command: Sequence[str], within: float, given: bytes = b"") -> Ran:
        """Run a command. See `ports.CommandPort`."""
        try:
            async with (
                asyncio.timeout(within + _SERVER + _KILLED),
                aiohttp.ClientSession(connector=connector_to(self._address, self._identity)) as session,
            ):
                return await self._run(session, name, command, within, given)
        except TimeoutError as error:
            raise Unreachable(f"{self._address} has not said how the command in {name} ended") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"{self._address} broke off a command in {name}: {short(error)}") from error
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise Unreachable(f"{self._address} answered {NOT_LXD}: {short(error)}") from error

    async def _run(
        self,
        session: aiohttp.ClientSession,
        name: InstanceName,
        command: Sequence[str],
        within: float,
        given: bytes,
    ) -> Ran:
        url = f"{self._base}/1.0/instances/{quote(name.name, safe='')}/exec?project={quote(name.project)}"
        body = {
            "command": [*command],
            "wait-for-websocket": True,
            "interactive": False,
            "environment": {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8"},
        }
        started = await _asked(session.post(url, json=body))
        operation = str(started["id"])
        running = _Running()
        streams: dict[str, aiohttp.ClientWebSocketResponse] = {}
        try:
            for each, secret in _streams(started):
                at = f"{self._base}/1.0/operations/{quote(operation)}/websocket?secret={quote(secret)}"
                streams[each] = await session.ws_connect(at, max_msg_size=_ANSWER, timeout=_NO_WAIT)
            how = await running.run(streams, within, given)
            ended = await self._ended(session, operation, killed=bool(how))
        finally:
            for stream in streams.values():
                cut(stream)
        if how:
            return Ran(None, running.output, how)
        if ended == _NOT_FOUND:
            raise Refused(f"there is no command '{short(command[0])}' in {name}")
        return Ran(ended, running.output)

    async def _ended(self, session: aiohttp.ClientSession, operation: str, *, killed: bool) -> int:
        """The exit code of a command whose streams have ended. Raises Refused where there is none."""
        seconds = int(_KILLED if killed else _SERVER)
        url = f"{self._base}/1.0/operations/{quote(operation)}/wait?timeout={seconds}"
        done = await _asked(session.get(url))
        code = (done.get("metadata") or {}).get("return")
        if isinstance(code, int) and not isinstance(code, bool):
            return code
        if killed:
            return -1
        raise refusal(str(done.get("err") or f"the command ended without an exit code: {done['status']}"))


class _Running:
    """A command that runs.

    output  what it wrote, as far as that is kept
    """

    def __init__(self) -> None:
        self._kept = bytearray()
        self._size = 0
        self._too_much = asyncio.Event()

    @property
    def output(self) -> bytes:
        return bytes(self._kept)

    async def run(
        self, streams: Mapping[str, aiohttp.ClientWebSocketResponse], within: float, given: bytes
    ) -> str:
        """Wait until its streams end. Returns why it was killed; empty where it was not."""
        reading = [asyncio.create_task(self._read(streams[each])) for each in _OUT]
        # What nobody reads must not hold up anything: the server closes it with the command.
        idle = [asyncio.create_task(_drain(streams[each])) for each in ("0", _CONTROL)]
        full = asyncio.create_task(self._too_much.wait())
        ended = asyncio.gather(*reading)
        why = ""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_KILLED):
                    await _give(streams["0"], given)
            either: set[asyncio.Future[Any]] = {ended, full}
            await asyncio.wait(either, timeout=within, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                wrote = f"it wrote more than {_MOST >> 10} KB"
                why = wrote if full.done() else f"it did not end within {within:g} s"
                with suppress(ConnectionError, RuntimeError):
                    await streams[_CONTROL].send_str(_KILL)
                await asyncio.wait({ended}, timeout=_KILLED)
        finally:
            for task in (*reading, *idle, full):
                task.cancel()
            await asyncio.gather(*reading, *idle, full, ended, return_exceptions=True)
        return why

    async def _read(self, stream: aiohttp.ClientWebSocketResponse) -> None:
        """Take what comes until the stream ends; what is too much is thrown away, but taken."""
        while (message := await stream.receive()).type not in _ENDS:
            if message.type is aiohttp.WSMsgType.TEXT:
                # The server ends a stream so, and only what is binary is data (LXD: shared/ws).
                return
            data = message.data if message.type is aiohttp.WSMsgType.BINARY else b""
            self._kept += data[: max(_KEPT - len(self._kept), 0)]
            self._size += len(data)
            if self._size > _MOST:
                self._too_much.set()


_NO_WAIT: Final = aiohttp.ClientWSTimeout(ws_receive=None, ws_close=1.0)


async def _give(stream: aiohttp.ClientWebSocketResponse, given: bytes) -> None:
    """Write what the command reads, and that there is no more."""
    with suppress(ConnectionError, RuntimeError):
        if given:
            await stream.send_bytes(given)
        await stream.send_str("")


async def _drain(stream: aiohttp.ClientWebSocketResponse) -> None:
    while (await stream.receive()).type not in _ENDS:
        pass


def _streams(started: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The names and secrets of a command's websockets. Raises KeyError where one is missing."""
    secrets = started["metadata"]["fds"]
    return [(each, str(secrets[each])) for each in (_CONTROL, "0", *_OUT)]


async def _asked(request: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> Mapping[str, Any]:
    """The metadata of an answer. Raises the ServerError that it says, or ValueError for what is none."""
    async with request as answer:
        raw = b""
        while chunk := await answer.content.readany():
            raw += chunk
            if len(raw) > _ANSWER:
                raise ValueError("the answer is larger than any of LXD's")
        found = json.loads(raw)
        if answer.status >= _BAD or found.get("type") == "error":
            said = found.get("error")
            raise failure(max(answer.status, _BAD), said if isinstance(said, str) else None)
    metadata = found["metadata"]
    if not isinstance(metadata, dict):
        raise TypeError(f"expected an object, and found {type(metadata).__name__}")
    return metadata
