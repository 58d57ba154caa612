"""Rule tests: a device, where it must go, and what is said where it does not."""

from __future__ import annotations

import pytest

from hotplugd.rulefile.cases import failure, parse_cases
from hotplugd.rulefile.load import parse
from tests.support.devices import rule, ruleset

RULES = ruleset(
    rule("{serial: R5C1, port: 1-4}", "{to: runner-1, link: /dev/phone}", "first"),
    rule(
        "{subsystem: tty, id: '0403:6001', parent: {port: '1-7'}}",
        "{to: [a, b], project: lab, share: true}",
        "tty",
    ),
    rule("{subsystem: block}", None, "disks"),
    rule("{id: '18d1:*'}", "{to: '{serial}'}", "rest"),
)  # fmt: skip


def document(*written: str) -> str:
    return "tests:\n" + "".join(f"  - {{{each}}}\n" for each in written)


def said(*written: str) -> list[str]:
    """What is wrong, with the hint."""
    cases, wrong = parse_cases(document(*written), "t.yaml")
    found = [*wrong, *(each for case in cases if (each := failure(case, RULES)) is not None)]
    return [f"{each.line}:{each.column} {each.message} ({each.hint})" for each in found]


@pytest.mark.parametrize(
    "test",
    [
        "name: a, device: {serial: R5C1, port: 1-4}, to: runner-1",
        "name: a, device: {serial: R5C1, port: 1-4}, to: [default/runner-1], rule: first",
        "name: a, device: {subsystem: tty, id: '0403:6001', port: 1-7}, to: [lab/b, lab/a]",
        "name: a, device: {subsystem: tty, id: '0403:6001', parent: {port: 1-7}}, rule: tty",
        "name: a, device: {subsystem: block, kernel: sda}, nowhere: true, rule: disks",
        "name: a, device: {serial: X}, nowhere: true",
        "name: a, device: {id: '18d1:4ee7', serial: box}, to: box, path: /dev/bus/usb/001/002",
        "name: a, device: {id: '18d1:4ee7', serial: box, property: {ID_MODEL: P}, attr: {a: [b]}}, to: box",
    ],
)
def test_what_goes_where_it_must_passes(test: str) -> None:
    assert said(test) == []


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("device: {serial: R5C1, port: 1-5}, to: runner-1",
         "goes nowhere, for no rule takes it; it must go to runner-1"),
        ("device: {serial: R5C1, port: 1-4}, to: runner-2",
         "goes to runner-1 by rule 'first'; it must go to runner-2 ()"),
        ("device: {serial: X}, rule: first",
         "is taken by no rule; it must be by rule 'first' (rule 'first': serial: wants 'R5C1', has 'X')"),
        ("device: {serial: X}, rule: frist",
         "is taken by no rule; it must be by rule 'frist' (there is no such rule; did you mean 'first'?)"),
        ("device: {subsystem: block, kernel: sda}, rule: disks, path: /dev/sda",
         "goes nowhere by rule 'disks'; it must be at /dev/sda"),
        ("device: {serial: R5C1, port: 1-4}, nowhere: true",
         "goes to runner-1 by rule 'first'; it must go nowhere ()"),
        ("device: {id: '18d1:4ee7', serial: R5C1}, rule: first",
         "is taken by rule 'rest'; it must be by rule 'first' (rule 'first': port: wants '1-4', has none)"),
        ("device: {serial: R5C1, port: 1-4}, to: runner-1, path: /dev/x",
         "is at /dev/bus/usb/001/002 inside; it must be at /dev/x ()"),
        ("device: {id: '18d1:4ee7', serial: 1A}, to: box",
         "goes nowhere by rule 'rest'; '1A' is no legal instance name"),
    ],
)  # fmt: skip
def test_what_does_not_go_there_is_told_with_the_reason(test: str, message: str) -> None:
    (found,) = said(f"name: a, {test}")
    assert found.startswith(f"2:12 test 'a': the device {message}")
    if "1-5" in test:
        assert found.endswith("(rule 'first': port: wants '1-4', has '1-5')")


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("name: a, device: {serial: A}", "2:6 the test does not say where the device must go"),
        ("name: a, device: {serial: A}, to: b, nowhere: true", "2:43 a test has either `to` or `nowhere`"),
        ("name: a, device: {serial: A}, nowhere: false", "2:45 `nowhere: false` says nothing (leave"),
        ("name: a, device: {serail: A}, to: b", "2:24 unknown key 'serail' (did you mean 'serial'?)"),
        ("name: a, device: {id: A}, to: b", "2:24 no device can have 'a' as its id"),
        ("name: a, device: {}, to: b", "2:23 a device without values"),
        ("name: a, device: x, to: b", "2:23 expected match keys and values, and found 'x'"),
        ("name: a, device: {serial: A, serial: B}, to: b", "2:35 key 'serial' stands here a second time"),
        ("name: a, device: {serial: {x: y}}, to: b", "expected a value, and found keys and values"),
        ("name: a, to: b", "2:6 a test needs `device`"),
        ("name: a, device: {serial: A}, goes: b", "2:36 unknown key 'goes'"),
        ("name: a, device: {property: {property: x}, attr: }, to: b", "`attr` has no value"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(test: str, message: str) -> None:
    assert message in said(test)[0]


@pytest.mark.parametrize("text", ["", "tests: []\n", "tests: 1\n", "- a\n", "tests:\n  x", "tests: [\n"])
def test_a_file_without_tests_is_told(text: str) -> None:
    cases, wrong = parse_cases(text, "t.yaml")
    assert cases == []
    assert len(wrong) == 1


POOLED = parse(
    "pools: {android: {instances: '*'}, ios: {instances: '*'}}\n"
    "rules: [{name: phones, match: {vendor_id: 18d1}, attach: {pool: android, link: '/dev/{serial}'}}]",
    "x",
).rules


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("pool: android", None),
        ("pool: android, path: /dev/bus/usb/001/002", None),
        ("rule: phones", None),
        ("pool: ios", "is of pool 'android' by rule 'phones'; it must be of pool 'ios'"),
        ("to: box", "goes to an instance of pool 'android' by rule 'phones'; it must go to box"),
        ("nowhere: true", "goes to an instance of pool 'android' by rule 'phones'; it must go nowhere"),
    ],
)
def test_a_device_may_have_to_be_of_a_pool(test: str, message: str | None) -> None:
    (case,), wrong = parse_cases(
        document(f"name: a, device: {{id: '18d1:4ee7', serial: X}}, {test}"), "t.yaml"
    )
    assert wrong == ()
    found = failure(case, POOLED)
    assert (found.message if found is not None else None) == (
        None if message is None else f"test 'a': the device {message}"
    )
