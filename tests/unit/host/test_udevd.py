"""Whether udevd runs: by its process, which is made up here."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from hotplugd.host import udevd
from hotplugd.host.udevd import MISSING, Udevd
from tests.kernel.udev.bench import until
from tests.support.lab.wait import eventually

NAME = f"hpu{os.getpid()}"
Start = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture(autouse=True)
def _name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udevd, "_NAMES", frozenset({NAME}))
    monkeypatch.setattr(udevd, "_RESTART", 0.1)
    monkeypatch.setattr(udevd, "_PAUSE", 0.05)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    program = tmp_path / NAME
    shutil.copy("/bin/sleep", program)
    started: list[subprocess.Popen[bytes]] = []

    def one() -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([program, "60"]))
        # The kernel names it after it has told the parent that it runs.
        name = Path("/proc", str(started[-1].pid), "comm")
        eventually(lambda: name.read_text() == f"{NAME}\n")
        return started[-1]

    yield one
    for each in started:
        each.kill()
        each.wait()


def watched(script: Callable[[Udevd, list[str]], Awaitable[None]]) -> None:
    async def run() -> None:
        told: list[str] = []
        one = Udevd(told.append)
        try:
            await script(one, told)
        finally:
            one.stop()

    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(run())
    assert len(os.listdir("/proc/self/fd")) == before


def test_one_that_is_not_there_is_said_and_looked_for(start: Start) -> None:
    async def script(one: Udevd, told: list[str]) -> None:
        one.start()
        assert one.fault == ""
        await until(lambda: told == [MISSING])
        assert one.fault == MISSING
        assert one.why() == "udevd is not running"
        start()
        await until(lambda: told == [MISSING, ""])
        assert one.fault == ""

    watched(script)


def test_its_end_is_noticed_also_while_its_parent_does_not_look(start: Start) -> None:
    async def script(one: Udevd, told: list[str]) -> None:
        process = start()
        one.start()
        await asyncio.sleep(0.3)
        assert told == []
        process.kill()
        await until(lambda: told == [MISSING])

    watched(script)


def test_one_that_starts_again_is_no_problem(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udevd, "_RESTART", 5.0)

    async def script(one: Udevd, told: list[str]) -> None:
        first = start()
        one.start()
        first.kill()
        second = start()
        await asyncio.sleep(0.4)
        monkeypatch.setattr(udevd, "_RESTART", 0.1)
        assert told == []
        second.kill()
        await until(lambda: told == [MISSING])

    watched(script)


def test_one_that_is_stopped_is_named(start: Start) -> None:
    async def script(one: Udevd, told: list[str]) -> None:
        process = start()
        one.start()
        assert one.why() == ""
        os.kill(process.pid, signal.SIGSTOP)
        await until(lambda: f"kill -CONT {process.pid}" in one.why())

    watched(script)


def test_without_a_descriptor_for_its_process_its_end_is_seen_when_asked(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(pid: int, flags: int = 0) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "pidfd_open", none)

    async def script(one: Udevd, told: list[str]) -> None:
        process = start()
        one.start()
        assert one.why() == ""
        process.kill()
        await until(lambda: one.why() == "udevd is not running")

    watched(script)


def test_without_one_for_now_its_end_is_noticed_all_the_same(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = os.pidfd_open, list[int]()

    def short(pid: int, flags: int = 0) -> int:
        if pid == os.getpid():  # asyncio asks at its start whether there are any (Python 3.14)
            return real(pid, flags)
        asked.append(pid)
        if len(asked) == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(pid)

    monkeypatch.setattr(os, "pidfd_open", short)

    async def script(one: Udevd, told: list[str]) -> None:
        process = start()
        one.start()
        assert asked == [process.pid]
        process.kill()
        await until(lambda: told == [MISSING])
        start()
        await until(lambda: told == [MISSING, ""])

    watched(script)
