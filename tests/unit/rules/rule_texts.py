"""Rules in YAML, for Hypothesis: matches of any shape, made of tests that are given."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from hotplugd.rulefile.load import parse
from hotplugd.rules.ruleset import RuleSet


def one(key: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A test: one of these values of the key."""
    return values.map(lambda value: f"{key}: '{value}'")


def matches(tests: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Matches of some of the tests, with `not`, `parent` and `any` around some."""

    def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        more = st.one_of(
            st.tuples(st.sampled_from(["not", "parent"]), inner).map(": ".join),
            st.lists(inner, min_size=1, max_size=3).map(lambda each: f"any: [{', '.join(each)}]"),
        )
        return st.lists(st.one_of(tests, more), min_size=1, max_size=3).map(_mapped)

    return st.recursive(st.lists(tests, min_size=1, max_size=2).map(_mapped), nested, max_leaves=5)


def made(written: Sequence[tuple[str, str]]) -> RuleSet:
    """Rules of these matches, and of what is done with what meets them: `ignore: true`."""
    text = "".join(
        f"  - {{name: r{at}, match: {match}, {does}}}\n" for at, (match, does) in enumerate(written)
    )
    found = parse(f"rules:\n{text}", "x")
    assert not found.errors, found.errors[0].render()
    return found.rules


def _mapped(parts: list[str]) -> str:
    return "{" + ", ".join({part.partition(":")[0]: part for part in parts}.values()) + "}"
