"""A part of the status is what is about one instance or rule, and what is about all."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hotplugd.app.documents import StatusJson
from hotplugd.app.selection import Selection, narrowed


def place(device: str, instance: str, rule: str, project: str = "default") -> dict[str, Any]:
    at = {"/dev/a": "shelf/1", "/dev/c": "shelf/10"}.get(device, "")
    return {"device": device, "instance": instance, "rule": rule, "project": project, "location": at}


def problem(device: str, rule: str, message: str = "x", **asked: str) -> dict[str, Any]:
    at = {"/dev/a": "shelf/1"}.get(device, "")
    return {"device": device, "rule": rule, "message": message, "location": at, **asked}


def override(device: str, instance: str) -> dict[str, Any]:
    project = "default" if instance else ""
    return {
        "device": device,
        "instance": instance,
        "project": project,
        "present": device != "/dev/gone",
    }


STATUS = cast(
    "StatusJson",
    {
        "attachments": [place("/dev/a", "box", "r1"), place("/dev/b", "other", "r1")],
        "pending": [place("/dev/c", "box", "r2", "lab")],
        "holds": [place("/dev/d", "other", "r2")],
        "claims": [{"project": "default", "instance": name} for name in ("box", "other")],
        "overrides": [override("/dev/b", "other"), override("/dev/c", ""), override("/dev/gone", "box")],
        "unmatched": [{"device": "/dev/u", "location": "shelf/2"}, {"device": "/dev/v", "location": ""}],
        "unleased": [{"device": "/dev/p", "location": "shelf/3"}, {"device": "/dev/q", "location": ""}],
        "problems": [
            problem("", "", "the server is away"),
            problem("/dev/a", "r1"),
            problem("/dev/d", "r2"),
            problem("/dev/e", "r3", "there is no instance 'box-2' in project 'default'"),
        ],
    },
)


def said(found: StatusJson) -> list[str]:
    return [
        *(each["device"] for each in found["attachments"]),
        *(each["device"] for each in found["pending"]),
        *(each["device"] for each in found["holds"]),
        *(f"!{each['device']}" for each in found["problems"]),
    ]


@pytest.mark.parametrize(
    ("instance", "rule", "expected"),
    [
        (None, None, ["/dev/a", "/dev/b", "/dev/c", "/dev/d", "!", "!/dev/a", "!/dev/d", "!/dev/e"]),
        ("box", None, ["/dev/a", "/dev/c", "!", "!/dev/a"]),
        ("lab/box", None, ["/dev/c", "!"]),
        ("box-2", None, ["!", "!/dev/e"]),
        (None, "r2", ["/dev/c", "/dev/d", "!", "!/dev/d"]),
        ("other", "r1", ["/dev/b", "!"]),
        ("none", None, ["!"]),
    ],
)
def test_what_is_about_an_instance_and_a_rule_stays(
    instance: str | None, rule: str | None, expected: list[str]
) -> None:
    assert said(narrowed(STATUS, Selection(instance, rule))) == expected


def test_problems_alone_have_what_waits_beside_them() -> None:
    found = said(narrowed(STATUS, Selection(problems=True)))
    assert found == ["/dev/d", "!", "!/dev/a", "!/dev/d", "!/dev/e"]


def test_claims_are_about_their_instances_and_no_rule() -> None:
    assert [claim["instance"] for claim in narrowed(STATUS, Selection(instance="other"))["claims"]] == [
        "other"
    ]
    assert narrowed(STATUS, Selection(rule="r1"))["claims"] == []
    assert len(narrowed(STATUS, Selection())["claims"]) == 2


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), ["/dev/p", "/dev/q"]),
        (Selection(problems=True), ["/dev/p", "/dev/q"]),
        (Selection(problems=True, location="shelf/*"), ["/dev/p"]),
        (Selection(instance="box"), []),
        (Selection(rule="r1"), []),
        (Selection(unmatched=True), []),
        (Selection(by_hand=True), []),
    ],
)
def test_what_is_leased_to_nobody_is_of_no_instance(selection: Selection, expected: list[str]) -> None:
    assert [each["device"] for each in narrowed(STATUS, selection)["unleased"]] == expected


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(location="shelf/1"), ["/dev/a", "!", "!/dev/a"]),
        (Selection(location="shelf/*"), ["/dev/a", "/dev/c", "!", "!/dev/a"]),
        (Selection(location="none"), ["!"]),
        (Selection(instance="lab/*"), ["/dev/c", "!"]),
        (Selection(instance="o*", rule="r1"), ["/dev/b", "!"]),
        (Selection(unmatched=True), ["!"]),
        (Selection(location="shelf/1", problems=True), ["!", "!/dev/a"]),
    ],
)
def test_all_that_is_asked_for_has_to_hold(selection: Selection, expected: list[str]) -> None:
    assert said(narrowed(STATUS, selection)) == expected


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), ["/dev/u", "/dev/v"]),
        (Selection(unmatched=True), ["/dev/u", "/dev/v"]),
        (Selection(location="shelf/*"), ["/dev/u"]),
        (Selection(unmatched=True, problems=True), []),
        (Selection(rule="r1"), []),
        (Selection(instance="box"), []),
    ],
)
def test_what_no_rule_takes_is_in_no_instance(selection: Selection, expected: list[str]) -> None:
    assert [each["device"] for each in narrowed(STATUS, selection)["unmatched"]] == expected


@pytest.mark.parametrize(
    ("instance", "decided", "expected"),
    [
        (None, ["/dev/b", "/dev/c", "/dev/gone"], ["/dev/b", "/dev/c", "!"]),
        ("box", ["/dev/gone"], ["!"]),
        ("default/other", ["/dev/b"], ["/dev/b", "!"]),
    ],
)
def test_what_was_decided_by_hand_can_be_shown_alone(
    instance: str | None, decided: list[str], expected: list[str]
) -> None:
    found = narrowed(STATUS, Selection(instance=instance, by_hand=True))
    assert [each["device"] for each in found["overrides"]] == decided
    assert said(found) == expected
    assert narrowed(STATUS, Selection(rule="r1"))["overrides"] == []
    assert narrowed(STATUS, Selection(problems=True))["overrides"] == []


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), ["away", "claim", "pool"]),
        (Selection(problems=True), ["away", "claim", "pool"]),
        (Selection(instance="job"), ["away", "claim"]),
        (Selection(instance="lab/*"), ["away"]),
        (Selection(instance="runner-1"), ["away"]),
        (Selection(rule="r1"), ["away"]),
        (Selection(location="shelf/1"), ["away"]),
        (Selection(unmatched=True), ["away"]),
        (Selection(by_hand=True), ["away"]),
    ],
)
def test_problems_of_claims_are_about_their_instances_and_of_pools_about_none(
    selection: Selection, expected: list[str]
) -> None:
    problems = [
        problem("", "", "away", instance="", claim="", pool=""),
        problem("", "", "claim", instance="job", claim="phone", pool="android"),
        problem("", "", "pool", instance="", claim="", pool="android"),
    ]
    status = cast("StatusJson", {**STATUS, "problems": problems})
    assert [each["message"] for each in narrowed(status, selection)["problems"]] == expected
