"""The outcome of `mutmut run`, by file: which changes of the code no test noticed. `make mutants` prints it.

    python -m tests.mutants [PATTERN]

PATTERN picks mutants by their names, as it does for `mutmut run`. Ends with 1 where fewer than nine in ten
were noticed, or where some were not tried.
"""

from __future__ import annotations

import sys
from collections import Counter
from fnmatch import fnmatch
from typing import Final

from mutmut.mutation.data import SourceFileMutationData
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files
from rich.console import Console
from rich.table import Table

ENOUGH: Final = 90
COLUMNS: Final = ("killed", "timeout", "survived", "no tests", "not checked")


def outcomes(pattern: str) -> dict[str, Counter[str]]:
    """How many mutants of each file came to what; of those with such a name."""
    found: dict[str, Counter[str]] = {}
    for path in sorted(walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        data.load()
        codes = [code for name, code in data.exit_code_by_key.items() if fnmatch(name, pattern)]
        if codes:
            found[str(path)] = Counter(status_by_exit_code[code] for code in codes)
    return found


def row(name: str, counts: Counter[str]) -> tuple[str, ...]:
    """A line of the table. What ran out of time is not counted as killed."""
    return (name, *map(str, (counts.total(), *(counts[each] for each in COLUMNS))), f"{percent(counts):.1f}")


def percent(counts: Counter[str]) -> float:
    """How many of those that were tried were noticed."""
    return 100 * counts["killed"] / max(counts.total() - counts["not checked"], 1)


def main(pattern: str = "*") -> int:
    found = outcomes(pattern)
    everything = sum(found.values(), Counter[str]())
    table = Table("file", box=None)
    for column in ("mutants", "killed", "timed out", "survived", "no tests", "not tried", "% killed"):
        table.add_column(column, justify="right")
    for name, counts in found.items():
        table.add_row(*row(name, counts))
    table.add_section()
    table.add_row(*row("all", everything))
    console = Console(width=110)
    console.print(table)
    if left := everything["not checked"]:
        console.print(f"{left} of {everything.total()} were not tried: another run goes on with them")
    return 0 if percent(everything) >= ENOUGH and not left else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
