from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hotplugd.rulefile import build, discover
from hotplugd.rulefile import load as loader
from hotplugd.rulefile.discover import DEFAULT_FOLDERS
from hotplugd.rulefile.load import load, parse

MIB = 1 << 20


def rule(name: str) -> str:
    return f"rules: [{{name: {name}, match: {{serial: {name}}}, ignore: true}}]\n"


def names(*paths: Path) -> list[str]:
    loaded = load(paths)
    assert [each.render() for each in loaded.diagnostics] == []
    return [each.name for each in loaded.rules.rules]


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    folder.mkdir()
    return folder


@pytest.fixture
def lib(tmp_path: Path) -> Path:
    folder = tmp_path / "lib"
    folder.mkdir()
    return folder


def test_files_of_all_folders_are_sorted_by_base_name(etc: Path, lib: Path) -> None:
    (etc / "20-b.yaml").write_text(rule("b"))
    (lib / "10-a.yml").write_text(rule("a"))
    (lib / "30-c.yaml").write_text(rule("c"))
    assert names(etc, lib) == ["a", "b", "c"]


def test_an_earlier_folder_hides_its_namesakes(etc: Path, lib: Path) -> None:
    (etc / "10.yaml").write_text(rule("mine"))
    (lib / "10.yaml").write_text(rule("theirs"))
    assert names(etc, lib) == ["mine"]
    assert names(lib, etc) == ["theirs"]


def test_a_link_to_null_and_an_empty_file_hide_without_rules(etc: Path, lib: Path) -> None:
    (etc / "10.yaml").symlink_to("/dev/null")
    (etc / "20.yaml").touch()
    for name in ("10", "20", "30"):
        (lib / f"{name}.yaml").write_text(rule(f"r{name}"))
    assert names(etc, lib) == ["r30"]


def test_other_files_and_hidden_ones_do_not_count(etc: Path) -> None:
    for name in ("README", "10.yaml.bak", ".10.yaml", "10.yaml~"):
        (etc / name).write_text("not: rules")
    assert names(etc) == []


def test_files_keep_their_order(etc: Path) -> None:
    for name in ("b", "a"):
        (etc / name).write_text(rule(name))
    assert names(etc / "b", etc / "a") == ["b", "a"]


def test_default_folders_may_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        "hotplugd.rulefile.discover.DEFAULT_FOLDERS", (tmp_path / "none", tmp_path / "nothing")
    )
    assert names(tmp_path / "none", tmp_path / "nothing") == []
    assert load([tmp_path / "elsewhere"]).errors


def test_the_default_folders_are_systemds_hierarchy() -> None:
    assert [str(each) for each in DEFAULT_FOLDERS] == [
        f"{root}/hotplugd/rules.d" for root in ("/etc", "/run", "/usr/local/lib", "/usr/lib")
    ]


def test_all_errors_of_all_files_are_shown(etc: Path) -> None:
    (etc / "1.yaml").write_text("rules: [{name: x, match: {sreial: a, vendor_id: 1}, ignore: true}]")
    (etc / "2.yaml").write_text("rules: [")
    (etc / "3.yaml").write_bytes(b"\xff")
    found = load([etc, etc / "missing"]).errors
    assert [Path(each.file).name for each in found] == ["1.yaml", "1.yaml", "2.yaml", "3.yaml", "missing"]


def test_names_are_unique_across_files(etc: Path) -> None:
    for name in ("1.yaml", "2.yaml"):
        (etc / name).write_text(rule("same"))
    (found,) = load([etc]).errors
    assert Path(found.file).name == "2.yaml"
    assert found.related is not None
    assert Path(found.related.file).name == "1.yaml"


