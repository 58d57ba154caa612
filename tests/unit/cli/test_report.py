"""`hotplugd report` where neither the daemon nor the server runs, and where the rules are broken."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hotplugd.cli import main

_PARTS = (
    "versions", "server", "errors and warnings of the files", "status", "devices", "entries of ours",
    "last events", "the server's log about us",
)  # fmt: skip


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(
        "rules:\n"
        "  - {name: a, match: {serial: R5CT10ABCDE}, attach: {to: phone-R5CT10ABCDE}}\n"
        "  - {name: b, match: {serial: R5CT10ABCDF}, attach: {to: c2}}\n"
    )
    made = tmp_path / "config.yaml"
    made.write_text(
        f"server: https://shelf.example.org:8443\nrules: {tmp_path / 'r.yaml'}\n"
        f"control: {tmp_path / 'none.sock'}\n"
    )
    return made


def report(config: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["report", "--config", str(config), *words])


def test_all_parts_are_there_and_what_is_missing_says_why(config: Path) -> None:
    file = config.parent / "report.txt"
    done = report(config, "--output", str(file))
    assert done.exit_code == 0
    text = file.read_text()
    assert [line[3:-3] for line in text.splitlines() if line.startswith("== ")] == [
        "versions", "server", f"configuration {config}", f"rules {config.parent}/r.yaml", *_PARTS[2:],
    ]  # fmt: skip
    assert "not known: hotplugd is not running" in text
    assert "not known: the certificate of https://<host-" in text
    assert oct(file.stat().st_mode)[-3:] == "600"


def test_twins_can_be_told_apart_and_have_no_serial(config: Path) -> None:
    text = report(config, "--output", "-").stdout
    assert "R5CT10ABCD" not in text
    assert "shelf.example.org" not in text
    rules = [line for line in text.splitlines() if "name: " in line]
    mask, other = (line.partition("serial: ")[2].partition("}")[0] for line in rules)
    assert mask != other
    assert f"to: phone-{mask}}}" in rules[0]


def test_what_it_holds_is_shown_before_it_is_written(config: Path) -> None:
    done = report(config, "--output", "-")
    assert done.stderr.startswith("The report holds ")
    for each in _PARTS:
        assert f"  {each}, " in done.stderr
    assert re.search(r"\bserial [2-9]", done.stderr.splitlines()[-1])


@pytest.mark.parametrize("broken", ["rules: [{}]\nserial: R5CT10ABCDE", "\t- serial: R5CT10ABCDE\n{"])
def test_broken_rules_are_in_it_with_what_is_wrong(config: Path, broken: str) -> None:
    (config.parent / "r.yaml").write_text(broken)
    done = report(config, "--output", "-")
    assert done.exit_code == 0
    assert f"{config.parent}/r.yaml:1:" in done.stdout
    assert "R5CT10ABCDE" not in done.stdout


def test_a_file_that_cannot_be_written_is_an_error(config: Path) -> None:
    done = report(config, "--output", "/proc/none/report.txt")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        "hotplugd: /proc/none/report.txt cannot be written: No such file or directory"
    )


def test_without_a_name_it_is_in_this_folder(config: Path) -> None:
    done = report(config)
    (file,) = config.parent.glob("hotplugd-report-*.txt")
    assert done.stdout == f"{file}: read it before you send it\n"


def test_the_name_of_the_host_is_nowhere(config: Path) -> None:
    name = os.uname().nodename
    (config.parent / "r.yaml").write_text(f"# on {name}-x\nrules: []\n")
    text = report(config, "--output", "-").stdout
    assert f"on {name}" not in text or name in ("localhost", "debian", "host")
