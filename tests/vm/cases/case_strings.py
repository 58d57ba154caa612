"""What phones say of themselves: nothing, the same as others, or something nasty."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.udevd import settle
from tests.support.phones import Hub, Phone
from tests.support.phones.containers import arrives, leaves, node_of, usb_nodes

Launch = Callable[..., Container]

BY_PORT = """
rules:
  - name: left
    match: {vendor_id: 18d1, port: "1-3"}
    attach: {to: c1}
  - name: right
    match: {vendor_id: 18d1, port: "1-5"}
    attach: {to: c2}
"""
TEMPLATE = """
rules:
  - name: phones
    match: {vendor_id: 18d1, interface: "ff:42:01"}
    attach: {to: "box-{serial}"}
"""

# As the kernel has them: udevd's usb_id makes underscores of what is no plain character, and ignores a serial
# in which anything is no printable ASCII, as Windows does.
IN_A_RULE = {"é": "é", "A B": "A B", "../../etc": "../../etc", "A\nB\x1b[2J": "A?B?[[]2J"}


def test_those_without_a_serial_of_their_own_are_told_apart_by_port(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    left, right = launch("c1"), launch("c2")
    running = daemon(BY_PORT)
    for serial in (None, "", "0123456789ABCDEF"):
        phones = [Phone(serial), Phone(serial)]
        ports = [hub.plug(phone, port) for phone, port in zip(phones, (2, 4), strict=True)]
        nodes = [arrives(home, port) for home, port in zip((left, right), ports, strict=True)]
        assert [usb_nodes(left), usb_nodes(right)] == [{node} for node in nodes]
        assert running.status()["problems"] == []
        for phone, home, node in zip(phones, (left, right), nodes, strict=True):
            hub.unplug(phone)
            leaves(home, node)


def test_a_serial_that_names_no_container_is_a_problem_that_can_be_read(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    homes = [launch("box-a"), launch("box-b")]
    running = daemon(TEMPLATE)
    nasty = ("é", "A B", "../../etc", "A\nB\x1b[2J", "A\u202eB", "\udc00", "x" * 126)
    ports = [hub.plug(Phone(serial)) for serial in nasty]
    nodes = [node_of(port) for port in ports]
    arrives(homes[0], hub.plug(Phone("a")))
    settle()
    problems = str(running.status()["problems"])
    assert [node for node in nodes if node not in problems] == []
    assert problems.isprintable()
    assert [len(usb_nodes(home)) for home in homes] == [1, 0]
    assert "Traceback" not in running.log()
    assert "\x1b" not in running.log()


def test_a_rule_can_name_a_nasty_serial(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    home, other = launch("c1"), launch("c2")
    rules = [
        f"  - {{name: '{at}', match: {{serial: '{each}'}}, attach: {{to: c1}}}}"
        for at, each in enumerate(IN_A_RULE.values())
    ]
    running = daemon("rules:\n" + "\n".join(rules))
    nodes = {arrives(home, hub.plug(Phone(serial))) for serial in IN_A_RULE}
    node_of(hub.plug(Phone("../../other")))
    settle()
    assert usb_nodes(home) == nodes
    assert usb_nodes(other) == set()
    assert running.status()["problems"] == []
