"""Has udev rules written by which the host's software leaves alone what our rules take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotplugd.aio.backoff import Retry
from hotplugd.aio.threads import Threads
from hotplugd.host.udev_rules import Leave
from hotplugd.rules.ruleset import RuleSet
from hotplugd.rules.udev_ignore import ignore_rules

# Seconds until udev's rules are written again that could not be: at first, and at most.
_PAUSES: Final = (1.0, 60.0)


class LeaveAlone:
    """Writes udev's rules of what the host leaves alone, at the start and whenever our rules are others.

    folder  where udev's rules are; None where none are written
    kept    gives the syspaths of devices that a guard rail keeps on the host
    told    set once they were tried to be written
    """

    def __init__(
        self,
        threads: Threads,
        folder: Path | None,
        rules: RuleSet,
        kept: Callable[[], list[str]],
        log: FilteringBoundLogger,
    ) -> None:
        self._leave = Leave(threads, folder) if folder is not None else None
        self._rules = rules
        self._kept = kept
        self._log = log
        # Set while they are to be written.
        self._due = asyncio.Event()
        self._due.set()
        self.told = asyncio.Event()

    def set_rules(self, rules: RuleSet) -> None:
        """Take these rules from now on."""
        self._rules = rules
        self._due.set()

    async def run(self) -> None:
        """Write them until cancelled, and again where that failed."""
        retry, pause = Retry(), None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._due.wait()
            self._due.clear()
            pause = None
            try:
                if self._leave is not None and await self._leave.write(self._written):
                    self._log.info("leave-alone.written")
                retry.reset()
            except OSError as error:
                pause, new = retry.failed(str(error), asyncio.get_running_loop().time(), *_PAUSES)
                if new:
                    self._log.warning("leave-alone.problem", reason=str(error), retry_in=pause)
            self.told.set()

    def close(self) -> None:
        """Let go of the program that writes them."""
        if self._leave is not None:
            self._leave.close()

    def _written(self, usb: bool) -> str:
        return ignore_rules(self._rules, self._kept(), usb=usb)
