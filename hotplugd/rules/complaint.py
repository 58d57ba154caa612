"""The result of a check of a single value. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with a value, and what to write instead. Both are printable."""

    message: str
    hint: str = ""
