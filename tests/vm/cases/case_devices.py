"""Network adapters, display adapters and what belongs together, in containers by rule."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Zram
from tests.support.lab.mounts import elsewhere
from tests.support.lab.server import Server
from tests.support.lab.udevd import settle
from tests.support.lab.wait import eventually, steadily
from tests.support.phones.containers import once_it_is_free
from tests.vm.machine import (
    DEADLINE,
    Adapter,
    Disk,
    Display,
    Keyboard,
    Machine,
    PciAdapter,
    Renderer,
    Serial,
    UsbAdapter,
    VirtioAdapter,
)

Launch = Callable[..., Container]

MAC = "52:54:00:12:34:56"
ADAPTERS: dict[str, tuple[type[Adapter], int]] = {
    "PCI": (PciAdapter, 1),
    "virtio": (VirtioAdapter, 2),
    "USB": (UsbAdapter, 3),
}


def rule(match: str, attach: str) -> str:
    return f"rules:\n  - name: one\n    match: {match}\n    attach: {attach}\n"


def interfaces(container: Container) -> set[str]:
    return set(container.run("ls", "/sys/class/net").output.split()) - {"lo"}


def ours(container: Container) -> list[str]:
    return [name for name in container.devices if name.startswith("hp-")]


def nodes(container: Container, *starts: str) -> set[str]:
    return {path for path in container.nodes() if path.startswith(starts)}


def has(container: Container, path: str, source: str) -> bool:
    """Whether the container has the host's node at this path."""
    number = Path(source).stat().st_rdev
    seen = container.look(path)
    return seen is not None and os.makedev(seen.major, seen.minor) == number


def soon(check: Callable[[], object]) -> None:
    eventually(check, DEADLINE, pause=0.05)


def told(running: Daemon) -> str:
    return str(running.status()["problems"])


@pytest.fixture
def zram(udevd: None) -> Iterator[Zram]:
    with Zram() as disk:
        Path(disk.syspath, "disksize").write_text("16M")
        settle()
        yield disk


@pytest.mark.variant
def test_a_disk_that_is_made_part_of_another_is_noticed_within_five_minutes(
    server: Server, launch: Launch, zram: Zram
) -> None:
    container = launch("c1")
    container.stop()
    within = (sys.executable, "-m", "tests.support.lab.sooner", "5")
    text = rule(f"{{subsystem: block, kernel: {zram.name}}}", "{to: c1}")
    with Daemon(server.socket, text, within=within) as running:
        soon(lambda: ours(container))
        table = f"0 {(16 << 20) // 512} linear {zram.node} 0"
        subprocess.run(["dmsetup", "create", "lab", "--table", table], check=True)
        try:
            soon(lambda: f"{zram.name} is part of dm-" in told(running))
            soon(lambda: not ours(container))
        finally:
            subprocess.run(["dmsetup", "remove", "--retry", "lab"], check=True)
        soon(lambda: ours(container))


@pytest.mark.parametrize(("kind", "port"), ADAPTERS.values(), ids=ADAPTERS)
def test_an_adapter_goes_in_by_its_address_and_is_back_when_the_instance_stops(
    machine: Machine, launch: Launch, daemon: StartDaemon, kind: type[Adapter], port: int
) -> None:
    container = launch("c1")
    adapter = kind(machine, port, MAC)
    running = daemon(rule(f"{{subsystem: net, mac: '{MAC.upper()}'}}", "{to: c1, name: lan0}"))
    adapter.plug()
    soon(lambda: interfaces(container) == {"lan0"})
    assert container.run("cat", "/sys/class/net/lan0/address").output.strip() == MAC
    steadily(lambda: interfaces(container) == {"lan0"} and not adapter.interface, 5)
    assert told(running) == "[]"
    container.stop()
    soon(lambda: adapter.interface not in ("", "lan0"))
    once_it_is_free(container.start)
    soon(lambda: interfaces(container) == {"lan0"})
    running.write_rules(rule("{subsystem: net, mac: '00:00:00:00:00:01'}", "{to: c1}"))
    running.reload()
    soon(lambda: not interfaces(container) and adapter.interface)
    adapter.unplug()


@pytest.mark.parametrize("kind", [PciAdapter, UsbAdapter])
def test_one_that_is_pulled_while_it_is_inside_is_said_and_goes_in_again(
    machine: Machine, launch: Launch, daemon: StartDaemon, kind: type[Adapter]
) -> None:
    container = launch("c1")
    adapter = kind(machine, 3, MAC)
    running = daemon(rule(f"{{subsystem: net, mac: '{MAC}'}}", "{to: c1, name: lan0}"))
    adapter.plug()
    soon(lambda: interfaces(container) == {"lan0"})
    adapter.unplug()
    soon(lambda: "plug it in again, or stop c1 until the entry is gone" in told(running))
    soon(lambda: "plug it in again" in running.log())
    said = running.log()
    steadily(lambda: running.log() == said, 5)
    adapter.plug()
    soon(lambda: interfaces(container) == {"lan0"})
    soon(lambda: told(running) == "[]")
    assert container.run("cat", "/sys/class/net/lan0/address").output.strip() == MAC
    adapter.unplug()
    container.stop()
    soon(lambda: not ours(container))
    once_it_is_free(container.start)
    soon(lambda: told(running) == "[]")


