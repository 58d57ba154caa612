"""What the host uses stays on the host, whenever it began to; and a number that is another's by now."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final, cast

import pytest

from hotplugd.app import session
from tests.conftest import StartDaemon
from tests.e2e.test_daemon import look, names, ours, rules, there
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console, Veth, Zram
from tests.support.lab.mounts import elsewhere
from tests.support.lab.server import Server
from tests.support.lab.udevd import settle
from tests.support.lab.wait import eventually, steadily
from tests.support.phones.containers import once_it_is_free

_IP_FREEBIND: Final = 15  # include/uapi/linux/in.h
_ADDRESS: Final = "198.51.100.7"  # for documentation (RFC 5737)


def run(*words: str | Path) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{words}: {done.stderr}"


@pytest.fixture
def disk(zram: Zram) -> Zram:
    """A disk with a file system."""
    zram.plug()
    settle()
    Path(zram.syspath, "disksize").write_text("16M")
    run("busybox", "mke2fs", "-b", "4096", zram.node)
    settle()
    return zram


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where to mount something."""
    yield tmp_path
    with suppress(AssertionError):
        run("umount", tmp_path)


def problems(daemon: Daemon) -> str:
    """What the daemon says is wrong."""
    found = cast("list[dict[str, str]]", daemon.status()["problems"])
    return "\n".join(each["message"] for each in found)


def of(zram: Zram, to: object, more: str = "") -> str:
    return rules(to=str(to), subsystem="block", kernel=zram.name, more=more)


def of_interface(veth: Veth, to: object) -> str:
    return rules(to=str(to), subsystem="net", kernel=veth.name)


def test_a_disk_that_is_mounted_before_a_rule_takes_it_stays_until_it_is_unmounted(
    container: Container, disk: Zram, place: Path, daemon: StartDaemon
) -> None:
    running = daemon("rules: []\n")
    run("mount", disk.node, place)
    running.write_rules(of(disk, container))
    running.reload()
    eventually(lambda: f"{disk.name} is mounted on {place}" in problems(running))
    steadily(lambda: container.look(disk.node) is None and not ours(container), 1.0)
    run("umount", place)
    look(container, disk.node)
    eventually(lambda: not problems(running))


def test_a_disk_that_is_mounted_before_its_instance_is_there_stays(
    launch: Callable[..., Container], disk: Zram, place: Path, daemon: StartDaemon
) -> None:
    running = daemon(of(disk, "later"))
    eventually(lambda: "there is no instance" in problems(running))
    run("mount", disk.node, place)
    container = launch("later")
    eventually(lambda: f"{disk.name} is mounted on {place}" in problems(running))
    steadily(lambda: container.look(disk.node) is None and not ours(container), 1.0)


def test_a_disk_that_a_service_has_mounted_for_itself_stays(
    container: Container, disk: Zram, place: Path, daemon: StartDaemon
) -> None:
    with elsewhere("mount", disk.node, str(place)) as pid:
        running = daemon(of(disk, container))
        eventually(lambda: f"{disk.name} is mounted by sh (process {pid})" in problems(running))
        assert container.look(disk.node) is None


@contextmanager
def open_in(disk: Zram) -> Iterator[int]:
    """A process of the host's that only has the disk open."""
    with subprocess.Popen(
        ["sh", "-c", f"exec 3<{disk.node}; echo; exec sleep 600"], stdout=subprocess.PIPE
    ) as one:
        try:
            assert one.stdout is not None
            assert one.stdout.readline() == b"\n"
            yield one.pid
        finally:
            one.kill()


def test_a_disk_that_a_process_has_open_stays_until_it_is_closed(
    container: Container, disk: Zram, daemon: StartDaemon
) -> None:
    with open_in(disk) as pid:
        running = daemon(of(disk, container))
        eventually(lambda: f"{disk.name} is open in sleep (process {pid})" in problems(running))
        steadily(lambda: container.look(disk.node) is None and not ours(container), 1.0)
        # Who says so gets it all the same.
        forced = rules(to=str(container), subsystem="block", kernel=disk.name, more=", force: true")
        running.write_rules(forced)
        running.reload()
        look(container, disk.node)
        running.write_rules("rules: []\n")
        running.reload()
        eventually(lambda: not ours(container))
        running.write_rules(of(disk, container))
        running.reload()
        eventually(lambda: "is open in" in problems(running))
    # Nobody tells.
    eventually(lambda: container.look(disk.node), 60)
    eventually(lambda: not problems(running))


