"""A limit for each of several groups: calls of one group wait for each other, and for no other group."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager


class Turns:
    """The limits of one event loop.

    each  how many calls of one group may run at a time
    """

    def __init__(self, each: int) -> None:
        self._each = each
        self._inside: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def of(self, whose: str) -> AsyncIterator[None]:
        """Wait, in order of arrival, until fewer calls of the group run, and run within the context."""
        if self._inside.get(whose, 0) < self._each:
            self._inside[whose] = self._inside.get(whose, 0) + 1
        else:
            await self._wait(whose)
        try:
            yield
        finally:
            self._leave(whose)

    def waiting(self) -> Mapping[str, int]:
        """How many calls of each group wait."""
        return {whose: len(turns) for whose, turns in self._waiting.items()}

    async def _wait(self, whose: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        turns = self._waiting.setdefault(whose, deque())
        turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # This call was cancelled after it had been given a place: the next one gets it.
                self._leave(whose)
            else:
                self._forget(whose, turn)
            raise

    def _leave(self, whose: str) -> None:
        """Give the place of a call that has ended to the next one."""
        while turns := self._waiting.get(whose):
            turn = turns[0]
            self._forget(whose, turn)
            # A call that was cancelled and has not run since gets no place.
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
