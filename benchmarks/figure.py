"""One figure: what was found, beside what it must be; and the table of them, with the machine they are of."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

_HEAD: Final = ("measure", "against", "must be", "found", "", "absolute")


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured, and whether that is good enough.

    measure   what was measured
    against   what ran beside it in the same run; empty where the value stands for itself
    must      whether the value may be at most or must be at least the limit
    limit     see there
    found     the value: a ratio to what it is against, or a value in the unit
    unit      of limit and value
    absolute  what the ratio is made of, for information
    """

    measure: str
    against: str
    must: Literal["≤", "≥"]
    limit: float
    found: float
    unit: str = "times"
    absolute: str = ""

    @property
    def passed(self) -> bool:
        """Whether the value is within the limit; one that is no number is not."""
        return self.found <= self.limit if self.must == "≤" else self.found >= self.limit

    @property
    def must_be(self) -> str:
        """The limit in words."""
        if self.limit == 0 and self.must == "≤":
            return f"no {self.unit}"
        return f"{self.must} {_number(self.limit)} {self.unit}"

    @property
    def cells(self) -> tuple[str, ...]:
        """The figure as a row of the table."""
        found = f"{_number(self.found)} {self.unit}"
        verdict = "ok" if self.passed else "MISSED"
        return self.measure, self.against, self.must_be, found, verdict, self.absolute


def table(figures: Sequence[Figure], *, markdown: bool = False) -> str:
    """The figures in aligned columns."""
    rows = [_HEAD, *(each.cells for each in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    if not markdown:
        return "\n".join("  ".join(line).rstrip() for line in lines)
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """What the figures were measured on, in one line."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    lxd = subprocess.run(["lxd", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return (
        f"{model[1].strip() if model else platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
        f"{memory:.0f} GiB of memory, Linux {platform.release()}, "
        f"Python {platform.python_version()}, LXD {lxd}"
    )


def _number(value: float) -> str:
    """Three digits of the value, and all of a whole one."""
    return f"{value:.0f}" if value == round(value) or abs(value) >= 100 else f"{value:.3g}"
