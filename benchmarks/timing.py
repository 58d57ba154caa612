"""How long things take, each in turn with what it is compared with: what else the machine does hits both."""

from __future__ import annotations

import gc
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median


def interleaved(repetitions: int, *works: Callable[[], object]) -> list[list[float]]:
    """How long each of the works took in each of so many rounds, in seconds.

    A first round counts for nothing, and as in `timeit` the garbage collector stands still meanwhile: what
    one leaves behind is not the next one's cost.
    """
    took: list[list[float]] = [[] for _ in works]
    for each in works:
        each()
    for _ in range(repetitions):
        for work, times in zip(works, took, strict=True):
            gc.collect()
            gc.disable()
            try:
                start = time.perf_counter()
                work()
                times.append(time.perf_counter() - start)
            finally:
                gc.enable()
    return took


def ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """The ratio of medians."""
    return median(these) / median(those)


def ms(seconds: Sequence[float]) -> str:
    """The median, for information."""
    middle = median(seconds) * 1000
    return f"{middle:.0f} ms" if middle >= 10 else f"{middle:.3g} ms"


def program(*words: str, environment: Mapping[str, str]) -> Callable[[], object]:
    """Running a program to its good end, as a work."""
    return lambda: subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)
