"""Real commands of hooks: what they are given, and that nothing is left of them."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from hotplugd.hooks import command
from tests.support.lab.wait import eventually

_SH = "/bin/sh"


def run(script: str, *words: str, given: bytes = b"", limit: float = 20.0, **variables: str) -> str:
    environment = {"PATH": "/usr/bin:/bin", **variables}
    return asyncio.run(command.run([_SH, "-c", script, "sh", *words], environment, given, limit))


def left(mark: Path) -> list[str]:
    """The processes that have this file's path among their words."""
    found = []
    for each in os.listdir("/proc"):
        if each.isdecimal():
            try:
                words = Path("/proc", each, "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(mark).encode() in words:
                found.append(each)
    return found


def test_it_gets_words_variables_and_the_event(tmp_path: Path) -> None:
    out = tmp_path / "out"
    hostile = "$(touch /tmp/never) `id` ; '\" \\ \n*"
    script = 'printf "%s|%s|" "$1" "$HOTPLUGD_SERIAL" > "$2"; cat >> "$2"'
    event = {"serial": hostile, "n": "x" * 300_000}
    raw = json.dumps(event).encode()
    assert run(script, hostile, str(out), given=raw, HOTPLUGD_SERIAL=hostile) == ""
    assert out.read_text() == f"{hostile}|{hostile}|{raw.decode()}"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 0", ""), ("exit 3", "its exit status was 3"), ("kill -9 $$", "it was ended by SIGKILL"),
        ("true < /dev/stdin", ""),
    ],
)  # fmt: skip
def test_how_it_ended_is_said(script: str, why: str) -> None:
    assert run(script, given=b"x" * 1_000_000) == why


@pytest.mark.parametrize("program", ["/none", "none-such-program", "/etc/passwd", "/"])
def test_what_cannot_be_started_is_said(program: str) -> None:
    told = asyncio.run(command.run([program], {"PATH": "/bin"}, b"", 5.0))
    assert told.startswith(f"{program} cannot be started: ")


def test_words_that_are_too_many_are_said() -> None:
    assert "cannot be started: Argument list too long" in run("exit 0", "x" * (1 << 20))


def test_who_hangs_is_ended_with_all_that_it_began(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = 'trap "" TERM; for n in 1 2 3; do sh -c \'trap "" TERM; sleep 1000\' "$1" "$1" & done; wait'
    began = time.monotonic()
    assert run(script, str(mark), limit=0.5) == "it ran longer than 0.5 s, and was ended"
    assert time.monotonic() - began < 10
    eventually(lambda: left(mark) == [])


def test_who_ends_when_told_is_given_the_time_for_it(tmp_path: Path) -> None:
    script = "trap 'touch \"$1\"; exit 0' TERM; sleep 1000 & wait"
    assert run(script, str(tmp_path / "told"), limit=0.5) == "it ran longer than 0.5 s, and was ended"
    assert (tmp_path / "told").exists()


def test_what_it_leaves_behind_is_ended(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert run('sh -c "sleep 1000; true" sh "$1" & exit 0', str(mark)) == ""
    eventually(lambda: left(mark) == [])


def test_who_floods_is_ended_in_time_and_takes_no_memory(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("yes | head -c 30000000; sleep 1000", limit=2.0) == "it ran longer than 2 s, and was ended"
    capfd.readouterr()


def test_nothing_is_left_where_it_is_given_up(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    async def work() -> None:
        task = asyncio.create_task(
            command.run([_SH, "-c", 'sh -c "sleep 1000; true" sh "$1"; true', "sh", str(mark)], {}, b"", 60)
        )
        while not left(mark):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(work())
    eventually(lambda: left(mark) == [])
