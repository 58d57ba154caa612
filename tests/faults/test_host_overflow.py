"""More uevents than there is room for, while nobody reads them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from signal import Signals
from typing import cast

import pytest

from tests.conftest import StartDaemon
from tests.faults.host import ours, rules, there
from tests.soak.figures import cpu
from tests.support.lab.container import Container
from tests.support.lab.kernel import Console
from tests.support.lab.script import Script
from tests.support.lab.server import Server
from tests.support.lab.shortage import shrink
from tests.support.lab.udevd import settle
from tests.support.lab.wait import eventually, steadily

pytestmark = pytest.mark.alone

_EVENTS = 5_000
_A_PLUG_AND_UNPLUG = 6  # three devices come, three go
_IDLE = 3.0
_SOON = 2.0


def test_what_was_not_heard_is_found_and_it_rests_afterwards(
    server: Server,
    containers: tuple[Container, Container],
    consoles: Callable[[int], list[Console]],
    daemon: StartDaemon,
) -> None:
    """The script hears the same and ends: pyudev raises an error when something was lost."""
    container, scripted = containers
    stays, goes, comes, storm, other = some = consoles(5)
    for each in (stays, goes):
        each.plug()
    running = daemon(rules(str(container), *some[:4]))
    eventually(lambda: there(container, goes))
    with Script(server.socket, {f"vcsa{other.number}": str(scripted)}) as script:
        assert shrink(running.pid) == 2
        assert shrink(script.process.pid) == 1
        for pid in (running.pid, script.process.pid):
            os.kill(pid, Signals.SIGSTOP)
        for _ in range(_EVENTS // _A_PLUG_AND_UNPLUG):
            storm.plug()
            storm.unplug()
        goes.unplug()
        comes.plug()
        other.plug()
        settle()
        assert container.look(comes.node) is None
        woken = time.monotonic()
        for pid in (running.pid, script.process.pid):
            os.kill(pid, Signals.SIGCONT)
        eventually(lambda: ours(container) == sorted([stays.node, comes.node]))
        eventually(lambda: there(container, comes) and there(container, stays))
        eventually(lambda: container.look(goes.node) is None)
        took = time.monotonic() - woken
        assert took < _SOON, f"it took {took:.1f} s"
        eventually(lambda: not script.running)
        assert "OSError" in script.error
    assert not there(scripted, other)
    assert cast("int", running.status()["lost_events"]) >= 1
    assert '"udev.lost-events"' in running.log()
    before = cpu(running.pid)
    steadily(lambda: there(container, comes), _IDLE)
    assert cpu(running.pid) - before < 0.05 * _IDLE
    # And it hears again.
    goes.plug()
    eventually(lambda: there(container, goes))
