"""Devices that hide what they are: from udev, which says less than the kernel, and from their class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.wait import eventually
from tests.support.phones import Hub, Phone, Stranger
from tests.support.phones.containers import DEADLINE, arrives, node_of, usb_nodes
from tests.support.phones.hub import syspath
from tests.support.phones.stranger import ADB, HIDDEN, TOO_MUCH, configuration, interface
from tests.vm.variants import variants

Launch = Callable[..., Container]
Json = dict[str, Any]

NO_KEYBOARDS = """
rules:
  - name: phones
    match: {interface: "ff:42:01", not: {interface: "03:*"}}
    attach: {to: c1}
"""
ALL = """
rules:
  - name: all
    match: {serial: AAA1}
    attach: {to: c1}
  - name: phones
    match: {vendor_id: 18d1}
    attach: {to: c1}
"""


def explained(daemon: Daemon, node: str) -> Json:
    told = daemon.ask("explain", "--json", node)
    assert told.returncode in (0, 1), told.stderr
    return cast("Json", json.loads(told.stdout))


def stays_out(hub: Hub, home: Container, stranger: Stranger) -> str:
    """The node of the stranger, which is not inside when one that was plugged after it is."""
    port = hub.plug(stranger)
    node = node_of(port)
    assert arrives(home, hub.plug(Phone("HONEST"))) in usb_nodes(home)
    assert node not in usb_nodes(home)
    return node


@pytest.mark.parametrize("configurations", variants(((each,) for each in HIDDEN.values()), 2), ids=HIDDEN)
def test_a_keyboard_that_udev_does_not_see(
    hub: Hub, launch: Launch, daemon: StartDaemon, configurations: tuple[bytes, ...]
) -> None:
    home = launch("c1")
    running = daemon(NO_KEYBOARDS)
    node = stays_out(hub, home, Stranger(configurations))
    told = explained(running, node)
    assert told["rules"][0]["failed"] is not None
    assert "03:01:01" in told["interface"]


def test_one_of_which_the_kernel_does_not_show_all(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    home = launch("c1")
    running = daemon(NO_KEYBOARDS)
    stays_out(hub, home, stranger := Stranger(TOO_MUCH))
    (problem,) = cast("list[Json]", running.status()["problems"])
    assert "may hide interfaces" in str(problem["message"])
    hub.unplug(stranger)
    running.write_rules(NO_KEYBOARDS.replace("to: c1", "to: c1, force: true"))
    running.reload()
    arrives(home, hub.plug(stranger))


@pytest.mark.parametrize(
    "triple", variants((each,) for each in ((9, 1, 0), (9, 0, 0), (9, 2, 1), (9, 0xFF, 0xFF)))
)
def test_a_hub_by_any_interface_of_its_class(
    hub: Hub, launch: Launch, daemon: StartDaemon, triple: tuple[int, int, int]
) -> None:
    home = launch("c1")
    running = daemon(ALL)
    node = stays_out(hub, home, Stranger((configuration([interface(ADB), interface(triple, 1)], 2),)))
    (problem,) = explained(running, node)["problems"]
    assert "it is a USB hub" in str(problem["message"])


def _hub_requests(setup: bytes, _: bytes, length: int) -> bytes | None:
    """What a hub of four ports answers, all of them without power (USB 2.0, 11.24)."""
    if setup[0] & 0x80 and setup[1] == 6:
        return bytes((9, 0x29, 4, 0, 0, 50, 0, 0, 0xFF))[:length]
    return bytes(4)[:length] if setup[0] & 0x80 else b""


def test_a_hub_that_the_kernel_takes_by_its_ids(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    """No class says so: the kernel's list of hubs has this one's ids alone."""
    home = launch("c1")
    running = daemon(ALL)
    endpoint = bytes((7, 5, 0x81, 3, 1, 0, 12))
    vendors = bytes((9, 4, 0, 0, 1, 0xFF, 0, 0, 0)) + endpoint
    one = Stranger((configuration([vendors]),), vendor_id=0x04B4, product_id=0x6570, control=_hub_requests)
    port = hub.plug(one)
    node = node_of(port)
    eventually(lambda: Path(syspath(port), "maxchild").read_text() == "4\n", DEADLINE)
    assert arrives(home, hub.plug(Phone("HONEST")))
    eventually(lambda: node not in usb_nodes(home), DEADLINE)
    (problem,) = explained(running, node)["problems"]
    assert "it is a USB hub" in str(problem["message"])
