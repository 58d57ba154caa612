"""How a diagnostic is shown, and that whatever the parser raises becomes one."""

from __future__ import annotations

import pytest
import yaml

from hotplugd.rulefile.diagnostics import Diagnostic
from hotplugd.rulefile.load import parse
from hotplugd.rulefile.parse import Source, Span


def shown(source: str, column: int, *, width: int = 1, hint: str = "") -> list[str]:
    """The line and what is below it."""
    return Diagnostic("error", "f", 1, column, "m", hint, source, width).render().split("\n")[1:]


def test_a_line_that_fits_is_shown_whole() -> None:
    source = "x" * 110
    assert shown(source, 110) == [source, " " * 109 + "^"]
    assert shown(source, 1, width=110, hint="h") == [source, "^" + "~" * 109 + " h"]


def test_a_longer_line_is_cut_before_and_after_the_caret() -> None:
    assert shown("x" * 111, 111) == ["…" + "x" * 71, " " * 71 + "^"]
    assert shown("x" * 111, 1) == ["x" * 110 + "…", "^"]
    assert shown("x" * 300, 150, width=9) == ["…" + "x" * 109 + "…", " " * 71 + "^" + "~" * 8]


def test_without_a_line_the_hint_stands_alone() -> None:
    assert shown("", 1, hint="h") == ["    h"]
    assert shown("", 1) == []


def test_the_caret_is_placed_by_terminal_columns() -> None:
    # An accent, a circle around it, and a sign that is not seen take no column.
    assert shown("e\u0301\u20ddx", 4) == ["e\u0301\u20ddx", " ^"]
    assert shown("名" * 60, 60) == ["…" + "名" * 36, " " * 71 + "^~"]
    assert shown("\t" * 28, 28) == ["…" + "    " * 18, " " * 69 + "^~~~"]
    assert shown("\x1b" * 30, 2) == ["\\x1b" * 27 + "…", "    ^~~~"]


def test_a_place_after_the_end_is_the_end() -> None:
    for text in ("a\nbc", "a\nbc\n", "a\nbc\n \n"):
        found = Source.of("f", text).error(Span(9, 4, 9, 5), "m")
        assert (found.line, found.column, found.source, found.width) == (2, 3, "bc", 1)
    found = Source.of("f", "").error(Span(0, 0, 0, 1), "m")
    assert (found.line, found.column, found.source, found.width, found.hint) == (1, 1, "", 1, "")


# What PyYAML may raise, and the line, the column, the message and the hint that are shown.
MARK = yaml.Mark("x", 0, 1, 2, None, 0)
RAISED = [
    (yaml.MarkedYAMLError(), (1, 1, "not YAML: not YAML", "")),
    (yaml.MarkedYAMLError(context="while\x1b"), (1, 1, "not YAML: while\\x1b", "")),
    (yaml.MarkedYAMLError(context="while", problem="found\x1b"), (1, 1, "not YAML: found\\x1b", "")),
    (yaml.MarkedYAMLError(problem="x", problem_mark=MARK), (2, 3, "not YAML: x", "")),
    (yaml.MarkedYAMLError(problem="x", context_mark=MARK), (2, 3, "not YAML: x", "")),
    (
        yaml.MarkedYAMLError(problem="expected ',' or '}' or", context_mark=MARK),
        (2, 3, "not YAML: expected ',' or '}' or", "is a '}' or a comma missing?"),
    ),
    (yaml.YAMLError("some\x1b"), (1, 1, "not YAML: some\\x1b", "")),
]


@pytest.mark.parametrize(("raised", "expected"), RAISED)
def test_every_error_of_pyyaml_is_a_diagnostic(
    raised: Exception, expected: tuple[int, int, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(yaml, "parse", refuse)
    (found,) = parse("rules:\n  - x\n", "f").diagnostics
    assert (found.line, found.column, found.message, found.hint) == expected
    assert (found.width, found.related) == (1, None)
