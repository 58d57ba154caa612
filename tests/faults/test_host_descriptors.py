"""Files cannot be opened any more, as where something on the host leaks them, and then can be again."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from signal import Signals

import pytest

from tests.conftest import StartDaemon
from tests.faults.host import rules, there
from tests.soak.figures import cpu
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console, Zram
from tests.support.lab.script import Script
from tests.support.lab.server import Server
from tests.support.lab.shortage import no_more_descriptors
from tests.support.lab.udevd import settle
from tests.support.lab.wait import ended, eventually, steadily

pytestmark = pytest.mark.alone

_SECONDS = 3.0
# What failed for long is tried again after 30 s at most.
_AFTERWARDS = 60.0


def run(*words: str | Path) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=30)


def stands(running: Daemon) -> None:
    """It goes on for some seconds, and is not busy with what cannot be done."""
    before = cpu(running.pid)
    steadily(lambda: not ended(running.pid), _SECONDS)
    assert cpu(running.pid) - before < 0.1 * _SECONDS


def converges(running: Daemon, container: Container, some: list[Console]) -> None:
    container.forget_pid()
    eventually(lambda: all(there(container, each) == each.plugged for each in some), _AFTERWARDS)
    eventually(running.is_fine, _AFTERWARDS)
    assert '"defect"' not in running.log()


def test_what_is_plugged_and_pulled_meanwhile_is_where_it_should_be_afterwards(
    container: Container, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    some = consoles(6)
    for each in some[:3]:
        each.plug()
    running = daemon(rules(str(container), *some))
    with no_more_descriptors(running.pid):
        for each in (*some[3:], some[0]):
            each.unplug() if each.plugged else each.plug()
        stands(running)
    assert running.status()["lost_events"] == 1
    converges(running, container, some)


def test_a_disk_that_the_host_lets_go_of_meanwhile_goes_in_afterwards(
    container: Container, zram: Zram, daemon: StartDaemon, tmp_path: Path
) -> None:
    zram.plug()
    Path(zram.syspath, "disksize").write_text("16M")
    run("busybox", "mke2fs", "-b", "4096", zram.node)
    settle()
    run("mount", zram.node, tmp_path)
    try:
        running = daemon(
            f"rules:\n  - name: one\n    match: {{subsystem: block, kernel: {zram.name}}}\n"
            f"    attach: {{to: {container}}}\n"
        )
        eventually(lambda: "is mounted on" in str(running.status()["problems"]))
        with no_more_descriptors(running.pid):
            run("umount", tmp_path)
            stands(running)
        container.forget_pid()
        eventually(lambda: container.look(zram.node), _AFTERWARDS)
        eventually(running.is_fine, _AFTERWARDS)
    finally:
        subprocess.run(["umount", tmp_path], check=False, capture_output=True)


def test_an_instance_that_is_restarted_meanwhile_is_looked_into_afterwards(
    container: Container, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    some = consoles(2)
    some[0].plug()
    running = daemon(rules(str(container), *some))
    with no_more_descriptors(running.pid):
        container.restart()
        some[1].plug()
        stands(running)
    converges(running, container, some)


def test_a_server_that_is_restarted_meanwhile_is_connected_to_afterwards(
    own_server: Server, consoles: Callable[[int], list[Console]]
) -> None:
    container = own_server.launch()
    some = consoles(2)
    some[0].plug()
    with Daemon(own_server.socket, rules(str(container), *some)) as running:
        with no_more_descriptors(running.pid):
            own_server.restart()
            some[1].plug()
            stands(running)
        converges(running, container, some)


def test_who_asks_meanwhile_gets_no_answer_and_does_no_harm(
    container: Container, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    some = consoles(1)
    running = daemon(rules(str(container), *some))
    with no_more_descriptors(running.pid), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(running.control))
        stands(running)
    assert running.log().count("control.problem") == 1
    some[0].plug()
    converges(running, container, some)


def test_a_reload_meanwhile_leaves_the_old_rules_in_force(
    container: Container, consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    some = consoles(1)
    running = daemon(rules(str(container), *some))
    with no_more_descriptors(running.pid):
        running.send(Signals.SIGHUP)
        some[0].plug()
        stands(running)
    eventually(lambda: there(container, some[0]), _AFTERWARDS)
    assert "Too many open files" in str(running.status()["problems"])
    running.reload()
    converges(running, container, some)


@pytest.mark.usefixtures("udevd")
def test_the_script_that_people_write_ends_at_once(
    own_server: Server, consoles: Callable[[int], list[Console]]
) -> None:
    container = own_server.launch()
    (one,) = consoles(1)
    with Script(own_server.socket, {f"vcsa{one.number}": str(container)}) as script:
        with no_more_descriptors(script.process.pid):
            one.plug()
            eventually(lambda: not script.running)
        assert "Too many open files" in script.error
        assert container.look(one.node) is None
