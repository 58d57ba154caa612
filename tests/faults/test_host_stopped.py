"""The process is stopped for a while, as by an operator, a frozen cgroup or a suspended host, and goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from signal import Signals

import pytest

from tests.conftest import StartDaemon
from tests.faults.host import ours, rules, there
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.patience import patiently
from tests.support.lab.script import Script
from tests.support.lab.server import Server
from tests.support.lab.udevd import settle
from tests.support.lab.wait import eventually

pytestmark = pytest.mark.alone

_PLUGS = 500


def test_what_changed_meanwhile_is_caught_up_with(
    own_server: Server, consoles: Callable[[int], list[Console]]
) -> None:
    """Devices come and go, an entry is deleted by hand, the instance and the server are restarted.

    The script hears of the devices afterwards, since the kernel has kept that for it. But it never looks at
    an instance by itself: the device whose entry was deleted stays away, or the script has ended before.
    """
    container, scripted = own_server.launch(), own_server.launch()
    stays, goes, comes, again, other = some = consoles(5)
    places = {f"vcsa{other.number}": str(scripted)}
    with (
        Daemon(own_server.socket, rules(str(container), *some[:4])) as running,
        Script(own_server.socket, places) as script,
    ):
        for each in (stays, goes, again, other):
            each.plug()
        eventually(lambda: all(there(container, each) for each in (stays, goes, again)))
        eventually(lambda: there(scripted, other))
        for pid in (running.pid, script.process.pid):
            os.kill(pid, Signals.SIGSTOP)
        goes.unplug()
        comes.plug()
        again.unplug()
        again.plug()
        delete_entry(container, stays)
        delete_entry(scripted, other)
        patiently(container.restart)
        own_server.restart()
        settle()
        for pid in (running.pid, script.process.pid):
            os.kill(pid, Signals.SIGCONT)
        plugged = [stays, comes, again]
        eventually(lambda: ours(container) == sorted(each.node for each in plugged))
        eventually(lambda: all(there(container, each) for each in plugged))
        eventually(lambda: container.look(goes.node) is None)
        eventually(running.is_fine)
        assert not there(scripted, other)


def test_a_long_queue_of_uevents_is_read_afterwards(
    server: Server,
    containers: tuple[Container, Container],
    consoles: Callable[[int], list[Console]],
    daemon: StartDaemon,
) -> None:
    """The script survives this: libudev gives a socket of root's much room, and it reads all of them too."""
    container, scripted = containers
    one, storm, other = consoles(3)
    running = daemon(rules(str(container), one, storm))
    with Script(server.socket, {f"vcsa{other.number}": str(scripted)}) as script:
        for pid in (running.pid, script.process.pid):
            os.kill(pid, Signals.SIGSTOP)
        for _ in range(_PLUGS):
            storm.plug()
            storm.unplug()
        one.plug()
        other.plug()
        settle()
        for pid in (running.pid, script.process.pid):
            os.kill(pid, Signals.SIGCONT)
        eventually(lambda: there(scripted, other))
        assert script.running
    eventually(lambda: there(container, one) and ours(container) == [one.node])
    assert running.status()["lost_events"] == 0


def delete_entry(container: Container, console: Console) -> None:
    """Take the console's entry out, as by hand."""
    name = next(name for name, each in container.devices.items() if console.node in each.values())
    patiently(lambda: container.remove_device(name))
