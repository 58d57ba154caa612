"""All figures, in one table: `python -m benchmarks [--markdown] [NAME…]`, as root.

NAME picks some of them. Ends with 1 where a limit is missed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

from benchmarks import (
    allocation,
    beside,
    cluster,
    farm,
    flapping,
    forged,
    idle,
    live,
    matching,
    memory,
    plans,
    restart,
    startup,
    storm,
)
from benchmarks.figure import Figure, machine, table

FIGURES: Final[tuple[tuple[str, Callable[[], list[Figure]]], ...]] = (
    ("live", live.figures),
    ("beside", beside.figures),
    ("storm", storm.figures),
    ("flapping", flapping.figures),
    ("plans", plans.figures),
    ("allocation", allocation.figures),
    ("farm", farm.figures),
    ("cluster", cluster.figures),
    ("forged", forged.figures),
    ("matching", matching.figures),
    ("restart", restart.figures),
    ("idle", idle.figures),
    ("memory", memory.figures),
    ("startup", startup.figures),
)


def main(words: list[str]) -> int:
    """Measure what is asked for, or everything. Returns the exit code."""
    markdown = "--markdown" in words
    names = [word for word in words if word != "--markdown"]
    known = dict(FIGURES)
    if unknown := [name for name in names if name not in known]:
        print(f"no such figures: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    found: list[Figure] = []
    for name in names or known:
        start = time.monotonic()
        found += known[name]()
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    print(table(found, markdown=markdown))
    print(f"\nMeasured on: {machine()}.")
    return 0 if all(each.passed for each in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
