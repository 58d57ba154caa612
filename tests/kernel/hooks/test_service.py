"""`hotplugd hooks` and a control socket with real events: nothing is lost, and what fails is said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hotplugd.app import endpoints, status_answers
from hotplugd.app.control import serve as serve_control
from hotplugd.app.event_buffer import EventBuffer, Moment
from hotplugd.app.hook_reports import HookReports
from hotplugd.hooks import service
from hotplugd.hooks.settings import Hook, parse

_BOOT = "1a2b3c4d"
_HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"


class Daemon:
    """The control socket of a daemon, with events that the test makes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.buffer = EventBuffer(_BOOT, most=50)
        self.reports = HookReports(lambda: 0.0)

    def tell(self, name: str, **fields: object) -> None:
        self.buffer.keep(Moment.now(), {"event": name, "level": "info", **fields})
        self.buffer.tell()

    @asynccontextmanager
    async def runs(self) -> AsyncIterator[None]:
        handlers = {
            endpoints.STATUS: lambda _: {"cursor": self.buffer.cursor},
            endpoints.STREAM: lambda asked: status_answers.event_lines(self.buffer, asked),
            **self.reports.handlers,
        }
        async with serve_control(self.path, handlers):
            yield


class Bed:
    def __init__(self, tmp_path: Path, text: str) -> None:
        self.out = tmp_path / "out"
        self.keep = tmp_path / "cursor"
        self.said: list[str] = []
        self.hooks = hooks(text.replace("OUT", str(self.out)))
        self.daemon = Daemon(tmp_path / "control")

    @asynccontextmanager
    async def runs(self) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(
            service.serve(self.hooks, self.daemon.path, self.keep, self.said.append, stop)
        )
        try:
            yield
            stop.set()
            await task
        finally:
            task.cancel()
            await asyncio.wait([task])

    @property
    def lines(self) -> list[str]:
        return self.out.read_text().splitlines() if self.out.exists() else []

    @property
    def problems(self) -> list[str]:
        return [each.message for each in self.daemon.reports.problems()]


def hooks(text: str) -> tuple[Hook, ...]:
    found, wrong = parse(text, "hooks.yaml")
    assert wrong == ()
    return found


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await work

    asyncio.run(bounded())