def test_a_disk_that_is_open_in_an_instance_waits_for_that_one_alone(
    containers: tuple[Container, Container], disk: Zram, daemon: StartDaemon
) -> None:
    here, there = containers
    running = daemon(of(disk, here))
    look(here, disk.node)
    here.run("sh", "-c", f"sleep 600 < {disk.node} > /dev/null 2>&1 &")
    running.write_rules(of(disk, there))
    running.reload()
    eventually(lambda: f"{disk.name} is open in sleep (process " in problems(running))
    assert f" in {here})" in problems(running)
    assert there.look(disk.node) is None
    running.write_rules(of(disk, here))
    running.reload()
    look(here, disk.node)
    running.write_rules(of(disk, there))
    running.reload()
    eventually(lambda: "is open in sleep" in problems(running))
    assert here.run("killall", "sleep").code == 0
    eventually(lambda: there.look(disk.node), 60)


def test_a_disk_that_a_stopped_instance_would_get_leaves_it_once_it_is_mounted(
    container: Container, disk: Zram, place: Path, daemon: StartDaemon
) -> None:
    container.stop()
    running = daemon(of(disk, container))
    eventually(lambda: ours(container))
    run("mount", disk.node, place)
    eventually(lambda: not ours(container))
    once_it_is_free(container.start)
    steadily(lambda: container.look(disk.node) is None, 1.0)
    assert f"{disk.name} is mounted on {place}" in problems(running)


@contextmanager
def mounted(disk: Zram, _: Veth, place: Path) -> Iterator[None]:
    run("mount", disk.node, place)
    yield
    run("umount", place)


@contextmanager
def swapped_on(disk: Zram, _: Veth, place: Path) -> Iterator[None]:
    run("swapon", disk.node)
    yield
    run("swapoff", disk.node)


@contextmanager
def routed(_: Zram, veth: Veth, place: Path) -> Iterator[None]:
    route = ("default", "dev", veth.name, "table", "7341")
    run("ip", "route", "add", *route)
    yield
    run("ip", "route", "del", *route)


@contextmanager
def spoken_by(_: Zram, veth: Veth, place: Path) -> Iterator[None]:
    """A server listens at an address that the interface gets."""
    with socket.socket() as listening:
        listening.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        listening.bind((_ADDRESS, 0))
        listening.listen()
        run("ip", "address", "add", f"{_ADDRESS}/32", "dev", veth.name)
        yield
        run("ip", "address", "del", f"{_ADDRESS}/32", "dev", veth.name)


@pytest.mark.parametrize("use", [mounted, swapped_on, routed, spoken_by])
@pytest.mark.alone
def test_a_stopped_instance_loses_it_within_a_second(
    container: Container,
    disk: Zram,
    veth: Veth,
    place: Path,
    daemon: StartDaemon,
    use: Callable[[Zram, Veth, Path], AbstractContextManager[None]],
) -> None:
    container.stop()
    veth.plug()
    run("ip", "link", "set", veth.name, "up")
    if use is swapped_on:
        run("mkswap", disk.node)
    settle()
    both = of(disk, container) if use in (mounted, swapped_on) else of_interface(veth, container)
    daemon(both)
    took = []
    for _ in range(3):
        eventually(lambda: ours(container))
        with use(disk, veth, place):
            begun = time.monotonic()
            eventually(lambda: not ours(container))
            took.append(time.monotonic() - begun)
    # A machine may be busy once.
    assert min(took) < 1


@contextmanager
def seen_sooner(server: Server, rules: str, seconds: float) -> Iterator[Daemon]:
    """A daemon that looks at everything again after so many seconds, and not after five minutes."""
    within = (sys.executable, "-m", "tests.support.lab.sooner", str(seconds))
    with Daemon(server.socket, rules, within=within) as running:
        yield running


