"""Phones that the server itself gives to others, by entries that are not hotplugd's."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually
from tests.support.phones import Hub, Phone
from tests.support.phones.containers import DEADLINE, arrives, leaves, node_of, usb_nodes

Launch = Callable[..., Container]

RULES = """
rules:
  - name: phones
    match: {vendor_id: 18d1}
    attach: {to: c1}
"""
FOREIGN = "its entry 'theirs', which is not ours"


def told(running: Daemon) -> list[str]:
    return [each["message"] for each in cast("list[dict[str, str]]", running.status()["problems"])]


def begins(running: Daemon, message: str) -> bool:
    return [each.startswith(message) for each in told(running)] == [True]


@pytest.mark.parametrize(
    "entry", [{"type": "usb"}, {"type": "usb", "vendorid": "18d1"}], ids=["all", "vendor"]
)
def test_one_that_is_attached_and_that_another_asks_the_server_for(
    hub: Hub, launch: Launch, daemon: StartDaemon, entry: dict[str, str]
) -> None:
    home, other = launch("c1"), launch("c2")
    running = daemon(RULES)
    node = arrives(home, hub.plug(Phone("AAA1")))
    other.patch({"devices": {"theirs": entry}})
    assert node in usb_nodes(other)
    eventually(lambda: begins(running, f"it is in c1, and c2 has it too, by {FOREIGN}"), DEADLINE)
    assert usb_nodes(home) == {node}
    other.remove_device("theirs")
    eventually(lambda: told(running) == [], DEADLINE)
    assert usb_nodes(other) == set()
    assert usb_nodes(home) == {node}


def test_one_that_the_server_gives_to_a_tenant_who_takes_all(
    hub: Hub, launch: Launch, server: Server, daemon: StartDaemon
) -> None:
    home = launch("c1")
    server.project("tenant")
    other = server.launch("c2", project="tenant", devices={"theirs": {"type": "usb"}})
    running = daemon(RULES)
    phone = Phone("AAA1")
    node = node_of(hub.plug(phone))
    eventually(lambda: node in usb_nodes(other), DEADLINE)
    eventually(lambda: begins(running, f"it belongs to tenant/c2 by {FOREIGN}"), DEADLINE)
    assert usb_nodes(home) == set()
    other.stop()
    eventually(lambda: usb_nodes(home) == {node}, DEADLINE)
    eventually(lambda: told(running) == [], DEADLINE)
    other.start()
    assert node in usb_nodes(other)
    eventually(lambda: begins(running, f"it is in c1, and tenant/c2 has it too, by {FOREIGN}"), DEADLINE)
    hub.unplug(phone)
    leaves(home, node)
    eventually(lambda: told(running) == [], DEADLINE)


def test_a_stopped_container_that_takes_all_keeps_nothing(
    hub: Hub, launch: Launch, server: Server, daemon: StartDaemon
) -> None:
    home = launch("c1")
    server.launch("c2", devices={"theirs": {"type": "usb"}}, start=False)
    running = daemon(RULES)
    arrives(home, hub.plug(Phone("AAA1")))
    assert told(running) == []


def test_unix_hotplug_takes_a_phones_own_node_too(
    hub: Hub, launch: Launch, server: Server, daemon: StartDaemon
) -> None:
    home = launch("c1")
    other = server.launch("c2", devices={"theirs": {"type": "unix-hotplug", "vendorid": "18d1"}})
    running = daemon(RULES)
    node = node_of(hub.plug(Phone("AAA1")))
    eventually(lambda: node in usb_nodes(other), DEADLINE)
    eventually(lambda: begins(running, f"it belongs to c2 by {FOREIGN}"), DEADLINE)
    assert usb_nodes(home) == set()
