from __future__ import annotations

import json
from pathlib import Path

import pytest

from hotplugd.rulefile.json_schema import as_text
from hotplugd.rulefile.load import load, parse
from hotplugd.rulefile.reference import reference
from hotplugd.rules.ruleset import Attach
from hotplugd.rules.template import TemplateError, render
from tests.unit.devices import CABLE, CONSOLE, PHONE, usb
from tests.unit.rulefile.golden import BAD, GOOD, told

PROJECT = Path(__file__).parents[3]
EXAMPLES = sorted((PROJECT / "rules").glob("*.yaml"))


def name(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", BAD, ids=name)
def test_a_bad_file_is_told_what_is_wrong(path: Path) -> None:
    assert told(path) == path.with_suffix(".txt").read_text(encoding="utf-8")
    assert told(path)


@pytest.mark.parametrize("path", GOOD, ids=name)
def test_nothing_is_wrong_with_a_good_file(path: Path) -> None:
    loaded = parse(path.read_bytes(), path.name)
    assert told(path) == ""
    assert loaded.rules.rules


@pytest.mark.parametrize("path", EXAMPLES, ids=name)
def test_nothing_is_wrong_with_an_example(path: Path) -> None:
    assert told(path) == ""


def test_the_examples_can_be_used_together() -> None:
    assert [each.render() for each in load([PROJECT / "rules"]).diagnostics] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=name)
def test_an_example_names_the_schema_for_editors(path: Path) -> None:
    first, _, rest = path.read_text().partition("\n")
    assert first.startswith("# yaml-language-server: $schema=")
    assert (
        path.parent / first.partition("=")[2]
    ).resolve() == PROJECT / "hotplugd" / "rulefile" / "rules.schema.json"
    assert rest.startswith("#\n# ")


def test_the_schema_is_current() -> None:
    assert (PROJECT / "hotplugd" / "rulefile" / "rules.schema.json").read_text() == as_text()


def test_the_reference_page_is_current() -> None:
    assert (PROJECT / "docs" / "reference" / "rules.md").read_text() == reference()


def test_the_schema_knows_every_key() -> None:
    definitions = json.loads(as_text())["definitions"]
    assert definitions["match"]["properties"].keys() >= {"serial", "any", "not", "parent", "property"}
    assert definitions["attach"]["oneOf"] == [{"required": ["to"]}, {"required": ["pool"]}]
    assert definitions["pool"]["required"] == ["instances"]


# What `attach` says, and what it means.
ATTACH = [
    ("{to: box}", Attach(("box",))),
    ("{to: [a, 'b-{serial}']}", Attach(("a", "b-{serial}"))),
    ("{to: box, mode: 660}", Attach(("box",), mode="0660")),
    ("{to: box, mode: 0660}", Attach(("box",), mode="0660")),
    ("{to: box, mode: '0660'}", Attach(("box",), mode="0660")),
    ("{to: box, uid: 0, gid: 20}", Attach(("box",), uid=0, gid=20)),
    ("{to: box, user: root, group: plugdev}", Attach(("box",), user="root", group="plugdev")),
    ("{to: box, project: lab, force: true}", Attach(("box",), project="lab", force=True)),
    ("{to: box, force: false}", Attach(("box",))),
    ("{to: box, path: '/dev/tty-{port}'}", Attach(("box",), path="/dev/tty-{port}")),
    ("{to: box, link: /dev/a.b}", Attach(("box",), links=("/dev/a.b",))),
    ("{to: box, link: [/dev/a, '/dev/{port}/.b']}", Attach(("box",), links=("/dev/a", "/dev/{port}/.b"))),
    ("{to: [a, b], as: node, share: true}", Attach(("a", "b"), kind="node", share=True)),
    ("{to: box, as: nic, name: lan0, share: false}", Attach(("box",), kind="nic", name="lan0", share=False)),
]


@pytest.mark.parametrize(("text", "expected"), ATTACH)
def test_attach_is_read(text: str, expected: Attach) -> None:
    loaded = parse(f"rules: [{{name: x, match: {{subsystem: tty}}, attach: {text}}}]", "x")
    assert [rule.attach for rule in loaded.rules.rules] == [expected]


