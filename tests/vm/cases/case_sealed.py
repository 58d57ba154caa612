"""Who kept a handle on a node inside: real USB devices, whose numbers are used again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.handle import Handle
from tests.support.lab.wait import eventually
from tests.support.phones import Cable, Hub, Phone
from tests.support.phones.containers import DEADLINE, arrives, leaves, node_of, tty_number
from tests.vm.machine import Disk, Machine, Renderer
from tests.vm.variants import variants

Launch = Callable[..., Container]

TO_ONE = """
rules:
  - name: first
    match: {serial: AAA1}
    attach: {to: c1}
"""
TO_TWO = TO_ONE.replace("c1", "c2")
NOTHING = "rules:\n  - {name: nothing, match: {subsystem: none}, ignore: true}\n"
# As many devices as a USB bus numbers before it begins anew.
NUMBERS = 127


def entries(container: Container) -> set[str]:
    return {name for name in container.devices if name.startswith("hp-")}


def handle(container: Container, path: str) -> Handle:
    """A handle that opens the device for as long as it is in there."""
    eventually(lambda: container.look(path), DEADLINE, pause=0.05)
    # The server writes an entry down after it has made the node.
    eventually(lambda: entries(container), DEADLINE, pause=0.05)
    found = Handle(container, path)
    assert (found.sealed, found.open()) == (False, "done")
    return found


def is_no_more(path: str) -> bool:
    return not Path(path).exists()


def is_shut(found: Handle) -> None:
    eventually(lambda: found.sealed, DEADLINE, pause=0.05)
    *changes, opens = found.undo()
    # Read-only is what it was made by those inside.
    assert set(changes) <= {"EPERM", "EROFS"}
    assert opens == "EACCES"


@pytest.mark.parametrize("privileged", variants(["false", "true"]))
def test_a_phone_that_is_detached_moved_and_pulled(
    hub: Hub, launch: Launch, daemon: StartDaemon, privileged: str
) -> None:
    config = {"security.privileged": privileged}
    one, two = launch("c1", config=config), launch("c2", config=config)
    running = daemon(TO_ONE)

    def shut(found: Handle) -> None:
        # Root in a privileged container may do what it likes to a file: its control group keeps it out.
        eventually(lambda: found.sealed, DEADLINE, pause=0.05)
        if privileged == "false":
            is_shut(found)
        else:
            eventually(lambda: found.undo() == ["done", "done", "EPERM"], DEADLINE, pause=0.05)

    node = arrives(one, hub.plug(phone := Phone("AAA1")))
    with handle(one, node) as first:
        running.write_rules(TO_TWO)
        running.reload()
        with handle(two, node) as second:
            shut(first)
            running.write_rules(NOTHING)
            running.reload()
            leaves(two, node)
            shut(second)
    hub.unplug(phone)
    running.write_rules(TO_ONE)
    running.reload()
    node = arrives(one, hub.plug(phone))
    with handle(one, node) as third:
        hub.unplug(phone)
        leaves(one, node)
        shut(third)
    assert running.status()["problems"] == []


@pytest.mark.variant
@pytest.mark.timeout(600)
def test_a_number_that_another_phone_has_next(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    container = launch("c1")
    running = daemon(TO_ONE)
    node = arrives(container, hub.plug(phone := Phone("AAA1")))
    with handle(container, node) as found:
        hub.unplug(phone)
        leaves(container, node)
        for number in range(2 * NUMBERS):
            other = Phone(f"OTHER{number}")
            there = node_of(hub.plug(other))
            if there == node:
                break
            hub.unplug(other)
            eventually(partial(is_no_more, there), DEADLINE, pause=0.02)
        # The other phone is there under the first one's number, and it is nobody's.
        assert Path(node).is_char_device()
        is_shut(found)
    assert running.status()["problems"] == []


def test_a_tty_number_that_another_cable_has_next(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    container = launch("c1")
    running = daemon("""
rules:
  - name: console
    match: {subsystem: tty, id: "0403:6001", serial: A50285BI}
    attach: {to: c1, path: /dev/ttyConsole}
""")
    number = tty_number(hub.plug(cable := Cable()))
    with handle(container, "/dev/ttyConsole") as found:
        hub.unplug(cable)
        assert tty_number(hub.plug(Cable("SOMEBODYS"))) == number
        is_shut(found)
    assert running.status()["problems"] == []


def test_disks_and_partitions(machine: Machine, launch: Launch, daemon: StartDaemon) -> None:
    container = launch("c1")
    running = daemon("""
