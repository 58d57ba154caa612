"""Phones that go in before udevd has processed them: where a rule asks only for what is the kernel's."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.udevd import SLOTS, process, settle
from tests.support.lab.wait import eventually, steadily
from tests.support.phones import Hub, Phone
from tests.support.phones.containers import DEADLINE, arrives, leaves, node_of, usb_nodes
from tests.support.phones.hub import syspath

Launch = Callable[..., Container]

RULES = """
pools: {android: {instances: c2, per_instance: 1, keep: 60s}}
rules:
  - name: one
    match: {serial: R5C1}
    attach: {to: c1, mode: "0660"}
  - name: two
    match: {serial: R5C2, interface: "ff:42:*"}
    attach: {to: c2, mode: "0660"}
  - name: waits
    match: {serial: R5C3, property: {ID_MODEL: "*"}}
    attach: {to: c1, mode: "0660"}
  - name: pool
    match: {serial: R5C4}
    attach: {pool: android, mode: "0660"}
"""
# A udev rule that says of each phone that it is another.
HOSTILE = (
    'SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device", ENV{ID_SERIAL_SHORT}="R5C9", ENV{ID_VENDOR_ID}="dead", '
    'ENV{ID_MODEL_ID}="beef", ENV{ID_USB_INTERFACES}=":030101:"\n'
)
RULE = Path("/run/udev/rules.d/98-hostile.rules")


@pytest.fixture(autouse=True)
def udevd_goes_on(udevd: None) -> Iterator[None]:
    """Whatever a test does to it."""
    yield
    RULE.unlink(missing_ok=True)
    pid = process()
    assert pid is not None
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    subprocess.run(["udevadm", "control", "--reload"], check=True)
    settle()


def stop() -> int:
    settle()
    pid = process()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    return pid


def slots() -> set[str]:
    return {path.name.partition(".")[0] for path in SLOTS.iterdir() if path.name.startswith("c-189-")}


def test_it_goes_in_while_udevd_stands_still_and_stays_once_it_goes_on(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    home = launch("c1")
    running = daemon(RULES)
    before = slots()
    pid = stop()
    node = arrives(home, port := hub.plug(Phone("R5C1")))
    waits = node_of(hub.plug(Phone("R5C3")))
    eventually(lambda: "missing inside" in str(running.status()["problems"]), DEADLINE, pause=0.2)
    assert usb_nodes(home) == {node}
    os.kill(pid, signal.SIGCONT)
    settle()
    eventually(lambda: usb_nodes(home) == {node, waits}, DEADLINE, pause=0.1)
    eventually(lambda: running.status()["problems"] == [], DEADLINE, pause=0.1)
    assert [each["event"] for each in running.changes() if each.get("device") == node] == ["device.add"]
    # Our udev rule means the same enumeration.
    said = subprocess.run(
        ["udevadm", "info", "-q", "property", "-p", str(syspath(port))],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    number = next(line for line in said.splitlines() if line.startswith("HOTPLUGD_SLOT=")).rpartition("-")[2]
    assert number in {each.rpartition("-")[2] for each in slots() - before}


def test_a_leased_phone_comes_back_while_udevd_stands_still(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    home = launch("c2")
    running = daemon(RULES)
    phone = Phone("R5C4")
    for _ in range(2):
        pid = stop()
        node = arrives(home, hub.plug(phone))
        os.kill(pid, signal.SIGCONT)
        settle()
        steadily(lambda node=node: usb_nodes(home) == {node}, 1)  # type: ignore[misc]
        hub.unplug(phone)
        leaves(home, node)
    assert running.status()["problems"] == []
    changes = ["device.add", "device.remove"] * 2
    eventually(lambda: [each["event"] for each in running.changes()] == changes, DEADLINE, pause=0.1)


def test_a_udev_rule_that_says_otherwise_changes_nothing(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    RULE.parent.mkdir(parents=True, exist_ok=True)
    RULE.write_text(HOSTILE)
    subprocess.run(["udevadm", "control", "--reload"], check=True)
    home, other = launch("c1"), launch("c2")
    running = daemon(RULES)
    phones = [Phone("R5C1"), Phone("R5C2")]
    ports = [hub.plug(each) for each in phones]
    nodes = [arrives(each, port) for each, port in zip((home, other), ports, strict=True)]
    settle()
    steadily(lambda: [usb_nodes(home), usb_nodes(other)] == [{node} for node in nodes], 2)
    assert running.status()["problems"] == []
    assert len(running.changes()) == 2


def test_one_that_goes_before_udevd_has_seen_it_goes_out(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    home = launch("c1")
    running = daemon(RULES)
    pid = stop()
    phone = Phone("R5C1")
    node = arrives(home, hub.plug(phone))
    hub.unplug(phone)
    leaves(home, node)
    os.kill(pid, signal.SIGCONT)
    settle()
    steadily(lambda: usb_nodes(home) == set(), 2)
    assert running.status()["problems"] == []


def test_what_somebody_asks_the_kernel_to_say_again_is_no_plug(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    home = launch("c1")
    port = hub.plug(Phone("R5C1"))
    node_of(port)
    settle()
    running = daemon(RULES)
    node = arrives(home, port)
    for action in ("add", "change", "bind"):
        (syspath(port) / "uevent").write_text(action)
    settle()
    steadily(lambda: usb_nodes(home) == {node}, 2)
    assert len(running.changes()) == 1
