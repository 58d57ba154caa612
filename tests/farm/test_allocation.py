"""Allocation alone in short: `make soak` has a hundred thousand events."""

from __future__ import annotations

from tests.farm.allocation import live


def test_what_holds_after_each_event() -> None:
    assert live(seed=1, events=3_000) > 300
