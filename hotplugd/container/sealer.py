"""Has device nodes sealed by a helper program: see `seal_helper`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hotplugd.aio.helper import Program, Unanswered
from hotplugd.aio.helper_loop import DONE
from hotplugd.aio.threads import Threads
from hotplugd.container import seal_helper

# Sealing takes a fraction of a millisecond.
_DEADLINE: Final = 5.0


class Sealer:
    """Seals nodes.

    path    where systemd listens for the program
    server  whose nodes they are; a program that systemd starts knows the usual ones and those in its unit
    """

    def __init__(self, threads: Threads, path: Path, server: str) -> None:
        folders = [str(Path(server).parent)] if server.startswith("/") else []
        self._program = Program(
            threads, "seal", seal_helper.__name__, path, _DEADLINE, seal_helper.LIMITS, folders
        )

    async def seal(self, nodes: Sequence[int]) -> list[str]:
        """Seal these nodes, given as descriptors (O_PATH). Returns for each why it is not sealed, or nothing.

        Without any the program is started, so that it need not be later, and its first answer is returned.
        """
        answers: list[str] = []
        async with self._program.turn:
            for begin in range(0, len(nodes), seal_helper.MOST) or (0,):
                answers += await self._ask(nodes[begin : begin + seal_helper.MOST])
        return answers

    def close(self) -> None:
        """Let go of the program. What is under way is cancelled."""
        self._program.close()

    async def _ask(self, nodes: Sequence[int]) -> list[str]:
        try:
            answer = await self._program.ask(seal_helper.REQUEST, nodes)
        except Unanswered as error:
            return [str(error)] * max(len(nodes), 1)
        answers = [each.decode("utf-8", "replace") for each in answer.split(b"\0")]
        if nodes and len(answers) != len(nodes):
            answers = ["the program for it answers something else"] * len(nodes)
        return ["" if each == DONE.decode() else self._program.explained(each) for each in answers]
