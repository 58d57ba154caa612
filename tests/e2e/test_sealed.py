"""Who kept a handle on a node inside cannot open it once the device is not theirs any more."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from signal import Signals

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.faults import Hang, Late, Refuse
from tests.support.lab.handle import Catcher, Handle
from tests.support.lab.kernel import Console, Zram
from tests.support.lab.proxy import Fault, Proxy
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually

NOTHING = "rules:\n  - {name: nothing, match: {subsystem: none}, ignore: true}\n"


def rule(console: Console, to: Container, more: str = "") -> str:
    return f"""
rules:
  - name: console
    match: {{subsystem: vc, kernel: vcsa{console.number}}}
    attach: {{to: {to.name}{more}}}
"""


def attached(console: Console, container: Container) -> Handle:
    """A handle that opens the console as long as it is in there."""
    eventually(lambda: container.look(console.node))
    eventually(lambda: any(name.startswith("hp-") for name in container.devices))
    handle = Handle(container, console.node)
    assert not handle.sealed
    return handle


def is_gone(console: Console, container: Container) -> None:
    eventually(lambda: not any(name.startswith("hp-") for name in container.devices))
    eventually(lambda: container.look(console.node) is None)


def is_shut(handle: Handle) -> None:
    eventually(lambda: handle.sealed)
    assert handle.open() == "EACCES"
    *changes, opens = handle.undo()
    # Read-only is what it was made by those inside.
    assert set(changes) <= {"EPERM", "EROFS"}
    assert opens == "EACCES"


def test_after_a_detach(container: Container, console: Console, daemon: StartDaemon) -> None:
    running = daemon(rule(console, container, ', mode: "0666"'))
    console.plug()
    with attached(console, container) as handle:
        assert handle.open() == "done"
        running.write_rules(NOTHING)
        running.reload()
        is_gone(console, container)
        is_shut(handle)
    assert running.status()["problems"] == []


def test_after_a_move(containers: tuple[Container, Container], console: Console, daemon: StartDaemon) -> None:
    here, there = containers
    running = daemon(rule(console, here))
    console.plug()
    with attached(console, here) as handle:
        running.write_rules(rule(console, there))
        running.reload()
        with attached(console, there) as other:
            is_shut(handle)
            assert other.open() == "done"
    assert running.status()["problems"] == []


def test_after_an_unplug_whoever_has_the_number_next(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(rule(console, container))
    console.plug()
    for _ in range(5):
        with attached(console, container) as handle:
            assert handle.open() == "done"
            console.unplug()
            # Plugged at once, with the same number: it is another console's now.
            console.plug()
            is_shut(handle)
            # The sealed node is there until its entry goes.
            eventually(lambda: (new := container.look(console.node)) is not None and new.mode)
    assert running.status()["problems"] == []


def test_after_a_repair(container: Container, console: Console, daemon: StartDaemon) -> None:
    running = daemon(rule(console, container))
    console.plug()
    with attached(console, container) as handle:
        assert container.run("umount", "-l", console.node).code == 0
        is_shut(handle)
        with attached(console, container) as new:
            assert new.open() == "done"
            assert not new.sealed
    assert running.status()["problems"] == []


def test_after_an_update(container: Container, console: Console, daemon: StartDaemon) -> None:
    running = daemon(rule(console, container, ', mode: "0660"'))
    console.plug()
    with attached(console, container) as handle:
        running.write_rules(rule(console, container, ', mode: "0640"'))
        running.reload()
        eventually(lambda: (seen := container.look(console.node)) and seen.mode == 0o640)
        is_shut(handle)


def test_what_the_server_refuses_to_change_goes_on_working(
    server: Server, container: Container, console: Console
) -> None:
    with (
        Proxy(server.data / "proxy", server.socket) as proxy,
        Daemon(proxy.socket, rule(console, container, ', mode: "0660"')) as running,
    ):
        console.plug()
        with attached(console, container) as handle:
            with proxy.fault(Fault(Refuse(400, "no such mode here"), f"PATCH /1.0/instances/{container}")):
                running.write_rules(rule(console, container, ', mode: "0640"'))
                running.reload()
                eventually(lambda: "cannot update in" in str(running.status()["problems"]))
                assert "no such mode here" in str(running.status()["problems"])
                assert (handle.sealed, handle.open()) == (False, "done")
            eventually(lambda: (seen := container.look(console.node)) and seen.mode == 0o640)
            is_shut(handle)
        assert running.status()["problems"] == []


def test_what_the_server_refuses_to_take_out_is_sealed_and_said(
    server: Server, container: Container, console: Console
) -> None:
    with (
        Proxy(server.data / "proxy", server.socket) as proxy,
        Daemon(proxy.socket, rule(console, container)) as running,
    ):
        console.plug()
        with attached(console, container) as handle:
            (name,) = [each for each in container.devices if each.startswith("hp-")]
            with proxy.fault(Fault(Refuse(400, "not now"), f"PUT /1.0/instances/{container}")):
                running.write_rules(NOTHING)
                running.reload()
                eventually(lambda: "cannot remove in" in str(running.status()["problems"]))
                problems = str(running.status()["problems"])
                assert "not now; its node in there is sealed" in problems
                # Who does as it says is rid of it.
                assert f"`lxc config device remove {container} {name}`" in problems
                is_shut(handle)
                container.remove_device(name)
                eventually(lambda: running.status()["problems"] == [])
                eventually(lambda: container.look(console.node) is None)


@pytest.mark.parametrize(
    "hide",
    [
        ("umount -l {node}",),
        ("mount --bind /dev/null {node}",),
        ("mount -t tmpfs hidden /dev",),
        ("mkdir /tmp/dev", "mount --bind /dev /tmp/dev", "umount -l {node}"),
        ("mount -o remount,ro,bind {node}",),
        ("chmod 0777 {node}",),
    ],
)
@pytest.mark.parametrize("crash", [False, True])
def test_whatever_is_done_to_its_path_inside(
    container: Container, console: Console, daemon: StartDaemon, hide: tuple[str, ...], crash: bool
) -> None:
    running = daemon(rule(console, container))
    console.plug()
    with attached(console, container) as handle:
        if crash:
            running.kill()
        for line in hide:
            assert container.run("sh", "-c", line.format(node=console.node)).code == 0
        running.write_rules(NOTHING)
        if crash:
            running.start()
        else:
            running.reload()
        eventually(lambda: not any(name.startswith("hp-") for name in container.devices))
        is_shut(handle)


def test_who_takes_the_entry_out(container: Container, console: Console, daemon: StartDaemon) -> None:
    running = daemon(rule(console, container))
    console.plug()
    with attached(console, container) as handle:
        (name,) = [each for each in container.devices if each.startswith("hp-")]
        container.remove_device(name)
        is_shut(handle)
        with attached(console, container) as new:
            assert new.open() == "done"
    assert running.status()["problems"] == []


def test_after_a_stop(container: Container, console: Console, daemon: StartDaemon) -> None:
    daemon(rule(console, container))
    console.plug()
    with attached(console, container) as handle:
        container.stop()
        is_shut(handle)
        container.start()
        with attached(console, container) as new:
            assert new.open() == "done"


def test_what_starts_while_its_removal_is_under_way(
    server: Server, container: Container, console: Console
) -> None:
    with (
        Proxy(server.data / "proxy", server.socket) as proxy,
        Daemon(proxy.socket, rule(console, container)) as running,
    ):
        console.plug()
        attached(console, container).close()
        container.stop()
        eventually(lambda: running.status()["pending"] == [])
        with proxy.fault(Fault(Hang(), f"PUT /1.0/instances/{container}")) as (held,):
            running.write_rules(NOTHING)
            running.reload()
            eventually(lambda: held.met == 1)
            container.start()
            container.forget_pid()
            handle = attached(console, container)
        with handle:
            is_gone(console, container)
            is_shut(handle)
        assert running.status()["problems"] == []


def test_the_detach_command(container: Container, console: Console, daemon: StartDaemon) -> None:
    running = daemon(rule(console, container))
    console.plug()
    with attached(console, container) as handle:
        running.kill()
        done = running.ask("detach", "--all")
        assert done.returncode == 0, done.stderr
        is_gone(console, container)
        is_shut(handle)


def test_disks(container: Container, zram: Zram, daemon: StartDaemon) -> None:
    zram.plug()
    running = daemon(f"""
