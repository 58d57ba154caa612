"""USB devices into virtual machines of a server, as their QEMUs see them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, cast

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Veth
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually
from tests.support.phones import Hub, Mode, Phone
from tests.vm.instances import VirtualMachine, import_image, problems, server_on_disk, soon

_ROUNDS: Final = 3
_LATEST: Final = 10.0
"""How long a node may be open in QEMU after its entry is gone, in seconds, in an emulated machine."""


def rules(first: str, second: str) -> str:
    return f"""
rules:
  - name: first
    match: {{id: "18d1:*", property: {{ID_SERIAL_SHORT: AAA1}}}}
    attach: {{to: {first}}}
  - name: second
    match: {{id: "18d1:*", property: {{ID_SERIAL_SHORT: BBB2}}}}
    attach: {{to: {second}}}
"""


@pytest.fixture(scope="session")
def server(root: None, udevd: None) -> Iterator[Server]:
    with server_on_disk() as started:
        yield started


@pytest.fixture(scope="session")
def machines(server: Server, log: None) -> tuple[VirtualMachine, VirtualMachine]:
    """Two that run."""
    image = import_image(server)
    both = VirtualMachine(server, "v1", image), VirtualMachine(server, "v2", image)
    for each in both:
        each.start()
    return both


@pytest.fixture
def v1(machines: tuple[VirtualMachine, VirtualMachine]) -> VirtualMachine:
    return machines[0]


@pytest.fixture
def v2(machines: tuple[VirtualMachine, VirtualMachine]) -> VirtualMachine:
    return machines[1]


@pytest.fixture
def daemon(daemon: StartDaemon, machines: tuple[VirtualMachine, VirtualMachine]) -> Iterator[StartDaemon]:
    """Of what it has put in nothing stays."""
    started: list[Daemon] = []

    def start(text: str) -> Daemon:
        started.append(daemon(text))
        return started[-1]

    yield cast("StartDaemon", start)
    for each in started:
        each.write_rules("rules: []\n")
        each.reload()
    soon(lambda: not any(each.ours() or each.open_nodes() for each in machines))


def has(machine: VirtualMachine, *serials: str) -> bool:
    """Whether these are what the virtual machine has: by entry, and open in its QEMU."""
    found = machine.serials()
    assert found == list(serials), (found, list(machine.ours().values()))
    return len(machine.ours()) == len(serials)


def test_a_phone_comes_and_goes(hub: Hub, daemon: StartDaemon, v1: VirtualMachine) -> None:
    one, phone = daemon(rules("v1", "v2")), Phone("AAA1")
    for anew in (False, True):
        hub.plug(phone)
        soon(lambda: has(v1, "AAA1"))
        soon(lambda: len(v1.attached()) == 1)
        if anew:
            before = one.changes()
            one.kill()
            one.start()
            soon(lambda: one.status()["attachments"])
            assert one.changes() == before
            assert has(v1, "AAA1")
        status = one.status()
        assert problems(status) == []
        (attached,) = cast("list[dict[str, object]]", status["attachments"])
        assert attached["verified"] is None
        hub.unplug(phone)
        soon(lambda: has(v1))
        soon(lambda: v1.attached() == [])
    assert problems(one.status()) == []


def test_one_that_an_entry_names_by_its_serial_number_stays_when_it_is_pulled(
    hub: Hub, v1: VirtualMachine
) -> None:
    """Why entries of ours do not: the server hears of an unplug without the serial number."""
    phone = Phone("CCC3")
    hub.plug(phone)
    soon(lambda: "CCC3" in enumerated())
    v1.patch({"devices": {"theirs": {"type": "usb", "serial": "CCC3", "required": "false"}}})
    soon(lambda: v1.serials() == ["CCC3"])
    hub.unplug(phone)
    soon(lambda: v1.serials() == ["gone"])
    v1.remove_device("theirs")
    left = v1.open_nodes()
    v1.restart()
    assert left


def test_each_of_two_has_its_own(
    hub: Hub, daemon: StartDaemon, v1: VirtualMachine, v2: VirtualMachine
) -> None:
    one = daemon(rules("v1", "v2"))
    first, second = Phone("AAA1"), Phone("BBB2")
    hub.plug(first)
    hub.plug(second)
    soon(lambda: has(v1, "AAA1") and has(v2, "BBB2"))
    # It comes back on the same port, with another number.
    before = v1.open_nodes()
    first.switch(Mode.MTP_ADB)
    soon(lambda: v1.open_nodes() != before and has(v1, "AAA1"))
    one.write_rules(rules("v2", "v1"))
    one.reload()
    soon(lambda: has(v1, "BBB2") and has(v2, "AAA1"))
    assert problems(one.status()) == []


STAGES: dict[str, Callable[[VirtualMachine], object]] = {
    "it is on the bus": lambda _: "AAA1" in enumerated(),
    "it has an entry": lambda machine: machine.ours(),
    "its node is open": lambda machine: machine.open_nodes(),
    "QEMU says that it has it": lambda machine: machine.attached(),
}


@pytest.mark.variant
@pytest.mark.parametrize("stage", STAGES.values(), ids=list(STAGES))
def test_one_that_is_pulled_as_it_goes_in_leaves_no_descriptor(
    hub: Hub, daemon: StartDaemon, v1: VirtualMachine, stage: Callable[[VirtualMachine], object]
) -> None:
    """What is open without an entry is another's node once its number comes again."""
    one, phone = daemon(rules("v1", "v2")), Phone("AAA1")
    for _ in range(_ROUNDS):
        hub.plug(phone)
        soon(lambda: stage(v1))
        hub.unplug(phone)
        soon(lambda: not v1.ours())
        eventually(lambda: not v1.open_nodes(), _LATEST, pause=0.05)
    assert problems(one.status()) == []


