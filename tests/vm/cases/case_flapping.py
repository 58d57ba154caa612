"""Phones that come and go all the time, on a real bus."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from tests.conftest import StartDaemon
from tests.lab.container import Container
from tests.lab.daemon import Daemon
from tests.lab.wait import eventually
from tests.phones import Hub, Mode, Phone
from tests.phones.containers import DEADLINE, arrives, leaves, node_of, usb_nodes
from tests.phones.hub import syspath

Launch = Callable[..., Container]

_RULES = """
rules:
  - name: honest
    match: {serial: HONEST}
    attach: {to: c2}
  - name: phones
    match: {vendor_id: 18d1}
    attach: {to: c1}
"""


def _problems(daemon: Daemon) -> list[str]:
    return [str(each["message"]) for each in cast("list[dict[str, object]]", daemon.status()["problems"])]


def _flap(hub: Hub, number: int) -> str:
    """Another phone by what it says, in the same socket."""
    phone = Phone(f"EVIL{number:04}")
    port = hub.plug(phone, 0)
    eventually((syspath(port) / "devnum").exists, DEADLINE)
    hub.unplug(phone)
    return port


def test_a_device_that_says_another_serial_each_time_is_held_off_at_its_port(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    bad, good = launch("c1"), launch("c2")
    running = daemon(_RULES)
    port = [_flap(hub, number) for number in range(45)][-1]
    (problem,) = eventually(lambda: _problems(running), DEADLINE)
    assert f"at port {port} was plugged in" in problem
    # It is there now, and does not get in before it was calm; others do at once.
    last, honest = Phone("EVILLAST"), Phone("HONEST")
    hub.plug(last, 0)
    arrives(good, hub.plug(honest, 1))
    assert usb_nodes(bad) == set()
    arrives(bad, port)
    eventually(lambda: not _problems(running), DEADLINE)
    node = node_of(port)
    hub.unplug(last)
    leaves(bad, node)
    assert running.log().count("was plugged in") == 1


def test_a_phone_that_is_flashed_is_not_held_off(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    home = launch("c1")
    running = daemon(_RULES)
    phone = Phone("AAA1")
    port = hub.plug(phone)
    arrives(home, port)
    for mode in (Mode.FASTBOOT, Mode.ADB, Mode.MTP, Mode.MTP_ADB) * 3:
        before = node_of(port)
        phone.switch(mode)
        eventually(lambda: node_of(port) != before, DEADLINE)  # noqa: B023
        arrives(home, port)
    assert _problems(running) == []
