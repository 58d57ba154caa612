"""What a configuration may say, and what is said to the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hotplugd.app import settings
from hotplugd.app.grants import Allowed
from hotplugd.app.settings import CONTROL, DEFAULT, Config
from hotplugd.rulefile.diagnostics import Diagnostic
from hotplugd.rulefile.discover import DEFAULT_FOLDERS
from hotplugd.rulefile.load import load as load_rules
from hotplugd.rules.pattern import Pattern

_LONG = "x" * 107
_WIDE = "ä" * 54


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def place(found: Diagnostic) -> str:
    return f"{found.line}:{found.column}"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "null\n", "{}\n", "\ufeff", "---\n"])
def test_every_key_is_optional(file: Path, text: str) -> None:
    file.write_text(text)
    assert settings.load(file) == (Config("auto", DEFAULT_FOLDERS, CONTROL), ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server: auto", Config()),
        ("server: /run/incus/unix.socket", Config("/run/incus/unix.socket")),
        ("server: 'https://lxd.example:8443'", Config("https://lxd.example:8443")),
        ("rules: /etc/rules", Config(rules=(Path("/etc/rules"),))),
        ("rules: [/b.yaml, /a]", Config(rules=(Path("/b.yaml"), Path("/a")))),
        ("control: /run/other.sock", Config(control=Path("/run/other.sock"))),
        ("most_plugs: 0", Config(most_plugs=0)),
        ("most_plugs: 200", Config(most_plugs=200)),
        ("inject: /run/inject.sock", Config(inject=Path("/run/inject.sock"))),
        ("seal: /run/seal.sock", Config(seal=Path("/run/seal.sock"))),
        ("roots: /run/roots.sock", Config(roots=Path("/run/roots.sock"))),
        (f"control: /{_LONG[:106]}", Config(control=Path(f"/{_LONG[:106]}"))),
        ("server: /s\nrules: [/r]\ncontrol: /c", Config("/s", (Path("/r"),), Path("/c"))),
        ("\ufeffserver: /s", Config("/s")),
        (
            """
            allow:
            - {group: farm, may: read}
            - {group: '7', may: [reload, attach], instances: [r-*, q], project: ci}
            - {group: lab, may: [cordon, port], pools: [android, ios]}
            """,
            Config(
                allow=(
                    Allowed("farm", ("read",)),
                    Allowed("7", ("attach", "reload"), (Pattern.of("r-*"), Pattern.of("q")), "ci"),
                    Allowed("lab", ("cordon", "port"), pools=frozenset(("android", "ios"))),
                )
            ),
        ),
    ],
)
def test_what_it_says_counts(file: Path, text: str, expected: Config) -> None:
    file.write_text(text, encoding="utf-8")
    assert settings.load(file) == (expected, ())


@pytest.mark.parametrize(
    ("text", "where", "message", "hint"),
    [
        ("sever: auto", "1:1", "unknown key 'sever'", "did you mean 'server'?"),
        ("Server: auto", "1:1", "unknown key 'Server'", "did you mean 'server'?"),
        ("socket: /a", "1:1", "unknown key 'socket'", "keys: server, rules, control"),
        ("most_plugs: -1", "1:13", "'-1' is no number from 0 to 99999", "0 is no limit"),
        ("most_plugs: many", "1:13", "'many' is no number from 0 to 99999", "0 is no limit"),
        ("most_plugs: 100000", "1:13", "'100000' is no number from 0 to 99999", "0 is no limit"),
        ("server: lxd", "1:9", "'lxd' is no server", "auto, a socket's path, or https://host:8443"),
        ("server: http://a", "1:9", "'http://a' is no server", "https://host:8443"),
        ("server: Auto", "1:9", "'Auto' is no server", "auto"),
        ('server: "\\e[31m"', "1:9", "'\\x1b[31m' is no server", "auto"),
        ("server: [/a]", "1:9", "expected a value, and found a list", ""),
        ("server: {a: b}", "1:10", "expected a value, and found keys and values", ""),
        ("server:", "1:1", "`server` has no value", "give it one, or take the key out"),
        ("server: ''", "1:1", "`server` has no value", "give it one, or take the key out"),
        ("server: ~", "1:9", "`server` has no value", 'in quotes it is a text: "~"'),
        ("rules: rules.d", "1:8", "'rules.d' is not an absolute path", "begin with /"),
        ("rules: [/a, b]", "1:13", "'b' is not an absolute path", "begin with /"),
        ("rules:\n  - /a\n  - [/b]", "3:5", "expected a value, and found a list", ""),
        ('rules: ["/a\\0"]', "1:9", "'/a\\x00' is not an absolute path", "begin with /"),
        ("rules: []", "1:8", "`rules` is an empty list", ""),
        ("control: run.sock", "1:10", "'run.sock' is not an absolute path", "begin with /"),
        (f"control: /{_LONG}", "1:10", "longer than the 107 bytes that a socket's path may have", ""),
        (f"control: /{_WIDE}", "1:10", "longer than the 107 bytes that a socket's path may have", ""),
        ("- server", "1:1", "expected keys and values, and found a list", ""),
        ("auto", "1:1", "expected keys and values, and found 'auto'", ""),
        ("server: auto\nserver: /a", "2:1", "key 'server' stands here a second time", ""),
        ("server: auto\n---\nserver: /a", "2:1", "a second document in one file", ""),
        ("\tserver: auto", "1:1", "not YAML: found character that cannot start any token", "not with tabs"),
        ("server: 'auto", "1:14", "not YAML: found unexpected end of stream", "is a quote missing?"),
        ("server: !x auto", "1:9", "tags are not supported: !x", "leave it out"),
        ("server: &x auto", "1:9", "anchors are not supported", ""),
        ("allow: farm", "1:8", "expected a list, and found 'farm'", ""),
        ("allow: []", "1:8", "`allow` is an empty list", ""),
        ("allow: [farm]", "1:9", "expected keys and values, and found 'farm'", ""),
        ("allow: [{group: farm}]", "1:10", "an item of `allow` needs `may`", ""),
        ("allow: [{may: read}]", "1:10", "an item of `allow` needs `group`", ""),
        (
            "allow: [{group: a, may: [write]}]",
            "1:26",
            "'write' is nothing that a group can be allowed",
            "read",
        ),
        ("allow: [{group: 'a:b', may: read}]", "1:17", "'a:b' is no group's name or number", ""),
        (
            "allow: [{group: '4294967295', may: read}]",
            "1:17",
            "'4294967295' is no group's number: the last one is 4294967294",
            "",
        ),
        (
            "allow: [{group: a, may: read, instances: a/b}]",
            "1:42",
            "'a/b' matches no name that an instance can have",
            "project",
        ),
        ("allow: [{user: a, group: a, may: read}]", "1:10", "unknown key 'user'", ""),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    file: Path, text: str, where: str, message: str, hint: str
) -> None:
    file.write_text(text, encoding="utf-8")
    (found,) = settings.load(file)[1]
    assert (found.severity, found.file, place(found), found.message) == ("error", str(file), where, message)
    assert hint in found.hint


def test_everything_that_is_wrong_is_told_at_once_from_top_to_bottom(file: Path) -> None:
    file.write_text("server: lxd\nextra: e\nrules: [a, /b, c]\ncontrol: d\n")
    found = settings.load(file)[1]
    assert list(map(place, found)) == ["1:9", "2:1", "3:9", "3:16", "4:10"]


def test_a_key_that_stands_twice_is_shown_in_both_places(file: Path) -> None:
    file.write_text("control: /a\ncontrol: /b\n")
    (found,) = settings.load(file)[1]
    assert found.related is not None
    assert (found.related.line, found.related.source) == (1, "control: /a")


def test_a_socket_with_a_nul_is_no_server(file: Path) -> None:
    file.write_text('server: "/a\\0b"\n')
    (found,) = settings.load(file)[1]
    assert place(found) == "1:9"


@pytest.mark.parametrize("address", ["https://", "https:///path", "https://[::1", "https://:8443"])
def test_an_address_without_a_host_is_no_server(file: Path, address: str) -> None:
    file.write_text(f"server: '{address}'\n")
    (found,) = settings.load(file)[1]
    assert (place(found), address in found.message) == ("1:9", True)


def test_bytes_that_are_no_text_are_told(file: Path) -> None:
    file.write_bytes(b"rules: /a\nserver: \xff\n")
    (found,) = settings.load(file)[1]
    assert (place(found), found.message) == ("2:9", "byte 0xff at offset 18 is not UTF-8")


def test_a_file_that_is_far_too_large_is_not_read(file: Path) -> None:
    file.write_bytes(b"#" * (10 << 20))
    (found,) = settings.load(file)[1]
    assert found.message.startswith("larger than 1 MiB")


def test_a_folder_in_its_place_is_an_error(tmp_path: Path) -> None:
    (found,) = settings.load(tmp_path)[1]
    assert found.message == "expected a file, and found a folder"


def test_a_file_that_is_missing_is_an_error(file: Path) -> None:
    (found,) = settings.load(file)[1]
    assert found.message == "cannot be read: No such file or directory"


def test_at_the_default_place_it_may_be_missing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "DEFAULT", file)
    assert settings.load(file) == (Config(), ())
    file.write_text("server: lxd\n")
    assert len(settings.load(file)[1]) == 1


def test_the_example_says_what_holds_without_it(project: Path) -> None:
    found, wrong = settings.load(project / "config.example.yaml")
    assert wrong == ()
    assert replace(found, rules=()) == replace(Config(), rules=())
    assert str(DEFAULT) in (project / "docs" / "reference" / "configuration.md").read_text()


def test_a_file_that_cannot_be_read_is_told_with_where_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"rules:\n  - {DEFAULT_FOLDERS[0]}\n  - /nope\n")
    found, _ = settings.load(file)
    (told,) = settings.traced(found, load_rules([Path("/nope")]).diagnostics)
    assert told.render().split("\n") == [
        "/nope: error: cannot be read: No such file or directory",
        f"{file}:3:5: note: the configuration names it here",
        "  - /nope",
        "    ^~~~~",
    ]


def test_where_a_configuration_is_named_does_not_make_it_another() -> None:
    one, other = settings.parse("rules: /a\n", "f")[0], settings.parse("\nrules: [/a]\n", "g")[0]
    assert one == other
    assert (one.text, other.named["/a"].line) == ("rules: /a\n", 2)
