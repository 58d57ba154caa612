"""Errors about files as wholes: which file, and where, and what is read at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hotplugd.rulefile.diagnostics import Diagnostic
from hotplugd.rulefile.load import load, parse

MIB = 1 << 20
RULE = "rules: [{name: a, match: {serial: a}, ignore: true}]\n"


def about(path: Path, message: str, hint: str = "") -> list[Diagnostic]:
    """What is said of a whole file."""
    return [Diagnostic("error", str(path), 1, 1, message, hint, whole=True)]


def test_an_error_about_a_whole_file_names_it(tmp_path: Path) -> None:
    missing, folder = tmp_path / "a.yaml", tmp_path / "rules.d"
    (folder / "1.yaml").mkdir(parents=True)
    assert list(load([missing]).errors) == about(missing, "cannot be read: No such file or directory")
    assert list(load([folder]).errors) == about(folder / "1.yaml", "expected a file, and found a folder")
    nul = tmp_path / "a\0b"
    assert list(load([nul]).errors) == about(nul, "no path can have a NUL in it")


def test_errors_of_files_before_a_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "rules.d").mkdir()
    missing = tmp_path / "missing"
    assert [each.file for each in load([missing, tmp_path / "rules.d"]).errors] == [str(missing)]


def test_an_unreadable_default_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing, loop, good = tmp_path / "missing", tmp_path / "loop", tmp_path / "good"
    loop.symlink_to("loop")
    good.mkdir()
    (good / "1.yaml").write_text(RULE)
    monkeypatch.setattr("hotplugd.rulefile.discover.DEFAULT_FOLDERS", (missing, loop, good))
    assert [rule.name for rule in load([missing, good]).rules.rules] == ["a"]
    unread = about(loop, "cannot be read: Too many levels of symbolic links")
    (good / "1.yaml").write_text("rules: [{}]")
    found = load([missing, loop, good]).errors
    assert list(found[:1]) == unread
    assert [each.file for each in found[1:]] == [str(good / "1.yaml")]


def test_a_file_may_have_one_mebibyte_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    too_large = about(path, "larger than 1 MiB, which no rule file is", "split it into several")
    path.write_text("#" * (MIB - len(RULE) - 1) + "\n" + RULE)
    assert [rule.name for rule in load([path]).rules.rules] == ["a"]
    path.write_text("#" * (MIB - len(RULE)) + "\n" + RULE)
    assert list(load([path]).errors) == too_large
    # Bytes count, and not characters.
    path.write_text(RULE + "# " + "é" * (MIB // 2), encoding="utf-8")
    assert list(load([path]).errors) == too_large


def test_a_file_replaced_by_a_pipe_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(RULE)
    real = os.open

    def too_late(name: Path, flags: int) -> int:
        path.unlink()
        os.mkfifo(path)
        return real(name, flags)

    monkeypatch.setattr(os, "open", too_late)
    assert list(load([path]).errors) == about(path, "expected a file, and found a pipe")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            b"\xff\xfe",
            Diagnostic(
                "error", "", 1, 1, "byte 0xff at offset 0 is not UTF-8", "save it as UTF-8", "\ufffd\ufffd"
            ),
        ),
        (
            b"rules:\r\n  - name: x\r\n\r    \xc3\xa9: \x80 \r\n",
            Diagnostic(
                "error",
                "",
                3,
                9,
                "byte 0x80 at offset 30 is not UTF-8",
                "save it as UTF-8",
                "\r    é: \ufffd ",
            ),
        ),
    ],
)
def test_what_is_not_utf8_is_shown_with_its_line(tmp_path: Path, raw: bytes, expected: Diagnostic) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(raw)
    (found,) = load([path]).errors
    assert found.file == str(path)
    assert {**found.as_json(), "file": ""} == expected.as_json()
    assert found.as_json()["related"] is None


def test_a_hundred_errors_of_a_file_are_shown_and_no_more() -> None:
    assert len(parse("rules:\n" + "  - x\n" * 100, "f").errors) == 100
    found = parse("rules:\n" + "  - x\n" * 101, "f").errors
    assert [*found[100:]] == about(Path("f"), "1 more error in this file, not shown here")


def test_a_text_that_is_too_large_names_its_file() -> None:
    found = parse("#" * (MIB + 1), "f").errors
    assert [*found] == about(Path("f"), "larger than 1 MiB, which no rule file is", "split it into several")


def test_a_value_may_have_so_many_characters() -> None:
    def errors(count: int) -> list[tuple[str, int, int]]:
        text = f"rules: [{{name: x, match: {{serial: {'s' * count}}}, ignore: true}}]"
        return [(each.message, each.line, each.column) for each in parse(text, "f").errors]

    assert errors(4096) == []
    assert errors(4097) == [("a value of 4097 characters; 4096 is the most", 1, 35)]
