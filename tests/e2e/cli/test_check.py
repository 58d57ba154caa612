"""`hotplugd check`, and what holds for every command's line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from click.testing import Result

from hotplugd import __version__
from hotplugd.app import settings
from tests.support.lab.nobody import as_nobody

Hotplugd = Callable[..., Result]

_GOOD = "rules:\n  - {name: phones, match: {vendor_id: 18d1}, attach: {to: c1}}\n"
_BAD = "rules:\n  - {name: bad, match: {serail: 1}, attach: {to: c1, mode: '999'}}\n"
_NEVER = _GOOD + "  - {name: never, match: {id: '18d1:4ee7'}, attach: {to: c2}}\n"
_COMMANDS = (
    "run", "check", "devices", "plan", "explain", "topology", "suggest", "pool", "lease", "cordon",
    "uncordon", "drain", "status", "monitor", "history", "health", "serve", "hooks", "reload", "schema",
    "test", "record", "report", "attach", "detach", "undo", "reset", "port", "help",
)  # fmt: skip
_HEAVY = {"pylxd", "pyudev", "aiohttp", "rich", "requests", "structlog", "asyncio"}


def _places(done: Result) -> list[str]:
    return re.findall(r"^(\S+?): (?:error|warning): ", done.stderr, re.MULTILINE)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return tmp_path / "rules.yaml"


class TestExitCode:
    def test_good_rules_are_fine(self, hotplugd: Hotplugd, rules: Path) -> None:
        rules.write_text(_GOOD)
        done = hotplugd("check", rules)
        assert (done.exit_code, done.stderr) == (0, "")
        assert "1 rule" in done.stdout

    def test_a_folder_without_rule_files_names_what_is_ignored(
        self, hotplugd: Hotplugd, tmp_path: Path
    ) -> None:
        assert hotplugd("check", tmp_path).stderr == f"warning: no rules in {tmp_path}\n"
        for name in ("01.conf", "x\x1b.yaml~", ".hidden"):
            (tmp_path / name).touch()
        done = hotplugd("check", tmp_path)
        assert done.exit_code == 0
        assert done.stderr == (
            f"warning: no *.yaml or *.yml with rules in {tmp_path}; ignored: 01.conf, x\\x1b.yaml~\n"
        )

    def test_a_command_that_is_spelt_wrong_is_found(self, hotplugd: Hotplugd) -> None:
        done = hotplugd("statsu")
        assert done.exit_code == 2
        assert "no command 'statsu'; did you mean 'status'?" in done.stderr
        assert "one of run, check, devices," in hotplugd("xyzzy").stderr
        assert hotplugd("\x1b[2J").exit_code == 2

    def test_warnings_alone_are_fine_and_are_shown(self, hotplugd: Hotplugd, rules: Path) -> None:
        rules.write_text(_NEVER)
        done = hotplugd("check", rules)
        assert done.exit_code == 0
        assert _places(done) == [f"{rules}:3:12"]
        assert "1 warning" in done.stdout

    def test_an_error_is_shown_with_its_line_a_caret_and_a_hint(
        self, hotplugd: Hotplugd, rules: Path
    ) -> None:
        rules.write_text("rules:\n  - {name: bad, match: {serail: 1}, ignore: true}\n")
        done = hotplugd("check", rules)
        assert (done.exit_code, done.stdout) == (1, "")
        head, line, caret, summary = done.stderr.splitlines()
        assert head == f"{rules}:2:25: error: unknown key 'serail'"
        assert line == "  - {name: bad, match: {serail: 1}, ignore: true}"
        assert caret == " " * 24 + "^~~~~~ did you mean 'serial'?"
        assert summary == "1 error"

    def test_every_error_of_every_file_is_shown_at_once(self, hotplugd: Hotplugd, tmp_path: Path) -> None:
        files = [tmp_path / name for name in ("a.yaml", "b.yaml", "c.yaml")]
        files[0].write_text(_BAD)
        files[1].write_text("rules: [{name: x\n")
        files[2].write_bytes(b"rules: \xff\n")
        done = hotplugd("check", tmp_path, tmp_path / "missing.yaml")
        assert done.exit_code == 1
        found = _places(done)
        assert [each.rpartition("/")[2].partition(":")[0] for each in found] == [
            "a.yaml", "a.yaml", "b.yaml", "c.yaml", "missing.yaml",
        ]  # fmt: skip
        assert done.stderr.splitlines()[-1] == "5 errors"

    def test_two_rules_of_one_name_in_two_files_are_both_shown(
        self, hotplugd: Hotplugd, tmp_path: Path
    ) -> None:
        for name in ("a.yaml", "b.yaml"):
            (tmp_path / name).write_text(_GOOD)
        done = hotplugd("check", tmp_path)
        assert done.exit_code == 1
        assert f"{tmp_path}/b.yaml:2:12: error: a second rule 'phones'" in done.stderr
        assert f"{tmp_path}/a.yaml:2:12: note:" in done.stderr

    def test_an_unknown_command_or_option_is_wrong_usage(self, hotplugd: Hotplugd) -> None:
        for words in (["chekc"], ["check", "--jsno"], ["explain"], ["status", "extra"]):
            done = hotplugd(*words)
            assert done.exit_code == 2
            assert "Usage: " in done.stderr


class TestWithoutPath:
    def test_the_configuration_and_its_rules_are_checked(self, hotplugd: Hotplugd, tmp_path: Path) -> None:
        (tmp_path / "r").mkdir()
        rules, settings = tmp_path / "r" / "rules.yaml", tmp_path / "config.yaml"
        rules.write_text(_BAD)
        settings.write_text(f"server: lxd\nrules: {rules.parent}\n")
        done = hotplugd("check", "--config", settings)
        assert done.exit_code == 1
        assert _places(done) == [f"{settings}:1:9", f"{rules}:2:25", f"{rules}:2:60"]
        rules.write_text(_GOOD)
        settings.write_text(f"rules: {rules.parent}\n")
        assert hotplugd("check", "--config", settings).exit_code == 0

    def test_a_file_without_rules_is_a_warning(self, hotplugd: Hotplugd, rules: Path) -> None:
        rules.write_text("rules: []\n")
        done = hotplugd("check", rules)
        assert (done.exit_code, done.stdout) == (0, "0 rules, 1 warning\n")
        assert "warning: no rules here" in done.stderr

    def test_with_one_the_configuration_does_not_count(
        self, hotplugd: Hotplugd, tmp_path: Path, rules: Path
    ) -> None:
        rules.write_text(_GOOD)
        assert hotplugd("check", "--config", tmp_path / "missing.yaml", rules).exit_code == 0

    def test_a_configuration_that_is_named_and_missing_is_an_error(
        self, hotplugd: Hotplugd, tmp_path: Path
    ) -> None:
        missing = tmp_path / "missing.yaml"
        done = hotplugd("check", "--config", missing)
        assert done.exit_code == 1
        assert f"{missing}: error: cannot be read: No such file or directory" in done.stderr

    def test_it_may_be_missing_at_the_default_place(
        self, hotplugd: Hotplugd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        missing = tmp_path / "missing.yaml"
        monkeypatch.setattr(settings, "DEFAULT", missing)
        monkeypatch.setattr("hotplugd.rulefile.discover.DEFAULT_FOLDERS", settings.Config().rules)
        done = hotplugd("check", "--config", missing)
        assert str(missing) not in done.stderr
        assert done.exit_code == 0


class TestJson:
    def test_rules_and_warnings(self, hotplugd: Hotplugd, rules: Path) -> None:
        rules.write_text(_NEVER)
        done = hotplugd("check", "--json", rules)
        assert (done.exit_code, done.stderr) == (0, "")
        document = json.loads(done.stdout)
        assert set(document) == {"rules", "hubs", "pools", "diagnostics"}
        assert document["rules"] == ["phones", "never"]
        assert [each["severity"] for each in document["diagnostics"]] == ["warning"]

    def test_errors_with_everything_that_is_shown(self, hotplugd: Hotplugd, rules: Path) -> None:
        line = "  - {name: phones, match: {serial: 1}, ignore: true}"
        rules.write_text(f"rules:\n{line}\n{line.replace('1', '2')}\n")
        done = hotplugd("check", "--json", rules)
        assert (done.exit_code, done.stderr) == (1, "")
        document = json.loads(done.stdout)
        assert document["rules"] == []
        assert document["diagnostics"] == [
            {
                "severity": "error", "file": str(rules), "line": 3, "column": 12, "width": 6,
                "message": "a second rule 'phones'", "hint": "a name stands for one rule", "whole": False,
                "source": line.replace("1", "2"),
                "related": {
                    "file": str(rules), "line": 2, "column": 12, "width": 6,
                    "message": "the other one is here", "source": line,
                },
            }
        ]  # fmt: skip

    def test_the_configurations_errors_are_among_them(self, hotplugd: Hotplugd, tmp_path: Path) -> None:
        settings = tmp_path / "config.yaml"
        settings.write_text(f"server: lxd\nrules: {tmp_path / 'none.yaml'}\n")
        done = hotplugd("check", "--json", "--config", settings)
        found = cast("list[dict[str, object]]", json.loads(done.stdout)["diagnostics"])
        assert [each["file"] for each in found] == [str(settings), str(tmp_path / "none.yaml")]


class TestEveryCommand:
    def test_the_list_has_each_with_what_it_does(self, hotplugd: Hotplugd) -> None:
        done = hotplugd("--help")
        assert done.exit_code == 0
        assert tuple(re.findall(r"^  (\w+)  +\w", done.stdout, re.MULTILINE)) == _COMMANDS

    @pytest.mark.parametrize("name", _COMMANDS)
    def test_each_has_help_with_its_options(self, hotplugd: Hotplugd, name: str) -> None:
        done = hotplugd(name, "--help")
        assert (done.exit_code, done.stderr) == (0, "")
        assert ("--config FILE" in done.stdout) == (name not in ("lease", "schema", "help"))
        assert ("--json" in done.stdout) == (
            name not in ("run", "record", "report", "lease", "schema", "serve", "hooks", "help")
        )

    def test_the_version_is_the_packages(self, hotplugd: Hotplugd) -> None:
        assert hotplugd("--version").stdout == f"hotplugd, version {__version__}\n"


@pytest.mark.parametrize("words", [["check"], ["status"], ["--help"]])
def test_what_needs_neither_devices_nor_server_loads_nothing_for_them(
    words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "rules.yaml").write_text(_GOOD)
    settings = tmp_path / "config.yaml"
    settings.write_text(f"rules: {tmp_path / 'rules.yaml'}\ncontrol: {tmp_path / 'none.sock'}\n")
    options = [] if words == ["--help"] else ["--config", str(settings)]
    allowed = {"asyncio"} if words == ["status"] else set()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "hotplugd", *words, *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    loaded = set(re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "hotplugd.cli" in loaded
    assert loaded & _HEAVY <= allowed


class TestNotRoot:
    @pytest.fixture
    def rules(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="hpr-", dir="/tmp") as folder:
            Path(folder).chmod(0o755)
            file = Path(folder, "rules.yaml")
            file.write_text(_GOOD)
            yield file

    def test_it_needs_no_root(self, rules: Path) -> None:
        done = as_nobody("check", rules)
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_file_that_may_not_be_read_is_an_error_like_others(self, rules: Path) -> None:
        other = rules.with_name("other.yaml")
        other.write_text(_BAD)
        other.chmod(0)
        rules.write_text(_BAD)
        done = as_nobody("check", rules, other)
        assert done.returncode == 1
        assert f"{rules}:2:25: error: " in done.stderr
        assert f"{other}: error: cannot be read: Permission denied" in done.stderr
