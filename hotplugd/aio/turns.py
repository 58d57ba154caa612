"""So much at a time for each of several: who has very much to do waits for itself, and for nobody else."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager


class Turns:
    """Of one event loop.

    each  so many may be inside at a time for one
    """

    def __init__(self, each: int) -> None:
        self._each = each
        self._inside: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def of(self, whose: str) -> AsyncIterator[None]:
        """Wait for room, in the order of those that wait for the same one, and be inside."""
        if self._inside.get(whose, 0) < self._each:
            self._inside[whose] = self._inside.get(whose, 0) + 1
        else:
            await self._wait(whose)
        try:
            yield
        finally:
            self._leave(whose)

    def waiting(self) -> Mapping[str, int]:
        """How many wait for each."""
        return {whose: len(turns) for whose, turns in self._waiting.items()}

    async def _wait(self, whose: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        turns = self._waiting.setdefault(whose, deque())
        turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # It was given a place that it does not take.
                self._leave(whose)
            else:
                self._forget(whose, turn)
            raise

    def _leave(self, whose: str) -> None:
        """Give one's place to the next."""
        while turns := self._waiting.get(whose):
            turn = turns[0]
            self._forget(whose, turn)
            # Who was cancelled, and does not know it yet, takes none.
            if not turn.done():
                turn.set_result(None)
                return
        self._inside[whose] -= 1
        if not self._inside[whose]:
            del self._inside[whose]

    def _forget(self, whose: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(whose)
        if turns is None or turn not in turns:
            return
        turns.remove(turn)
        if not turns:
            del self._waiting[whose]
