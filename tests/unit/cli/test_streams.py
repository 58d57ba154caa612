"""Commands say what they can and end as they should, whatever their standard output is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# A table, a list, JSON, and what only ends.
COMMANDS = [
    ["devices", "--all"],
    ["explain", "--as", "serial=R5C001"],
    ["record", "-"],
    ["health"],
    ["status"],
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # A name that neither ASCII nor ISO 8859-1 has.
    (tmp_path / "r.yaml").write_text(
        "rules: [{name: r, description: Gerät 日本, match: {serial: 'R5C*'}, attach: {to: box}}]\n", "utf-8"
    )
    (tmp_path / "config.yaml").write_text(
        f"rules: {tmp_path / 'r.yaml'}\ncontrol: {tmp_path / 'none.sock'}\nserver: {tmp_path / 'no.socket'}\n"
        f"state: {tmp_path / 'state.json'}\n"
    )
    return tmp_path


def program(folder: Path, words: list[str]) -> list[str]:
    return [sys.executable, "-m", "hotplugd", *words, "--config", str(folder / "config.yaml")]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_one_that_is_closed_changes_no_exit_code(folder: Path, words: list[str]) -> None:
    command = program(folder, words)
    expected = subprocess.run(command, capture_output=True, check=False)
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, check=False
    )
    assert "Traceback" not in closed.stderr
    assert closed.returncode == expected.returncode
    both = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command], check=False)
    assert both.returncode == expected.returncode


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "utf-8"])
def test_one_that_lacks_a_letter_gets_it_escaped(folder: Path, encoding: str) -> None:
    words = ["explain", "--as", "serial=R5C001"]
    done = subprocess.run(
        program(folder, words), capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    # Where the encoding is ASCII click takes it for a mistake, and writes UTF-8.
    shown = done.stdout.decode("utf-8" if encoding == "ascii" else encoding)
    assert (r"Gerät \u65e5" if encoding == "iso-8859-1" else "Gerät 日") in shown


@pytest.mark.parametrize("words", COMMANDS[:3:2], ids=" ".join)
def test_whoever_reads_the_first_line_alone_hears_of_no_error(folder: Path, words: list[str]) -> None:
    with subprocess.Popen(program(folder, words), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize("words", COMMANDS[:3], ids=" ".join)
def test_neither_a_home_nor_a_locale_is_needed(folder: Path, words: list[str]) -> None:
    done = subprocess.run(
        program(folder, words), capture_output=True, text=True, check=False, cwd="/",
        env={"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("words", COMMANDS[:4], ids=" ".join)
def test_a_disk_that_is_full_is_told(folder: Path, words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            program(folder, words), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert "Traceback" not in done.stderr
    assert "standard output cannot be written: No space left on device" in done.stderr
    assert done.returncode == 1
