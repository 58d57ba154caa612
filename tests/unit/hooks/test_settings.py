"""What hooks.yaml says, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotplugd.hooks.settings import Hook, load, parse
from hotplugd.rules.pattern import Pattern

_GOOD = "on: device.add, run: [/bin/tell]"


def patterns(*texts: str) -> tuple[Pattern, ...]:
    return tuple(map(Pattern.of, texts))


def test_a_hook_says_when_and_what() -> None:
    text = """
    hooks:
      - name: tell
        on: [device.add, "*.problem"]
        match: {instance: ci/*, serial: [R5*, "1A*"]}
        run: [/bin/tell, "{serial}", 7]
        timeout: 2m
      - {on: events.lost, run: tell}
    """
    match = {"instance": patterns("ci/*"), "serial": patterns("R5*", "1A*")}
    first = Hook("tell", patterns("device.add", "*.problem"), ("/bin/tell", "{serial}", "7"), match, 120.0)
    assert parse(text, "x") == ((first, Hook("hook 2", patterns("events.lost"), ("tell",), {}, 30.0)), ())


@pytest.mark.parametrize("text", ["", "# nothing\n", "\ufeff"])
def test_comments_alone_are_no_hooks(text: str) -> None:
    assert parse(text, "x") == ((), ())


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1", "1:1", "unknown key 'a'"),
        ("hooks: []", "1:8", "`hooks` is an empty list"),
        ("hooks: [{on: device.add}]", "1:10", "a hook needs `run`"),
        ("hooks: [{run: x}]", "1:10", "a hook needs `on`"),
        ("hooks: [{on: device.ad, run: x}]", "1:14", "no event is called 'device.ad'"),
        ("hooks: [{on: 'a||b', run: x}]", "1:14", "'a||b' is no pattern: there is nothing"),
        ("hooks: [{on: device.add, run: [x, '{serail}']}]", "1:35", "no field '{serail}' of events"),
        ("hooks: [{on: device.add, run: ['{serial}']}]", "1:32", "the program's name depends on an event"),
        ("hooks: [{on: device.add, run: ['a{serial}']}]", "1:32", "the program's name depends on an event"),
        ("hooks: [{on: device.add, run: [bin/x]}]", "1:32", "'bin/x' is no program"),
        ("hooks: [{on: device.add, run: x, timeout: 0}]", "1:43", "'0' is no time from 1s to 1h"),
        ("hooks: [{on: device.add, run: x, timeout: 2h}]", "1:43", "'2h' is no time from 1s to 1h"),
        ("hooks: [{on: device.add, run: x, match: {cursor: x}}]", "1:42", "unknown key 'cursor'"),
        ("hooks: [{on: device.add, run: x, match: serial}]", "1:41", "expected keys and values"),
        ("hooks: [{on: device.add, run: x, match: {serial: ''}}]", "1:42", "`serial` has no value"),
        (f"hooks: [{{name: a, {_GOOD}}}, {{name: a, {_GOOD}}}]", "1:61", "two hooks are called 'a'"),
        (f"hooks: [{', '.join(['{' + _GOOD + '}'] * 201)}]", "1:1", "201 hooks; 200 are the most"),
        ("hooks: {a: 1}", "1:9", "expected a list, and found keys and values"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, place: str, message: str) -> None:
    _, wrong = parse(text, "x")
    assert [each.severity for each in wrong] == ["error"]
    assert wrong[0].place == f"x:{place}"
    assert wrong[0].message.startswith(message)


def test_a_file_that_is_not_there_is_wrong(tmp_path: Path) -> None:
    assert len(load(tmp_path / "none")[1]) == 1
    (tmp_path / "latin").write_bytes(b"hooks: \xe9")
    assert len(load(tmp_path / "latin")[1]) == 1


@pytest.mark.parametrize(
    ("match", "event", "takes"),
    [
        ("{}", {"event": "device.add"}, True),
        ("{}", {"event": "device.remove"}, False),
        ("{}", {}, False),
        ("{instance: ci/r-*}", {"event": "device.add", "instance": "ci/r-1"}, True),
        ("{instance: ci/r-*}", {"event": "device.add", "instance": "r-1"}, False),
        ("{instance: default/r-*}", {"event": "device.add", "instance": "r-1"}, True),
        ("{instance: r-*}", {"event": "device.add", "instance": "r-1"}, True),
        ("{instance: '*'}", {"event": "device.add"}, False),
        ("{serial: [a, b], rule: x}", {"event": "device.add", "serial": "b", "rule": "x"}, True),
        ("{serial: [a, b], rule: x}", {"event": "device.add", "serial": "b", "rule": "y"}, False),
        ("{uid: 7}", {"event": "device.add", "uid": 7}, True),
    ],
)
def test_which_events_it_takes(match: str, event: dict[str, object], takes: bool) -> None:
    text = (
        f"hooks: [{{on: device.add, run: x, match: {match}}}]" if match != "{}" else f"hooks: [{{{_GOOD}}}]"
    )
    ((hook,), wrong) = parse(text, "x")
    assert wrong == ()
    assert hook.takes(event) is takes