def test_what_nobody_tells_of_is_noticed_within_five_minutes(
    server: Server, container: Container, veth: Veth
) -> None:
    assert session._RESYNC == 300
    container.stop()
    veth.plug()
    run("ip", "link", "set", veth.name, "up")
    run("ip", "address", "add", f"{_ADDRESS}/32", "dev", veth.name)
    with seen_sooner(server, of_interface(veth, container), 2.0) as running:
        eventually(lambda: ours(container))
        with socket.create_server((_ADDRESS, 0)):
            eventually(lambda: not ours(container))
            assert f"its address {_ADDRESS} is in use" in problems(running)
        eventually(lambda: ours(container))
        eventually(lambda: not problems(running))


def test_a_shared_disk_is_kept_by_the_hosts_own_mounts_alone(
    containers: tuple[Container, Container], disk: Zram, place: Path, daemon: StartDaemon
) -> None:
    names = f"[{', '.join(map(str, containers))}]"
    with elsewhere("mount", disk.node, str(place)):
        running = daemon(of(disk, names, ", share: true"))
        for each in containers:
            look(each, disk.node)
        assert not problems(running)
    running.write_rules("rules: []\n")
    running.reload()
    eventually(lambda: not any(map(ours, containers)))
    run("mount", disk.node, place)
    running.write_rules(of(disk, names, ", share: true"))
    running.reload()
    eventually(lambda: f"{disk.name} is mounted on {place}" in problems(running))
    steadily(lambda: not any(each.look(disk.node) or ours(each) for each in containers), 1.0)


def test_a_disk_that_is_inside_stays_when_the_host_mounts_it_and_that_is_said(
    container: Container, disk: Zram, place: Path, daemon: StartDaemon
) -> None:
    running = daemon(of(disk, container))
    look(container, disk.node)
    run("mount", disk.node, place)
    eventually(lambda: f"{disk.name} is mounted on {place}, and it is in {container}" in problems(running))
    assert container.look(disk.node) is not None
    run("umount", place)
    eventually(lambda: not problems(running))
    assert container.look(disk.node) is not None


@pytest.mark.parametrize("route", [["default", "table", "7341"], ["128.0.0.0/1"]], ids=lambda words: words[0])
def test_an_interface_that_became_the_way_to_everywhere_stays(
    launch: Callable[..., Container], veth: Veth, daemon: StartDaemon, route: list[str]
) -> None:
    veth.plug()
    run("ip", "link", "set", veth.name, "up")
    running = daemon(rules(to="later", subsystem="net", kernel=veth.name))
    eventually(lambda: "there is no instance" in problems(running))
    run("ip", "route", "add", *route, "dev", veth.name, "metric", "9999")
    container = launch("later")
    eventually(lambda: "the host uses it: it has the" in problems(running))
    steadily(lambda: veth.on_host and not ours(container), 1.0)
    run("ip", "route", "del", *route, "dev", veth.name, "metric", "9999")
    eventually(lambda: not veth.on_host)


def links() -> set[str]:
    return {each for each in os.listdir("/dev/hotplugd") if not each.startswith(".")}


def test_what_has_the_number_next_does_not_go_in_by_a_request_that_is_under_way(
    own_server: Server, console: Console
) -> None:
    first, second = own_server.launch(), own_server.launch()
    with Daemon(own_server.socket, rules(to=str(first), kernel=names(console))) as running:
        before = links()
        own_server.freeze()
        try:
            console.plug()
            made = eventually(lambda: links() - before)
            assert made
            console.unplug()
            # The links that the entry names stay until the server has answered, and lead nowhere.
            eventually(lambda: not any(each.endswith(".node") for each in links() & made))
            running.write_rules(rules(to=str(second), kernel=names(console)))
            running.reload()
            console.plug()
        finally:
            own_server.thaw()
        eventually(lambda: there(second, console))
        steadily(lambda: first.look(console.node) is None, 1.0)
        eventually(lambda: not ours(first))
        found = cast("list[dict[str, object]]", running.status()["attachments"])
        assert [each["instance"] for each in found] == [str(second)]
