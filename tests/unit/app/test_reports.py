"""What a reload changed, what rules took, and the settings that a daemon tells of."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotplugd.app.in_force import load, parse_settings, texts
from hotplugd.app.reports import reload_json, rules_json
from hotplugd.rulefile.diagnostics import Diagnostic, Related
from hotplugd.rulefile.load import parse
from tests.support.devices import rule, ruleset

A, B = rule("{serial: A}", "{to: a}", "a"), rule("{serial: B}", None, "b")


def test_a_reload_tells_which_rules_are_new_gone_or_other_than_before() -> None:
    after = ruleset(rule("{serial: C}", "{to: c}", "c"), A.replace("to: a", "to: x"))
    found = reload_json(ruleset(A, B), after, (), "")
    assert (found["taken"], found["rules"]) == (True, 2)
    assert (found["added"], found["removed"], found["changed"]) == (["c"], ["b"], ["a"])


def test_a_rule_that_only_moved_is_the_same_and_one_that_is_off_is_not() -> None:
    assert reload_json(ruleset(A, B), ruleset(B, A), (), "")["changed"] == []
    off = ruleset(A.replace("name: a", "name: a, enabled: false"), B)
    assert reload_json(ruleset(A, B), off, (), "")["changed"] == ["a"]


def test_one_that_failed_tells_why_and_of_what_is_in_force() -> None:
    (wrong,) = parse("rules: [{}]", "f").diagnostics
    found = reload_json(ruleset(A), ruleset(A), [wrong], "1 error")
    assert (found["taken"], found["message"], found["rules"]) == (False, "1 error", 1)
    assert [Diagnostic.of_json(each) for each in found["diagnostics"]] == [wrong]


def test_a_diagnostic_comes_back_from_json_as_it_was() -> None:
    other = Related("g", 2, 3, "here", "line", 4)
    for each in (
        Diagnostic("warning", "f", 1, 2, "m", "h", "s", 3, other),
        Diagnostic("error", "f", 1, 1, "m", whole=True),
    ):
        assert Diagnostic.of_json(each.as_json()) == each


def test_rules_tell_what_they_take_now_and_took_so_far() -> None:
    rules = ruleset(A, B)
    found = rules_json(rules, [rules.rules[0]] * 2, {"a": 5, "gone": 1}, "2026")
    assert [(each["name"], each["devices"], each["taken"]) for each in found["rules"]] == [
        ("a", 2, 5),
        ("b", 0, 0),
    ]
    assert found["since"] == "2026"


def test_settings_that_are_told_are_those_that_were_read(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(f"rules:\n{A}{B}")
    config = tmp_path / "c.yaml"
    config.write_text(f"rules: {tmp_path / 'r.yaml'}\nmost_plugs: 7\n")
    read = load(config)
    told = texts(config, read)
    (tmp_path / "r.yaml").write_text("rules: [{}]")
    config.write_text("no: more\n")
    found = parse_settings(told)
    assert (found.config, found.rules) == (read.config, read.rules)
    assert found.config.most_plugs == 7


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"file": "f", "config": "", "rules": None},
        {"file": "f", "config": "", "rules": [["f"]]},
        {"file": "f", "config": "", "rules": [["f", "rules: [{}]"]]},
        {"file": "f", "config": "nothing: x", "rules": []},
    ],
)
def test_what_cannot_be_in_force_is_not_taken_for_it(told: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="daemon"):
        parse_settings(told)