def test_pipes_devices_and_sockets_are_refused_at_once(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (etc / "1.yaml").mkdir()
    os.mkfifo(etc / "2.yaml")
    (etc / "3.yaml").symlink_to("/dev/zero")
    (etc / "4.yaml").symlink_to("nowhere")
    (etc / "5.yaml").symlink_to("5.yaml")
    monkeypatch.chdir(etc)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("6.yaml")
    started = time.perf_counter()
    found = load([etc]).errors
    assert time.perf_counter() - started < 1
    assert [each.message for each in found] == [
        "expected a file, and found a folder",
        "expected a file, and found a pipe",
        "expected a file, and found a device",
        "cannot be read: No such file or directory",
        "cannot be read: Too many levels of symbolic links",
        "expected a file, and found a socket",
    ]


def test_a_file_without_permission_is_an_error(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (etc / "1.yaml").write_text(rule("a"))

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert [each.message for each in load([etc]).errors] == ["cannot be read: Permission denied"]


def test_a_path_with_a_nul_is_an_error() -> None:
    assert [each.message for each in load([Path("a\0b")]).errors] == ["no path can have a NUL in it"]


def test_a_file_name_cannot_reach_the_terminal_raw(etc: Path) -> None:
    path = etc / "\x1b[31m\udcff.yaml"
    path.write_text("nothing")
    (found,) = load([path]).errors
    assert found.render().isprintable() or "\n" in found.render()
    assert "\x1b" not in found.render()
    found.render().encode()


def test_a_large_file_is_refused_and_not_read(etc: Path) -> None:
    with (etc / "1.yaml").open("wb") as file:
        file.truncate(1 << 40)
    started = time.perf_counter()
    (found,) = load([etc]).errors
    assert time.perf_counter() - started < 1
    assert found.message == "larger than 1 MiB, which no rule file is"


_BRANCH = "{any: [" + "{serial: a}, " * 30 + "]}, "
BOMBS = {
    "laughs": "a: &a [x]\n" + "".join(f"b{n}: &b{n} [{', '.join(['*a'] * 9)}]\n" for n in range(50)),
    "lists": "[" * (MIB - 1),
    "maps": "{a: " * (MIB // 5),
    "keys": "? " * (MIB // 3),
    "unknown keys": "rules:\n  - {" + ", ".join(f"seriall{n}: x" for n in range(MIB // 20)) + "}",
    "empty rules": "rules: [" + "{}," * (MIB // 4) + "]",
    "aliases": "rules: [" + "*a," * (MIB // 4) + "]",
    "tags": "rules: [" + "! a," * (MIB // 5) + "]",
    "branches": "rules: [{name: x, ignore: true, match: {any: [" + "{serial: a}," * (MIB // 13) + "]}}]",
    "same rules": "rules: [" + "{name: r, match: {port: '1*'}, ignore: true}," * 20_000 + "]",
    "alternatives": "rules: [{name: x, ignore: true, match: {any: ["
    + ("{serial: '" + "a*|" * 1300 + "b'}, ") * 250
    + "]}}]",
    "patterns": "rules: ["
    + "".join(
        f"{{name: r{n}, ignore: true, match: {{serial: [{', '.join(f'{m}?' for m in range(900))}]}}}}, "
        for n in range(11)
    )
    + "]",
    "vendors and products": "rules: [{name: x, ignore: true, match: {vendor_id: ["
    + (numbers := ", ".join(f"'{n:04x}'" for n in range(3000)))
    + f"], product_id: [{numbers}]}}}}]",
    "branches of branches": "rules: ["
    + "".join(f"{{name: r{n}, ignore: true, match: {{any: [{_BRANCH * 30}]}}}}, " for n in range(60))
    + "]",
    "with": "rules: [{name: x, match: {serial: a}, attach: {to: c1, with: [" + "'a*', " * 150_000 + "]}}]",
    "subsystems": "rules: [{name: x, ignore: true, match: {subsystem: ["
    + ", ".join(f"tty{'x' * 50}{n}" for n in range(9000))
    + "]}}]",
    "braces": "rules: ["
    + "".join(f"{{name: r{n}, ignore: true, match: {{serial: '{{{',' * 4000}'}}}}, " for n in range(250))
    + "]",
    "one line": "rules: " + "x" * (MIB - 10),
    "tabs": "\t" * (MIB - 10),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_hostile_file_costs_bounded_time(name: str) -> None:
    assert len(BOMBS[name]) <= MIB
    started = time.process_time()
    loaded = parse(BOMBS[name], "bomb.yaml")
    shown = [each.render() for each in loaded.diagnostics]
    assert time.process_time() - started < 8
    assert len(loaded.diagnostics) <= 301
    assert sum(map(len, shown)) < 200_000


def test_only_so_many_errors_are_shown() -> None:
    found = parse("rules:\n" + "  - x\n" * 150, "x").errors
    assert len(found) == 101
    assert found[-1].message == "50 more errors in this file, not shown here"


def test_importing_takes_little_time() -> None:
    def seconds(code: str) -> float:
        best = 9.0
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            best = min(best, time.perf_counter() - started)
        return best

    assert seconds("import hotplugd.rules") - seconds("pass") < 0.15


@pytest.mark.parametrize("text", ["", "# none\n", "---\n", "null\n", "rules:\n", "rules: ~\n", "rules: []\n"])
def test_a_file_without_rules_takes_nothing_from_the_others(etc: Path, text: str) -> None:
    assert [each.severity for each in parse(text, "f").diagnostics] == ["warning"]
    (etc / "10.yaml").write_text(text + "# filled in by a template\n")
    (etc / "20.yaml").write_text(rule("a"))
    loaded = load([etc])
    assert [each.name for each in loaded.rules.rules] == ["a"]
    assert [(each.severity, each.message) for each in loaded.diagnostics] == [("warning", "no rules here")]


@pytest.mark.parametrize(
    "text", ["rules: ''\n", "rules: {}\n", "rules: [~]\n", "rules:\n-\n", "{}\n", "[]\n"]
)
def test_empty_rules_of_another_type_are_an_error(text: str) -> None:
    assert [each.severity for each in parse(text, "f").diagnostics] == ["error"]


class TestAllFilesTogether:
    """Each may be as it should be, and all of them be more than anybody has."""

    def test_there_are_so_many(self, etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(4):
            (etc / f"{number}.yaml").write_text(
                f"rules: [{{name: r{number}, match: {{serial: a}}, ignore: true}}]"
            )
        (etc / "not-a-rule").touch()
        monkeypatch.setattr(discover, "MOST_FILES", 4)
        assert len(load([etc]).rules.rules) == 4
        monkeypatch.setattr(discover, "MOST_FILES", 3)
        (found,) = load([etc]).errors
        assert (found.file, found.message) == (str(etc), "more than 3 files of rules")

    def test_a_folder_of_thousands_is_refused_at_once(self, etc: Path) -> None:
        for number in range(discover.MOST_FILES + 1):
            (etc / f"{number}.yaml").touch()
        started = time.process_time()
        (found,) = load([etc]).errors
        assert time.process_time() - started < 1
        assert found.message == "more than 5000 files of rules"

    def test_they_have_so_many_characters(self, etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("1", "2", "3"):
            (etc / f"{name}.yaml").write_text("#" * (1 << 19) + "\nrules: []")
        monkeypatch.setattr(loader, "_MOST_SIZE", 1 << 20)
        (found,) = load([etc]).errors
        assert found.file == str(etc / "2.yaml")
        assert found.message == "the files of rules have more than 1 MiB together, up to this one"

    def test_they_have_so_many_rules(self, etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for file in range(3):
            rules = [f"{{name: r{file}{n}, match: {{serial: a{file}{n}}}, ignore: true}}" for n in range(3)]
            (etc / f"{file}.yaml").write_text(f"rules: [{', '.join(rules)}]")
        monkeypatch.setattr(loader, "_MOST_RULES", 9)
        assert len(load([etc]).rules.rules) == 9
        monkeypatch.setattr(loader, "_MOST_RULES", 5)
        (found,) = load([etc]).errors
        assert (found.file, found.message) == (str(etc / "1.yaml"), "more than 5 rules, up to this file")

    @pytest.mark.parametrize("where", ["match: {serial: 'a*|b*'}", "match: {serial: a}, with: ['a*|b*']"])
    def test_they_have_so_many_patterns_with_wildcards(
        self, etc: Path, monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        match, _, companions = where.partition(", ")
        for name in ("1", "2"):
            attach = f"attach: {{to: c1{', ' * bool(companions)}{companions}}}"
            (etc / f"{name}.yaml").write_text(f"rules: [{{name: r{name}, {match}, {attach}}}]")
        monkeypatch.setattr(build, "_MOST_WILD", 4)
        assert load([etc]).errors == ()
        monkeypatch.setattr(build, "_MOST_WILD", 3)
        (found,) = load([etc]).errors
        assert found.file == str(etc / "2.yaml")
        assert found.message == "more than 3 patterns with wildcards in all rules"

    def test_of_many_that_are_wrong_only_some_are_read(self, etc: Path) -> None:
        for number in range(50):
            (etc / f"{number:02}.yaml").write_text("rules:\n" + "  - x\n" * 120)
        assert 300 < len(load([etc]).diagnostics) < 500


def test_it_says_what_it_is_about_to_open(etc: Path) -> None:
    file = etc / "1.yaml"
    file.write_text("rules: []")
    said: list[Path | None] = []
    load([etc], reading=said.append)
    assert said == [etc, etc, file, None, file, None]