def test_one_of_two_adapters_goes_in_and_the_hosts_own_stays(
    machine: Machine, launch: Launch, daemon: StartDaemon
) -> None:
    container = launch("c1")
    daemon(rule("{subsystem: net, mac: '52:54:00:00:00:0?'}", "{to: c1}"))
    mine, other = PciAdapter(machine, 1, "52:54:00:00:00:01"), PciAdapter(machine, 2, "52:54:00:00:00:10")
    other.plug()
    mine.plug()
    soon(lambda: len(interfaces(container)) == 1)
    assert other.interface
    assert not mine.interface


def test_a_disk_takes_its_partitions_along(machine: Machine, launch: Launch, daemon: StartDaemon) -> None:
    container = launch("c1")
    running = daemon(
        rule(
            "{subsystem: block, devtype: disk, serial: STICK1}",
            "{to: c1, with: [partition], link: '/dev/disk/by-id/usb-STICK1'}",
        )
    )
    stick = Disk(machine)
    stick.plug()
    soon(lambda: all(has(container, node, node) for node in stick.nodes))
    soon(lambda: container.run("readlink", "/dev/disk/by-id/usb-STICK1").output.strip() == stick.nodes[0])
    stick.unplug()
    soon(lambda: not nodes(container, "/dev/sd"))
    soon(lambda: not ours(container))
    assert told(running) == "[]"


def test_a_mounted_disk_is_kept_with_all_its_partitions(
    machine: Machine, launch: Launch, daemon: StartDaemon, tmp_path: Path
) -> None:
    container = launch("c1")
    stick = Disk(machine)
    stick.plug()
    part = stick.nodes[2]
    assert os.system(f"mkswap {part} && swapon {part}") == 0
    try:
        running = daemon(
            rule("{subsystem: block, devtype: disk, serial: STICK1}", "{to: c1, with: [partition]}")
        )
        assert "is swap space" in running.ask("explain", stick.nodes[0]).stdout
        assert "with which it would go, is kept" in running.ask("explain", stick.nodes[1]).stdout
        assert not ours(container)
    finally:
        os.system(f"swapoff {part}")


def test_a_stick_that_a_service_has_mounted_for_itself_is_kept_as_a_usb_device_too(
    machine: Machine, launch: Launch, daemon: StartDaemon, tmp_path: Path
) -> None:
    container = launch("c1")
    stick = Disk(machine)
    stick.plug()
    part = stick.nodes[1]
    subprocess.run(["mke2fs", "-q", "-F", part], check=True)
    with elsewhere("mount", part, str(tmp_path)) as pid:
        running = daemon(rule("{subsystem: usb, serial: STICK1}", "{to: c1}"))
        soon(lambda: f"is mounted by sh (process {pid})" in told(running))
        assert not nodes(container, "/dev/bus/usb")
        running.write_rules(rule("{subsystem: scsi_generic, serial: STICK1}", "{to: c1}"))
        running.reload()
        soon(lambda: f"is mounted by sh (process {pid})" in told(running))
        assert not nodes(container, "/dev/sg")
    assert not ours(container)


def test_a_stopped_instance_loses_the_usb_device_of_a_stick_that_the_host_mounts(
    machine: Machine, launch: Launch, daemon: StartDaemon, tmp_path: Path
) -> None:
    container = launch("c1")
    container.stop()
    stick = Disk(machine)
    stick.plug()
    part = stick.nodes[1]
    subprocess.run(["mke2fs", "-q", "-F", part], check=True)
    settle()
    running = daemon(rule("{subsystem: usb, serial: STICK1}", "{to: c1}"))
    soon(lambda: ours(container))
    subprocess.run(["mount", part, tmp_path], check=True)
    try:
        soon(lambda: not ours(container))
        assert f"is mounted on {tmp_path}" in told(running)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    soon(lambda: ours(container))


def test_a_cables_usb_device_takes_its_tty_along(
    machine: Machine, launch: Launch, daemon: StartDaemon
) -> None:
    container = launch("c1")
    item = "{match: {subsystem: tty}, path: /dev/ttyCable, link: '/dev/serial/by-id/{serial}.0'}"
    daemon(rule("{serial: CABLE1}", f"{{to: c1, with: [{item}]}}"))
    cable = Serial(machine, 4)
    cable.plug()
    soon(lambda: has(container, "/dev/ttyCable", cable.node))
    soon(lambda: len(nodes(container, "/dev/bus/usb")) == 1)
    soon(lambda: container.run("readlink", "/dev/serial/by-id/CABLE1.0").output.strip() == "/dev/ttyCable")
    cable.unplug()
    soon(lambda: not nodes(container, "/dev/bus/usb", "/dev/ttyCable"))


