"""PCI devices into virtual machines of a server, as their QEMUs see them. The guest needs an IOMMU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.daemon import Daemon
from tests.support.lab.server import Server
from tests.vm.instances import VirtualMachine, import_image, problems, server_on_disk, soon
from tests.vm.machine import Display, Hardware, Machine, PciAdapter

_MAC = "52:54:00:00:00:01"
_ONLY_AT_START = "can give it a gpu only while it does not"


def rules(match: str, attach: str) -> str:
    return f"rules:\n  - name: one\n    match: {match}\n    attach: {attach}\n"


INTERFACE = rules(f"{{subsystem: net, mac: '{_MAC}'}}", "{to: v1}")
CARD = rules("{subsystem: drm, kernel: 'card*'}", "{to: v1, as: gpu, force: true}")
NONE = "rules: []\n"


@pytest.fixture(scope="session")
def server(root: None, udevd: None) -> Iterator[Server]:
    with server_on_disk() as started:
        yield started


@pytest.fixture
def v1(server: Server, log: None) -> Iterator[VirtualMachine]:
    """One that runs."""
    one = VirtualMachine(server, "v1", import_image(server))
    one.start()
    yield one
    one.delete()


def address(hardware: Hardware) -> str:
    place = hardware.place
    assert place is not None
    return place.name


def driver(hardware: Hardware) -> str:
    """The host's, of the PCI device; empty where it has none."""
    place = hardware.place
    link = place / "driver" if place is not None else None
    return link.readlink().name if link is not None and link.is_symlink() else ""


def has(machine: VirtualMachine, *addresses: str) -> bool:
    """Whether these are what the virtual machine has: by entry, and in its QEMU."""
    found = machine.passed_through()
    assert found == list(addresses), (found, list(machine.ours().values()))
    return len(machine.ours()) == len(addresses)


def apply(daemon: Daemon, text: str) -> None:
    daemon.write_rules(text)
    daemon.reload()


def is_settled(daemon: Daemon) -> bool:
    """Whether nothing is wrong, and nothing more is asked for by a daemon that begins anew."""
    assert problems(daemon.status()) == []
    before = daemon.changes()
    daemon.kill()
    daemon.start()
    soon(lambda: daemon.status()["attachments"])
    assert problems(daemon.status()) == []
    return daemon.changes() == before


def test_an_interface_goes_into_one_that_runs(
    machine: Machine, daemon: StartDaemon, v1: VirtualMachine
) -> None:
    one, adapter = daemon(INTERFACE), PciAdapter(machine, 1, _MAC)
    adapter.plug()
    where = address(adapter)
    soon(lambda: has(v1, where))
    assert driver(adapter) == "vfio-pci"
    assert is_settled(one)
    apply(one, NONE)
    soon(lambda: has(v1) and adapter.interface)
    apply(one, INTERFACE)
    soon(lambda: has(v1, where))
    v1.stop()
    soon(lambda: adapter.interface)
    v1.start()
    soon(lambda: has(v1, where))
    assert is_settled(one)
    # What was there when it started an operating system inside would have to let go; there is none.
    v1.stop()
    apply(one, NONE)
    soon(lambda: not v1.ours() and adapter.interface)
    assert problems(one.status()) == []


def test_a_pci_device_goes_into_one_that_runs(
    machine: Machine, daemon: StartDaemon, v1: VirtualMachine
) -> None:
    adapter = PciAdapter(machine, 2, _MAC)
    adapter.plug()
    where = address(adapter)
    one = daemon(rules(f"{{subsystem: pci, kernel: '{where}', driver: e1000e}}", "{to: v1, as: pci}"))
    soon(lambda: has(v1, where))
    assert is_settled(one)
    apply(one, NONE)
    soon(lambda: has(v1) and driver(adapter) == "e1000e")
    assert problems(one.status()) == []


def test_a_gpu_goes_in_at_the_start(machine: Machine, daemon: StartDaemon, v1: VirtualMachine) -> None:
    one, display = daemon(CARD), Display(machine, 3)
    display.plug()
    soon(lambda: any(_ONLY_AT_START in each for each in problems(one.status())))
    assert not v1.ours()
    v1.stop()
    soon(v1.ours)
    assert problems(one.status()) == []
    v1.start()
    soon(lambda: has(v1, display.address))
    assert not display.find("drm/card*")
    assert is_settled(one)
    # Its server would refuse to take it out.
    apply(one, NONE)
    soon(lambda: any("only while it does not; stop it" in each for each in problems(one.status())))
    assert has(v1, display.address)
    v1.stop()
    soon(lambda: not v1.ours() and display.find("drm/card*"))
    assert problems(one.status()) == []
    refused = [each for each in one.changes() if "refused" in str(each)]
    assert refused == []
