"""The service manager's watchdog hears from hotplugd while it can get on, and not while it cannot.

It is fed by the loop that does the work. A server that hangs does not hang the loop: requests have threads
and deadlines, what needs no server goes on, and starting hotplugd anew would not make the server answer.

The script that people write feeds none: nobody hears when it is stuck, so nobody can start it anew then.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.faults.host import rules, there
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.server import Server
from tests.support.lab.shortage import no_more_descriptors
from tests.support.lab.wait import NotInTime, eventually, steadily

pytestmark = pytest.mark.alone

_WATCHDOG: Final = 1.0
_WATCHED: Final = {**os.environ, "WATCHDOG_USEC": f"{_WATCHDOG * 1e6:.0f}"}
_LONG: Final = 2.5 * _WATCHDOG
_LEAST_PIPE: Final = 4096
# What failed for long is tried again after 30 s at most.
_AFTERWARDS: Final = 60.0


def fed(running: Daemon) -> bool:
    """Whether the watchdog would leave it be in a while that starts now."""
    return unfed(running) <= _WATCHDOG


def silent(running: Daemon) -> bool:
    """Whether the watchdog hears nothing for twice what it would wait, in a while that starts now."""
    return unfed(running) >= 2 * _WATCHDOG


def unfed(running: Daemon) -> float:
    running.unfed(start := time.time())
    steadily(lambda: True, _LONG)
    return running.unfed(start)


@contextmanager
def unread(path: Path) -> Iterator[int]:
    """The log is a pipe, and this is its other end."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, _LEAST_PIPE)
    os.set_blocking(reader, True)
    try:
        yield reader
    finally:
        os.close(reader)


def test_it_is_fed_while_the_server_hangs(
    own_server: Server, consoles: Callable[[int], list[Console]]
) -> None:
    container = own_server.launch()
    some = consoles(2)
    with Daemon(own_server.socket, rules(str(container), *some), _WATCHED) as running:
        some[0].plug()
        eventually(lambda: there(container, some[0]))
        own_server.freeze()
        try:
            some[1].plug()
            assert fed(running)
        finally:
            own_server.thaw()
        eventually(lambda: there(container, some[1]))


def test_it_is_not_fed_while_no_file_can_be_opened(
    server: Server, container: Container, consoles: Callable[[int], list[Console]]
) -> None:
    """Where hotplugd itself has opened too many, to be started anew is what helps."""
    (one,) = consoles(1)
    with Daemon(server.socket, rules(str(container), one), _WATCHED) as running:
        with no_more_descriptors(running.pid):
            assert silent(running)
        eventually(lambda: fed(running))
        one.plug()
        eventually(lambda: there(container, one), _AFTERWARDS)


def test_it_is_not_fed_while_the_loop_is_stuck(
    server: Server, container: Container, consoles: Callable[[int], list[Console]]
) -> None:
    """Nobody reads the log, so that each line of it waits for ever."""
    (one,) = consoles(1)
    running = Daemon(server.socket, rules(str(container), one), _WATCHED)
    with unread(running.stderr) as reader:
        try:
            running.start()
            assert fed(running)

            def stuck() -> bool:
                for _ in range(10):
                    one.plug()
                    try:
                        eventually(lambda: there(container, one), 2.0)
                    except NotInTime:
                        break
                    finally:
                        one.unplug()
                return silent(running)

            eventually(stuck, 60)
            one.plug()
            threading.Thread(target=drain, args=(reader,), daemon=True).start()
            eventually(lambda: there(container, one))
            assert fed(running)
        finally:
            running.close()


def drain(reader: int) -> None:
    while os.read(reader, 1 << 16):
        pass
