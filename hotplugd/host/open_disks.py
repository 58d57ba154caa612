"""Which disks a process has open, without having them mounted: asked right before one is put in.

The kernel shows only in each process's descriptors which process has a disk open, and only the helper program
`roots_helper` may read those of other users. That takes some 8 µs a descriptor (measured: 0.2 s for 2,000
processes with 12 each), so it is asked only for a disk that is about to go in, or that waits. `disks` finds
what the kernel itself has open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from hotplugd.aio.shortage import is_short
from hotplugd.host.in_use import disks_of
from hotplugd.host.open_files import holder
from hotplugd.model.text import quoted
from hotplugd.model.values import CANNOT_TELL, Device

# A program that probes a new disk has closed it again after this many seconds.
_PATIENCE: Final = (0.0, 0.1, 0.2, 0.2)
# One look serves several disks that go in together; for one that waits it is no hurry.
_FRESH: Final = 0.2
_FRESH_LATER: Final = 1.0
# Nobody tells when it is closed: seconds until it is looked for again, at first and at most.
_FIRST: Final = 1.0
_LAST: Final = 30.0


class OpenDisks:
    """Knows by a look at all processes which disks are open.

    look   gives the numbers of processes by those of the disks that they have open. Raises OSError
    again  called when it should be asked again about one that was open
    """

    def __init__(
        self, look: Callable[[], Awaitable[Mapping[str, Sequence[str]]]], again: Callable[[], None]
    ) -> None:
        self._look = look
        # One look at a time: a caller that waits for one may use its result.
        self._turn = asyncio.Lock()
        self._again = again
        self._pause = _FIRST
        self._alarm: asyncio.TimerHandle | None = None
        # The processes that have disks open, by the disks' numbers, and when it was asked.
        self._open: Mapping[str, Sequence[str]] = {}
        self._at = float("-inf")

    async def used(self, device: Device, inside: str, *, waits: bool = False) -> str:
        """Who has this disk open, or one of which this is the whole or another way to it; or empty.

        inside  what the control groups call the container of which processes do not count
        waits   whether it was open before, and waits for being closed
        """
        try:
            numbers = disks_of(device)
        except (OSError, ValueError) as error:
            return f"{CANNOT_TELL}: {error}"
        if not numbers:
            return ""
        found = ""
        for pause in (0.0,) if waits else _PATIENCE:
            await asyncio.sleep(pause)
            fresh = _FRESH_LATER if waits else 0.0 if pause else _FRESH
            try:
                found = await self._who(numbers, inside, fresh)
            except OSError as error:
                found = f"{CANNOT_TELL}: {error}"
            if not found:
                self._pause = _FIRST
                return ""
        self._ask_again()
        return found

    def close(self) -> None:
        """Ask for nothing again."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    async def _who(self, numbers: Mapping[str, str], inside: str, fresh: float) -> str:
        async with self._turn:
            now = asyncio.get_running_loop().time()
            if now - self._at > fresh:
                self._open, self._at = await self._look(), now
            opened = self._open
        for number, name in numbers.items():
            for pid in opened.get(number, ()):
                try:
                    who = holder(pid)
                except OSError as error:  # it has ended
                    if is_short(error):
                        raise
                    continue
                if not inside or who.instance != inside:
                    return f"{name} is open in {quoted(str(who))}"
        return ""

    def _ask_again(self) -> None:
        if self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(self._pause, self._ring)
            self._pause = min(2 * self._pause, _LAST)

    def _ring(self) -> None:
        self._alarm = None
        self._again()
