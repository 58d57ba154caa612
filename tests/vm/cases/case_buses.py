"""Two USB controllers, of which the kernel finds now the one and now the other first: places stay."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from hotplugd.host.sysfs import usb_controllers
from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.wait import eventually
from tests.support.phones import Cable, Hub
from tests.support.phones.containers import DEADLINE, tty_number
from tests.vm.machine import Machine, Serial
from tests.vm.protocol import CONTROLLER

Launch = Callable[..., Container]
Number = Callable[[str], None]

VIRTUAL, REAL = "vhci_hcd.0", f"0000:00:{CONTROLLER:02x}.0"
_DRIVERS = {VIRTUAL: "platform/drivers/vhci_hcd", REAL: "pci/drivers/xhci_hcd"}
LAB = "/dev/ttyLab"


def rules(key: str, virtual: str, real: str) -> str:
    """The same cable twice, told apart by where it is plugged in."""
    return f"""
        rules:
          - name: virtual
            match: {{subsystem: tty, id: "0403:6001", {key}: "{virtual}"}}
            attach: {{to: lab-a, path: {LAB}}}
          - name: real
            match: {{subsystem: tty, id: "0403:6001", {key}: "{real}"}}
            attach: {{to: lab-b, path: {LAB}}}
    """


def _number_from(first: str) -> None:
    for name, driver in _DRIVERS.items():
        with suppress(OSError):  # it is unbound already
            Path("/sys/bus", driver, "unbind").write_text(name)
    for name in sorted(_DRIVERS, key=lambda each: each != first):
        Path("/sys/bus", _DRIVERS[name], "bind").write_text(name)


@pytest.fixture
def number_from(udevd: None) -> Iterator[Number]:
    """Has the kernel find the controllers anew, this one first."""
    yield _number_from
    _number_from(VIRTUAL)


def bus_of(controller: str) -> str:
    """The number of its first bus."""
    return min((bus for bus, path in usb_controllers().items() if path.endswith(f"/{controller}")), key=int)


def real_number(cable: Serial) -> str:
    number = os.stat(cable.node).st_rdev
    return f"c {os.major(number)}:{os.minor(number)}"


def has(container: Container, number: str) -> bool:
    seen = container.look(LAB)
    return seen is not None and seen.number == number


def test_a_path_stays_with_its_controller_and_a_port_is_warned_about(
    number_from: Number, hub: Hub, machine: Machine, launch: Launch, daemon: StartDaemon
) -> None:
    lab_a, lab_b = launch("lab-a"), launch("lab-b")
    virtual, real = Cable(None), Serial(machine)
    number_from(VIRTUAL)
    before = bus_of(VIRTUAL), bus_of(REAL)
    running = daemon(rules("port", f"{before[0]}-1", f"{before[1]}-1"))

    told = running.ask("check").stderr
    count = len(set(usb_controllers().values()))
    assert (
        told.count(f"and this host has {count} USB controllers, which may be numbered otherwise after a boot")
        == 2
    )
    paths = f"platform-{VIRTUAL}-usb-0:1:*", f"pci-{REAL}-usb-0:1:*"
    assert all(f'such as "{path}"' in told for path in paths)
    port = hub.plug(virtual, 0)
    real.plug()
    eventually(lambda: has(lab_a, tty_number(port)) and has(lab_b, real_number(real)), DEADLINE, pause=0.1)
    explained = json.loads(running.ask("explain", "--json", real.node).stdout)
    (warning,) = explained["warnings"]
    assert f'"pci-{REAL}-usbv2-0:1:1.0"' in warning
    hub.unplug(virtual)

    running.write_rules(rules("path", *paths))
    running.reload()
    assert running.ask("check").stderr == ""
    for first in (REAL, VIRTUAL):
        number_from(first)
        assert (bus_of(VIRTUAL), bus_of(REAL)) == (before if first == VIRTUAL else before[::-1])
        number = tty_number(hub.plug(virtual, 0))
        eventually(partial(has, lab_a, number), DEADLINE, pause=0.1)
        eventually(lambda: has(lab_b, real_number(real)), DEADLINE, pause=0.1)
        assert json.loads(running.ask("explain", "--json", real.node).stdout)["warnings"] == []
        hub.unplug(virtual)
        eventually(lambda: lab_a.look(LAB) is None, DEADLINE, pause=0.1)
