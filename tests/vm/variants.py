"""Inputs of one kind: some that every run tries, and those that only a whole run does."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from _pytest.mark import ParameterSet


def variants(values: Iterable[object], tried: int = 1) -> list[ParameterSet]:
    """The values as parameters, of which all after the first `tried` are marked as variants.

    A value that is a tuple has several parameters.
    """
    return [
        pytest.param(
            *(each if isinstance(each, tuple) else (each,)), marks=[pytest.mark.variant] * (number >= tried)
        )
        for number, each in enumerate(values)
    ]
