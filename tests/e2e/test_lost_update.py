"""What LXD forgets when an update overlaps one of ours: an entry, not its node, nor that it watches."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import Signals

import pytest

from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console, Zram
from tests.support.lab.patience import patiently
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually

_PLACE = "/dev/lab"


def rules(*places: tuple[Console | Zram, Container], path: str = _PLACE) -> str:
    lines = ["rules:", "  - {name: none, match: {subsystem: tty, kernel: none}, attach: {to: none}}"]
    for one, to in places:
        match = f"{{subsystem: '*', kernel: {one.node.removeprefix('/dev/')}}}"
        lines.append(f"  - {{name: r{one.number}, match: {match}, attach: {{to: {to}, path: {path}}}}}")
    return "\n".join(lines)


def ours(container: Container) -> list[str]:
    return [name for name in container.devices if name.startswith("hp-")]


def is_inside(container: Container, device: Console | Zram, path: str = _PLACE) -> bool:
    seen, host = container.look(path), os.stat(device.node).st_rdev
    return seen is not None and (seen.major, seen.minor) == (os.major(host), os.minor(host))


def is_calm(running: Daemon) -> bool:
    status = running.status()
    return not status["pending"] and not status["problems"]


def is_right(running: Daemon, container: Container, device: Console | Zram) -> bool:
    return is_inside(container, device) and len(ours(container)) == 1 and is_calm(running)


def files(server: Server, container: Container) -> list[str]:
    """The nodes that the server keeps of entries of ours."""
    return [each.name for each in (server.data / "devices" / container.name).glob("unix.hp-*")]


def is_empty(running: Daemon, container: Container) -> bool:
    return not container.look(_PLACE) and not ours(container) and is_calm(running)


def forget(server: Server, container: Container) -> None:
    """What LXD does to an update when it loses it. Nothing is told."""
    (entry,) = ours(container)
    forgotten = f"DELETE FROM instances_devices WHERE name = '{entry}'"
    server.api.request("POST", "/internal/sql", {"database": "global", "query": forgotten})
    assert not ours(container)
    assert container.look(_PLACE)


def has_unread(running: Daemon) -> bool:
    """Whether something waits in one of its sockets."""
    listed = subprocess.run(["ss", "-xpHn"], check=True, capture_output=True, text=True).stdout
    return any(f"pid={running.pid}," in line and int(line.split()[2]) for line in listed.splitlines())


def overlap(server: Server, container: Container) -> None:
    """An update of somebody else's, of which the server tells, has ours forgotten."""
    forget(server, container)
    container.patch({"config": {"user.note": "x"}})


def test_what_is_still_wanted_is_put_in_again(server: Server, container: Container, console: Console) -> None:
    console.plug()
    with Daemon(server.socket, rules((console, container))) as running:
        eventually(lambda: is_right(running, container, console))
        overlap(server, container)
        eventually(lambda: is_right(running, container, console))
        container.restart()
        eventually(lambda: is_right(running, container, console))
        overlap(server, container)
        eventually(lambda: is_right(running, container, console))
        console.unplug()
        eventually(lambda: not container.look(_PLACE) and not ours(container))


@pytest.fixture
def on_overlay(root: None, udevd: None) -> Iterator[Server]:
    """A server whose folder is on overlayfs, as on a host that keeps nothing."""
    with tempfile.TemporaryDirectory(prefix="hpl-", dir="/tmp") as name:
        folder = Path(name)
        # The root of an unprivileged container passes through.
        folder.chmod(0o711)
        parts = {each: folder / each for each in ("lowerdir", "upperdir", "workdir", "merged")}
        for each in parts.values():
            each.mkdir()
        merged = parts.pop("merged")
        options = ",".join(f"{each}={path}" for each, path in parts.items())
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=True)
        try:
            with Server(Path(tempfile.mkdtemp(dir=merged))) as server:
                yield server
        finally:
            subprocess.run(["umount", "--lazy", merged], check=True)


@pytest.mark.parametrize("path", [_PLACE, "/dev/other"])
def test_it_is_put_in_again_where_the_servers_folder_is_an_overlay(
    on_overlay: Server, console: Console, path: str
) -> None:
    container = on_overlay.launch()
    console.plug()
    with Daemon(on_overlay.socket, rules((console, container))) as running:
        eventually(lambda: is_right(running, container, console))
        running.send(Signals.SIGSTOP)
        overlap(on_overlay, container)
        running.write_rules(rules((console, container), path=path))
        eventually(lambda: has_unread(running))
        running.send(Signals.SIGHUP)
        running.send(Signals.SIGCONT)
        eventually(lambda: is_inside(container, console, path) and is_calm(running))
        assert len(ours(container)) == len(files(on_overlay, container)) == 1
    container.delete()


