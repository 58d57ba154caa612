"""Whatever starts, stops or happens first: in the end the phone is where the rule says."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually
from tests.support.phones import Hub, Phone
from tests.support.phones.containers import DEADLINE, arrives, leaves, node_of, once_it_is_free, usb_nodes

Launch = Callable[..., Container]

RULE = """
rules:
  - name: phone
    match: {serial: AAA1}
    attach: {to: c1}
"""


def test_plugged_before_the_daemon_starts(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    home = launch("c1")
    port = hub.plug(Phone("AAA1"))
    node_of(port)
    daemon(RULE)
    arrives(home, port)


def test_plugged_before_the_server_starts(
    hub: Hub, server: Server, launch: Launch, daemon: StartDaemon
) -> None:
    home = launch("c1")
    daemon(RULE)
    server.stop()
    try:
        port = hub.plug(Phone("AAA1"))
        node_of(port)
    finally:
        server.start()
    arrives(home, port)


def test_pulled_and_plugged_while_the_server_restarts(
    hub: Hub, server: Server, launch: Launch, daemon: StartDaemon
) -> None:
    home = launch("c1")
    daemon(RULE)
    phone = Phone("AAA1")
    before = arrives(home, hub.plug(phone))
    server.kill()
    try:
        hub.unplug(phone)
        port = hub.plug(phone)
        node_of(port)
    finally:
        server.start()
    after = arrives(home, port)
    eventually(lambda: usb_nodes(home) == {after}, DEADLINE)
    assert before != after


def test_plugged_while_the_container_is_stopped(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    home = launch("c1")
    daemon(RULE)
    home.stop()
    port = hub.plug(Phone("AAA1"))
    eventually(lambda: len(home.devices) == 2, DEADLINE)
    once_it_is_free(home.start)
    assert node_of(port) in usb_nodes(home), "expected it there as soon as the container runs"


def test_the_container_is_restarted_made_again_and_renamed(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    home = launch("c1")
    daemon(RULE)
    port = hub.plug(Phone("AAA1"))
    node = arrives(home, port)
    once_it_is_free(home.restart)
    arrives(home, port)
    once_it_is_free(home.delete)
    home = launch("c1")
    arrives(home, port)
    once_it_is_free(home.stop)
    once_it_is_free(lambda: home.rename("other"))
    once_it_is_free(home.start)
    leaves(home, node)
    arrives(launch("c1"), port)
