"""The state file in use: what it says, what is wrong with it, and one writer at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotplugd.aio.threads import NoThread, Threads
from hotplugd.app.state_file import Broken, State, StateError, StateFile
from hotplugd.model.problem import Problem
from hotplugd.pools.away_leases import NOTHING_KEPT, KeptLeases
from hotplugd.reconcile.problem_log import ProblemLog

# So many seconds the disk is waited for.
_DISK: Final = 20.0


class KeptState:
    """What people decided and what is kept of leases, in the state file and here.

    state    what is kept
    dry_run  a broken state file stays where it is, and nothing is written for leases
    """

    def __init__(self, log: FilteringBoundLogger, threads: Threads, *, dry_run: bool = False) -> None:
        self.state = State()
        self._threads = threads
        self._dry_run = dry_run
        self._file: StateFile | None = None
        self._problem = ""
        self._leases_problem = ""
        self._told = ProblemLog(log, "state.problem")
        self._aside: list[Path] = []
        # Each writer begins with what the file says then.
        self._turn = asyncio.Lock()
        self._noted: KeptLeases | None = None
        # The newest leases, on the disk or about to be written.
        self._latest = NOTHING_KEPT
        self._writing: asyncio.Task[None] | None = None
        # How often something was noted, and how much of that is on the disk; and what is set at each write.
        self._notes = self._done = 0
        self._progress = asyncio.Event()

    # --- the file ---------------------------------------------------------------------------------------

    async def load(self, path: Path) -> None:
        """Read the state file. Where it cannot be read, what is kept here stays so; of leases that counts
        always, once the file was read.
        """
        async with self._turn:
            first = self._file is None
            if self._file is None or self._file.path != path:
                self._file = StateFile(path)
            try:
                found, problem, self._aside = await self._threads.call(
                    partial(_load, self._file, aside=not self._dry_run), _DISK
                )
            except (NoThread, TimeoutError):
                found, problem = None, f"{path} cannot be read: the disk does not answer"
            self._problem = f"{problem}; what was decided by hand is not known" if problem else ""
            self._told.are(self.problems())
            if found is not None:
                self.state = found if first else replace(found, leases=self.state.leases)
            elsewhere = found.leases if found is not None else NOTHING_KEPT
        if not problem and elsewhere != self.state.leases:
            self._begin(self.state.leases)

    def problems(self) -> list[Problem]:
        """What is wrong with the state file."""
        found = [self._problem] if self._problem else [*map(_told_of_aside, self._aside)]
        found += [self._leases_problem] if self._leases_problem else []
        return [Problem("", "", text) for text in found]

    async def keep(self, changed: Callable[[State], State]) -> None:
        """Write the state as this makes it, and have it in force. Raises StateError."""
        async with self._turn:
            if self._file is None:
                raise StateError("the daemon has not read its state file yet; try again")
            state = changed(self.state)
            try:
                await self._threads.call(partial(self._file.write, state), _DISK)
            except (NoThread, TimeoutError) as error:
                raise StateError(f"{self._file.path} cannot be written: the disk does not answer") from error
            self.state = state

    # --- LeaseKeeperPort --------------------------------------------------------------------------------

    def before(self) -> KeptLeases:
        """What is kept of leases."""
        return self.state.leases

    def note(self, kept: KeptLeases) -> None:
        """Have this kept of leases, as soon as the disk can."""
        latest = self._latest if self._writing is not None else self.state.leases
        if kept != latest or self._leases_problem:
            self._begin(kept)

    async def written(self) -> None:
        """Return once what was noted until now is on the disk, or cannot be written."""
        notes = self._notes
        while self._writing is not None and self._done < notes:
            await self._progress.wait()

    def _begin(self, kept: KeptLeases) -> None:
        if self._dry_run:
            return
        self._noted = self._latest = kept
        self._notes += 1
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            while (noted := self._noted) is not None:
                self._noted, notes = None, self._notes
                await self.keep(partial(_with_leases, leases=noted))
                self._written(notes)
            self._leases_problem = ""
        except StateError as error:
            self._noted = None
            self._leases_problem = f"{error}; leases of devices that are absent end with the daemon"
        finally:
            self._writing = None
            self._written(self._notes)
            self._told.are(self.problems())

    def _written(self, notes: int) -> None:
        self._done = notes
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()


def _with_leases(state: State, leases: KeptLeases) -> State:
    return replace(state, leases=leases)


def _load(file: StateFile, *, aside: bool) -> tuple[State | None, str, list[Path]]:
    """What the file says, or why it says nothing; and those that were broken before.

    aside  whether a broken one is renamed
    """
    try:
        return file.read(), "", file.aside()
    except Broken as error:
        if not aside:
            return None, str(error), file.aside()
        try:
            file.set_aside()
        except StateError as problem:
            return None, f"{error}; {problem}", []
        return None, "", file.aside()
    except StateError as error:
        return None, str(error), file.aside()


def _told_of_aside(path: Path) -> str:
    return (
        f"the state file was broken, and is called {path} now: what was decided by hand or cordoned before "
        f"is not known; decide again with `hotplugd attach`, `detach` and `cordon`, take that file away, and "
        f"reload"
    )
