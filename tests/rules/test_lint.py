"""What follows from what, as far as warnings need it: only what is certain, and in bounded time."""

from __future__ import annotations

import pytest

from hotplugd.rules import Match, parse
from hotplugd.rules.lint import implies
from hotplugd.rules.reader import MOST_SHOWN
from tests.devices import rule, ruleset


def match(text: str) -> Match:
    (found,) = ruleset(rule(text, None)).rules
    return found.match


def warnings(*matches: str) -> list[str]:
    text = "rules:\n" + "".join(rule(each, None, f"r{number}") for number, each in enumerate(matches))
    return [each.message for each in parse(text, "f").diagnostics]


def serials(count: int) -> tuple[str, str]:
    """So many serials as branches of `any`, and as a list."""
    names = [f"S{number}" for number in range(count)]
    return f"any: [{', '.join(f'{{serial: {each}}}' for each in names)}]", f"serial: [{', '.join(names)}]"


# A match, and another that every device meets that meets the first one.
FOLLOWS = [
    ("{serial: A}", "{serial: 'A*'}"),
    ("{serial: A, port: 1-1}", "{port: 1-1}"),
    ("{serial: [A, 'B*']}", "{serial: ['B*', A, C]}"),
    ("{serial: A}", "{any: [{port: 1-1}, {serial: [A, B]}]}"),
    ("{any: [{serial: A}, {serial: B}]}", "{serial: [A, B]}"),
    ("{driver: x, any: [{serial: A}, {serial: B}]}", "{driver: x, serial: [A, B]}"),
    ("{any: [{serial: A}, {serial: B}]}", "{any: [{serial: [A, C]}, {serial: B}]}"),
    ("{parent: {serial: A, port: 1-1}}", "{parent: {serial: A}}"),
    ("{parent: {any: [{serial: A}, {serial: B}]}}", "{parent: {serial: [A, B]}}"),
    ("{not: {serial: 'A*'}}", "{not: {serial: A}}"),
    ("{not: {serial: [A, B]}}", "{not: {any: [{serial: A}, {serial: B}]}}"),
    ("{id: '0403:6001'}", "{vendor_id: 0403, product_id: 6001}"),
    ("{vendor_id: 0403, product_id: [6001, 6010]}", "{id: '0403:60*'}"),
    (f"{{{serials(32)[0]}}}", f"{{{serials(32)[1]}}}"),
]
STANDS = [
    ("{serial: 'A*'}", "{serial: A}"),
    ("{serial: A}", "{serial: A, port: 1-1}"),
    ("{serial: A}", "{driver: A}"),
    ("{serial: [A, B]}", "{serial: A}"),
    ("{any: [{serial: A}, {port: 1-1}]}", "{serial: A}"),
    ("{serial: A}", "{any: [{port: 1-1}, {serial: B}]}"),
    ("{parent: {serial: A}}", "{serial: A}"),
    ("{serial: A}", "{parent: {serial: A}}"),
    ("{parent: {serial: A}}", "{parent: {serial: B}}"),
    ("{parent: {serial: A}}", "{parent: {serial: A, port: 1-1}}"),
    ("{not: {serial: A}}", "{not: {serial: 'A*'}}"),
    ("{not: {serial: A}}", "{serial: A}"),
    ("{vendor_id: 0403}", "{id: '0403:6001'}"),
    ("{id: '0403:6001'}", "{product_id: 0403}"),
    # It is so, but finding out could take long.
    (f"{{{serials(33)[0]}}}", f"{{{serials(33)[1]}}}"),
    ("{any: [{any: [{serial: A}, {serial: B}]}, {serial: A}]}", "{serial: [A, B]}"),
]


@pytest.mark.parametrize(("one", "other"), FOLLOWS)
def test_one_match_follows_from_another(one: str, other: str) -> None:
    assert implies(match(one), match(other))


@pytest.mark.parametrize(("one", "other"), STANDS)
def test_one_match_does_not_follow_from_another(one: str, other: str) -> None:
    assert not implies(match(one), match(other))


def test_a_contradiction_in_every_branch_is_found_in_so_many_branches_and_no_more() -> None:
    for count, expected in ((32, 1), (33, 0)):
        assert len(warnings(f"{{serial: X, {serials(count)[0]}}}")) == expected


def test_a_rule_after_one_that_can_never_match_is_looked_at_too() -> None:
    assert warnings(
        "{vendor_id: 0403, id: '10c4:0001'}",
        "{vendor_id: 0403}",
        "{serial: A}",
        "{vendor_id: 0403, serial: A}",
    ) == [
        "rule 'r0' can never match: vendor_id: '10c4' and vendor_id: '0403' exclude each other",
        "rule 'r3' can never be reached: rule 'r1' takes all its devices",
    ]


def test_the_earliest_rule_that_takes_all_is_named() -> None:
    (found,) = warnings("{serial: B}", "{serial: A}", "{serial: 'A'}", "{serial: '*'}")
    assert found == "rule 'r2' can never be reached: rule 'r1' takes all its devices"
    found, _ = warnings("{serial: '*'}", "{serial: 'A*'}", "{serial: AB}")
    assert found == "rule 'r1' can never be reached: rule 'r0' takes all its devices"


def test_what_a_rule_never_matches_takes_nothing_from_later_ones() -> None:
    assert len(warnings("{serial: 'A*', not: {serial: '*'}}", "{serial: A}")) == 1


@pytest.mark.parametrize(
    "earlier",
    ["{any: [{serial: A}, {port: 1-1}]}", "{vendor_id: 0403}", "{id: '0403:*'}", "{product_id: 6001}"],
)
def test_what_takes_all_is_found_under_whichever_key_it_is_filed(earlier: str) -> None:
    later = "{serial: A, id: '0403:6001'}"
    assert warnings(earlier, later) == ["rule 'r1' can never be reached: rule 'r0' takes all its devices"]
    assert len(warnings("{serial: [A, B]}", "{any: [{serial: A}, {serial: B}]}")) == 1


def test_so_many_warnings_are_shown_and_no_more() -> None:
    assert len(warnings(*["{serial: A}"] * (MOST_SHOWN + 2))) == MOST_SHOWN
