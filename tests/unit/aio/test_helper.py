"""Starting a program of ours: what it is given is its own, whatever becomes of who asked for it."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from pathlib import Path

import pytest

from hotplugd.aio.helper import Program
from hotplugd.aio.helper_loop import Limits
from hotplugd.aio.threads import Threads


class Spawning:
    """In place of Popen: it takes its time, and then looks at the standard input that it was given."""

    def __init__(self) -> None:
        self.begun, self.go_on, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.was_socket = False

    def __call__(self, words: object, *, stdin: int, **_: object) -> None:
        self.begun.set()
        self.go_on.wait(20)
        try:
            self.was_socket = stat.S_ISSOCK(os.fstat(stdin).st_mode)
        except OSError:
            self.was_socket = False
        self.ended.set()


def test_a_program_whose_start_is_cancelled_gets_no_other_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spawning = Spawning()
    monkeypatch.setattr("hotplugd.aio.helper.subprocess.Popen", spawning)

    async def start() -> None:
        threads = Threads()
        limits = Limits(request=64, least=0, most=0, answer=64)
        program = Program(threads, "none", "none", tmp_path / "none", 20.0, limits)
        asking = asyncio.create_task(program.ask(b"x", []))
        await asyncio.to_thread(spawning.begun.wait, 20)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        with (tmp_path / "another").open("wb"), (tmp_path / "one more").open("wb"):
            spawning.go_on.set()
            await asyncio.to_thread(spawning.ended.wait, 20)
        threads.close()

    asyncio.run(start())
    assert spawning.was_socket
