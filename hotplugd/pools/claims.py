"""Claims: what an instance asks of pools, in its configuration.

    user.hotplugd.claim.NAME = POOL [count=N] [KEY=PATTERN …]
    user.hotplugd.claim.NAME = none

A claim's KEY is a match key of rules, or `property.NAME`, and its PATTERN a pattern of rules without spaces.
Whoever may edit an instance or one of its profiles may write anything there.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from hotplugd.model.claim_texts import CLAIM, LONGEST_CLAIM, MOST_CLAIMS
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, InstanceName
from hotplugd.rules.early import early_verdict, is_kernels
from hotplugd.rules.forms import match_value
from hotplugd.rules.keys import ATTR, KEYS, PROPERTY, MatchKey
from hotplugd.rules.match import KeyTest, Match, unmet
from hotplugd.rules.pattern import Pattern, PatternError
from hotplugd.rules.pools import NO_CLAIM, Pool

MOST_DEVICES: Final = 100
"""That one claim may ask for."""

_MOST_WORDS: Final = 16
_MOST_WILD: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?", re.ASCII)
_WORD: Final = re.compile(r"[^ \t]+")
_COUNT: Final = "count"
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claim:
    """What an instance asks of a pool.

    name      the end of its key; that of the pool where nobody wrote it and the pool gives devices without
    count     how many devices it asks for
    selector  the patterns that each of them must meet, as text; empty where any will do
    match     the same, to compare devices with
    asked     whether somebody wrote it: then it gets all of its devices at once, or none
    is_kernels  whether it asks for nothing that udevd has a say in
    """

    name: str
    pool: str
    count: int = 1
    selector: str = ""
    match: Match = field(default=Match(()), repr=False, compare=False)
    asked: bool = True
    is_kernels: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_kernels", is_kernels(self.match))

    def takes(self, device: Device) -> bool:
        """Whether a device of the pool will do."""
        return unmet(self.match, device) is None

    def may_ask_udev(self, device: Device) -> bool:
        """Whether udevd has not processed the device, and decides whether it will do."""
        return device.early and not self.is_kernels and early_verdict(self.match, device) is None

    def may_take(self, device: Device, keys: Container[str]) -> bool:
        """Whether a device of the pool may do of which nothing is known but what these match keys ask for."""
        tests = (each for each in self.match.key_tests() if each.key.name in keys)
        return all(test.holds(device) for test in tests)

    def __str__(self) -> str:
        count = f"{self.count} devices" if self.count > 1 else "a device"
        of = f" with {quoted(self.selector)}" if self.selector else ""
        return f"{count} of pool '{self.pool}'{of}"


@dataclass(frozen=True, slots=True)
class ClaimProblem:
    """Why a claim asks for nothing.

    text    the claim as it is written
    column  where in the text, from 1; 0 where the whole of it is meant
    hint    what to do about it, or empty
    """

    name: str
    text: str
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        at = f", column {self.column}" if self.column else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{CLAIM}{quoted(self.name)}{at}: {self.message}{hint}"


class _Wrong(Exception):
    """What is wrong with a word, and where it begins in the text."""

    def __init__(self, at: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.at = at
        self.message = message
        self.hint = hint


def claims_of(
    instance: InstanceName,
    texts: Mapping[str, str],
    pools: Mapping[str, Pool],
    keys: Sequence[MatchKey] = KEYS,
) -> tuple[tuple[Claim, ...], tuple[ClaimProblem, ...]]:
    """What an instance claims, by the claims' names, and what is wrong with its claims.

    A pool that gives devices without a claim has one by its own name from each instance that may have its
    devices and claims nothing of it; `none` under that name takes it back.

    texts  the claims by name, as `claim_texts` has them
    keys   the registry, with the locations that hubs give devices
    """
    claims: dict[str, Claim] = {}
    problems: list[ClaimProblem] = []
    for number, (name, text) in enumerate(sorted(texts.items())):
        try:
            if number == MOST_CLAIMS:
                raise _Wrong(-1, f"more than {MOST_CLAIMS} claims of one instance", "take some out")  # noqa: TRY301
            claim = _claim(instance, name, text, pools, keys)
        except _Wrong as wrong:
            problems.append(ClaimProblem(name, text, wrong.at + 1, wrong.message, wrong.hint))
        else:
            if claim is not None:
                claims[name] = claim
    asked = {claim.pool for claim in claims.values()}
    for pool in pools.values():
        if pool.per_instance and pool.name not in asked | texts.keys() and pool.admits(instance):
            claims[pool.name] = Claim(pool.name, pool.name, pool.per_instance, asked=False)
    return tuple(claims[name] for name in sorted(claims)), tuple(problems)


def _claim(
    instance: InstanceName,
    name: str,
    text: str,
    pools: Mapping[str, Pool],
    keys: Sequence[MatchKey],
) -> Claim | None:
    """The claim that a text is; None for `none`. Raises _Wrong."""
    if _NAME.fullmatch(name) is None:
        hint = "1 to 64 letters, digits, _ and -, a letter or digit first and last, such as phone"
        raise _Wrong(-1, f"'{quoted(name)}' is no name for a claim", hint)
    (at, first), *rest = _words(text)
    if first == NO_CLAIM:
        if rest:
            raise _Wrong(rest[0][0], f"nothing follows `{NO_CLAIM}`", "take it out")
        return None
    pool = _pool(at, first, pools)
    if not pool.admits(instance):
        hint = f"its `instances` and its project are under `pools` in the rule files: {_admitted(pool)}"
        raise _Wrong(at, f"{instance} may not have devices of pool '{pool.name}'", hint)
    count, tests = 1, list[KeyTest]()
    for key, (start, value) in _pairs(rest).items():
        if key == _COUNT:
            count = _number(start + len(key) + 1, value)
        else:
            tests.append(_test(start, key, value, keys))
    if sum(len(pattern.wild) for test in tests for pattern in test.patterns) > _MOST_WILD:
        raise _Wrong(rest[0][0], f"more than {_MOST_WILD} patterns with wildcards")
    selector = " ".join(sorted(word for _, word in rest if not word.startswith(f"{_COUNT}=")))
    return Claim(name, pool.name, count, selector, Match(tuple(tests)))


def _words(text: str) -> list[tuple[int, str]]:
    """The words of a claim, at least one, each with where it begins. Raises _Wrong."""
    if len(text) > LONGEST_CLAIM:
        raise _Wrong(-1, f"a claim of more than {LONGEST_CLAIM} characters")
    words = [(found.start(), found[0]) for found in _WORD.finditer(text)]
    if not words:
        raise _Wrong(0, "it is empty", f"write a pool's name, or `{NO_CLAIM}`")
    if len(words) > _MOST_WORDS:
        raise _Wrong(words[_MOST_WORDS][0], f"more than {_MOST_WORDS} words")
    return words


def _pairs(words: Sequence[tuple[int, str]]) -> dict[str, tuple[int, str]]:
    """By key, where its word begins, and its value. Raises _Wrong."""
    found: dict[str, tuple[int, str]] = {}
    for start, word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            hint = f"write {_COUNT}=2, or a match key with a pattern: serial=1A*"
            raise _Wrong(start, f"expected KEY=VALUE, and found '{quoted(word)}'", hint)
        if key in found:
            raise _Wrong(start, f"'{quoted(key)}' stands here a second time", "either of two is one|two")
        found[key] = start, value
    return found


def _pool(at: int, name: str, pools: Mapping[str, Pool]) -> Pool:
    if name in pools:
        return pools[name]
    known = sorted(pools)
    close = get_close_matches(name[:64], [*known, NO_CLAIM], 1)
    hint = f"did you mean '{close[0]}'?" if close else _listed("pools", known)
    raise _Wrong(at, f"there is no pool '{quoted(name)}'", hint)


def _number(at: int, text: str) -> int:
    if _NUMBER.fullmatch(text) and int(text) <= MOST_DEVICES:
        return int(text)
    raise _Wrong(at, f"'{quoted(text)}' is no number from 1 to {MOST_DEVICES}")


def _test(start: int, name: str, value: str, keys: Sequence[MatchKey]) -> KeyTest:
    """The test of `name=value`. Raises _Wrong."""
    key, at = _key(start, name, keys), start + len(name) + 1
    try:
        pattern = Pattern.of(value.lower() if key.form.is_hex else value)
    except PatternError as error:
        raise _Wrong(at, f"'{quoted(value)}' is no pattern: {error}") from None
    if (complaint := match_value(key.form, pattern)) is not None:
        raise _Wrong(at, complaint.message, complaint.hint)
    return KeyTest(key, (pattern,))


def _key(start: int, name: str, keys: Sequence[MatchKey]) -> MatchKey:
    found = next((key for key in keys if key.name == name), None)
    if found is not None:
        return found
    group, dot, of = name.partition(".")
    if dot and of and group == PROPERTY.name:
        return PROPERTY.key(of)
    if group == ATTR.name:
        hint = "only rules have attributes read: put such devices into a pool of their own"
        raise _Wrong(start, "a claim cannot ask for attributes", hint)
    hint = next(_instead(name, keys))
    raise _Wrong(start, f"unknown key '{quoted(name)}'", hint)


def _instead(name: str, keys: Sequence[MatchKey]) -> Iterator[str]:
    folded = name[:64].casefold().replace("-", "_")
    known = [_COUNT, *(key.name for key in keys)]
    alias = next((key.name for key in keys if folded in key.aliases), None)
    if alias is not None or folded in known:
        yield f"did you mean '{alias or folded}'?"
    if close := get_close_matches(folded, known, 1):
        yield f"did you mean '{close[0]}'?"
    yield f"keys: {', '.join(known)}, and property.NAME"


_MOST_SHOWN: Final = 8


def _admitted(pool: Pool) -> str:
    shown = ", ".join(pattern.text for pattern in pool.instances[:_MOST_SHOWN])
    more = ", …" if len(pool.instances) > _MOST_SHOWN else ""
    return quoted(f"{shown}{more} in project {pool.project}")


def _listed(what: str, names: Sequence[str]) -> str:
    if not names:
        return "no rule file has `pools`"
    return f"{what}: {', '.join(names[:_MOST_SHOWN])}" + (", …" if len(names) > _MOST_SHOWN else "")
