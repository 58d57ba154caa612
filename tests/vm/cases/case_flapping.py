"""Phones that come and go all the time, on a real bus."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, cast

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.commands import Commands
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually
from tests.support.phones import Hub, Mode, Phone
from tests.support.phones.containers import DEADLINE, arrives, leaves, usb_nodes

Launch = Callable[..., Container]

# Each takes more than a second here.
_MOST: Final = 8
_RULES: Final = """
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


@pytest.mark.variant
def test_a_device_that_says_another_serial_each_time_is_held_off_at_its_port(
    hub: Hub, launch: Launch, server: Server, commands: Commands
) -> None:
    bad, good = launch("c1"), launch("c2")
    with Daemon(server.socket, _RULES, more=f"most_plugs: {_MOST}\n", commands=commands) as running:
        for number in range(_MOST):
            phone = Phone(f"EVIL{number:04}")
            port = hub.plug(phone, 0)
            node = arrives(bad, port)
            hub.unplug(phone)
            leaves(bad, node)
        # This one stays, and does not get in before it was calm; others do at once.
        last = Phone("EVILLAST")
        port = hub.plug(last, 0)
        (problem,) = eventually(lambda: _problems(running), DEADLINE)
        assert f"serial:EVILLAST at port {port} was plugged in {_MOST + 1} times" in problem
        arrives(good, hub.plug(Phone("HONEST"), 1))
        assert usb_nodes(bad) == set()
        node = arrives(bad, port)
        eventually(lambda: not _problems(running), DEADLINE)
        hub.unplug(last)
        leaves(bad, node)
        said = [line for line in running.log().splitlines() if "was plugged in" in line]
        assert ['"device.problem"' in line for line in said] == [True, False]
        assert '"problem.over"' in said[1]


@pytest.mark.variant
def test_a_phone_that_is_flashed_is_not_held_off(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    home = launch("c1")
    running = daemon(_RULES)
    phone = Phone("AAA1")
    arrives(home, hub.plug(phone))
    for mode in (Mode.FASTBOOT, Mode.ADB, Mode.MTP, Mode.MTP_ADB) * 3:
        before = usb_nodes(home)
        phone.switch(mode)
        eventually(partial(_is_another, home, before), DEADLINE, pause=0.05)
    assert _problems(running) == []


def _is_another(home: Container, before: set[str]) -> bool:
    """Whether its next enumeration is inside, alone."""
    now = usb_nodes(home)
    return len(now) == 1 and now != before
