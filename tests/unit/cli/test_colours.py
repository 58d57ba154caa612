"""No escape sequence gets to where none is wanted: a pipe, NO_COLOR, a terminal that has none."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

ESCAPE = "\x1b"
COMMANDS = [
    ["devices", "--all"],
    ["check"],
    ["check", "RULES/bad.yaml"],
    ["explain", "null"],
    ["explain", "--as", "subsystem=mem kernel=null"],
    ["test", "RULES/tests.yaml"],
    ["topology"],
    ["health"],
    ["status"],
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "r.yaml").write_text(
        "rules: [{name: r, match: {subsystem: mem, kernel: 'null'}, attach: {to: box}}]\n"
    )
    (tmp_path / "bad.yaml").write_text("rules: [{}]\n")
    (tmp_path / "tests.yaml").write_text("tests: [{name: a, device: {serial: X}, to: box}]\n")
    (tmp_path / "config.yaml").write_text(
        f"rules: {tmp_path / 'r.yaml'}\ncontrol: {tmp_path / 'none.sock'}\nserver: {tmp_path / 'no.socket'}\n"
    )
    return tmp_path


def on_terminal(folder: Path, words: list[str], environment: Mapping[str, str]) -> str:
    """What the command prints on a terminal."""
    program = [sys.executable, "-m", "hotplugd", *(each.replace("RULES", str(folder)) for each in words)]
    master, slave = pty.openpty()
    try:
        with subprocess.Popen(
            [*program, "--config", str(folder / "config.yaml")], stdin=slave, stdout=slave, stderr=slave,
            env={**os.environ, "TERM": "xterm-256color", **environment},
        ):  # fmt: skip
            os.close(slave)
            found = b""
            # Linux answers EIO once nobody has the other side open.
            with suppress(OSError):
                while more := os.read(master, 1 << 16):
                    found += more
        return found.decode()
    finally:
        os.close(master)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_terminal_gets_none_where_none_is_wanted(folder: Path, words: list[str]) -> None:
    printed = on_terminal(folder, words, {"NO_COLOR": "1"})
    assert printed
    assert ESCAPE not in printed


@pytest.mark.parametrize("words", COMMANDS[:3:2], ids=" ".join)
def test_a_terminal_gets_none_that_can_show_none(folder: Path, words: list[str]) -> None:
    assert ESCAPE not in on_terminal(folder, words, {"TERM": "dumb"})


def test_a_terminal_gets_them_otherwise(folder: Path) -> None:
    without = {"NO_COLOR": ""}
    assert ESCAPE in on_terminal(folder, ["check", "RULES/bad.yaml"], without)
    assert ESCAPE in on_terminal(folder, ["devices", "--all"], without)


@pytest.mark.parametrize("words", COMMANDS[:3:2], ids=" ".join)
def test_a_pipe_gets_none(folder: Path, words: list[str]) -> None:
    program = [sys.executable, "-m", "hotplugd", *(each.replace("RULES", str(folder)) for each in words)]
    done = subprocess.run(
        [*program, "--config", str(folder / "config.yaml")], capture_output=True, text=True, check=False,
        env={**os.environ, "TERM": "xterm-256color"},
    )  # fmt: skip
    assert ESCAPE not in done.stdout + done.stderr


def test_a_narrow_terminal_has_each_name_whole(folder: Path) -> None:
    shown = on_terminal(folder, ["devices", "--all"], {"COLUMNS": "60"})
    assert "/dev/null" in shown
    assert "…" not in shown
