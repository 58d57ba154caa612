"""What `hotplugd serve` makes of a daemon that is another version, or answers nonsense."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hotplugd.web import daemon
from hotplugd.web.daemon import DaemonAway, DaemonClient
from hotplugd.web.metrics import Counts
from hotplugd.web.server import Listen, application, serving
from tests.unit.web.test_metrics import POOLS, STATUS

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
_GZIP = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\nnone"


@asynccontextmanager
async def answering(path: Path, answer: Callable[[str], bytes]) -> AsyncIterator[list[str]]:
    """A daemon that answers these bytes. Gives the targets that it was asked for."""
    asked: list[str] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        asked.append(target)
        writer.write(answer(target))
        writer.close()

    async with await asyncio.start_unix_server(one, path):
        yield asked


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await work

    asyncio.run(bounded())


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"status\n", b"{}\n", _HEAD, _HEAD + b"null", _HEAD + b"[]", _HEAD + b'{"error": "no"}',
        _HEAD + b"\xff", _HEAD + b"[" * 100_000, _HEAD + b"1" * 5000, _HEAD + b"x" * 100_000, _GZIP,
    ],
)  # fmt: skip
def test_what_is_no_document_is_no_daemon(tmp_path: Path, raw: bytes) -> None:
    async def work() -> None:
        async with answering(tmp_path / "s", lambda _: raw), DaemonClient.at(tmp_path / "s") as client:
            with pytest.raises(DaemonAway):
                await client.answers()

    run(work())


def test_an_answer_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "_ANSWER_MOST", 1 << 20)

    async def work() -> None:
        raw = _HEAD + b" " * (1 << 21) + b"{}"
        async with answering(tmp_path / "s", lambda _: raw), DaemonClient.at(tmp_path / "s") as client:
            with pytest.raises(DaemonAway, match="expected at most 1 MiB, and found more"):
                await client.answers()

    run(work())


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"status": {**STATUS, "server": None}}, {"status": {**STATUS, "problems": [1]}},
        {"status": {key: value for key, value in STATUS.items() if key != "lost_events"}},
        {"status": {**STATUS, "rules": "x"}}, {"status": {**STATUS, "rules": 10**400}},
        {"pools": {"pools": [{"name": "\ud800", "devices": [], "claims": [], "expect": 1}]}},
        {"pools": {}},
    ],
)  # fmt: skip
def test_documents_of_another_version_are_no_error(tmp_path: Path, changes: dict[str, object]) -> None:
    documents = {"status": STATUS, "pools": POOLS, "health": {"health": "well"}, **changes}

    def answer(target: str) -> bytes:
        return _HEAD + json.dumps(documents.get(target.removeprefix("/1/"), {})).encode()

    async def work() -> None:
        async with (
            answering(tmp_path / "s", answer),
            serving(application(tmp_path / "s"), Listen(tmp_path / "web")),
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "web"))) as client,
            client.get("http://localhost/metrics") as response,
        ):
            text = await response.text()
            assert response.status == 200
            assert f"hotplugd_up {float(not changes)}" in text

    run(work())


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b"\xff", b"x" * (3 << 20), b"null", b'{"event": 1, "cursor": {}}', b"{"]
)
def test_events_that_are_none_do_not_end_it(
    tmp_path: Path, line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "_PAUSE", 0.0)

    async def work() -> None:
        counts, heard = Counts(), asyncio.Event()
        good = b'{"event": "device.add", "after_plug": "5 ms", "cursor": "1a2b3c4d-1"}\n'
        answers = iter([_HEAD + line + b"\n", *[_HEAD + good] * 1000])
        async with (
            answering(tmp_path / "s", lambda _: next(answers)),
            DaemonClient.at(tmp_path / "s") as client,
            asyncio.TaskGroup() as group,
        ):
            following = group.create_task(
                client.follow(counts, lambda: heard.set() if counts.seconds else None)
            )
            await heard.wait()
            following.cancel()
        assert (counts.cut >= 1, counts.seconds > 0) == (True, True)

    run(work())


def test_a_cursor_that_is_refused_is_given_up_and_only_a_stream_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "_PAUSE", 0.0)

    async def work() -> None:
        counts, heard = Counts(), asyncio.Event()
        event = b'{"event": "device.add", "cursor": "1a2b3c4d-1"}\n'
        refused = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"

        def answer(target: str) -> bytes:
            return _HEAD + event if target.endswith("end") else refused

        async with answering(tmp_path / "s", answer) as asked, DaemonClient.at(tmp_path / "s") as client:
            following = asyncio.create_task(
                client.follow(counts, lambda: heard.set() if len(asked) > 2 else None)
            )
            await heard.wait()
            assert [each.partition("=")[2] for each in asked[:3]] == ["end", "1a2b3c4d-1", "end"]
            assert counts.cut == 1
            following.cancel()

    run(work())
