"""Much work for the event loop, a little at a time, so that nothing else waits for all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


async def slices(items: Iterable[T], size: int) -> AsyncIterator[list[T]]:
    """These items, so many at a time. Between two slices everything else that is ready has its turn.

    What is listed must not change meanwhile.
    """
    rest = iter(items)
    found = list(islice(rest, size))
    while found:
        yield found
        if found := list(islice(rest, size)):
            await asyncio.sleep(0)
