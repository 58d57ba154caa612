"""Follows the daemon's events, runs the commands of hooks, and tells the daemon how that goes."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hotplugd.app.event_client import DaemonAway, EventClient, NoEvent, Refused
from hotplugd.hooks.command import run
from hotplugd.hooks.command_input import Event, WordError, document, variables, words
from hotplugd.hooks.jobs import Jobs
from hotplugd.hooks.settings import LOST, Hook
from hotplugd.model.text import counted, plain

# Seconds until the next try to reach the daemon, and from one report to it to the next: at least, at most,
# and where one did not reach it.
_PAUSE: Final = 1.0
_OFTEN: Final = 60.0
_AGAIN: Final = 5.0
# Seconds for commands that run to come to their end, when this ends.
_GRACE: Final = 5.0
# Seconds for which it is a problem that events were lost.
_LONG: Final = 3600.0
_LONGEST_CURSOR: Final = 100
# Limits of a report: the daemon takes 64 KiB, and a character may have four bytes.
_MOST_PROBLEMS: Final = 50
_LONGEST_PROBLEM: Final = 300


class Service:
    """Hooks, and the daemon that they listen to.

    keep  the file of the cursor; None: it is forgotten
    say   takes a message for the journal
    """

    def __init__(self, hooks: Sequence[Hook], keep: Path | None, say: Callable[[str], None]) -> None:
        self._keep = keep
        self._say = say
        self._changed = asyncio.Event()
        self._jobs = Jobs(hooks, self._run, self._changed.set)
        self._kept = ""
        self._lost_at: float | None = None
        self._was = ""
        # The report that the daemon got last, and when; None: another daemon may run since.
        self._told: tuple[list[str], float] | None = None
        self._refused = ""

    async def run(self, client: EventClient, stop: asyncio.Event) -> None:
        """Work until told to stop. Raises OSError where the cursor cannot be kept."""
        self._begin()
        work: list[asyncio.Task[None]] = [
            asyncio.create_task(each) for each in (self._follow(client), self._tell(client))
        ]
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({*work, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for each in work:
                if each.done():
                    each.result()
        finally:
            stopped.cancel()
            for each in work:
                each.cancel()
            await asyncio.gather(*work, stopped, return_exceptions=True)
            await self._jobs.end(_GRACE)
            self._write()
            with suppress(DaemonAway, Refused, NoEvent):
                await client.post("hooks", {"failing": [], "ended": True})

    def _begin(self) -> None:
        """Take the cursor that is kept, and see that the next one can be. Raises OSError.

        Else hooks that are started again and again would run for the same events each time.
        """
        if self._keep is None:
            return
        found = _read(self._keep)
        if found is None:
            self._lose(f"there is no cursor in {self._keep}")
        self._kept = self._jobs.taken = found or ""
        _new(self._keep).write_text(f"{self._kept}\n", "ascii")

    async def _follow(self, client: EventClient) -> None:
        while True:
            try:
                if not self._jobs.taken:
                    self._jobs.taken = _cursor(await client.cursor())
                    self._changed.set()
                async for event in client.events(self._jobs.taken):
                    _cursor(event.get("cursor"))
                    self._say_once("")
                    if self._told is None:
                        self._changed.set()
                    if event.get("event") == LOST:
                        self._lose("the daemon does not keep some events any more that nobody took in time")
                    await self._jobs.take(event)
            except DaemonAway as error:
                self._told = None
                self._say_once(f"the daemon is away: {error}; its events are awaited")
            except Refused as error:
                self._say_once(f"the daemon tells no events: {error}")
            except NoEvent as error:
                # Asked again it would say the same: go on with what happens from now on.
                self._lose(f"the daemon, or this program, is another version: {error}")
                self._jobs.taken = ""
            await asyncio.sleep(_PAUSE)

    def _say_once(self, text: str) -> None:
        if text and text != self._was:
            self._say(plain(text))
        self._was = text

    def _lose(self, why: str) -> None:
        self._lost_at = asyncio.get_running_loop().time()
        self._say_once(f"events were lost: {why}")
        self._changed.set()

    async def _tell(self, client: EventClient) -> None:
        while True:
            self._changed.clear()
            self._write()
            await self._report(client)
            await asyncio.sleep(_PAUSE)
            with suppress(TimeoutError):
                async with asyncio.timeout(_OFTEN if self._told is not None else _AGAIN):
                    await self._changed.wait()

    async def _report(self, client: EventClient) -> None:
        """Tell the daemon how hooks do, where it does not know that yet."""
        problems, now = _shown(self._problems()), asyncio.get_running_loop().time()
        if self._told is not None and self._told[0] == problems and now - self._told[1] < _OFTEN:
            return
        refused = ""
        try:
            await client.post("hooks", {"failing": problems, "ended": False})
            self._told = (problems, now)
        except (Refused, NoEvent) as error:
            refused = f"`hotplugd status` does not say how hooks do: {error}"
        except DaemonAway:
            self._told = None
        if refused and refused != self._refused:
            self._say(plain(refused))
        self._refused = refused

    def _problems(self) -> Iterator[str]:
        now = asyncio.get_running_loop().time()
        if self._lost_at is not None and now - self._lost_at < _LONG:
            yield "hooks: events were lost, and nothing ran for them; `journalctl -u hotplugd-hooks` says why"
        for name, each in self._jobs.outcomes.items():
            if each.why:
                times = f"{counted(each.failed, 'time')} in a row, " if each.failed > 1 else ""
                yield f"hook '{name}' failed {times}the last time for the event of {each.at}: {each.why}"
        if self._jobs.open > self._jobs.waiting:
            yield f"hooks: {self._jobs.open} events wait for commands to end, and no further one is taken"

    async def _run(self, hook: Hook, event: Event) -> str:
        try:
            command = words(hook.run, event)
        except WordError as error:
            why = str(error)
        else:
            why = await run(command, variables(event, os.environ), document(event), hook.timeout)
        if why:
            self._say(plain(f"hook '{hook.name}' failed for {_about(event)}: {why}"))
        return why

    def _write(self) -> None:
        cursor = self._jobs.cursor
        if self._keep is None or not cursor or cursor == self._kept:
            return
        new = _new(self._keep)
        new.write_text(f"{cursor}\n", "ascii")
        new.replace(self._keep)
        self._kept = cursor


def _about(event: Mapping[str, object]) -> str:
    found = [str(event.get(key, "")) for key in ("event", "device", "instance", "cursor")]
    return " ".join(each for each in found if each)


def _new(keep: Path) -> Path:
    """What becomes the file of the cursor."""
    return keep.with_name(f"{keep.name}.new")


def _cursor(found: object) -> str:
    """What a daemon says is a cursor. Raises NoEvent: it cannot be kept as one."""
    if (
        isinstance(found, str)
        and 0 < len(found) < _LONGEST_CURSOR
        and found.isascii()
        and found.isprintable()
    ):
        return found
    raise NoEvent("an event without a cursor")


def _read(keep: Path) -> str | None:
    """The cursor that is kept; empty where there is no file, None where there is no cursor in it.

    Raises OSError.
    """
    try:
        with keep.open(encoding="ascii") as file:
            text = file.read(_LONGEST_CURSOR).strip()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        return None
    return text if text and text.isprintable() else None


@contextmanager
def _alone(keep: Path | None) -> Iterator[None]:
    """While nobody else keeps a cursor there. Raises OSError."""
    if keep is None:
        yield
        return
    with keep.with_name(f"{keep.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EBUSY, "another `hotplugd hooks` keeps its own there") from None
        yield


def _shown(problems: Iterable[str]) -> list[str]:
    """As many of the problems, and as much of each, as the daemon takes."""
    found = [plain(each)[:_LONGEST_PROBLEM] for each in problems]
    if len(found) > _MOST_PROBLEMS:
        left = len(found) - _MOST_PROBLEMS + 1
        found = [*found[: _MOST_PROBLEMS - 1], f"{left} more hooks fail"]
    return found


async def serve(
    hooks: Sequence[Hook], control: Path, keep: Path | None, say: Callable[[str], None], stop: asyncio.Event
) -> None:
    """Run hooks until told to stop. Raises OSError where the cursor cannot be kept."""
    with _alone(keep):
        async with EventClient.at(control) as client:
            await Service(hooks, keep, say).run(client, stop)