rules:
  - name: disk
    match: {{subsystem: block, kernel: {zram.name}}}
    attach: {{to: {container.name}, path: /dev/disk}}
""")
    eventually(lambda: container.look("/dev/disk"))
    eventually(lambda: any(name.startswith("hp-") for name in container.devices))
    with Handle(container, "/dev/disk") as handle:
        assert handle.open() == "done"
        running.write_rules(NOTHING)
        running.reload()
        eventually(lambda: container.look("/dev/disk") is None)
        is_shut(handle)


def test_privileged_containers(
    launch: Callable[..., Container], console: Console, daemon: StartDaemon
) -> None:
    container = launch(config={"security.privileged": "true"})
    running = daemon(rule(console, container))
    console.plug()
    with attached(console, container) as handle:
        running.write_rules(NOTHING)
        running.reload()
        is_gone(console, container)
        eventually(lambda: handle.sealed)


def test_root_in_a_privileged_container_opens_nothing_that_was_taken_out(
    launch: Callable[..., Container], console: Console, daemon: StartDaemon
) -> None:
    container = launch(config={"security.privileged": "true"})
    running = daemon(rule(console, container))
    console.plug()
    with attached(console, container) as handle:
        assert handle.open() == "done"
        running.write_rules(NOTHING)
        running.reload()
        is_gone(console, container)
        eventually(lambda: handle.sealed)
        # It is the host's root and unseals it; the control group is what is left.
        assert handle.undo() == ["done", "done", "EPERM"]
        own = ("mknod", "/root/own", "c", "7", str(128 + console.number))
        assert container.run(*own).code == 0
        opened = container.run("dd", "if=/root/own", "of=/dev/null", "count=1")
        assert (opened.code, "Operation not permitted" in opened.output) == (1, True)


def test_what_is_pulled_before_the_server_has_answered(
    server: Server, container: Container, console: Console
) -> None:
    # Beside the server's own socket: the server's files are looked for there.
    with (
        Proxy(server.data / "proxy", server.socket) as proxy,
        Daemon(proxy.socket, rule(console, container)) as running,
    ):
        with proxy.fault(Fault(Late(), "PATCH")) as (late,):
            console.plug()
            eventually(lambda: container.look(console.node))
            with Handle(container, console.node) as handle:
                assert (handle.open(), late.met) == ("done", 1)
                console.unplug()
                is_shut(handle)
                assert running.status()["attachments"] == []
        is_gone(console, container)
        eventually(lambda: running.status()["problems"] == [])


def test_what_is_pulled_at_any_moment_while_it_goes_in(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(rule(console, container))
    with Catcher(container, console.node) as catcher:
        for moment in range(25):
            console.plug()
            pulled = time.monotonic() + 0.002 * moment
            eventually(partial(_has_come, pulled), pause=0.0001)
            console.unplug()
            eventually(lambda: running.status()["pending"] == [])
            is_gone(console, container)
        assert catcher.caught() > 5
        eventually(lambda: catcher.sealed)
    assert running.status()["problems"] == []


def _has_come(moment: float) -> bool:
    return time.monotonic() >= moment


def test_one_that_was_sealed_and_not_taken_out_is_repaired(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    for more in ("", ', mode: "0660"'):
        running = daemon(rule(console, container, more))
        console.plug()
        with attached(console, container) as handle:
            inside = f"/proc/{container.pid}/root{console.node}"
            os.chown(inside, 0, 0)
            os.chmod(inside, 0)
            # A mount makes it look.
            container.run("mount", "-t", "tmpfs", "some", "/mnt")
            eventually(lambda: (seen := container.look(console.node)) and seen.mode == 0o660)
            with attached(console, container) as new:
                assert new.open() == "done"
            is_shut(handle)
        assert running.status()["problems"] == []
        assert running.stop() == 0
        console.unplug()
        container.run("umount", "/mnt")


def sealers(daemon: Daemon) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"\0hotplugd.container.seal_helper\0" in path.read_bytes():
                parent = path.with_name("stat").read_text().rpartition(")")[2].split()[1]
                found += [int(path.parent.name)] if int(parent) == daemon.pid else []
        except OSError:
            continue
    return found


def test_a_program_that_hangs_delays_little_and_is_said(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(rule(console, container))
    console.plug()
    with attached(console, container) as handle:
        (program,) = eventually(lambda: sealers(running))
        os.kill(program, Signals.SIGSTOP)
        start = time.monotonic()
        console.unplug()
        is_gone(console, container)
        assert time.monotonic() - start < 5
        # It is tried again, by another program. One that has not answered yet has half a minute to start.
        eventually(lambda: handle.sealed, 60)
        is_shut(handle)
        eventually(running.is_fine)


def test_where_nothing_can_be_sealed_devices_go_all_the_same_and_it_is_said(
    server: Server, container: Container, console: Console, project: Path
) -> None:
    unit = (sys.executable, "-m", "tests.support.lab.confine", str(project / "systemd/hotplugd.service"))
    with Daemon(server.socket, rule(console, container), within=unit) as running:
        console.plug()
        with attached(console, container) as handle:
            running.write_rules(NOTHING)
            running.reload()
            is_gone(console, container)
            problems = str(running.status()["problems"])
            assert "hotplugd-seal.socket has to be there" in problems
            assert f"restart {container.name}" in problems
            assert not handle.sealed
            container.restart()
            eventually(running.is_fine)
