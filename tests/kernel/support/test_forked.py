"""Commands that are started by a fork are those that are installed."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from signal import Signals

import pytest

from tests.support.lab.commands import Commands, Executed, Process
from tests.support.lab.daemon import command
from tests.support.lab.forked import Forking, Quick
from tests.support.lab.wait import ended, eventually


@pytest.fixture(scope="module")
def forking() -> Iterator[Forking]:
    with Forking() as one:
        yield one


@pytest.fixture
def waits(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """The words of a command that waits for an answer, for some seconds."""
    (config := tmp_path / "config.yaml").write_text(f"control: {tmp_path}/control\n")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{tmp_path}/control")
        silent.listen()
        yield ("status", "--config", str(config))


@pytest.mark.parametrize(
    "words",
    [("--help",), ("nonsense",), ("run", "--log-format", "console", "--config", "/nonexistent"), ("seal",)],
)
def test_it_says_and_answers_the_same(forking: Forking, words: tuple[str, ...]) -> None:
    def outcome(commands: Commands) -> tuple[int, str, str]:
        done = commands.run(words, {"PATH": os.environ["PATH"]})
        return done.returncode, done.stdout, done.stderr

    assert outcome(forking) == outcome(Executed(command()))


def test_each_has_its_own_session_and_nothing_of_others(
    forking: Forking, waits: tuple[str, ...], tmp_path: Path
) -> None:
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    processes: list[Process] = []
    for each in logs:
        with each.open("wb") as log:
            processes.append(forking.start(waits, os.environ, log.fileno()))
    for process, own in zip(processes, logs, strict=True):
        eventually(partial(_is_on_its_own, process.pid, own))
        process.send_signal(Signals.SIGKILL)
        process.wait(10)


def _is_on_its_own(pid: int, log: Path) -> bool:
    opened: list[str] = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            opened.append(os.readlink(each))
    files = [each for each in opened if not each.startswith("socket:")]
    # Its question's socket, too.
    return os.getsid(pid) == pid and files == ["/dev/null", str(log), str(log)] and len(opened) == 4


def test_it_is_waited_for_and_killed(forking: Forking, waits: tuple[str, ...]) -> None:
    process = forking.start(waits, os.environ, 2)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    process.send_signal(Signals.SIGKILL)
    assert process.wait(10) == process.returncode == -Signals.SIGKILL
    assert ended(process.pid)
    process.send_signal(Signals.SIGKILL)


def test_it_outlives_nothing(waits: tuple[str, ...]) -> None:
    with Forking() as one:
        process = one.start(waits, os.environ, 2)
    process.send_signal(Signals.SIGTERM)
    assert process.wait(10) == -Signals.SIGTERM


def test_it_is_executed_where_the_environment_may_make_a_difference(
    waits: tuple[str, ...], tmp_path: Path
) -> None:
    with Quick(command()) as quick:
        found = []
        for more in ({}, {"PYTEST_CURRENT_TEST": "x", "UMOCKDEV_DIR": "/nowhere"}, {"LANG": "xx"}):
            with (tmp_path / "log").open("wb") as log:
                process = quick.start(waits, {**os.environ, **more}, log.fileno())
            words = Path(f"/proc/{process.pid}/cmdline")
            eventually(lambda words=words: b"status" in words.read_bytes() or b"forked" in words.read_bytes())  # type: ignore[misc]
            found.append(b"forked" in words.read_bytes())
            process.send_signal(Signals.SIGKILL)
            process.wait(10)
    assert found == [True, True, False]
