"""A device that is pulled while its instance stops: the stop ends, the server answers, and nothing is left.

A server watches the source of an entry. What it does when that goes and what it does for a stop wait for each
other, once the process that it has for the container's files has ended, as it does when unused for 10 s.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from hotplugd.model.entry import SLOTS
from hotplugd.reconcile.restarts import RESTART
from tests.support.lab.api import ServerError
from tests.support.lab.commands import Commands
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.patience import patiently
from tests.support.lab.server import Server
from tests.support.lab.udevd import settle
from tests.support.lab.wait import ended, eventually, steadily

# One that an init does not end by: the stop waits until it ends otherwise.
IGNORED = {"raw.lxc": "lxc.signal.halt = SIGURG"}
PULLS = 100


@pytest.fixture
def launch(own_server: Server) -> Callable[..., Container]:
    """What may hang is a server of the test's own."""
    return own_server.launch


@pytest.fixture
def daemon(own_server: Server, commands: Commands) -> Iterator[Callable[[str], Daemon]]:
    running: list[Daemon] = []

    def start(rules: str) -> Daemon:
        one = Daemon(own_server.socket, rules, commands=commands)
        running.append(one)
        return one.__enter__()

    yield start
    for each in running:
        each.close()


def rules(to: Container, *consoles: Console) -> str:
    return "rules:\n" + "".join(
        f"  - {{name: c{each.number}, match: {{subsystem: vc, kernel: vcsa{each.number}}}, "
        f"attach: {{to: {to}}}}}\n"
        for each in consoles
    )


def is_in(container: Container, console: Console) -> bool:
    return container.look(console.node) is not None and bool(ours(container))


def ours(container: Container) -> list[str]:
    return [each for each in container.devices if each.startswith("hp-")]


def links(console: Console) -> list[str]:
    """What there is of a console's slots."""
    start = f"c-7-{128 + console.number}-"
    return (
        sorted(each for each in os.listdir(SLOTS) if each.startswith(start)) if Path(SLOTS).exists() else []
    )


def has_no_links(console: Console) -> bool:
    return not links(console)


