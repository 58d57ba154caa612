"""Why the daemon ended, for `status`."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from hotplugd.app import exit_reason as module
from hotplugd.app.daemon import Daemon
from hotplugd.app.exit_reason import ExitReason, exit_reason, file_of
from hotplugd.cli import main
from hotplugd.cli.run import command
from hotplugd.host.server_lock import AlreadyRunning


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "r.yaml").write_text("rules: []\n")
    made = tmp_path / "config.yaml"
    made.write_text(
        f"rules: {tmp_path}/r.yaml\ncontrol: {tmp_path}/run/c.sock\nserver: {tmp_path}/no.socket\n"
    )
    return made


def run(config: Path) -> int:
    """Run the daemon, in a way that has a standard error of its own. Returns the exit code."""
    callback = command.callback
    assert callback is not None
    with pytest.raises(SystemExit) as ended:
        callback(config=config, log_format="json", once=False, dry_run=False, verbose=False)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def status(config: Path) -> list[str]:
    done = CliRunner().invoke(main, ["status", "--config", str(config)])
    assert done.exit_code == 3
    return [line.strip() for line in done.stderr.splitlines()[1:]]


def fails_with(monkeypatch: pytest.MonkeyPatch, error: BaseException | int) -> None:
    async def work(_: Daemon) -> int:
        if isinstance(error, int):
            return error
        raise error

    monkeypatch.setattr(Daemon, "run", work)


def test_files_with_errors_are_told_with_the_time_also_once_they_are_mended(config: Path) -> None:
    rules = config.parent / "r.yaml"
    rules.write_text("rules: [{}]\n")
    assert run(config) == 78
    ended, cannot = status(config)
    assert ended.startswith("it ended at 20")
    assert f": 1 error in its files, the first {rules}:1:9: a rule needs `name` and `match`" in ended
    assert cannot.startswith("it cannot start: 1 error in its files")
    rules.write_text("rules: []\n")
    assert status(config) == [ended]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AlreadyRunning("another hotplugd looks after it"), ": another hotplugd looks after it"),
        (
            OSError(13, "Permission denied", "/dev/hotplugd"),
            ": [Errno 13] Permission denied: '/dev/hotplugd'",
        ),
        (RuntimeError("the\nend"), ": it crashed: RuntimeError: the\\x0aend, at "),
        (ExceptionGroup("tasks", [KeyError("x")]), ": it crashed: KeyError: 'x'"),
    ],
)
def test_whatever_it_ends_by_is_one_line(
    config: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, said: str
) -> None:
    fails_with(monkeypatch, error)
    if "crashed" in said:
        with pytest.raises(type(error)):
            run(config)
    else:
        assert run(config) == 1
    (ended,) = status(config)
    assert said in ended
    assert "ended without a word" not in ended
    done = CliRunner().invoke(main, ["health", "--config", str(config)])
    assert done.exit_code == 2
    assert said in done.stdout


def test_a_defect_is_told_by_its_event(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(daemon: Daemon) -> int:
        daemon._log.critical("defect", reason="a task failed")
        daemon._log.info("stopping")
        return 1

    monkeypatch.setattr(Daemon, "run", work)
    assert run(config) == 1
    (ended,) = status(config)
    assert ended.endswith(": a defect: a task failed")


def test_what_is_in_the_way_of_the_control_socket_is_told(config: Path) -> None:
    control = config.parent / "run" / "c.sock"
    control.parent.mkdir()
    control.write_text("precious")
    assert run(config) == 1
    done = CliRunner().invoke(main, ["status", "--config", str(config)])
    assert f"{control} is in the way of the control socket, and no socket; remove it" in done.stderr


def test_one_that_was_told_to_end_is_said_to_be_stopped(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_with(monkeypatch, 0)
    assert run(config) == 0
    (stopped,) = status(config)
    assert stopped.startswith("it was stopped at 20")
    assert stat.S_IMODE(file_of(config.parent / "run" / "c.sock").stat().st_mode) == 0o600


def test_one_that_was_killed_has_said_nothing(tmp_path: Path) -> None:
    control = tmp_path / "c.sock"
    words = ExitReason(control)
    assert exit_reason(control) == ""  # it lives
    other = ExitReason(control)
    other.ended("another's")
    os.close(words._descriptor)
    assert "and ended without a word" in exit_reason(control)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "{}",
        '{"how": 1}',
        '{"how": "", "reason": "", "at": "x"}',
        '{"how": "", "reason": "", "at": "0001-01-01T00:00:00+14:00"}',
        '{"how": "", "reason": "", "at": "9999-12-31T23:59:59-14:00"}',
        "[" * 9999,
    ],
)
def test_what_is_no_last_word_is_left_out(tmp_path: Path, text: str) -> None:
    file_of(tmp_path / "c.sock").write_text(text)
    assert exit_reason(tmp_path / "c.sock") == ""


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text(json.dumps({"how": "ended", "reason": "x", "at": "2026-11-27T00:00:00+00:00"}))
    file_of(tmp_path / "c.sock").symlink_to(precious)
    ExitReason(tmp_path / "c.sock").ended("y")
    assert exit_reason(tmp_path / "c.sock") == ""
    assert '"x"' in precious.read_text()


def test_a_long_reason_is_cut(tmp_path: Path) -> None:
    words = ExitReason(tmp_path / "c.sock")
    words.ended("x" * 100_000)
    assert len(exit_reason(tmp_path / "c.sock")) < 2 * module._LONGEST
