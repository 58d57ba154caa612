"""Texts for people: what devices, servers and rule files say is escaped before it is shown. Pure."""

from __future__ import annotations

import re

_LAST_BYTE = "\xff"
_LAST_SHORT = "\uffff"
# Controls, and what ends a line, turns the reading direction, joins, hides or has no meaning (Unicode: Cc,
# Cf, Cs, Zl, Zp).
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\uffff\U000110bd\U000110cd\U00013430-\U0001345f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def plain(text: str) -> str:
    """`text` with everything escaped that could move a cursor, end a line or turn the reading direction.

    For whole messages, in which strings of others may have been escaped by `printable`.
    """

    def escape(found: re.Match[str]) -> str:
        code = ord(found[0])
        if found[0] <= _LAST_BYTE:
            return f"\\x{code:02x}"
        return f"\\u{code:04x}" if found[0] <= _LAST_SHORT else f"\\U{code:08x}"

    return _UNPRINTABLE.sub(escape, text)


def printable(text: str) -> str:
    """`text` from a device or a file as part of a message: `plain`, and the backslash is escaped too.

    Two different strings stay different.
    """
    return plain(text.replace("\\", "\\\\"))


def counted(number: int, noun: str) -> str:
    """`1 rule`, `2 rules`; for nouns that take an s. `entry` is `entries`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun.removesuffix('y')}ies" if noun.endswith("ry") else f"{number} {noun}s"


_DIGITS = re.compile(r"(\d{1,18})", re.ASCII)


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key to sort by as people count: `1-1.2` comes before `1-1.10`."""
    parts = _DIGITS.split(text)
    return tuple((0, int(part), part) if odd % 2 else (1, 0, part) for odd, part in enumerate(parts) if part)


_LONGEST_QUOTE = 80


def quoted(text: str) -> str:
    """`text` from a device or a file for a message: printable, and not longer than a message may be."""
    return printable(text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 1] + "…")
