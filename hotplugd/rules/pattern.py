"""udev's patterns: `*`, `?`, `[a-f]`, `[!a-f]`, `a|b`, and a backslash before a literal character.

As in fnmatch(3) without flags: neither '/' nor a leading '.' is special, and everything may match a
newline. Unlike udev's, a `|` inside brackets or after a backslash belongs to the pattern.

The time for a match grows with the length of the value times that of the pattern and no faster: between
two stars the leftmost match is always good enough, so the expressions never go back over one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from hotplugd.model.text import printable

_SPECIAL: Final = frozenset("*?[|\\")
_CLASSES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "alnum": (("0", "9"), ("A", "Z"), ("a", "z")),
    "alpha": (("A", "Z"), ("a", "z")),
    "blank": ((" ", " "), ("\t", "\t")),
    "cntrl": (("\x00", "\x1f"), ("\x7f", "\x7f")),
    "digit": (("0", "9"),),
    "graph": (("!", "~"),),
    "lower": (("a", "z"),),
    "print": ((" ", "~"),),
    "punct": (("!", "/"), (":", "@"), ("[", "`"), ("{", "~")),
    "space": (("\t", "\r"), (" ", " ")),
    "upper": (("A", "Z"),),
    "xdigit": (("0", "9"), ("A", "F"), ("a", "f")),
}


class PatternError(ValueError):
    """A text that is no valid pattern. The message says why."""


@dataclass(frozen=True, slots=True)
class CharClass:
    """One character: in one of the ranges, or in none of them."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool = False

    def has(self, char: str) -> bool:
        """Whether it matches this character."""
        return any(low <= char <= high for low, high in self.ranges) != self.negated

    @property
    def literal(self) -> str | None:
        """The only character that it matches; None where there are several."""
        if len(self.ranges) == 1 and not self.negated and self.ranges[0][0] == self.ranges[0][1]:
            return self.ranges[0][0]
        return None

    def expression(self) -> str:
        """The regular expression for it."""
        if not self.ranges:
            return "."
        if self.literal is not None:
            return re.escape(self.literal)
        inside = "".join(f"\\U{ord(low):08x}-\\U{ord(high):08x}" for low, high in self.ranges)
        return f"[{'^' if self.negated else ''}{inside}]"


# None is a star.
Alternative = tuple[CharClass | None, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern. exact: what it matches literally; wild: its alternatives that have wildcards."""

    text: str
    exact: frozenset[str]
    wild: tuple[Alternative, ...] = ()
    _expressions: tuple[re.Pattern[str], ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def of(cls, text: str) -> Pattern:
        """Parse a pattern. Raises PatternError."""
        if _SPECIAL.isdisjoint(text):
            return cls(text, frozenset((text,)))
        exact, wild = set(), []
        for alternative in _alternatives(text):
            literal = _literal(alternative)
            if literal is None:
                wild.append(alternative)
            elif literal:
                exact.add(literal)
            else:
                raise PatternError("there is nothing before, after or between two '|'")
        return cls(text, frozenset(exact), tuple(wild), tuple(map(_compile, wild)))

    def matches(self, value: str) -> bool:
        """Whether the pattern matches the whole value."""
        return value in self.exact or any(expression.fullmatch(value) for expression in self._expressions)

    def covers(self, other: Pattern) -> bool:
        """Whether it certainly matches all values that `other` matches. False where that is unknown."""
        return all(map(self.matches, other.exact)) and (
            (None,) in self.wild or all(alternative in self.wild for alternative in other.wild)
        )

    def may_match(self, shape: Sequence[str]) -> bool:
        """Whether each alternative can match some value whose n-th character is one of shape[n]."""
        return all(
            len(text) == len(shape) and all(char in chars for char, chars in zip(text, shape, strict=True))
            for text in self.exact
        ) and all(_may_match(alternative, shape) for alternative in self.wild)


def literally(text: str) -> str:
    """The text of the pattern that matches this text alone."""
    return "".join(f"\\{char}" if char in _SPECIAL else char for char in text)


def _literal(alternative: Alternative) -> str | None:
    literal = ""
    for chars in alternative:
        if chars is None or chars.literal is None:
            return None
        literal += chars.literal
    return literal


def _compile(alternative: Alternative) -> re.Pattern[str]:
    segments = [""]
    for chars in alternative:
        if chars is None:
            segments.append("")
        else:
            segments[-1] += chars.expression()
    if len(segments) == 1:
        return re.compile(segments[0], re.DOTALL)
    first, *middle, last = segments
    between = "".join(f"(?>.*?{segment})" for segment in middle if segment)
    return re.compile(f"{first}{between}.*{last}", re.DOTALL)


def _may_match(alternative: Alternative, shape: Sequence[str]) -> bool:
    end = len(alternative)

    def with_stars(positions: set[int]) -> set[int]:
        # Two stars never stand together.
        return positions | {at + 1 for at in positions - {end} if alternative[at] is None}

    reached = with_stars({0})
    for allowed in shape:
        after = set()
        for at in reached - {end}:
            chars = alternative[at]
            if chars is None:
                after.add(at)
            elif any(map(chars.has, allowed)):
                after.add(at + 1)
        reached = with_stars(after)
    return end in reached


def _alternatives(text: str) -> Iterator[Alternative]:
    alternative: list[CharClass | None] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char == "|":
            yield tuple(alternative)
            alternative = []
            at += 1
        elif char == "*":
            if not alternative or alternative[-1] is not None:
                alternative.append(None)
            at += 1
        elif char == "?":
            alternative.append(CharClass((), negated=True))
            at += 1
        elif char == "[":
            chars, at = _bracket(text, at + 1)
            alternative.append(chars)
        else:
            char, at = _char(text, at)
            alternative.append(CharClass(((char, char),)))
    yield tuple(alternative)


def _char(text: str, at: int) -> tuple[str, int]:
    """The character at a position, whether escaped or not, and the position after it."""
    if text[at] != "\\":
        return text[at], at + 1
    if at + 1 == len(text):
        raise PatternError("it ends in a single backslash; two mean one")
    return text[at + 1], at + 2


def _bracket(text: str, at: int) -> tuple[CharClass, int]:
    """What the brackets that open before `at` mean, and the position after them."""
    negated = text[at : at + 1] in ("!", "^")
    at += negated
    ranges: list[tuple[str, str]] = []
    first = True
    while at < len(text):
        if text[at] == "]" and not first:
            return CharClass(tuple(ranges), negated), at + 1
        first = False
        if text.startswith("[:", at) and (end := text.find(":]", at + 2)) > 0:
            name = text[at + 2 : end]
            if name not in _CLASSES:
                raise PatternError(f"there is no class of characters '[:{printable(name)}:]'")
            ranges += _CLASSES[name]
            at = end + 2
            continue
        low, at = _char(text, at)
        high = low
        if text[at : at + 1] == "-" and text[at + 1 : at + 2] not in ("]", ""):
            high, at = _char(text, at + 1)
        if low > high:
            raise PatternError(f"the range '{printable(low)}-{printable(high)}' is the wrong way round")
        ranges.append((low, high))
    raise PatternError("a '[' is never closed; write '[[]' for the character")
