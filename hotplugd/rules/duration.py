"""Spans of time as rule files have them: 30s, 10m, 2h, 1d. Pure."""

from __future__ import annotations

import re
from typing import Final

PATTERN: Final = r"[1-9][0-9]{0,4}[smhd]"
"""A span of time: a whole number and its unit."""

_SPAN: Final = re.compile(PATTERN, re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float | None:
    """How many seconds it is; None where it is no span of time."""
    return float(int(text[:-1]) * _UNITS[text[-1]]) if _SPAN.fullmatch(text) else None


def in_words(span: float) -> str:
    """A whole number of seconds as rule files have it, in the largest unit that fits."""
    unit = next(unit for unit in reversed(_UNITS) if not span % _UNITS[unit])
    return f"{span / _UNITS[unit]:.0f}{unit}"
