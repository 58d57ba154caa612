"""Claims as instances' configurations have them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplugd.model.claim_texts import CLAIM, LONGEST_CLAIM, MOST_CLAIMS, claim_texts
from hotplugd.model.text import plain
from hotplugd.model.values import InstanceName
from hotplugd.pools.claims import Claim, ClaimProblem, claims_of
from hotplugd.rules.hubs import Hub, Hubs
from hotplugd.rules.keys import keys_with
from hotplugd.rules.pattern import Pattern
from hotplugd.rules.pools import Pool
from tests.unit.devices import CABLE, PHONE

RUNNER = InstanceName("default", "runner-1")
POOLS = {
    "android": Pool("android", (Pattern.of("runner-*"),)),
    "consoles": Pool("consoles", (Pattern.of("lab-*"),)),
}


def read(text: str, name: str = "phone") -> tuple[Claim | None, ClaimProblem | None]:
    claims, problems = claims_of(RUNNER, {name: text}, POOLS)
    return (claims[0] if claims else None), (problems[0] if problems else None)


@pytest.mark.parametrize(
    ("text", "count", "selector"),
    [
        ("android", 1, ""),
        (" android\t", 1, ""),
        ("android count=2", 2, ""),
        ("android serial=1A* count=100", 100, "serial=1A*"),
        ("android location=shelf-1/* serial=1A*", 1, "location=shelf-1/* serial=1A*"),
        ("android serial=1A* location=shelf-1/*", 1, "location=shelf-1/* serial=1A*"),
        ("android property.ID_MODEL=Pixel?7", 1, "property.ID_MODEL=Pixel?7"),
    ],
)
def test_a_claim_is_read(text: str, count: int, selector: str) -> None:
    assert read(text) == (Claim("phone", "android", count, selector), None)


def test_a_selector_is_a_match_of_the_registry() -> None:
    claim, _ = read("android serial=1A* vendor_id=18D1")
    assert claim is not None
    assert claim.takes(PHONE)
    assert not claim.takes(CABLE)
    location = "pci-0000:00:14.0-usb-0"
    keys = keys_with(Hubs((Hub("shelf", (location,), "", {"1": "1"}),)))
    (claim,), _ = claims_of(RUNNER, {"phone": "android location=shelf/1"}, POOLS, keys)
    assert {key.name: key for key in keys}["location"] in [test.key for test in claim.match.key_tests()]


def test_none_takes_a_claim_back() -> None:
    assert read("none") == (None, None)
    (_, problem) = read("none count=2")
    assert problem is not None
    assert (problem.column, problem.message) == (6, "nothing follows `none`")


@pytest.mark.parametrize(
    ("text", "column", "message", "hint"),
    [
        ("", 1, "it is empty", "write a pool's name, or `none`"),
        ("andrid", 1, "there is no pool 'andrid'", "did you mean 'android'?"),
        ("x", 1, "there is no pool 'x'", "pools: android, consoles"),
        ("consoles", 1, "runner-1 may not have devices of pool 'consoles'", None),
        ("android 2", 9, "expected KEY=VALUE, and found '2'", None),
        ("android serial=", 9, "expected KEY=VALUE, and found 'serial='", None),
        ("android count=0", 15, "'0' is no number from 1 to 100", ""),
        ("android count=101", 15, "'101' is no number from 1 to 100", ""),
        ("android count=2 count=3", 17, "'count' stands here a second time", None),
        ("android seral=1A*", 9, "unknown key 'seral'", "did you mean 'serial'?"),
        ("android vid=18d1", 9, "unknown key 'vid'", "did you mean 'vendor_id'?"),
        ("android attr.power=1", 9, "a claim cannot ask for attributes", None),
        ("android vendor_id=xyz", 19, "'xyz' is not four hex digits", None),
        ("android location=shelf", 18, "'shelf' is no location", "did you mean 'shelf/*'?"),
        (
            "android serial=[a",
            16,
            "'[a' is no pattern: a '[' is never closed; write '[[]' for the character",
            "",
        ),
        ("android " + "x " * 20, 39, "more than 16 words", ""),
        (
            "android serial=" + "|".join("abcdefghijklmnopqrstuvwxyzabcdefgh").replace("|", "*|"),
            9,
            None,
            None,
        ),
        ("a" * (LONGEST_CLAIM + 1), 0, "a claim of more than 1024 characters", ""),
    ],
)
def test_what_is_wrong_has_a_place(text: str, column: int, message: str | None, hint: str | None) -> None:
    claim, problem = read(text)
    assert claim is None
    assert problem is not None
    assert problem.column == column
    assert message is None or problem.message == message
    assert hint is None or problem.hint == hint


def test_a_problem_says_where() -> None:
    _, problem = read("android seral=1A*")
    assert str(problem) == f"{CLAIM}phone, column 9: unknown key 'seral'; did you mean 'serial'?"
    _, problem = read("android", "a.b")
    assert str(problem).startswith(f"{CLAIM}a.b: 'a.b' is no name for a claim; ")


def test_a_bad_claim_leaves_the_others() -> None:
    claims, problems = claims_of(RUNNER, {"a": "android", "b": "what", "c": "android count=2"}, POOLS)
    assert [claim.name for claim in claims] == ["a", "c"]
    assert [problem.name for problem in problems] == ["b"]


def test_claims_are_bounded() -> None:
    texts = claim_texts({f"{CLAIM}c{number:03}": "android" for number in range(1000)})
    claims, (problem,) = claims_of(RUNNER, texts, POOLS)
    assert len(claims) == MOST_CLAIMS
    assert problem.message == "more than 16 claims of one instance"


def test_claims_are_found_in_a_configuration() -> None:
    config = {
        "user.hotplugd.claim.phone": "android",
        "user.x": "1",
        "limits.cpu": 2,
        f"{CLAIM}long": "a" * 9999,
    }
    assert claim_texts(config) == {"phone": "android", "long": "a" * (LONGEST_CLAIM + 1)}


def test_a_pool_gives_devices_without_a_claim() -> None:
    pools = {"android": Pool("android", (Pattern.of("runner-*"),), per_instance=2)}

    def claims(**texts: str) -> tuple[Claim, ...]:
        return claims_of(RUNNER, texts, pools)[0]

    assert claims() == (Claim("android", "android", 2, asked=False),)
    assert claims(phone="android serial=1A") == (Claim("phone", "android", 1, "serial=1A"),)
    assert claims(phone="none") == claims()
    assert claims(android="none") == ()
    assert claims_of(InstanceName("default", "other"), {}, pools) == ((), ())
    assert claims_of(InstanceName("ci", "runner-1"), {}, pools) == ((), ())


@given(st.dictionaries(st.text(max_size=70), st.text(max_size=1100), max_size=20))
def test_any_text_is_a_claim_or_a_problem(texts: dict[str, str]) -> None:
    claims, problems = claims_of(RUNNER, texts, POOLS)
    assert len(claims) <= MOST_CLAIMS
    assert {claim.name for claim in claims}.isdisjoint(problem.name for problem in problems)
    for problem in problems:
        assert str(problem) == plain(str(problem))
        assert 0 <= problem.column <= len(problem.text) + 1


def test_a_hostile_claim_takes_no_time() -> None:
    text = "android serial=" + "*a" * 400
    claim, _ = read(text)
    start = time.process_time()
    if claim is not None:
        claim.takes(PHONE)
    assert time.process_time() - start < 0.1
