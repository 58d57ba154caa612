"""A problem: something that a rule asks for and that is not so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something that a rule asks for is not so. `device` and `rule` may be empty where none is concerned.

    guard     a guard rail did its work: `explain` says so, but nobody has to act
    instance  whose claim it is about, `name` or `project/name`; empty where it is about none
    claim     the claim's name; likewise
    pool      the pool that has too few devices for a claim, or fewer than it should have; empty for others
    place     the USB port or bus that does not do well; empty for others
    """

    device: str
    rule: str
    message: str
    guard: bool = False
    instance: str = ""
    claim: str = ""
    pool: str = ""
    place: str = ""
