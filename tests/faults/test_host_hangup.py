"""SIGHUP again and again, as by a script of somebody's that reloads all services in a loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from signal import Signals
from typing import cast

import pytest

from tests.conftest import StartDaemon
from tests.faults.host import rules, there
from tests.soak.figures import growth, measure
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.script import Script
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually

pytestmark = pytest.mark.alone

_A_SECOND = 100
_SIGNALS = 400


def due(moment: float) -> bool:
    """Whether this moment has come."""
    return time.monotonic() >= moment


def test_a_hundred_a_second_lose_nothing_and_leave_nothing(
    container: Container, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    some = consoles(6)
    running = daemon(rules(str(container), *some))
    for each in some:
        each.plug()
    eventually(lambda: all(there(container, each) for each in some))
    running.reload()
    # It has looked inside, and holds what it needs for that.
    eventually(lambda: _verified(running))
    before = measure(running.pid, 0)
    start = time.monotonic()
    for sent in range(1, _SIGNALS + 1):
        # At absolute times: what the rest takes makes them no fewer.
        eventually(partial(due, start + sent / _A_SECOND))
        running.send(Signals.SIGHUP)
        if sent % 20 == 0:
            console = some[sent // 20 % len(some)]
            console.unplug() if console.plugged else console.plug()
    assert _SIGNALS / (time.monotonic() - start) >= 0.95 * _A_SECOND
    eventually(lambda: all(there(container, each) == each.plugged for each in some))
    # Those that came while one was under way were one more.
    running.reload()
    status = running.status()
    assert status["ready"]
    assert status["problems"] == []
    assert running.log().count('"reload.done"') > _SIGNALS / _A_SECOND
    assert growth(before, measure(running.pid, 0)) == []


def _verified(daemon: Daemon) -> bool:
    return all(each["verified"] for each in cast("list[dict[str, object]]", daemon.status()["attachments"]))


def test_the_script_that_people_write_ends_at_the_first(
    server: Server, container: Container, consoles: Callable[[int], list[Console]]
) -> None:
    (one,) = consoles(1)
    with Script(server.socket, {f"vcsa{one.number}": str(container)}) as script:
        script.process.send_signal(Signals.SIGHUP)
        assert script.process.wait(10) == -Signals.SIGHUP
    one.plug()
    assert not there(container, one)
