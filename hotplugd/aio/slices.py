"""Much work for the event loop, a little at a time, so that nothing else waits for all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


async def slices(items: Iterable[T], size: int) -> AsyncIterator[list[T]]:
    """Yield the items in slices of this size. Between two slices other work of the loop runs.

    The items must not change meanwhile.
    """
    rest = iter(items)
    found = list(islice(rest, size))
    while found:
        yield found
        if found := list(islice(rest, size)):
            await asyncio.sleep(0)
