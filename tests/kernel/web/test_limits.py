"""`hotplugd serve` under those who mean it no good, over TCP: it goes on answering others all the while."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from hotplugd.web.limits import LIMITER, Limits
from hotplugd.web.server import Listen, application, serving
from tests.kernel.web.test_hostile_daemon import run

_SHORT = Limits(first=0.3, each=0.5)
_METRICS = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def served(tmp_path: Path, limits: Limits) -> AsyncIterator[int]:
    """A server without a daemon. Gives its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = application(tmp_path / "none", limits=limits)
    app.router.add_get("/stream", _stream)
    async with serving(app, Listen(None, "127.0.0.1", port)):
        yield port


async def _stream(request: web.Request) -> web.StreamResponse:
    """Sends as much as the client takes."""
    response = web.StreamResponse()
    with request.app[LIMITER].stream(request) as write:
        await response.prepare(request)
        while "much" in request.query:
            await write(response.write(b"x" * 65536))
        await write(response.write(b"\n"))
        await asyncio.Event().wait()
    return response


async def opened(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def answered(port: int) -> None:
    """Somebody else gets an answer."""
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{port}/metrics") as response,
    ):
        assert "hotplugd_up 0.0" in await response.text()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def few(before: int) -> None:
    while open_descriptors() > before:
        await asyncio.sleep(0.01)


def test_of_five_thousand_connections_one_after_the_other_none_stays(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, Limits(connections=16)) as port:
            before = open_descriptors()
            for number in range(5000):
                _, writer = await opened(port)
                if number % 2:
                    writer.write(b"GET /met")
                writer.close()
            await answered(port)
            await few(before)

    run(work())


def test_five_thousand_connections_at_once_leave_room_for_who_asks(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, Limits(connections=16, first=60.0)) as port:
            held: list[asyncio.StreamWriter] = []
            before, each = open_descriptors(), 100
            for _ in range(5000 // each):
                for _, writer in await asyncio.gather(*(opened(port) for _ in range(each))):
                    held.append(writer)
                await answered(port)
                for writer in held[:-16]:
                    writer.close()
                del held[:-16]
            assert open_descriptors() <= before + 2 * 16 + each
            for writer in held:
                writer.close()
            await few(before)

    run(work())


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"G",
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n",
        _METRICS[:-2] + b"Content-Length: 9\r\n\r\nx",
    ],
)
def test_who_sends_a_part_of_a_request_is_hung_up_on(tmp_path: Path, part: bytes) -> None:
    async def work() -> None:
        async with served(tmp_path, _SHORT) as port:
            reader, writer = await opened(port)
            writer.write(part)
            await reader.read()
            writer.close()

    run(work())


def test_who_sends_a_letter_at_a_time_is_hung_up_on(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, _SHORT) as port:
            reader, writer = await opened(port)
            ended = asyncio.create_task(reader.read())
            with suppress(ConnectionError):
                for letter in _METRICS * 100:
                    if ended.done():
                        break
                    writer.write(bytes([letter]))
                    await asyncio.sleep(0.05)
            with suppress(ConnectionError):
                assert await ended == b""
            writer.close()

    run(work())


def test_who_has_an_answer_may_ask_again_for_a_time(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, _SHORT) as port:
            reader, writer = await opened(port)
            for _ in range(5):
                writer.write(_METRICS)
                await reader.readuntil(b"hotplugd_up 0.0")
                await asyncio.sleep(0.2)
            await reader.read()
            writer.close()

    run(work())


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 9000, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 9000,
        b"GET /metrics HTTP/1.1\r\n" + b"X: x\r\n" * 100, b"GET https://][1@ HTTP/1.1\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000000\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
         b"100000\r\n" + b"x" * (1 << 20),
    ],
)  # fmt: skip
def test_what_is_too_large_is_not_taken(tmp_path: Path, head: bytes) -> None:
    async def work() -> None:
        async with served(tmp_path, _SHORT) as port:
            _, writer = await opened(port)
            sent = 0
            with suppress(ConnectionError):
                writer.write(head)
                while sent < 64 << 20:
                    writer.write(b"x" * 65536)
                    await writer.drain()
                    sent += 65536
            assert sent < 32 << 20
            writer.close()
            await answered(port)

    run(work())


def test_streams_are_counted_and_live_on_without_a_word(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, Limits(streams=2, first=0.2, each=0.3)) as port:
            ask = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
            first, second, third = [await opened(port) for _ in range(3)]
            for reader, writer in (first, second):
                writer.write(ask)
                assert (await reader.readuntil(b"\n")).endswith(b"200 OK\r\n")
            third[1].write(ask)
            assert b" 503 " in await third[0].readuntil(b"\n")
            await asyncio.sleep(0.5)
            assert not first[0].at_eof()
            first[1].close()
            reader, writer = await opened(port)
            while True:
                writer.write(ask)
                if b" 200 " in await reader.readuntil(b"\n"):
                    break
                await reader.readuntil(b"later.\n")
            for each in (second[1], third[1], writer):
                each.close()

    run(work())


def test_who_takes_nothing_of_a_stream_is_hung_up_on(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path, Limits(streams=1, first=0.2)) as port:
            with socket.socket() as slow:
                slow.connect(("127.0.0.1", port))
                slow.sendall(b"GET /stream?much HTTP/1.1\r\nHost: localhost\r\n\r\n")
                while True:
                    reader, writer = await opened(port)
                    writer.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    line = await reader.readuntil(b"\n")
                    writer.close()
                    if b" 200 " in line:
                        break

    run(work())