rules:
  - name: stick
    match: {subsystem: block, serial: STICK1}
    attach: {to: c1}
""")
    stick = Disk(machine)
    stick.plug()
    whole = "/dev/sda"
    eventually(lambda: len(entries(container)) == 3, DEADLINE, pause=0.05)
    with handle(container, whole) as disk, handle(container, f"{whole}2") as part:
        stick.unplug()
        is_shut(disk)
        is_shut(part)
        before = entries(container)
        stick.plug()
        eventually(lambda: len(entries(container) - before) == 3, DEADLINE, pause=0.05)
        is_shut(disk)
        is_shut(part)
        with handle(container, whole) as again, handle(container, f"{whole}1") as first:
            running.write_rules(NOTHING)
            running.reload()
            is_shut(again)
            is_shut(first)
    stick.unplug()
    assert running.status()["problems"] == []


@pytest.mark.parametrize("privileged", variants(["false", "true"]))
def test_a_phone_a_tty_and_a_disk_that_are_put_in_again(
    hub: Hub, machine: Machine, launch: Launch, daemon: StartDaemon, privileged: str
) -> None:
    container = launch("c1", config={"security.privileged": privileged})
    running = daemon(f"""{TO_ONE}
  - name: console
    match: {{subsystem: tty, id: "0403:6001", serial: A50285BI}}
    attach: {{to: c1, path: /dev/ttyConsole}}
  - name: stick
    match: {{subsystem: block, devtype: disk, serial: STICK1}}
    attach: {{to: c1}}
""")
    stick = Disk(machine)
    stick.plug()
    tty_number(hub.plug(Cable()))
    paths = (arrives(container, hub.plug(Phone("AAA1"))), "/dev/ttyConsole", stick.nodes[0])
    with ExitStack() as undo:
        before = [undo.enter_context(handle(container, each)) for each in paths]
        for each in paths:
            assert container.run("umount", "-l", each).code == 0
        for found in before:
            eventually(partial(_is_sealed, found), DEADLINE, pause=0.05)
            # In a privileged one the device is still theirs, and root opens it by whatever node.
            if privileged == "false":
                is_shut(found)
        for each in paths:
            undo.enter_context(handle(container, each))
    assert running.status()["problems"] == []


def _is_sealed(found: Handle) -> bool:
    return found.sealed


def test_all_nodes_of_a_gpu(launch: Launch, daemon: StartDaemon) -> None:
    container = launch("c1")
    with closing(Renderer()) as gpu:
        gpu.plug()
        running = daemon(f"""
rules:
  - name: gpu
    match: {{subsystem: drm, property: {{ID_PATH: "pci-{gpu.address}"}}}}
    attach: {{to: c1, as: gpu, force: true}}
""")
        card, render = gpu.nodes
        with handle(container, card) as one, handle(container, render) as other:
            running.write_rules(NOTHING)
            running.reload()
            is_shut(one)
            is_shut(other)
        assert running.status()["problems"] == []


HIDE = {
    "umount": ("umount -l {node}",),
    "mount-over": ("mount --bind /dev/null {node}",),
    "hide": ("mount -t tmpfs hidden /dev/bus",),
    "move": ("touch /tmp/node", "mount --bind {node} /tmp/node", "umount -l {node}"),
    "read-only": ("mount -o remount,ro,bind {node}",),
    "loosen": ("chmod 0777 {node}", "chown 1000:1000 {node}"),
}


@pytest.mark.parametrize(
    "trick", ["umount", *(pytest.param(each, marks=pytest.mark.variant) for each in [*HIDE][1:])]
)
def test_what_is_done_to_its_path_inside(hub: Hub, launch: Launch, daemon: StartDaemon, trick: str) -> None:
    container = launch("c1")
    running = daemon(TO_ONE)
    node = arrives(container, hub.plug(phone := Phone("AAA1")))
    with handle(container, node) as found:
        # The daemon is away meanwhile, and has to find out without having seen it.
        running.kill()
        for line in HIDE[trick]:
            done = container.run("sh", "-c", line.format(node=node))
            assert done.code == 0, done.output
        running.write_rules(NOTHING)
        running.start()
        eventually(lambda: not entries(container), DEADLINE, pause=0.05)
        is_shut(found)
        hub.unplug(phone)
    # The server may leave in place what was mounted over.
    assert "could not be sealed" not in running.log()
