"""Tells which processes have which nodes open, by the program that may look into all: see `roots_helper`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from hotplugd.aio.helper import Program, Unanswered
from hotplugd.aio.helper_loop import DONE
from hotplugd.aio.threads import Threads
from hotplugd.container import roots_helper
from hotplugd.model.values import Devnum

_DEADLINE: Final = 10.0


class DiskUsers:
    """Asks the program. path: where systemd listens for it."""

    def __init__(self, threads: Threads, path: Path) -> None:
        self._program = Program(threads, "roots", roots_helper.__name__, path, _DEADLINE, roots_helper.LIMITS)

    async def look(self) -> Mapping[str, Sequence[str]]:
        """The numbers of processes by those of disks, `major:minor`. Raises OSError where that is unknown."""
        return await self._ask(roots_helper.DISKS)

    async def of(self, node: Devnum) -> Sequence[str]:
        """The numbers of the processes that have this node open. Raises OSError where that is unknown."""
        number = f"{node.major}:{node.minor}"
        request = b"\0".join((roots_helper.USERS, node.kind.encode(), number.encode()))
        return (await self._ask(request)).get(number, ())

    def close(self) -> None:
        """Let go of the program. What is under way is cancelled."""
        self._program.close()

    async def _ask(self, request: bytes) -> Mapping[str, Sequence[str]]:
        try:
            async with self._program.turn:
                answer = await self._program.ask(request, ())
                # The helper is needed seldom: it ends until then.
                self._program.let_go()
        except Unanswered as error:
            raise OSError(str(error)) from error
        said, *lines = answer.split(b"\0")
        if said != DONE:
            raise OSError(self._program.explained(answer.decode("utf-8", "replace")))
        processes: dict[str, list[str]] = {}
        for line in lines:
            number, _, pid = line.decode("ascii").partition(" ")
            processes.setdefault(number, []).append(pid)
        return processes
