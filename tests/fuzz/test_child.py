"""What fails beside an assertion: time, by the clock on the wall, and cases that were not run."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from hotplugd.app import control_client
from tests.fuzz import __main__, child, sockets


class _Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class _Ended(BaseException):
    """In place of the process."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(child, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def watched(
    clock: _Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[list[float]], dict[str, object]]:
    """Runs three cases, which take so long, one after the other; and what is reported."""

    def end(_: int) -> None:
        raise _Ended

    def watch(times: list[float]) -> dict[str, object]:
        def run(_: bytes) -> None:
            clock.now += times.pop(0) if times else 0.0

        watch = child._Watch(run, 3, 900, tmp_path / "report")
        with suppress(_Ended):
            for case in (b"a", b"b", b"c"):
                watch(case)
        found: dict[str, object] = json.loads((tmp_path / "report").read_text())
        return found

    monkeypatch.setattr(os, "_exit", end)
    return watch


def test_a_case_that_takes_long_each_time_is_a_finding(
    watched: Callable[[list[float]], dict[str, object]],
) -> None:
    found = watched([0.1, 3.0, *[2.0] * 9])
    assert (found["finding"], found["data"]) == ("a case took 2.0 s, and 9 times again", b"b".hex())


def test_a_case_that_takes_long_once_is_none(watched: Callable[[list[float]], dict[str, object]]) -> None:
    found = watched([0.1, 3.0, 0.2])
    assert (found["finding"], found["cases"], found["slowest"]) == ("", 3, pytest.approx(0.2))


@pytest.mark.parametrize(("most", "finding"), [(97, ""), (99, "it grew from 92160 to 101376 KiB")])
def test_memory_that_grows_is_a_finding(
    watched: Callable[[list[float]], dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    finding: str,
) -> None:
    memory = iter([90 << 10, most << 10])
    monkeypatch.setattr(child, "memory", lambda: next(memory))
    assert watched([])["finding"] == finding


def test_an_answer_that_is_waited_for_in_vain_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "control.sock"))
        silent.listen()
        liar = SimpleNamespace(path=tmp_path / "control.sock")
        monkeypatch.setattr(sockets, "_liar", lambda: liar)
        monkeypatch.setattr(control_client, "_PATIENCE", 0.05)
        with pytest.raises(AssertionError, match="waited"):
            sockets.replies(b"\0{}")


def test_fewer_cases_than_were_asked_for_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = {"cases": 99, "seconds": 1, "slowest": 0, "first": 0, "last": 0, "finding": "", "data": ""}
    monkeypatch.setattr(__main__, "_one", lambda *_: done)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--cases", "100", "log"])
    assert __main__.main() == 1
    assert "log ran 99 of 100 cases" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["fuzz", "--cases", "99", "log"])
    assert __main__.main() == 0