def test_a_keyboard_takes_along_what_is_named_and_an_earlier_rule_wins(
    machine: Machine, launch: Launch, daemon: StartDaemon
) -> None:
    first, second = launch("c1"), launch("c2")
    daemon(
        "rules:\n"
        "  - {name: raw, match: {subsystem: hidraw, serial: KEYS1}, attach: {to: c2}}\n"
        "  - {name: keys, match: {serial: KEYS1}, attach: {to: c1, with: [input, hidraw]}}\n"
    )
    keys = Keyboard(machine, 5)
    keys.plug()
    soon(lambda: has(first, keys.event, keys.event))
    soon(lambda: has(second, keys.hidraw, keys.hidraw))
    assert not nodes(first, "/dev/hidraw")
    keys.unplug()
    soon(lambda: not nodes(first, "/dev/input", "/dev/bus") | nodes(second, "/dev/hidraw"))


def test_a_gpu_goes_into_two_containers_with_both_its_nodes_and_comes_out(
    machine: Machine, launch: Launch, daemon: StartDaemon
) -> None:
    both = launch("c1"), launch("c2")
    renderer = Renderer()
    with closing(renderer):
        running = daemon(
            rule(
                f"{{subsystem: drm, parent: {{subsystem: pci, kernel: '{renderer.address}'}}}}",
                "{to: [c1, c2], mode: '0666', force: true}",
            )
        )
        for _ in range(2):
            renderer.plug()
            soon(lambda: all(has(each, node, node) for each in both for node in renderer.nodes))
            soon(lambda: [len(ours(each)) for each in both] == [1, 1])
            assert told(running) == "[]"
            renderer.unplug()
            soon(lambda: not any(nodes(each, "/dev/dri/") or ours(each) for each in both))


@pytest.mark.parametrize(("more", "kind", "count"), [("as: gpu, ", "gpu", 2), ("", "unix-char", 1)])
def test_a_gpu_that_is_announced_before_it_is_there_goes_in_and_out_by_its_card(
    machine: Machine, launch: Launch, daemon: StartDaemon, more: str, kind: str, count: int
) -> None:
    # virtio-gpu tells of a change of its card before the kernel has put that into sysfs.
    container = launch("c1")
    renderer = Renderer()
    with closing(renderer):
        running = daemon(rule("{subsystem: drm, kernel: 'card*'}", f"{{to: c1, {more}force: true}}"))
        for _ in range(3):
            renderer.plug()
            # Without `as` the card alone.
            there = set(renderer.nodes[:count])
            soon(lambda: nodes(container, "/dev/dri/") == there)  # noqa: B023
            assert all(has(container, node, node) for node in there)
            soon(lambda: len(ours(container)) == 1)
            steadily(lambda: len(ours(container)) == 1 and told(running) == "[]", 3)
            assert nodes(container, "/dev/dri/") == there
            (entry,) = (container.devices[each] for each in ours(container))
            assert entry["type"] == kind
            renderer.unplug()
            soon(lambda: not nodes(container, "/dev/dri/") and not ours(container))
            assert running.status()["attachments"] == []


def test_each_node_of_a_gpu_goes_in_as_its_own_rule_says(
    machine: Machine, launch: Launch, daemon: StartDaemon
) -> None:
    container = launch("c1")
    renderer = Renderer()
    with closing(renderer):
        running = daemon(
            "rules:\n"
            "  - name: card\n"
            "    match: {subsystem: drm, kernel: 'card*'}\n"
            "    attach: {to: c1, gid: 44, mode: '0660', force: true}\n"
            "  - name: render\n"
            "    match: {subsystem: drm, kernel: 'renderD*'}\n"
            "    attach: {to: c1, gid: 105, mode: '0666', force: true}\n"
        )
        renderer.plug()
        soon(lambda: all(has(container, node, node) for node in renderer.nodes))
        found = [container.look(node) for node in renderer.nodes]
        assert [(each.gid, each.mode) for each in found if each is not None] == [(44, 0o660), (105, 0o666)]
        assert told(running) == "[]"
        running.write_rules(rule("{subsystem: drm, kernel: 'renderD*'}", "{to: c1, force: true}"))
        running.reload()
        soon(lambda: nodes(container, "/dev/dri/") == {renderer.nodes[1]})
        renderer.unplug()
        soon(lambda: not nodes(container, "/dev/dri/") and not ours(container))


def test_a_headless_adapter_goes_in_by_its_pci_device(
    machine: Machine, launch: Launch, daemon: StartDaemon
) -> None:
    container = launch("c1")
    display = Display(machine)
    daemon(rule("{subsystem: pci, property: {PCI_CLASS: '38000|30000'}}", "{to: c1, as: gpu, force: true}"))
    display.plug()
    soon(lambda: has(container, display.node, display.node))
    display.unplug()
    soon(lambda: not ours(container))


def test_the_one_that_the_console_is_on_is_kept(
    machine: Machine, launch: Launch, daemon: StartDaemon
) -> None:
    container = launch("c1")
    display = Display(machine)
    running = daemon(rule("{subsystem: drm, kernel: 'card*'}", "{to: c1}"))
    display.plug()
    soon(lambda: display.find("graphics/fb*"))
    soon(lambda: "the console is on it" in running.ask("explain", display.node).stdout)
    display.unplug()
    soon(lambda: not ours(container))
