from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hotplugd.rules.pattern import Pattern, PatternError

# Pattern, value, whether it matches.
TABLE = [
    ("abc", "abc", True),
    ("abc", "abcd", False),
    ("a*", "a", True),
    ("*", "", True),
    ("*b", "a\nb", True),
    ("a?c", "a\nc", True),
    ("a?c", "ac", False),
    ("a*b*c", "a--b--b--c", True),
    ("a*b*c", "a--c--b", False),
    ("a*b*c*d", "a--b--c--d", True),
    ("a*b*c*d", "a--c--b--d", False),
    ("*ab", "aab", True),
    ("a*a", "a", False),
    ("[abc]", "b", True),
    ("[abc]", "X", False),
    ("[!abc]", "X", True),
    ("[!abc]", "b", False),
    ("[^abc]", "d", True),
    ("[a-c]x", "bx", True),
    ("[]]", "]", True),
    ("[!]]", "]", False),
    ("[!a]", "!", True),
    ("[!a]", "[", True),
    ("[a-]", "-", True),
    ("[a-]x", "-x", True),
    ("[\\]]", "]", True),
    ("[[:digit:]]", "7", True),
    ("[[:digit:]x]", "x", True),
    ("[[:digit:][:upper:]]", "7", True),
    ("[[:digit:][:upper:]]", "Q", True),
    (":][[:digit:]]", ":]7", True),
    ("[[]", "[", True),
    ("a|b", "b", True),
    ("a|b", "a|b", False),
    ("a\\|b", "a|b", True),
    ("[|]", "|", True),
    ("a*|b?", "bx", True),
    ("\\*", "*", True),
    ("\\*", "x", False),
    ("\\\\", "\\", True),
    (".*", "x", False),
    ("*", ".hidden/and/more", True),
    ("(a+)$", "(a+)$", True),
    ("(a+)$*", "(a+)$", True),
]


@pytest.mark.parametrize(("pattern", "value", "expected"), TABLE)
def test_a_pattern_matches(pattern: str, value: str, expected: bool) -> None:
    assert Pattern.of(pattern).matches(value) is expected


@pytest.mark.parametrize(
    "pattern", ["[", "[]", "a[b", "[z-a]", "[[:nope:]]", "[[::]]", "[a-", "a|", "|", "a||b", "\\"]
)
def test_an_invalid_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        Pattern.of(pattern)


def naive(pattern: str, value: str) -> bool:
    """Backtracks, one character at a time. Patterns here have no brackets and no '|'."""
    if not pattern:
        return not value
    if pattern[0] == "*":
        return naive(pattern[1:], value) or (bool(value) and naive(pattern, value[1:]))
    if pattern[0] == "\\":
        return value[:1] == pattern[1] and naive(pattern[2:], value[1:])
    return bool(value) and pattern[0] in ("?", value[0]) and naive(pattern[1:], value[1:])


PATTERNS = st.lists(st.sampled_from(["*", "?", "a", "b", "\n", "\\*", "\\a", "."]), min_size=1, max_size=8)


@given(st.lists(PATTERNS.map("".join), min_size=1, max_size=3), st.text("ab\n*.", max_size=10))
@example(["*ab*ab"], "abab")
@example(["*a?"], "aaa")
def test_patterns_match_as_the_naive_matcher_says(alternatives: list[str], value: str) -> None:
    expected = any(naive(each, value) for each in alternatives)
    assert Pattern.of("|".join(alternatives)).matches(value) is expected


@given(PATTERNS.map("".join), PATTERNS.map("".join), st.text("ab\n*.", max_size=6))
def test_a_pattern_covers_what_it_says(one: str, other: str, value: str) -> None:
    broad, narrow = Pattern.of(one), Pattern.of(other)
    if broad.covers(narrow) and narrow.matches(value):
        assert broad.matches(value)


@pytest.mark.parametrize("pattern", ["*a" * 30 + "b", "*a*a*a*a*a*a*b", "?*" * 20 + "b", "[!b]*" * 20 + "b"])
def test_a_hostile_value_takes_no_time(pattern: str) -> None:
    compiled = Pattern.of(pattern)
    started = time.perf_counter()
    assert not compiled.matches("a" * 10_000)
    assert time.perf_counter() - started < 0.5


HEX = ["0123456789abcdef"] * 4


@pytest.mark.parametrize(
    "pattern",
    ["0403", "04*", "*", "????", "[0-9]*", "*****", "0403|10c4", "04[!g]3", "*3", "*0*", "0*3*", "*a*b*c*d*"],
)
def test_a_pattern_can_match_four_hex_digits(pattern: str) -> None:
    assert Pattern.of(pattern).may_match(HEX)


@pytest.mark.parametrize(
    "pattern", ["403", "04033", "g*", "?????", "0403|1", "*g*", "04[g-z]3", "04\\*", "*a*b*c*d*e"]
)
def test_a_pattern_cannot_match_four_hex_digits(pattern: str) -> None:
    assert not Pattern.of(pattern).may_match(HEX)
