"""Matchers that run beside each other, each in a process of its own, and are asked for rounds in turn.

Each is asked in lines, and answers in lines of JSON: `setup TEXT`, then `matches` for what matches what, and
`match` or `read` for how long a round took, in seconds; `read` with finding out about the devices.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


class Matcher(ABC):
    """One way to match devices."""

    @abstractmethod
    def setup(self, text: str) -> None:
        """Take what to match devices with."""

    @abstractmethod
    def read(self) -> None:
        """Find out which devices there are."""

    @abstractmethod
    def match(self) -> list[tuple[str, str]]:
        """The kernel's name of each device that matches, with the name of what it matches."""

    def serve(self) -> None:
        """Answer until nobody asks any more."""
        for line in sys.stdin:
            verb, _, text = line.rstrip("\n").partition(" ")
            if verb == "setup":
                answer: object = self.setup(text)
            elif verb == "matches":
                self.read()
                answer = self.match()
            else:
                answer = _timed(self.match if verb == "match" else self._read_and_match)
            print(json.dumps(answer), flush=True)

    def _read_and_match(self) -> None:
        self.read()
        self.match()


class Beside:
    """A matcher's process, as long as its context lasts."""

    def __init__(self, python: Path, module: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [python, "-m", module], env=environment, cwd=Path(__file__).parents[1], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def setup(self, text: str) -> None:
        """See `Matcher.setup`."""
        self._ask(f"setup {text}")

    def matches(self) -> set[tuple[str, str]]:
        """What matches what."""
        found = self._ask("matches")
        assert isinstance(found, list)
        return {(str(device), str(name)) for device, name in found}

    def round(self, verb: str) -> float:
        """How long a round took."""
        took = self._ask(verb)
        assert isinstance(took, float)
        return took

    def _ask(self, request: str) -> object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()
        answer: object = json.loads(self._process.stdout.readline())
        return answer


def in_turns(verb: str, rounds: int, matchers: Sequence[Beside]) -> list[list[float]]:
    """How long each matcher took in each of so many rounds."""
    found = [[each.round(verb) for each in matchers] for _ in range(rounds)]
    return [list(took) for took in zip(*found, strict=True)]


def _timed(work: Callable[[], object]) -> float:
    gc.collect()
    gc.disable()
    start = time.perf_counter()
    work()
    took = time.perf_counter() - start
    gc.enable()
    return took
