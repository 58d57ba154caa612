"""The outcome of `mutmut run`, by file: which changes of the code no test noticed. `make mutants` prints it.

    python -m tests.mutants [PATTERN]
    python -m tests.mutants --sample SEED COUNT [--names]

PATTERN picks mutants by their names, as `mutmut run` does. A sample has so many mutants of each package,
chosen by the seed. `--names` prints which; without it their outcome is printed, by package, with the interval
that the share of all is in with 95 % (Wilson's). Ends with 1 where fewer than nine in ten were noticed, or
where some were not tried.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from math import sqrt
from random import Random
from typing import Final

from mutmut.mutation.data import SourceFileMutationData
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files
from rich.console import Console
from rich.table import Table

ENOUGH: Final = 90
COLUMNS: Final = ("killed", "timeout", "survived", "no tests", "not checked")


SAMPLED: Final = ("rules", "plan", "pools", "reconcile")
_SURE: Final = 1.96  # standard deviations, for 95 %


def known() -> dict[str, dict[str, str]]:
    """By file, what each mutant came to, by its name."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        data.load()
        found[str(path)] = {name: status_by_exit_code[code] for name, code in data.exit_code_by_key.items()}
    return found


def outcomes(pattern: str) -> dict[str, Counter[str]]:
    """How many mutants of each file came to what; of those with such a name."""
    named = {
        path: Counter(came for name, came in mutants.items() if fnmatch(name, pattern))
        for path, mutants in known().items()
    }
    return {path: counts for path, counts in named.items() if counts}


def sample(seed: int, count: int, names: Iterable[str]) -> dict[str, list[str]]:
    """So many mutants of each package, by chance; all where there are fewer."""
    found, die = dict[str, list[str]](), Random(seed)
    every = sorted(names)
    for package in SAMPLED:
        own = [name for name in every if name.split(".")[1] == package]
        found[package] = sorted(die.sample(own, min(count, len(own))))
    return found


def interval(part: int, of: int) -> tuple[float, float]:
    """In which the share of all is with 95 %, in percent, by a sample (Wilson 1927)."""
    share, square = part / of, _SURE * _SURE
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = _SURE * sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    return 100 * (middle - half), 100 * (middle + half)


def tell_sample(chosen: Mapping[str, list[str]], came: Mapping[str, str]) -> int:
    """Print how many of a sample were noticed. Returns the exit code."""
    console, everything = Console(width=110), Counter[str]()
    table = Table("package", box=None)
    for column in ("tried", "killed", "% killed", "95 % of all"):
        table.add_column(column, justify="right")
    for package in (*chosen, "all"):
        counts = Counter(came[name] for name in chosen[package]) if package in chosen else everything
        everything = everything + counts if package in chosen else everything
        tried = counts.total() - counts["not checked"]
        low, high = interval(counts["killed"], tried) if tried else (0.0, 100.0)
        cells = (tried, counts["killed"], f"{percent(counts):.1f}", f"{low:.1f} to {high:.1f}")
        table.add_row(package, *map(str, cells))
    console.print(table)
    for name in (name for names in chosen.values() for name in names if came[name] not in _GOOD):
        console.print(f"{came[name]}: {name}", highlight=False, soft_wrap=True)
    return 0 if percent(everything) >= ENOUGH and not everything["not checked"] else 1


_GOOD: Final = ("killed", "not checked")


def row(name: str, counts: Counter[str]) -> tuple[str, ...]:
    """A line of the table. What ran out of time is not counted as killed."""
    return (name, *map(str, (counts.total(), *(counts[each] for each in COLUMNS))), f"{percent(counts):.1f}")


def percent(counts: Counter[str]) -> float:
    """How many of those that were tried were noticed."""
    return 100 * counts["killed"] / max(counts.total() - counts["not checked"], 1)


def main(*words: str) -> int:
    """Returns the exit code."""
    if words[:1] == ("--sample",):
        seed, count, *rest = words[1:]
        came = {name: each for mutants in known().values() for name, each in mutants.items()}
        chosen = sample(int(seed), int(count), came)
        if rest == ["--names"]:
            sys.stdout.write("\n".join(name for names in chosen.values() for name in names) + "\n")
            return 0
        return tell_sample(chosen, came)
    return tell_all(*words)


def tell_all(pattern: str = "*") -> int:
    """Print what all with such names came to, by file. Returns the exit code."""
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
