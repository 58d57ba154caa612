"""Seeing when a node is inside a container, or gone, without taking a core from those who put it there."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

from tests.support.lab.container import Container

# A node goes a moment after its mount, which is what the kernel tells of.
_AGAIN = 1  # ms


class Watch:
    """Waits for what the server mounts and unmounts in containers."""

    def __init__(self, containers: Iterable[Container]) -> None:
        self._files = [
            os.open(f"/proc/{each.pid}/mountinfo", os.O_RDONLY | os.O_CLOEXEC) for each in containers
        ]
        self._poll = select.poll()
        for file in self._files:
            self._poll.register(file, select.POLLPRI)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            os.close(file)

    def until(self, homes: Mapping[str, Container], numbers: Mapping[str, str], deadline: float) -> list[str]:
        """Wait until each node (by path) is in its home with its number (`c 7:1`), or gone where it has none.

        Returns those for which that is not so after `deadline` seconds.
        """
        end = time.perf_counter() + deadline
        left = list(homes)
        while left and time.perf_counter() < end:
            left = [path for path in left if number(homes[path], path) != numbers.get(path, "")]
            if left:
                self._poll.poll(_AGAIN)
        return left


def number(container: Container, path: str) -> str:
    """The number of the node at a path inside, `c 7:1`; empty where none is."""
    seen = container.look(path)
    return "" if seen is None else seen.number