def test_what_goes_along_is_read() -> None:
    item = "{match: {subsystem: net, driver: x}, path: /dev/x, link: [/dev/y, /dev/z]}"
    loaded = parse(f"rules: [{{name: x, match: {{serial: a}}, attach: {{to: b, with: [tty, {item}]}}}}]", "x")
    (rule,) = loaded.rules.rules
    assert rule.attach is not None
    assert [(str(each.match), each.path, each.links) for each in rule.attach.companions] == [
        ("subsystem: 'tty'", None, ()),
        ("subsystem: 'net', driver: 'x'", "/dev/x", ("/dev/y", "/dev/z")),
    ]


@pytest.mark.parametrize("text", ["0403", "1e10", "no", "1050:10", "0x12", "2001-01-01", "1_000", ".5", "+1"])
def test_values_mean_what_was_written(text: str) -> None:
    loaded = parse(f"rules: [{{name: x, match: {{serial: {text}}}, ignore: true}}]", "x")
    assert loaded.rules.decide(usb(serial=text)) is not None


def test_rules_know_where_they_come_from() -> None:
    loaded = parse("rules:\n\n  - match: {serial: a}\n    name: x\n    ignore: true\n", "some.yaml")
    assert [(rule.file, rule.line) for rule in loaded.rules.rules] == [("some.yaml", 3)]


def test_one_error_leaves_no_rules() -> None:
    good = "  - {name: x, match: {serial: a}, ignore: true}\n"
    assert parse("rules:\n" + good, "x").rules.rules
    loaded = parse("rules:\n" + good + "  - {name: y}\n", "x")
    assert loaded.errors
    assert loaded.rules.rules == ()


def test_warnings_leave_the_rules() -> None:
    text = "rules: [{name: x, match: {vendor_id: 0403, id: '10c4:0001'}, ignore: true}]"
    loaded = parse(text, "x")
    assert [each.severity for each in loaded.diagnostics] == ["warning"]
    assert not loaded.errors
    assert len(loaded.rules.rules) == 1


def test_a_diagnostic_as_json_has_stable_keys() -> None:
    (found,) = parse(
        "rules:\n  - {name: x, name: y, match: {serial: a}, ignore: true}\n", "f.yaml"
    ).diagnostics
    assert found.as_json() == {
        "severity": "error",
        "file": "f.yaml",
        "line": 2,
        "column": 15,
        "message": "key 'name' stands here a second time",
        "hint": "",
        "source": "  - {name: x, name: y, match: {serial: a}, ignore: true}",
        "width": 4,
        "whole": False,
        "related": {
            "file": "f.yaml",
            "line": 2,
            "column": 6,
            "message": "it stands here first",
            "source": "  - {name: x, name: y, match: {serial: a}, ignore: true}",
            "width": 4,
        },
    }


RENDERED = [
    ("box", "box"),
    ("ci-{serial}", "ci-A50285BI"),
    ("{vendor_id}-{product_id}", "0403-6001"),
    ("{{{serial}}}", "{A50285BI}"),
    ("{port}", "1-4"),
    ("{property.ID_PATH}", "pci-0000:00:14.0-usb-0:1-4"),
]


@pytest.mark.parametrize(("template", "expected"), RENDERED)
def test_a_template_takes_values_of_the_device(template: str, expected: str) -> None:
    assert render(template, usb("1-4", attrs={"peer": "2-4"})) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{",
        "}",
        "{}",
        "{serial.x}",
        "{serial!r}",
        "{serial:9}",
        "{0}",
        "{a{serial}}",
        "{property}",
        "{property.}",
        "{property.a b}",
        "{attr.serial}",
    ],
)
def test_a_template_takes_plain_key_names_alone(template: str) -> None:
    with pytest.raises(TemplateError):
        render(template, CABLE)


def test_a_template_without_its_value_is_an_error() -> None:
    with pytest.raises(
        TemplateError, match=r"^the device has no serial, which 'ci-\{serial\}' needs$"
    ) as found:
        render("ci-{serial}", usb(serial=""))
    assert found.value.hint == ""
    assert render("{driver}", PHONE) == "usb"
    with pytest.raises(TemplateError, match="no driver"):
        render("{driver}", CONSOLE)
    for name in ("ID_REVISION", "ID_MISSING"):
        with pytest.raises(TemplateError, match=rf"the device has no property\.{name}"):
            render(f"{{property.{name}}}", usb(properties={"ID_REVISION": ""}))