def file_servers(container: Container) -> list[int]:
    """The processes that the server has for the container's files: they end when unused for 10 s."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdecimal() else []
            if b"forkfile" in words and any(f"/{container.name}/".encode() in each for each in words):
                found.append(int(entry.name))
    return found


def end_file_server(container: Container) -> None:
    """As if it had not been used for 10 s."""
    for pid in file_servers(container):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        eventually(partial(ended, pid))


@contextmanager
def in_background(work: Callable[[], object]) -> Iterator[Future[object]]:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    try:
        yield future
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def stop(container: Container) -> None:
    body = {"action": "stop", "force": False, "timeout": 60}
    container.api.request("PUT", f"/1.0/instances/{container.name}/state", body)
    container.forget_pid()


def power_off(container: Container) -> None:
    """As those inside do."""
    # The answer may not come any more.
    with suppress(ServerError):
        container.run("poweroff")


def start(container: Container) -> None:
    """Once the server is done with the stop, of which it tells too early."""

    def started() -> bool:
        with suppress(ServerError):
            container.start()
        with suppress(ServerError):
            return container.pid > 0
        return False

    eventually(started, 40)


@contextmanager
def stopping(container: Container) -> Iterator[Callable[[], None]]:
    """It stops cleanly, and its init takes its time: gives what ends that, and waits for the stop."""
    init = container.pid
    end_file_server(container)
    with in_background(lambda: stop(container)) as stopped:
        eventually(lambda: stopped.done() or is_stopping(container))
        # Its init has been told, and goes on.
        steadily(lambda: not stopped.done(), 0.5)

        def end() -> None:
            with suppress(ProcessLookupError):
                os.kill(init, signal.SIGKILL)
            stopped.result(20)

        yield end


def is_stopping(container: Container) -> bool:
    """Whether the server has begun a stop. Any request for the instance may have that refused."""
    running = container.api.get("/1.0/operations?recursion=1").get("running")
    return "Stopping" in str(running)


def is_over(server: Server, container: Container, *consoles: Console) -> None:
    """The server works, for others and for this one, and nothing of the device is left anywhere."""
    eventually(lambda: container.config["status"] == "Stopped")
    # One that powers itself off may be about to start again.
    eventually(lambda: not ours(container), RESTART + 20)
    for each in consoles:
        eventually(partial(has_no_links, each))
    start(container)
    for each in consoles:
        assert container.look(each.node) is None
    other = server.launch()
    other.patch({"devices": {"null": {"type": "unix-char", "source": "/dev/null", "path": "/dev/another"}}})
    assert other.look("/dev/another")
    other.delete()


def test_a_device_pulled_during_a_clean_stop(
    own_server: Server, launch: Callable[..., Container], console: Console, daemon: Callable[[str], Daemon]
) -> None:
    container = launch(config=IGNORED)
    running = daemon(rules(container, console))
    console.plug()
    eventually(lambda: is_in(container, console))
    with stopping(container) as end:
        console.unplug()
        settle()
        assert [each for each in links(console) if not each.endswith(".node")], "a watched link has gone"
        assert not any(os.path.exists(f"{SLOTS}/{each}") for each in links(console) if ".made" not in each)
        end()
    is_over(own_server, container, console)
    assert running.status()["problems"] == []
    console.plug()
    eventually(lambda: is_in(container, console))


def test_the_next_one_of_its_name_does_not_get_in(
    own_server: Server, launch: Callable[..., Container], console: Console, daemon: Callable[[str], Daemon]
) -> None:
    container = launch(config=IGNORED)
    running = daemon(rules(container, console))
    console.plug()
    eventually(lambda: is_in(container, console))
    with stopping(container) as end:
        console.unplug()
        running.write_rules("rules: []\n")
        running.reload()
        console.plug()
        end()
        running.kill()
    # Whatever the entry says, and whoever starts it.
    container.start()
    assert container.look(console.node) is None
    running.start()
    eventually(lambda: not ours(container))
    assert container.look(console.node) is None
    eventually(lambda: not links(console))


def test_a_daemon_killed_in_between(
    own_server: Server, launch: Callable[..., Container], console: Console, daemon: Callable[[str], Daemon]
) -> None:
    container = launch(config=IGNORED)
    running = daemon(rules(container, console))
    console.plug()
    eventually(lambda: is_in(container, console))
    with stopping(container) as end:
        console.unplug()
        settle()
        running.kill()
        assert links(console)
        end()
    running.start()
    is_over(own_server, container, console)


def test_a_daemon_started_in_between(
    own_server: Server, launch: Callable[..., Container], console: Console, daemon: Callable[[str], Daemon]
) -> None:
    container = launch(config=IGNORED)
    running = daemon(rules(container, console))
    console.plug()
    eventually(lambda: is_in(container, console))
    running.kill()
    with stopping(container) as end:
        running.start()
        console.unplug()
        settle()
        end()
    is_over(own_server, container, console)


def test_a_device_attached_by_an_earlier_version(
    own_server: Server, launch: Callable[..., Container], console: Console, daemon: Callable[[str], Daemon]
) -> None:
    container = launch(config=IGNORED)
    running = daemon(rules(container, console))
    console.plug()
    eventually(lambda: is_in(container, console))
    running.kill()
    direct(console)
    running.start()
    assert is_in(container, console)
    with stopping(container) as end:
        console.unplug()
        settle()
        end()
    is_over(own_server, container, console)


def direct(console: Console) -> None:
    """Its links as an earlier version made them: without the server having seen it."""
    for each in links(console):
        path = Path(SLOTS, each)
        if each.endswith(".node"):
            path.unlink()
        elif path.is_symlink():
            fresh = path.with_name(".fresh")
            fresh.symlink_to(console.node)
            fresh.rename(path)


# Nor does any of another test's.
@pytest.mark.alone
def test_while_no_daemon_runs_udevd_removes_all(
    own_server: Server, launch: Callable[..., Container], console: Console, daemon: Callable[[str], Daemon]
) -> None:
    container = launch()
    running = daemon(rules(container, console))
    console.plug()
    eventually(lambda: is_in(container, console))
    assert len(links(console)) == len(("", ".r", ".node", ".made"))
    running.stop()
    console.unplug()
    settle()
    assert links(console) == []
    # The server misses some removals of several that come at once, and these do.
    running.start()
    eventually(lambda: not container.look(console.node) and not ours(container))


def test_while_no_daemon_runs_the_server_takes_the_node_out_after_its_link(
    own_server: Server, launch: Callable[..., Container], console: Console, daemon: Callable[[str], Daemon]
) -> None:
    container = launch()
    running = daemon(rules(container, console))
    console.plug()
    eventually(lambda: is_in(container, console))
    running.stop()
    source = container.devices[ours(container)[0]]["source"]
    Path(source).unlink()
    eventually(lambda: container.look(console.node) is None)


def test_while_one_runs_udevd_removes_only_what_no_server_watches(
    own_server: Server, launch: Callable[..., Container], console: Console, daemon: Callable[[str], Daemon]
) -> None:
    container = launch()
    running = daemon(rules(container, console))
    console.plug()
    eventually(lambda: is_in(container, console))
    running.send(signal.SIGSTOP)
    console.unplug()
    settle()
    assert len(links(console)) == len(("", ".r", ".made"))
    assert not any(each.endswith(".node") for each in links(console))
    running.send(signal.SIGCONT)
    eventually(lambda: not links(console) and not ours(container))
    assert container.look(console.node) is None


def test_a_link_that_is_made_again_is_not_seen_by_the_server(
    own_server: Server, launch: Callable[..., Container], console: Console, daemon: Callable[[str], Daemon]
) -> None:
    """The server would put the node in, and hang as well."""
    container = launch(config=IGNORED)
    running = daemon(rules(container, console))
    console.plug()
    eventually(lambda: is_in(container, console))
    running.stop()
    # LXD's watch reads 256 bytes of events and heeds the first: of several removals it may miss its own.
    settle()
    Path(container.devices[ours(container)[0]]["source"]).unlink()
    eventually(lambda: container.look(console.node) is None)
    for each in links(console):
        Path(SLOTS, each).unlink()
    with stopping(container) as end:
        running.start()
        end()
    container.start()
    eventually(lambda: is_in(container, console))
    console.unplug()
    eventually(lambda: not ours(container) and not links(console))


def test_a_shutdown_from_inside_that_takes_its_time(
    own_server: Server, launch: Callable[..., Container], console: Console, daemon: Callable[[str], Daemon]
) -> None:
    container = launch()
    container.run("sh", "-c", "echo '::shutdown:/bin/sleep 3' > /etc/inittab")
    container.run("sh", "-c", "kill -HUP 1")
    running = daemon(rules(container, console))
    console.plug()
    eventually(lambda: is_in(container, console))
    end_file_server(container)
    power_off(container)
    console.unplug()
    is_over(own_server, container, console)
    assert running.status()["problems"] == []


def test_a_hundred_pulls_at_any_time(
    own_server: Server,
    launch: Callable[..., Container],
    consoles: Callable[[int], list[Console]],
    daemon: Callable[[str], Daemon],
) -> None:
    container = launch()
    several = consoles(5)
    chance = random.Random(20)
    daemon(rules(container, *several))
    for turn in range(PULLS // len(several)):
        for each in several:
            each.plug()
        eventually(lambda: all(container.look(each.node) for each in several))
        eventually(lambda: len(ours(container)) == len(several))
        end_file_server(container)
        moments = [(chance.uniform(0, 0.6), each) for each in several]
        timers = [threading.Timer(after, each.unplug) for after, each in moments]
        for timer in timers:
            timer.start()
        if turn % 2:
            with in_background(lambda: patiently(partial(stop, container))) as stopped:
                stopped.result(50)
        else:
            power_off(container)
            eventually(lambda: container.config["status"] == "Stopped", 30)
            container.forget_pid()
            # Its entries go once it runs, or may be about to no more.
            start(container)
        for timer in timers:
            timer.join()
        eventually(lambda: not ours(container))
        eventually(lambda: not any(links(each) for each in several))
        start(container)
        assert not any(container.look(each.node) for each in several)
    for each in several:
        each.plug()
    eventually(lambda: all(container.look(each.node) for each in several))
    eventually(lambda: len(ours(container)) == len(several))
    for each in several:
        each.unplug()
    eventually(lambda: not ours(container) and not any(links(each) for each in several))
    patiently(partial(stop, container))
    is_over(own_server, container, *several)
