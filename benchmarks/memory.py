"""Memory of the daemon with a thousand made-up USB devices, ten in each of a hundred instances."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, cast

from benchmarks.figure import Figure
from tests.lab.daemon import Daemon
from tests.lab.script import Script
from tests.lab.server import Server
from tests.lab.usb import Phone, Usb
from tests.lab.wait import eventually

# Real buses and other tests' are below 1000; the devices have the numbers of eight.
_BUS: Final = 1000 + 8 * (os.getpid() % 800)
_INSTANCES: Final = 100


def figures(few: int = 100, many: int = 1_000) -> list[Figure]:
    """The daemon's memory beside the script's, and what a device more costs it."""
    with ExitStack() as undo:
        server = undo.enter_context(Server())
        usb = undo.enter_context(Usb(_BUS))
        for number in range(_INSTANCES):
            server.launch(f"c{number}", start=False)
        _plug(usb, 0, few)
        _attached(server.socket, usb.environment, few)
        before = _attached(server.socket, usb.environment, few)
        _plug(usb, few, many)
        first = _attached(server.socket, usb.environment, many)
        after = _attached(server.socket, usb.environment, many)
        places = {_serial(number): f"c{number % _INSTANCES}" for number in range(many)}
        with Script(server.socket, places, usb.environment) as script:
            beside = _resident(script.process.pid)
    each = (after - before) / (many - few)
    return [
        Figure(
            f"memory with {many:,} devices in {_INSTANCES} instances",
            "the script's",
            "≤",
            2,
            first / beside,
            absolute=f"{first / 1024:.0f} MB, {beside / 1024:.0f} MB",
        ),
        Figure("memory for each device more", "", "≤", 2, each, "KB", f"from {few} to {many:,} devices"),
    ]


def _serial(number: int) -> str:
    return f"R5C{number:04}"


def _plug(usb: Usb, first: int, end: int) -> None:
    for number in range(first, end):
        usb.plug(Phone(serial=_serial(number)), str(number + 1))


def _rules(devices: int) -> str:
    """One for each instance, by the serials of its devices."""
    serials = [", ".join(map(_serial, range(each, devices, _INSTANCES))) for each in range(_INSTANCES)]
    return "rules:\n" + "".join(
        f"  - {{name: r{number}, match: {{serial: [{listed}]}}, attach: {{to: c{number}}}}}\n"
        for number, listed in enumerate(serials)
    )


def _attached(server: Path, environment: Mapping[str, str], devices: int) -> float:
    """The daemon's memory in KB once so many devices are attached, by it or by one before."""
    daemon = Daemon(server, _rules(devices), environment)
    try:
        daemon.start(120)
        eventually(lambda: len(_listed(daemon)) == devices, 120, pause=1)
        return _resident(daemon.pid)
    finally:
        daemon.close()


def _listed(daemon: Daemon) -> list[object]:
    found = daemon.status()
    assert found["problems"] == []
    return cast("list[object]", found["attachments"])


def _resident(pid: int) -> float:
    """In KB, as proc(5) has it."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return float(found[1])
