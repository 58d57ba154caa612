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
from hotplugd.app.udev_ignore import ignore_rules
from hotplugd.host.udev_rules import Leave
from hotplugd.model.problem import Problem
from hotplugd.plan.about import Fields
from hotplugd.rules.ruleset import RuleSet

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
        self._problem: Fields = {}

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
                self._over()
            except OSError as error:
                pause, new = retry.failed(str(error), asyncio.get_running_loop().time(), *_PAUSES)
                if new:
                    self._over()
                    self._problem = {"reason": str(error)}
                    self._log.warning("leave-alone.problem", **self._problem, retry_in=pause)
            self.told.set()

    def problems(self) -> list[Problem]:
        """Why the host's software is not told."""
        what = "the host's software cannot be told to leave alone what rules take"
        return [Problem("", "", f"{what}: {self._problem['reason']}")] if self._problem else []

    def close(self) -> None:
        """Let go of the program that writes them."""
        if self._leave is not None:
            self._leave.close()

    def _over(self) -> None:
        if self._problem:
            self._log.info("problem.over", **self._problem)
            self._problem = {}

    def _written(self, usb: bool) -> str:
        return ignore_rules(self._rules, self._kept(), usb=usb)
