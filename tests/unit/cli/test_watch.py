"""`hotplugd status --watch`: shown anew when an event tells of a change, until interrupted."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hotplugd.app.control_request import ControlRequest, Handler
from hotplugd.app.endpoints import EVENTS, STATUS, Endpoint
from hotplugd.app.event_buffer import EventBuffer, Moment
from tests.support.lab.wait import eventually
from tests.support.serving import serving

DOCUMENT: dict[str, Any] = {
    "ready": True,
    "server": {"address": "/x", "software": "lxd", "version": "5", "connected": True},
    "rules": 1, "devices": 1, "attachments": [], "pending": [], "holds": [], "problems": [],
    "unmatched": [], "failed_reloads": 0, "lost_events": 0,
}  # fmt: skip


class Scripted:
    """A daemon that says what it is told to. asked: how often for its status"""

    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self.events = EventBuffer("1a2b3c4d")
        self.asked = 0
        self.rules = 1

    def status(self) -> object:
        self.asked += 1
        return {**DOCUMENT, "rules": self.rules, "cursor": self.events.cursor}

    async def after(self, asked: ControlRequest) -> object:
        return (await self.events.after(asked.query["after"], 20)).json()

    def happens(self, rules: int) -> None:
        def do() -> None:
            self.rules = rules
            self.events.keep(Moment.now(), {"event": "reload.done"})
            self.events.tell()

        self.loop.call_soon_threadsafe(do)


@contextmanager
def daemon(control: Path) -> Iterator[Scripted]:
    scripted = Scripted()
    handlers: dict[Endpoint, Handler] = {STATUS: lambda _: scripted.status(), EVENTS: scripted.after}
    with serving(control, handlers) as scripted.loop:
        yield scripted


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(f"control: {tmp_path / 'c.sock'}\n")
    return tmp_path / "config.yaml"


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """What a shell starts in the background ignores SIGINT, and so would the commands that tests start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextmanager
def watching(
    config: Path, *words: str, output: int | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The command, and the file with all that it prints."""
    said = config.parent / "said"
    with said.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "hotplugd", "status", "--watch", "--config", str(config), *words],
            stdout=file if output is None else output, stderr=file if output is None else output,
            env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
    try:
        yield process, said
    finally:
        process.kill()
        process.wait()


def test_it_is_shown_anew_when_something_changed_and_not_else(config: Path) -> None:
    with daemon(config.parent / "c.sock") as running, watching(config) as (process, said):
        eventually(lambda: "; 1 rule, " in said.read_text())
        running.happens(1)  # and nothing is another
        eventually(lambda: running.asked == 2)
        running.happens(2)
        eventually(lambda: "; 2 rules, " in said.read_text())
        assert said.read_text().count("ready; ") == 2
        assert running.asked == 3
        assert "\x1b" not in said.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert "Traceback" not in said.read_text()


def test_a_daemon_that_ends_is_said_and_waited_for(config: Path) -> None:
    with watching(config) as (process, said):
        eventually(lambda: "is not running" in said.read_text())
        with daemon(config.parent / "c.sock"):
            eventually(lambda: "ready; " in said.read_text())
        eventually(lambda: "it has ended; waiting for it" in said.read_text())
        with daemon(config.parent / "c.sock"):
            eventually(lambda: said.read_text().count("ready; ") == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_json_is_a_line_for_each(config: Path) -> None:
    with daemon(config.parent / "c.sock") as running, watching(config, "--json", "--problems") as (_, said):
        eventually(lambda: said.read_text().endswith("\n"))
        running.happens(2)
        eventually(lambda: len(said.read_text().splitlines()) == 2)
        assert [json.loads(each)["rules"] for each in said.read_text().splitlines()] == [1, 2]


def test_a_terminal_is_drawn_anew(config: Path) -> None:
    master, slave = pty.openpty()
    try:
        with daemon(config.parent / "c.sock") as running, watching(config, output=slave) as (process, _):
            os.close(slave)
            shown = b""
            while b"ready; " not in shown:
                shown += os.read(master, 1 << 16)
            running.happens(2)
            while b"; 2 rules" not in shown:
                shown += os.read(master, 1 << 16)
            assert shown.count(b"\x1b[H\x1b[J") == 2
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
    finally:
        os.close(master)


def test_it_is_about_the_daemons_state_alone(config: Path) -> None:
    for more in ("--cluster", "--rules"):
        done = subprocess.run(
            [sys.executable, "-m", "hotplugd", "status", "--watch", more, "--config", str(config)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert "neither --cluster nor --rules" in done.stderr
