"""The daemon with nothing to do, beside a program that wakes once a second: how often it wakes, and what that
costs. With devices in instances that run, and the watchdog of its unit.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from benchmarks.figure import Figure
from tests.support.lab.daemon import Daemon
from tests.support.lab.server import Server
from tests.support.lab.usb import Phone, Usb
from tests.support.lab.wait import eventually

_UNIT: Final = Path(__file__).parents[1] / "systemd" / "hotplugd.service"
_EVERY_SECOND: Final = "import time\nwhile True:\n    time.sleep(1)"
_CONTAINERS: Final = 4
_DEVICES: Final = 8
# Until all that a start brings about was looked at.
_REST: Final = 15.0


def figures(seconds: float = 60.0) -> list[Figure]:
    """Wake-ups, and the share of one processor."""
    with ExitStack() as undo:
        server = undo.enter_context(Server())
        # Made-up devices, so that what else is plugged on this machine wakes nobody.
        usb = undo.enter_context(Usb())
        names = [server.launch().name for _ in range(_CONTAINERS)]
        for number in range(_DEVICES):
            usb.plug(Phone(serial=f"R5C{number}"), str(number + 1))
        rules = "rules:\n" + "".join(
            f"  - {{name: r{number}, match: {{serial: R5C{number}}}, "
            f"attach: {{to: {names[number % _CONTAINERS]}}}}}\n"
            for number in range(_DEVICES)
        )
        environment = {**usb.environment, "WATCHDOG_USEC": str(_watchdog())}
        daemon = undo.enter_context(Daemon(server.socket, rules, environment))
        eventually(lambda: _verified(daemon) == _DEVICES)
        beside = undo.enter_context(subprocess.Popen([sys.executable, "-c", _EVERY_SECOND]))
        undo.callback(beside.kill)
        time.sleep(_REST)
        begun = time.monotonic()
        before, before_beside = _spent(daemon.pid), _spent(beside.pid)
        time.sleep(seconds)
        after, after_beside = _spent(daemon.pid), _spent(beside.pid)
        took = time.monotonic() - begun
        # One that has ended wakes never.
        assert _verified(daemon) == _DEVICES
        assert beside.poll() is None
    woke, woke_beside = after.wakes - before.wakes, after_beside.wakes - before_beside.wakes
    busy = (after.seconds - before.seconds) / took
    there = f"{_DEVICES} devices in {_CONTAINERS} containers, {took:.0f} s"
    return [
        Figure(
            "idle: wake-ups", "a program that wakes once a second", "≤", 0.5, woke / woke_beside,
            absolute=f"{woke}, {woke_beside}; {there}",
        ),
        Figure("idle: CPU", "", "≤", 0.1, 100 * busy, "%", there),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Spent:
    """What a process and its children have spent: how often they waited and woke, and time on processors."""

    wakes: int
    seconds: float


def _spent(pid: int) -> _Spent:
    """By proc(5) and the kernel's sched-stats.rst, over all threads."""
    wakes = nanoseconds = 0
    for task in _tasks(pid):
        found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", (task / "status").read_text(), re.MULTILINE)
        assert found is not None
        wakes += int(found[1])
        nanoseconds += int((task / "schedstat").read_text().split()[0])
    return _Spent(wakes, nanoseconds / 1e9)


def _tasks(pid: int) -> Iterator[Path]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield task
        for child in (task / "children").read_text().split():
            yield from _tasks(int(child))


def _watchdog() -> int:
    """What the service manager would tell the daemon by its unit, in microseconds."""
    found = re.search(r"^WatchdogSec=(\d+)$", _UNIT.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1_000_000


def _verified(daemon: Daemon) -> int:
    attachments = cast("list[dict[str, object]]", daemon.status()["attachments"])
    return sum(each["verified"] is True for each in attachments)
