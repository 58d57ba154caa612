"""`hotplugd check --strict`: warnings are errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hotplugd.cli import main

DOUBTFUL = "rules:\n  - {name: two, match: {serial: A}, attach: {to: [a, b]}}\n"


def check(*words: object) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, words)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "r.yaml"
    made.write_text(DOUBTFUL)
    return made


def test_warnings_alone_are_fine(file: Path) -> None:
    done = check(file)
    assert (done.exit_code, done.stdout) == (0, "1 rule, 1 warning\n")
    assert "warning: rule 'two' puts each of its devices into all of 2 instances at once" in done.stderr


def test_they_are_errors_where_that_is_asked_for(file: Path) -> None:
    done = check("--strict", file)
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"{file}:2:12: error: rule 'two' puts" in done.stderr
    assert done.stderr.splitlines()[-1] == "1 error"
    document = json.loads(check("--strict", "--json", file).stdout)
    assert document["rules"] == []
    assert [each["severity"] for each in document["diagnostics"]] == ["error"]


def test_no_rules_at_all_are_an_error_then(tmp_path: Path) -> None:
    assert check(tmp_path).exit_code == 0
    done = check("--strict", tmp_path)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"error: no rules in {tmp_path}\n1 error\n"
    (told,) = json.loads(check("--strict", "--json", tmp_path).stdout)["diagnostics"]
    assert (told["severity"], told["message"]) == ("error", f"no rules in {tmp_path}")


def test_hubs_need_no_rules(file: Path) -> None:
    file.write_text('hubs: {shelf: {path: "pci-0000:00:14.0-usb-0:4", ports: {1: "1"}}}\n')
    done = check("--strict", file)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "0 rules, 1 hub, no errors\n", "")


def test_what_is_meant_is_fine(file: Path) -> None:
    file.write_text(DOUBTFUL.replace("b]", "b], share: true"))
    assert check("--strict", file).exit_code == 0
