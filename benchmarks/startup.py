"""Start-up: `hotplugd check` and `--help` beside a Python that does nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.figure import Figure
from benchmarks.timing import interleaved, ms, program
from tests.support.lab.daemon import command

_LIMIT: Final = 150
_RULES: Final = Path(__file__).parents[1] / "rules"


def figures(repetitions: int = 20) -> list[Figure]:
    """How much later than that Python each command ends."""
    # Installed Python is compiled: the first round, which does not count, does that here.
    environment = {key: text for key, text in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    nothing, *found = interleaved(
        repetitions,
        program(sys.executable, "-c", "pass", environment=environment),
        program(*command(), "--help", environment=environment),
        program(*command(), "check", str(_RULES), environment=environment),
    )
    return [
        Figure(
            f"start-up of `hotplugd {name}`",
            "`python -c pass`",
            "≤",
            _LIMIT,
            (median(took) - median(nothing)) * 1000,
            "ms over it",
            f"{ms(took)}, {ms(nothing)}",
        )
        for name, took in zip(("--help", "check"), found, strict=True)
    ]