def test_what_is_plugged_and_pulled_while_it_is_off(
    hub: Hub, daemon: StartDaemon, v1: VirtualMachine
) -> None:
    one, phone = daemon(rules("v1", "v2")), Phone("AAA1")
    hub.plug(phone)
    soon(lambda: has(v1, "AAA1"))
    v1.restart()
    soon(lambda: has(v1, "AAA1"))
    v1.stop()
    hub.unplug(phone)
    soon(lambda: not v1.ours())
    hub.plug(phone)
    soon(lambda: len(v1.ours()) == 1)
    v1.start()
    soon(lambda: has(v1, "AAA1"))
    assert problems(one.status()) == []


def test_what_is_plugged_and_pulled_while_it_is_paused(
    hub: Hub, daemon: StartDaemon, v1: VirtualMachine
) -> None:
    one, phone = daemon(rules("v1", "v2")), Phone("AAA1")
    v1.freeze()
    try:
        hub.plug(phone)
        soon(lambda: has(v1, "AAA1"))
        hub.unplug(phone)
        soon(lambda: not v1.ours())
        soon(lambda: v1.attached() == [])
    finally:
        v1.unfreeze()
    # QEMU before 9.1 keeps a descriptor that was taken back while it was paused until a monitor of its ends.
    soon(lambda: v1.attached() == [] and has(v1))
    hub.plug(phone)
    soon(lambda: has(v1, "AAA1"))
    assert problems(one.status()) == []


def enumerated() -> str:
    """The serial numbers of all USB devices of the host."""
    return "".join(each.read_text() for each in Path("/sys/bus/usb/devices").glob("*/serial"))


def bus_again() -> None:
    """The bus is made anew: numbers begin again."""
    subprocess.run(["modprobe", "-r", "vhci_hcd"], check=True)
    subprocess.run(["modprobe", "vhci_hcd"], check=True)


def test_a_number_that_is_another_phones_by_now(
    daemon: StartDaemon, v1: VirtualMachine, v2: VirtualMachine
) -> None:
    bus_again()
    one = daemon(rules("v1", "v2"))
    with Hub() as hub:
        first = Phone("AAA1")
        hub.plug(first)
        soon(lambda: has(v1, "AAA1"))
        one.kill()
        hub.unplug(first)
        soon(lambda: not v1.attached())
    bus_again()
    with Hub() as hub:
        hub.plug(Phone("BBB2"))
        # The server gives it to whoever has an entry of its numbers, and nobody is there to prevent it.
        soon(lambda: v1.serials() == ["BBB2"])
        one.start()
        soon(lambda: has(v1) and has(v2, "BBB2"))
        assert problems(one.status()) == []
        one.write_rules("rules: []\n")
        one.reload()
        soon(lambda: not v2.ours())


def test_a_made_up_interface_is_not_asked_for(veth: Veth, daemon: StartDaemon, v1: VirtualMachine) -> None:
    one = daemon(f"""
        rules:
          - name: net
            match: {{subsystem: net, kernel: {veth.name}}}
            attach: {{to: v1}}
    """)
    veth.plug()
    soon(lambda: any("no veth, dummy, VLAN" in each for each in problems(one.status())))
    assert {each["event"] for each in one.changes()} == {"device.problem"}
    assert not v1.ours()


@pytest.mark.variant
def test_a_number_that_it_had_before_is_given_to_it_without_an_entry(
    daemon: StartDaemon, v1: VirtualMachine
) -> None:
    """By the server, which listens for what an entry named for good: see docs/explanation/limits.md."""
    bus_again()
    one = daemon(rules("v1", "v2"))
    with Hub() as hub:
        first = Phone("AAA1")
        hub.plug(first)
        soon(lambda: has(v1, "AAA1"))
        (entry,) = v1.ours().values()
        assert (entry["vendorid"], entry["productid"]) == ("18d1", "4ee7")
        hub.unplug(first)
        soon(lambda: has(v1))
    bus_again()
    with Hub() as hub:
        # No rule takes it.
        hub.plug(Phone("DDD4"))
        soon(lambda: v1.serials() == ["DDD4"])
        assert not v1.ours()
        assert one.status()["attachments"] == []
    soon(lambda: not v1.open_nodes())
