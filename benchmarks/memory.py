"""The daemon's memory with a thousand made-up USB devices, ten in each of a hundred instances, or in none.

A device more is what a daemon that found everything in its place needs for it, so that what its requests once
needed does not count. The median of several daemons is taken: they differ by some hundred KB.
"""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, cast

from benchmarks.figure import Figure
from tests.support.lab.daemon import Daemon
from tests.support.lab.script import Script
from tests.support.lab.server import Server
from tests.support.lab.usb import Phone, Usb
from tests.support.lab.wait import eventually

# Real buses and other tests' are below 1000; the devices have the numbers of eight.
_BUS: Final = 1000 + 8 * (os.getpid() % 800)
_INSTANCES: Final = 100
_DAEMONS: Final = 5


def figures(few: int = 100, many: int = 1_000) -> list[Figure]:
    """The daemon's memory beside the script's, and what a device more costs it."""
    with ExitStack() as undo:
        server = undo.enter_context(Server())
        usb = undo.enter_context(Usb(_BUS))
        for number in range(_INSTANCES):
            server.launch(f"c{number}", start=False)

        def measured(attached: int) -> float:
            return _measured(server, usb.environment, attached)

        def once_in_place(attached: int) -> float:
            return statistics.median(measured(attached) for _ in range(_DAEMONS))

        _plug(usb, 0, few)
        measured(few)  # by this one they are attached
        before = once_in_place(few)
        measured(0)
        before_free = once_in_place(0)
        _plug(usb, few, many)
        first, after = measured(many), once_in_place(many)
        measured(0)
        after_free = once_in_place(0)
        places = {_serial(number): f"c{number % _INSTANCES}" for number in range(many)}
        with Script(server.socket, places, usb.environment) as script:
            beside = _resident(script.process.pid)
    each, each_free = (after - before) / (many - few), (after_free - before_free) / (many - few)
    return [
        Figure(
            f"memory once {many:,} devices are in {_INSTANCES} instances", "the script's", "≤", 2,
            first / beside, absolute=f"{first / 1024:.0f} MB, {beside / 1024:.0f} MB",
        ),
        Figure(
            "memory for each device", "", "≤", 2, each_free, "KB",
            f"{few} to {many:,} devices; {each:.1f} KB with what is kept of its entry",
        ),
    ]  # fmt: skip


def _serial(number: int) -> str:
    return f"R5C{number:04}"


def _plug(usb: Usb, first: int, end: int) -> None:
    for number in range(first, end):
        usb.plug(Phone(serial=_serial(number)), str(number + 1))


def _rules(devices: int) -> str:
    """One for each instance, by the serials of its devices; of no device there are as many."""
    serials = [", ".join(map(_serial, range(each, devices, _INSTANCES))) for each in range(_INSTANCES)]
    return "rules:\n" + "".join(
        f"  - {{name: r{number}, match: {{serial: [{listed or 'none'}]}}, attach: {{to: c{number}}}}}\n"
        for number, listed in enumerate(serials)
    )


def _measured(server: Server, environment: Mapping[str, str], attached: int) -> float:
    """The daemon's memory in KB once so many devices are attached, by it or by one before it."""
    daemon = Daemon(server.socket, _rules(attached), environment)
    try:
        daemon.start(180)
        # Asked of the server, since an answer that is this long costs the daemon memory.
        eventually(lambda: _entries(server) == attached, 180, pause=1)
        found = _resident(daemon.pid)
        assert daemon.status()["problems"] == []
        return found
    finally:
        daemon.close()


def _entries(server: Server) -> int:
    found = server.api.list("/1.0/instances?recursion=1")
    return sum(len(cast("dict[str, object]", each["devices"])) for each in found)


def _resident(pid: int) -> float:
    """In KB, as proc(5) has it."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return float(found[1])
