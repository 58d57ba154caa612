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


def test_hooks_beside_the_configuration_are_checked_too(tmp_path: Path) -> None:
    config, hooks, rules = (tmp_path / name for name in ("config.yaml", "hooks.yaml", "rules.yaml"))
    config.write_text(f"rules: {rules}\n")
    rules.write_text("rules: [{name: a, match: {serial: A}, ignore: true}]\n")
    hooks.write_text("hooks: [{on: device.add, run: [/bin/true]}]\n")
    assert check("--config", config).output == "1 rule, no errors\n"
    hooks.write_text("hooks: [{on: device.ad, run: [/bin/true, '{serail}']}]\n")
    done = check("--config", config)
    assert done.exit_code == 1
    assert f"{hooks}:1:14: error: no event is called 'device.ad'" in done.output
    assert "did you mean '{serial}'?" in done.output


def test_hooks_that_are_checked_as_rules_are_told_where_they_belong(tmp_path: Path) -> None:
    hooks = tmp_path / "hooks.yaml"
    hooks.write_text("hooks: [{on: device.add, run: [/bin/true]}]\n")
    assert "hooks are in a file of their own, hooks.yaml" in check(hooks).output


def test_hooks_without_their_file_say_where_it_is_described(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"control: {tmp_path}/none\n")
    done = CliRunner().invoke(main, ["hooks", "--config", str(config)])
    assert (done.exit_code, done.stderr) == (
        78, f"hotplugd: there is no {tmp_path}/hooks.yaml; hotplugd-hooks(7) says what is in it\n"
    )  # fmt: skip
