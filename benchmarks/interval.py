"""How sure a figure is: the interval that a statistic of two contenders is in, with a confidence of 95 %."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

_DRAWS: Final = 2_000
_TAIL: Final = 0.025

Statistic = Callable[[Sequence[float], Sequence[float]], float]


def interval(of: Statistic, ours: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """The bounds of a statistic of values that were measured in turns: the n-th of each belong together.

    By the bootstrap: so many rounds are drawn from those that there were, and that again and again. The draws
    are the same ones each time.
    """
    draw = random.Random(1)
    rounds = list(zip(ours, others, strict=True))
    found: list[float] = []
    for _ in range(_DRAWS):
        drawn = draw.choices(rounds, k=len(rounds))
        found.append(of([one for one, _ in drawn], [other for _, other in drawn]))
    found.sort()
    return found[round(_TAIL * _DRAWS)], found[round((1 - _TAIL) * _DRAWS) - 1]


def told(bounds: tuple[float, float]) -> str:
    """The bounds in words."""
    return f"95 %: {bounds[0]:.3g} to {bounds[1]:.3g}"