_NOTE = """
hooks:
  - name: note
    on: [device.add, events.lost]
    run: [/bin/sh, -c, 'echo "$1" >> "$2"', sh, "{serial}{event}", "OUT"]
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_PAUSE", 0.05)
    monkeypatch.setattr(service, "_GRACE", 0.5)


def test_commands_run_for_what_happens_from_now_on(tmp_path: Path) -> None:
    async def work() -> None:
        bed = Bed(tmp_path, _NOTE)
        bed.daemon.tell("device.add", serial="before")
        async with bed.daemon.runs(), bed.runs():
            await until(bed.keep.exists)
            for number in range(3):
                bed.daemon.tell("device.add", serial=str(number), device="/dev/x")
                bed.daemon.tell("device.remove", serial=str(number), device="/dev/x")
            await until(lambda: len(bed.lines) == 3)
            await until(lambda: bed.keep.read_text().strip() == bed.daemon.buffer.cursor)
        assert bed.lines == [f"{number}device.add" for number in range(3)]
        assert bed.said == []

    run(work())


def test_nothing_is_lost_while_the_daemon_or_the_hooks_are_away(tmp_path: Path) -> None:
    async def work() -> None:
        bed = Bed(tmp_path, _NOTE)
        async with bed.runs():
            async with bed.daemon.runs():
                await until(bed.keep.exists)
                bed.daemon.tell("device.add", serial="a")
                await until(lambda: bed.lines == ["adevice.add"])
            bed.daemon.tell("device.add", serial="b")
            await until(lambda: any("the daemon is away" in each for each in bed.said))
            async with bed.daemon.runs():
                await until(lambda: bed.lines[1:] == ["bdevice.add"])
        bed.daemon.tell("device.add", serial="c")
        async with bed.daemon.runs(), bed.runs():
            await until(lambda: bed.lines[2:] == ["cdevice.add"])

    run(work())


def test_what_was_not_done_with_at_the_end_is_done_again(tmp_path: Path) -> None:
    async def work() -> None:
        text = _NOTE.replace('echo "$1" >> "$2"', 'echo "$1" >> "$2"; [ -e "$2.go" ] || sleep 1000')
        bed = Bed(tmp_path, text)
        async with bed.daemon.runs():
            async with bed.runs():
                await until(bed.keep.exists)
                bed.daemon.tell("device.add", serial="a")
                await until(lambda: bed.lines)
            (tmp_path / "out.go").write_text("")
            async with bed.runs():
                await until(lambda: bed.lines == ["adevice.add"] * 2)

    run(work())


def test_events_that_nobody_keeps_any_more_are_said(tmp_path: Path) -> None:
    async def work() -> None:
        bed = Bed(tmp_path, _NOTE)
        async with bed.daemon.runs():
            async with bed.runs():
                await until(bed.keep.exists)
                bed.daemon.tell("device.add", serial="a")
                await until(lambda: bed.lines == ["adevice.add"])
            for _ in range(100):
                bed.daemon.tell("device.seen")
            async with bed.runs():
                await until(lambda: "events.lost" in bed.lines)
                await until(lambda: any("events were lost" in each for each in bed.problems))
            assert any("events were lost: the daemon does not keep" in each for each in bed.said)
            assert bed.problems == []

    run(work())


def test_a_hook_that_fails_is_a_problem_until_it_does_not(tmp_path: Path) -> None:
    async def work() -> None:
        bed = Bed(tmp_path, "hooks: [{name: sad, on: device.add, run: [test, '{serial}', '=', good]}]")
        async with bed.daemon.runs(), bed.runs():
            await until(bed.keep.exists)
            for serial in ("bad", "-r"):
                bed.daemon.tell("device.add", serial=serial)
            await until(lambda: any("failed 2 times in a row" in each for each in bed.problems))
            assert "would be '-r', which programs take for an option" in bed.problems[0]
            assert any("hook 'sad' failed for device.add" in each for each in bed.said)
            bed.daemon.tell("device.add", serial="good")
            await until(lambda: bed.problems == [])

    run(work())


@pytest.mark.parametrize("kept", ["", "nonsense", "\xff", "x" * 5000, "00000000-1", "1a2b3c4d-" + "9" * 30])
def test_a_cursor_that_is_none_is_no_end(tmp_path: Path, kept: str) -> None:
    async def work() -> None:
        bed = Bed(tmp_path, _NOTE)
        bed.keep.write_bytes(kept.encode("latin-1"))
        async with bed.daemon.runs(), bed.runs():
            while "adevice.add" not in bed.lines:
                bed.daemon.tell("device.add", serial="a")
                await asyncio.sleep(0.05)

    run(work())


def test_a_report_that_did_not_reach_the_daemon_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_AGAIN", 0.05)

    async def work() -> None:
        bed = Bed(tmp_path, "hooks: [{name: sad, on: device.add, run: [/bin/false]}]")
        reports: list[str] = []
        streams: list[asyncio.StreamWriter] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"stream" in head:
                event = b'{"event": "device.add", "serial": "a", "cursor": "1a2b3c4d-7"}\n'
                writer.write(_STREAM + (event if b"d-1 " in head else b"\n"))
                streams.append(writer)
                return
            if b"POST" in head:
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                reports.append((await reader.readexactly(length)).decode())
            # Of reports of what fails only the third has an answer.
            if sum("sad" in each for each in reports) in (0, 3):
                writer.write(_HEAD + b'{"cursor": "1a2b3c4d-1"}')
            writer.close()

        async with await asyncio.start_unix_server(answer, bed.daemon.path), bed.runs():
            await until(lambda: sum("sad" in each for each in reports) == 3)
            await asyncio.sleep(0.3)
            assert sum("sad" in each for each in reports) == 3
            for each in streams:
                each.close()

    run(work())


def test_who_is_not_let_in_is_told_what_to_do_once(tmp_path: Path) -> None:
    async def work() -> None:
        bed = Bed(tmp_path, _NOTE)

        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            body = json.dumps({"error": "user 7 may not read; root may"}).encode()
            writer.write(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n" + body)
            writer.close()

        async with await asyncio.start_unix_server(refuse, bed.daemon.path), bed.runs():
            await until(lambda: len(bed.said) >= 2)
            await asyncio.sleep(0.3)
        assert sorted(bed.said) == [
            '`hotplugd status` does not say how hooks do: {"error": "user 7 may not read; root may"}',
            'the daemon tells no events: {"error": "user 7 may not read; root may"}',
        ]

    run(work())


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b"\xff", b"x" * (3 << 20), b"null", b"{", b'{"cursor": {}, "event": []}']
)
def test_what_is_no_event_ends_nothing(tmp_path: Path, line: bytes) -> None:
    async def work() -> None:
        bed = Bed(tmp_path, _NOTE)
        good = b'{"event": "device.add", "serial": "a", "cursor": "1a2b3c4d-7"}\n'
        lines = iter([line, *[good] * 1000])

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            body = next(lines) + b"\n" if b"stream" in head else b'{"cursor": "1a2b3c4d-1"}'
            writer.write(_HEAD + body)
            writer.close()

        async with await asyncio.start_unix_server(answer, bed.daemon.path), bed.runs():
            await until(lambda: "adevice.add" in bed.lines)

    run(work())
