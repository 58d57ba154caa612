"""A server whose instance is another at each answer: hotplugd lives, does little, and says what it meets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest

from tests.support.lab.daemon import Daemon
from tests.support.lab.hostile import hostile
from tests.support.lab.kernel import Console
from tests.support.lab.wait import eventually

pytestmark = pytest.mark.alone

_SAID: Final = {
    "GET /1.0/instances?recursion": "other instances",
    "GET /1.0/instances/c1/state": "state: huge",
    "GET /1.0/instances/c1": "another instance",
    "PATCH": "another end",
    "PUT": "another end",
    "GET /1.0/events": "what happens to it",
}
_SECONDS: Final = 10.0


def _used(pid: int) -> tuple[float, int]:
    """The seconds of a processor that a process has used, and its memory in KiB (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    (resident,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line]
    return (int(fields[11]) + int(fields[12])) / 100, int(resident.split()[1])


def test_it_goes_on_and_stays_small(tmp_path: Path, console: Console) -> None:
    rules = f"""
rules:
  - name: console
    match: {{subsystem: vc, kernel: vcsa{console.number}}}
    attach: {{to: c1}}
"""
    with hostile(tmp_path / "s", _SAID) as address, Daemon(Path(address), rules) as running:
        console.plug()
        eventually(lambda: running.status()["problems"])
        (cpu, memory), begun, slowest = _used(running.pid), time.monotonic(), 0.0
        said = set[str]()
        while time.monotonic() - begun < _SECONDS:
            asked = time.monotonic()
            said.add(str(running.status()["problems"]))
            slowest = max(slowest, time.monotonic() - asked)
        now_cpu, now_memory = _used(running.pid)
        # It is asked some ten times a second, and told of a hundred events.
        assert now_cpu - cpu < _SECONDS * 0.6
        assert now_memory - memory < 40 * 1024
        assert slowest < 2
        assert any("c1" in each for each in said)
        assert len(running.log().splitlines()) < 100 * _SECONDS
        assert "defect" not in running.log()
        assert running.stop() == 0
