"""What a soak says: a table at its end, and everything there is to find a reason where it fails."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from tests.soak.figures import Figures, growth, middle
from tests.soak.scene import Scene
from tests.soak.soak import Outcome, Quiet

_BUILD: Final = Path(__file__).parents[2] / "build" / "soak"
_LAST: Final = 40
BROKEN: Final = "(broken line)"
_HEAD: Final = "plugs             quiet points   converged, s       fds   threads   RSS, MiB   PSS, MiB"


class Diary:
    """What was done, line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._start = time.monotonic()

    def say(self, line: str) -> None:
        self.lines.append(f"{time.monotonic() - self._start:8.2f} {line}")


def growth_of(outcome: Outcome, every: int) -> list[str]:
    """What is more in the last of the rows that `table` marks than in the first."""
    parts = _parts(outcome, every)
    return growth(*(_figures(parts[each]) for each in _judged(outcome, parts))) if parts else []


def table(outcome: Outcome, every: int) -> str:
    """The medians of the quiet points of each `every` plugs. A star is at the rows that are judged."""
    lines, parts = [_HEAD], _parts(outcome, every)
    for number, part in enumerate(parts):
        figures, took = _figures(part), [each.took for each in part]
        judged = "*" if number in _judged(outcome, parts) else " "
        plugs = f"{number * every + 1:,}-{(number + 1) * every:,}"
        lines.append(
            f"{plugs:<15} {judged} {len(part):>12}   {median(took):>5.1f} at most {max(took):>4.1f}"
            f" {figures.descriptors:>6} {figures.threads:>9}"
            f" {figures.rss / 1024:>10.1f} {figures.pss / 1024:>10.1f}"
        )
    slow = max(outcome.quiet, key=lambda each: each.took)
    lines.append(f"the slowest, after {slow.plugs:,}: {slow.took:.1f} s, at last for this: {slow.waited_for}")
    return "\n".join(lines)


def told(log: str) -> Counter[str]:
    """How often hotplugd has told what in its log."""
    return Counter(_event(line) for line in log.splitlines() if line[:1] == "{")


def _event(line: str) -> str:
    """What an event is called; of two lines in one, or a part of one, that it is BROKEN."""
    try:
        return str(json.loads(line)["event"])
    except (ValueError, KeyError):
        return BROKEN


def keep(scene: Scene, diary: Diary, part: str = "short") -> str:
    """Keep the logs of this part, and return the ends of them."""
    folder = _BUILD / part
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "diary": "\n".join(diary.lines),
        "hotplugd.log": scene.daemon.log(),
        "server.log": scene.server.tail(1_000_000),
    }
    ends = []
    for name, text in texts.items():
        (folder / name).write_text(text)
        ends += [f"--- {name} (all of it: {folder / name})", *text.splitlines()[-_LAST:]]
    return "\n".join(ends)


def _parts(outcome: Outcome, every: int) -> list[list[Quiet]]:
    found: dict[int, list[Quiet]] = {}
    for each in outcome.quiet:
        found.setdefault((each.plugs - 1) // every, []).append(each)
    return [found[number] for number in sorted(found)]


def _judged(outcome: Outcome, parts: Sequence[list[Quiet]]) -> tuple[int, int]:
    """The first and the last; of one life the second and the last, since in the first a daemon warms up."""
    return min(0 if outcome.kills else 1, len(parts) - 1), len(parts) - 1


def _figures(part: list[Quiet]) -> Figures:
    return middle([each.figures for each in part])
