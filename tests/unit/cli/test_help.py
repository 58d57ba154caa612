"""`hotplugd help`, and a command that is spelt wrong."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result

from hotplugd.cli import main


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def test_help_of_a_command_is_what_its_option_shows() -> None:
    assert run("help", "check").output == run("check", "--help").output
    assert "Usage: " in run("help", "check").output


def test_help_of_a_command_of_a_command() -> None:
    assert run("help", "lease", "list").output == run("lease", "list", "--help").output
    assert "Usage: main lease list " in run("help", "lease", "list").output
    for words in (("help", "lease", "lst"), ("lease", "lst")):
        assert "no command 'lst'; did you mean 'list'?" in run(*words).output
    assert "`main health` has no commands of its own" in run("help", "health", "now").output


def test_help_alone_lists_the_commands() -> None:
    assert run("help").output == run("--help").output
    assert "  help " in run("help").output


@pytest.mark.parametrize("words", [("statsu",), ("stat-us",), ("help", "statsu"), ("Status",)])
def test_a_command_that_is_spelt_wrong_is_found(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert f"no command '{words[-1]}'; did you mean 'status'?" in done.output


@pytest.mark.parametrize("name", ["release", "move"])
def test_a_command_of_a_command_is_found_by_its_own_name(name: str) -> None:
    done = run(name, "R5C001")
    assert done.exit_code == 2
    assert f"no command '{name}'; did you mean 'lease {name}'?" in done.output


def test_what_is_like_no_command_has_all_of_them() -> None:
    done = run("x\x1b[2Jyz")
    assert done.exit_code == 2
    assert "no command 'x\\x1b[2Jyz'; one of run, check, " in done.output
