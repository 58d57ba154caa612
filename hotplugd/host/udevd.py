"""Whether udevd runs and works: without it devices are not seen, and no other message would tell of it.

Its control socket proves nothing: it stays when udevd is killed, and under systemd it is systemd's. So this
file looks for the process, and the kernel tells when that ends (pidfd_open(2)). A device that the kernel
announced and udevd has not processed some seconds later is reported: udevd may be stopped, or hang. No timer
runs while udevd keeps up.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hotplugd.host import sysfs

_NAMES: Final = frozenset({"systemd-udevd", "udevd"})
_OVER: Final = frozenset("ZXx")
_STOPPED: Final = frozenset("Tt")
# A udevd that restarts is away for at most this many seconds; that is not reported.
_RESTART: Final = 1.5
# Seconds between two searches while there is no udevd.
_PAUSE: Final = 3.0
# A device that udevd has not processed for this many seconds is reported.
_PATIENCE: Final = 5.0

MISSING: Final = (
    "udevd is not running, so most devices that are plugged in are not seen; what is attached stays; "
    "`systemctl start systemd-udevd` starts it"
)


def unprocessed(why: str, since: str = "", *, early: bool = False) -> str:
    """The message for a device that udevd has not processed. since: empty where the time is unknown.

    early  whether it goes by what the kernel says
    """
    how = f"since {since}" if since else f"for {_PATIENCE:.0f} s"
    why = why or "udevd may hang, or what its rules run; `udevadm settle` waits for it"
    follows = "so what udev says of it is missing inside" if early else "so it is not attached"
    return f"udevd has not processed this device {how}, {follows}: {why}"


class Udevd:
    """The process of udevd.

    told  called with what is wrong, or with an empty text once it is no more
    """

    def __init__(self, told: Callable[[str], None]) -> None:
        self.fault = ""
        self._told = told
        self._pid: int | None = None
        self._watched: int | None = None
        self._again: asyncio.TimerHandle | None = None
        self._missing_before = False

    def start(self) -> None:
        """Look for it, and see when it ends."""
        self.stop()
        self._look()

    def stop(self) -> None:
        """Look no more."""
        self._let_go()
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def why(self) -> str:
        """The message for a udevd that does not work; empty where it does."""
        if self._pid is None:
            # A udevd that restarts is away for a moment.
            return "udevd is not running" if self.fault else ""
        try:
            state = _state(self._pid)
        except OSError:  # no file can be opened: nothing is known
            return ""
        if state in _OVER:
            return "udevd is not running"
        return f"its process {self._pid} is stopped: `kill -CONT {self._pid}`" if state in _STOPPED else ""

    def _look(self) -> None:
        self._again = None
        try:
            self._pid = next(_running(), None)
        except OSError:  # no file can be opened: nothing is known
            self._look_in(_PAUSE)
            return
        descriptor = _watch(self._pid) if self._pid is not None else None
        if descriptor is not None:
            self._watched = descriptor
            asyncio.get_running_loop().add_reader(descriptor, self._ended)
        if self._pid is not None:
            self._missing_before = False
            if descriptor is None:
                # No pidfd: the process has just ended, or no descriptor is left.
                self._look_in(_PAUSE)
            if self.fault:
                self.fault = ""
                self._told("")
            return
        if self._missing_before and not self.fault:
            self.fault = MISSING
            self._told(MISSING)
        self._look_in(_PAUSE if self._missing_before else _RESTART)
        self._missing_before = True

    def _ended(self) -> None:
        self._let_go()
        # systemd starts another at once.
        self._look_in(0.1)

    def _look_in(self, seconds: float) -> None:
        self._again = asyncio.get_running_loop().call_later(seconds, self._look)

    def _let_go(self) -> None:
        if self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched)
            os.close(self._watched)
            self._watched = None
        self._pid = None


class Backlog:
    """The devices that the kernel announced and udevd has not processed.

    late  called with devices that have waited for too long
    over  called with one of these once udevd has processed it, or it is gone
    """

    def __init__(
        self, late: Callable[[Sequence[str]], None], over: Callable[[str], None] = lambda _: None
    ) -> None:
        self._late = late
        self._over = over
        # When it was first heard of, in the loop's time and as text.
        self._waiting: dict[str, tuple[float, str]] = {}
        # Devices that were not plugged in just now: udevd may have left them unprocessed from the start on.
        self._found: set[str] = set()
        self._told: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, syspath: str, *, found: bool = False) -> None:
        """Add a device. found: by a listing or an event of udevd's; else the kernel has just announced it."""
        if not found:
            self._found.discard(syspath)
        if syspath not in self._waiting:
            now = asyncio.get_running_loop().time()
            self._waiting[syspath] = now, datetime.now(UTC).isoformat(timespec="seconds")
            if found:
                self._found.add(syspath)
        if not found and syspath not in self._told:
            self._set_timer(self._waiting[syspath][0] + _PATIENCE)

    def done(self, syspath: str) -> None:
        """Remove a device: udevd has processed it, or it is gone."""
        if self._waiting.pop(syspath, None) is not None:
            self._found.discard(syspath)
            if syspath in self._told:
                self._told.discard(syspath)
                self._over(syspath)

    def only(self, syspaths: set[str]) -> None:
        """Keep these devices alone: the others are processed, or gone."""
        for each in [each for each in self._waiting if each not in syspaths]:
            self.done(each)

    def late(self, *, found: bool) -> Iterator[tuple[str, str]]:
        """The devices that have waited for too long, and since when. found: not only those just plugged in.

        udevd may have nothing to say of such a device, as of a disk that a process has locked: while udevd
        works, they are no problem.
        """
        late = self._told | self._found if found else self._told
        return ((each, self._waiting[each][1]) for each in sorted(late))

    def stop(self) -> None:
        """Forget all."""
        for each in (self._waiting, self._told, self._found):
            each.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, when: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(when, self._see)

    def _see(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        new: list[str] = []
        for syspath, (since, _) in list(self._waiting.items()):
            if syspath in self._told or syspath in self._found:
                continue
            if since + _PATIENCE > now:
                self._set_timer(since + _PATIENCE)
            elif os.path.exists(syspath):
                self._told.add(syspath)
                new.append(syspath)
            else:
                self.done(syspath)
        if new:
            self._late(new)


def _running() -> Iterator[int]:
    """The udevd that hears the uevents that we hear, and not one of its workers or one inside a container."""
    ours = _namespaces("self")
    for name in os.listdir("/proc"):
        if name.isdecimal() and _command(name) in _NAMES:
            state, parent, *_ = *_stat(name), "X", "0"
            is_worker = _command(parent) in _NAMES
            if not is_worker and state not in _OVER and _namespaces(name) in (ours, ()):
                yield int(name)


def _command(pid: str) -> str:
    return os.fsdecode(sysfs.read(f"/proc/{pid}/comm") or b"").rstrip("\n")


def _state(pid: int) -> str:
    """As ps(1) has it; `X` where there is no such process. Raises OSError where no file can be opened."""
    return (_stat(str(pid)) or ["X"])[0]


def _stat(pid: str) -> list[str]:
    """The fields of /proc/pid/stat behind the name, which may contain anything (proc(5))."""
    return os.fsdecode(sysfs.read(f"/proc/{pid}/stat") or b"").rpartition(")")[2].split()


def _namespaces(pid: str) -> tuple[int, ...]:
    with suppress(OSError):
        return tuple(Path("/proc", pid, "ns", kind).stat().st_ino for kind in ("net", "pid"))
    return ()


def _watch(pid: int) -> int | None:
    """A descriptor that is readable once the process has ended; None where there are none to be had."""
    with suppress(OSError):
        return os.pidfd_open(pid)
    return None