def test_a_disk_is_put_in_again(server: Server, container: Container, zram: Zram) -> None:
    zram.plug()
    with Daemon(server.socket, rules((zram, container))) as running:
        eventually(lambda: is_right(running, container, zram))
        overlap(server, container)
        eventually(lambda: is_right(running, container, zram))
        forget(server, container)
        running.write_rules(rules())
        running.reload()
        eventually(lambda: is_empty(running, container))


def test_what_goes_elsewhere_in_the_container_leaves_nothing(
    server: Server, container: Container, console: Console
) -> None:
    console.plug()
    with Daemon(server.socket, rules((console, container))) as running:
        eventually(lambda: is_right(running, container, console))
        running.send(Signals.SIGSTOP)
        overlap(server, container)
        running.write_rules(rules((console, container), path="/dev/other"))
        # Without the event its request would go first: the server leaves what it cannot mount again then.
        eventually(lambda: has_unread(running))
        running.send(Signals.SIGHUP)
        running.send(Signals.SIGCONT)
        eventually(lambda: is_inside(container, console, "/dev/other") and not container.look(_PLACE))
        eventually(lambda: is_calm(running) and len(ours(container)) == 1)


def test_what_was_repaired_before_is_put_in_again(
    server: Server, container: Container, console: Console
) -> None:
    console.plug()
    with Daemon(server.socket, rules((console, container))) as running:
        eventually(lambda: is_right(running, container, console))
        assert container.run("umount", _PLACE).code == 0
        eventually(lambda: is_right(running, container, console))
        overlap(server, container)
        eventually(lambda: is_right(running, container, console))


def test_what_no_rule_wants_any_more_goes(server: Server, container: Container, console: Console) -> None:
    console.plug()
    with Daemon(server.socket, rules((console, container))) as running:
        eventually(lambda: is_right(running, container, console))
        # Nobody is told before the request that is to take it out.
        forget(server, container)
        running.write_rules(rules())
        running.reload()
        eventually(lambda: is_empty(running, container))
        running.write_rules(rules((console, container)))
        running.reload()
        eventually(lambda: is_right(running, container, console))


def test_the_file_of_what_was_forgotten_and_unmounted_goes(
    server: Server, container: Container, console: Console
) -> None:
    console.plug()
    with Daemon(server.socket, rules((console, container))) as running:
        eventually(lambda: is_right(running, container, console))
        running.send(Signals.SIGSTOP)
        overlap(server, container)
        assert container.run("umount", _PLACE).code == 0
        assert files(server, container)
        running.write_rules(rules())
        running.send(Signals.SIGHUP)
        running.send(Signals.SIGCONT)
        eventually(lambda: is_empty(running, container) and not files(server, container))


@pytest.mark.parametrize("other", [False, True], ids=["nothing", "another device"])
def test_what_was_forgotten_before_the_rules_changed_goes(
    server: Server, container: Container, consoles: Callable[[int], list[Console]], other: bool
) -> None:
    one, two = consoles(2)
    one.plug()
    two.plug()
    with Daemon(server.socket, rules((one, container))) as running:
        eventually(lambda: is_right(running, container, one))
        running.send(Signals.SIGSTOP)
        overlap(server, container)
        running.write_rules(rules((two, container)) if other else rules())
        running.send(Signals.SIGHUP)
        running.send(Signals.SIGCONT)
        if other:
            eventually(lambda: is_right(running, container, two))
        else:
            eventually(lambda: is_empty(running, container))
        running.write_rules(rules((one, container)))
        running.reload()
        eventually(lambda: is_right(running, container, one))


def test_what_was_forgotten_goes_with_its_device(
    server: Server, container: Container, console: Console
) -> None:
    console.plug()
    with Daemon(server.socket, rules((console, container))) as running:
        eventually(lambda: is_right(running, container, console))
        running.send(Signals.SIGSTOP)
        overlap(server, container)
        console.unplug()
        running.send(Signals.SIGCONT)
        eventually(lambda: is_empty(running, container))
        console.plug()
        eventually(lambda: is_right(running, container, console))


def test_what_was_forgotten_while_nobody_ran_and_goes_elsewhere_is_right_after_a_restart(
    server: Server, container: Container, console: Console
) -> None:
    """LXD 5.0 leaves what it has mounted where it finds that it watches for an entry already."""
    console.plug()
    with Daemon(server.socket, rules((console, container))) as running:
        eventually(lambda: is_right(running, container, console))
        running.stop()
        forget(server, container)
        running.write_rules(rules((console, container), path="/dev/other"))
        running.start()
        eventually(lambda: "restarting the instance takes it away" in str(running.status()["problems"]))
        # The server refuses either while the daemon tries again.
        patiently(container.stop)
        patiently(container.start)
        eventually(lambda: is_inside(container, console, "/dev/other") and not container.look(_PLACE))
        eventually(lambda: is_calm(running) and len(ours(container)) == 1)
