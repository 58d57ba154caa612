"""What SECURITY.md promises has a test, by name, and each test that it names is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

_PROJECT: Final = Path(__file__).parents[2]
_TEXT: Final = (_PROJECT / "SECURITY.md").read_text("utf-8")
# From here on each item of a list and each row of a table is a promise.
_PROMISES: Final = "## Who has a USB port at hand"
# The beginnings of those that promise nothing.
_LIMITS: Final = (
    "- **It cannot be kept from the host.**",
    "- **Nothing that it says is more than a string.** See",
    "- A container with `security.privileged`",
)
_QUOTED: Final = re.compile(r"`([^`]+)`")
_FILE: Final = re.compile(r"tests/[\w/]+\.py")
_NO_FILE: Final = re.compile(r"\w+\.py")
_NAME: Final = re.compile(r"(?:Test|test_)\w+")


@cache
def defined(file: Path) -> frozenset[str]:
    """The names of the classes and functions of a file; none where there is no file."""
    if not file.is_file():
        return frozenset()
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(each.name for each in ast.walk(ast.parse(file.read_bytes())) if isinstance(each, kinds))


def missing(text: str) -> Iterator[str]:
    """The tests that a text names and that are not there. A name alone is of the file named before it."""
    file = ""
    for quoted in _QUOTED.findall(text):
        if _FILE.fullmatch(quoted):
            file = quoted
            if not (_PROJECT / file).is_file():
                yield file
        elif _NO_FILE.fullmatch(quoted):
            yield f"{quoted} without its folder"
        elif _NAME.fullmatch(quoted) and quoted not in defined(_PROJECT / file):
            yield f"{quoted} in {file or 'no file'}"


def untested(text: str) -> Iterator[str]:
    """The items of lists and rows of tables that name no test, by their first line."""
    for item in re.split(r"\n(?=- |\||\n)", text):
        line = item.strip("\n").partition("\n")[0]
        is_row = line.startswith("| ") and not line.startswith(("| string |", "| unit |"))
        if not (line.startswith("- ") or is_row) or line.startswith(_LIMITS):
            continue
        names = _QUOTED.findall(item)
        if not any(_FILE.fullmatch(each) or _NAME.fullmatch(each) for each in names):
            yield line


def test_each_test_that_is_named_is_there() -> None:
    assert list(missing(_TEXT)) == []


def test_each_promise_names_its_test() -> None:
    assert list(untested(_TEXT[_TEXT.index(_PROMISES) :])) == []
    assert "not tested" not in _TEXT.replace("\n", " ")


def test_what_promises_nothing_is_still_said() -> None:
    assert [each for each in _LIMITS if f"\n{each}" not in _TEXT] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`tests/unit/test_promises.py`, `test_each_promise_names_its_test`", []),
        (
            "`tests/unit/test_promises.py` and\n`test_nothing`",
            ["test_nothing in tests/unit/test_promises.py"],
        ),
        ("`TestNothing`", ["TestNothing in no file"]),
        ("`test_promises.py`", ["test_promises.py without its folder"]),
        ("`tests/test_nothing.py`, `test_it`", ["tests/test_nothing.py", "test_it in tests/test_nothing.py"]),
    ],
)  # fmt: skip
def test_a_name_of_nothing_is_found(text: str, found: list[str]) -> None:
    assert list(missing(text)) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("- **It is so**: as\n  it is (`tests/test_x.py`).\n- another\n", ["- another"]),
        ("| unit | as |\n|---|---|\n| a | b (`test_it`) |\n| c | d |\n", ["| c | d |"]),
        ("Some words.\n\n- one,\n  and two\n\nMore (`tests/test_x.py`).\n", ["- one,"]),
    ],
)
def test_a_promise_without_a_test_is_found(text: str, found: list[str]) -> None:
    assert list(untested(text)) == found
