"""The daemon and the server are killed in the middle of it, again and again; in the end all is right."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually
from tests.support.phones import Hub, Phone
from tests.support.phones.containers import DEADLINE, node_of, usb_nodes

Launch = Callable[..., Container]

RULES = """
rules:
  - name: phones
    match: {vendor_id: 18d1, serial: "*"}
    attach: {to: "box-{serial}"}
"""
SERIALS = ("a", "b", "c")


def right(hub: Hub, homes: dict[str, Container], ports: dict[str, str]) -> bool:
    """Whether each container has its own phone where that is plugged in, and nothing else of ours."""
    for serial, home in homes.items():
        expected = {node_of(ports[serial])} if serial in ports else set()
        assert usb_nodes(home) == expected, f"{home}: expected {expected}, and found {usb_nodes(home)}"
        ours = [name for name in home.devices if name.startswith("hp-")]
        assert len(ours) == len(expected), f"{home} has {ours}"
    return True


@pytest.mark.crashes
@pytest.mark.timeout(540)
def test_killed_in_a_storm(hub: Hub, server: Server, launch: Launch, daemon: StartDaemon) -> None:
    homes = {serial: launch(f"box-{serial}") for serial in SERIALS}
    phones = {serial: Phone(serial) for serial in SERIALS}
    ports: dict[str, str] = {}
    running = daemon(RULES)
    dice = random.Random(20)
    for round_ in range(20):
        for _ in range(dice.randint(2, 6)):
            serial = dice.choice(SERIALS)
            if serial in ports:
                hub.unplug(phones[serial])
                del ports[serial]
            else:
                ports[serial] = hub.plug(phones[serial])
        running.kill()
        if round_ % 5 == 4:
            server.kill()
            server.start()
        running.spawn()
        # Every other one is killed before it is ready; the last one lives.
        if round_ % 2:
            running.wait_for("READY=1")
    eventually(lambda: right(hub, homes, ports), DEADLINE, pause=0.1)
    for serial in list(ports):
        hub.unplug(phones[serial])
    eventually(lambda: right(hub, homes, {}), DEADLINE, pause=0.1)
    assert running.status()["problems"] == []
