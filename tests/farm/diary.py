"""What a day has been so far, and all that it goes on from: in a file between two boots of the host."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.farm.model import Claim, Model


@dataclass(slots=True)
class Diary:
    """What happened, line by line, and how often each kind of thing.

    rests  the seconds until all was right, at each quiet moment
    file   where each line is written at once; None for nowhere
    """

    seed: int
    file: Path | None = None
    lines: list[str] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    rests: list[float] = field(default_factory=list)
    begun: float = field(default_factory=time.time)

    def say(self, line: str) -> None:
        self.lines.append(f"{time.time() - self.begun:8.2f} {line}")
        if self.file is not None:
            with self.file.open("a") as file:
                file.write(f"{self.lines[-1]}\n")

    def told(self) -> str:
        """For whoever has to find out what went wrong."""
        return "\n".join((f"seed {self.seed}; the events so far:", *self.lines))


@dataclass(slots=True)
class State:
    """All that a day knows; another boot of the host goes on from here.

    most       of instances at a time
    jobs       how many there were
    events     how many happened
    due        after how many the next quiet moment is
    snapshots  what instances claimed when their snapshots were made
    plugs      after how many events each device was plugged in
    """

    model: Model
    diary: Diary
    die: Random
    most: int
    jobs: int = 0
    events: int = 0
    due: int = 0
    snapshots: dict[str, Claim | None] = field(default_factory=dict)
    plugs: dict[str, list[int]] = field(default_factory=dict)
