"""What a process costs, and whether that stays the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final


@dataclass(frozen=True, slots=True)
class Figures:
    """One process at one moment. plugs: how many it has lived through; descriptors: without those that each
    container takes; rss, pss: memory, in KiB.
    """

    plugs: int
    descriptors: int
    threads: int
    rss: int
    pss: int


# PSS is for information: it is more when others end that shared some of our memory.
_JUDGED: Final = ("descriptors", "threads", "rss")
# What is allowed to be more at the end: connections and threads are kept for as many requests as there were
# at a time, and memory is had from the kernel in blocks.
_SPARE: Final = Figures(0, 4, 4, 1024, 0)
# Of a container that is looked into: its root, what is in /proc of its init, and what tells of both.
_OF_CONTAINER: Final = 5


def looked_into(pid: int) -> int:
    """How many containers a hotplugd looks into: of each it holds the mount table."""
    own = {"/proc/1/mountinfo", f"/proc/{pid}/mountinfo"}
    return sum(each.endswith("/mountinfo") and each not in own for each in _descriptors(pid))


def measure(pid: int, plugs: int) -> Figures:
    """The figures of a process that runs."""
    process = Path("/proc", str(pid))
    return Figures(
        plugs,
        len(_descriptors(pid)) - looked_into(pid) * _OF_CONTAINER,
        _number(process / "status", "Threads"),
        _number(process / "status", "VmRSS"),
        _number(process / "smaps_rollup", "Pss"),
    )


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def times(pid: int) -> tuple[int, int]:
    """The ns for which a process's threads ran, and waited to run (Linux: scheduler/sched-stats.rst)."""
    threads = [each.read_text().split() for each in Path("/proc", str(pid), "task").glob("*/schedstat")]
    return sum(int(each[0]) for each in threads), sum(int(each[1]) for each in threads)


def middle(several: Sequence[Figures]) -> Figures:
    """The median of each figure."""
    return Figures(
        *(
            int(median(getattr(each, name) for each in several))
            for name in ("plugs", "descriptors", "threads", "rss", "pss")
        )
    )


def growth(first: Figures, last: Figures) -> list[str]:
    """What is more at last than at first, in words; nothing where it is flat."""
    return [
        f"{name} grew from {before} to {now}"
        for name in _JUDGED
        if (now := getattr(last, name)) > (before := getattr(first, name)) + getattr(_SPARE, name)
    ]


def _descriptors(pid: int) -> list[str]:
    """What each descriptor is; it may be closed meanwhile."""
    found = []
    for each in Path("/proc", str(pid), "fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(each))
    return found


def _number(file: Path, key: str) -> int:
    for line in file.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0])
    raise AssertionError(f"expected {key} in {file}")
