"""The outcome of `mutmut run`, by file: which changes of the code no test noticed. `make mutants` prints it.

Ends with 1 where fewer than nine in ten of those that were tried were noticed.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Final

from mutmut.mutation.data import SourceFileMutationData
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files
from rich.console import Console
from rich.table import Table

ENOUGH: Final = 90
COLUMNS: Final = ("killed", "timeout", "survived", "no tests", "not checked")


def outcomes() -> dict[str, Counter[str]]:
    """How many mutants of each file came to what."""
    found: dict[str, Counter[str]] = {}
    for path in sorted(walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        data.load()
        if data.exit_code_by_key:
            found[str(path)] = Counter(status_by_exit_code[code] for code in data.exit_code_by_key.values())
    return found


def row(name: str, counts: Counter[str]) -> tuple[str, ...]:
    """A line of the table. What ran out of time is not counted as killed."""
    return (name, *map(str, (counts.total(), *(counts[each] for each in COLUMNS))), f"{percent(counts):.1f}")


def percent(counts: Counter[str]) -> float:
    """How many of those that were tried were noticed."""
    return 100 * counts["killed"] / max(counts.total() - counts["not checked"], 1)


def main() -> int:
    found = outcomes()
    everything = sum(found.values(), Counter[str]())
    table = Table("file", box=None)
    for column in ("mutants", "killed", "timed out", "survived", "no tests", "not tried", "% killed"):
        table.add_column(column, justify="right")
    for name, counts in found.items():
        table.add_row(*row(name, counts))
    table.add_section()
    table.add_row(*row("all", everything))
    Console(width=110).print(table)
    return 0 if percent(everything) >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())
