"""The service of hooks with a daemon that is full, old or away, and with a cursor that is none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hotplugd.app import endpoints
from hotplugd.app.control import serve as control
from hotplugd.app.control_request import Handler
from hotplugd.app.endpoints import Endpoint
from hotplugd.app.event_buffer import EventBuffer, Moment
from hotplugd.app.hook_reports import HookReports
from hotplugd.app.status_answers import event_lines
from hotplugd.hooks import service
from hotplugd.hooks.settings import Hook
from hotplugd.rules.pattern import Pattern


class Bed:
    """A daemon's events, hooks, and what these said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "c.sock"
        self.keep = folder / "cursor"
        self.ran = folder / "ran"
        self.said: list[str] = []
        self.events = EventBuffer("1a2b3c4d")
        self.reports = HookReports()
        self.streamed: Callable[[], AsyncIterator[str]] | None = None
        self.without: frozenset[Endpoint] = frozenset()
        self.hooks = [self.hook("note", "/bin/sh", "-c", f"echo x >>{self.ran}")]
        self.stop = asyncio.Event()

    def hook(self, name: str, *run: str) -> Hook:
        return Hook(name, (Pattern.of("*"),), run, {})

    def happens(self) -> None:
        self.events.keep(Moment.now(), {"event": "device.add", "device": "/dev/x"})
        self.events.tell()

    @property
    def problems(self) -> list[str]:
        return [each.message for each in self.reports.problems()]

    def handlers(self) -> Mapping[Endpoint, Handler]:
        every: dict[Endpoint, Handler] = {
            endpoints.STATUS: lambda _: {"cursor": self.events.cursor},
            endpoints.STREAM: lambda asked: (
                event_lines(self.events, asked) if self.streamed is None else self.streamed()
            ),
            **self.reports.handlers,
        }
        return {each: handler for each, handler in every.items() if each not in self.without}

    async def serve(self) -> None:
        await service.serve(self.hooks, self.socket, self.keep, self.said.append, self.stop)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.timeout(20), control(self.socket, self.handlers()):
            task = asyncio.create_task(self.serve())
            yield
            self.stop.set()
            await task

    async def until(self, check: Callable[[], object]) -> None:
        while not check():
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_PAUSE", 0.05)


def test_nothing_runs_where_it_cannot_be_written_down(tmp_path: Path) -> None:
    # Started again and again each would run for the same events.
    async def tried() -> None:
        bed = Bed(tmp_path)
        bed.keep.write_text(bed.events.cursor)
        bed.happens()
        (tmp_path / "cursor.new").mkdir()
        async with asyncio.timeout(20), control(bed.socket, bed.handlers()):
            with pytest.raises(OSError, match="directory"):
                await bed.serve()
        assert not bed.ran.exists()

    asyncio.run(tried())


@pytest.mark.parametrize("kept", [b"", b"\xff\xfe", b"a\0b", b"no cursor\n"])
def test_a_cursor_that_is_none_is_told_and_hooks_run_for_what_comes(tmp_path: Path, kept: bytes) -> None:
    async def tried() -> None:
        bed = Bed(tmp_path)
        bed.keep.write_bytes(kept)
        bed.happens()
        async with bed.running():
            await bed.until(lambda: any("events were lost" in each for each in bed.problems))
            # It listens once the daemon has said where it is.
            await bed.until(lambda: bed.keep.read_bytes().startswith(b"1a2b3c4d-"))
            bed.happens()
            await bed.until(bed.ran.exists)
        assert any("events were lost" in each for each in bed.said)
        assert bed.ran.read_text() == "x\n"
        assert bed.keep.read_text() == f"{bed.events.cursor}\n"

    asyncio.run(tried())


@pytest.mark.parametrize("cursor", ["1a2b3c4d-99999999999999999999", "0badb007-7"])
def test_a_cursor_of_the_future_or_of_another_boot_loses_nothing_new(tmp_path: Path, cursor: str) -> None:
    async def tried() -> None:
        bed = Bed(tmp_path)
        bed.keep.write_text(cursor)
        async with bed.running():
            await bed.until(lambda: bed.reports._last)
            await asyncio.sleep(0.2)
            bed.happens()
            await bed.until(bed.ran.exists)
        assert bed.keep.read_text() == f"{bed.events.cursor}\n"

    asyncio.run(tried())


def test_an_old_daemon_is_told_of_once(tmp_path: Path) -> None:
    async def tried() -> None:
        bed = Bed(tmp_path)
        bed.without = frozenset({endpoints.STREAM})
        async with bed.running():
            await bed.until(lambda: bed.said)
            await asyncio.sleep(0.5)
        assert len([each for each in bed.said if "another version" in each]) == 1

    asyncio.run(tried())


@pytest.mark.parametrize("cursor", ["\xe9", "x" * 200, "", 7, "a\nb"])
def test_an_event_whose_cursor_cannot_be_kept_is_none(tmp_path: Path, cursor: object) -> None:
    async def lines() -> AsyncIterator[str]:
        yield json.dumps({"event": "device.add", "cursor": cursor})
        await asyncio.sleep(60)

    async def tried() -> None:
        bed = Bed(tmp_path)
        bed.streamed = lines
        async with bed.running():
            await bed.until(lambda: any("cursor" in each for each in bed.said))
        assert not bed.ran.exists()

    asyncio.run(tried())


def test_a_daemon_that_takes_no_report_is_told_of_once(tmp_path: Path) -> None:
    async def tried() -> None:
        bed = Bed(tmp_path)
        bed.without = frozenset({endpoints.HOOKS})
        async with bed.running():
            await bed.until(lambda: bed.said)
            bed.happens()
            await bed.until(bed.ran.exists)
        assert len([each for each in bed.said if "does not say how hooks do" in each]) == 1

    asyncio.run(tried())


def test_a_report_on_many_hooks_is_not_too_long_for_the_daemon(tmp_path: Path) -> None:
    async def tried() -> None:
        bed = Bed(tmp_path)
        bed.hooks = [bed.hook(f"{number:03}" + "\U0001f4f1" * 61, "/bin/false") for number in range(200)]
        async with bed.running():
            await bed.until(lambda: bed.reports._last)
            await asyncio.sleep(0.2)
            bed.happens()
            await bed.until(lambda: len(bed.problems) == 50)
            await bed.until(lambda: bed.problems[-1].endswith("more hooks fail"))
        assert bed.problems == []

    asyncio.run(tried())


def test_two_do_not_keep_one_cursor(tmp_path: Path) -> None:
    async def tried() -> None:
        bed = Bed(tmp_path)
        async with bed.running():
            await bed.until(lambda: bed.reports._last)
            with pytest.raises(OSError, match="another"):
                await bed.serve()

    asyncio.run(tried())
