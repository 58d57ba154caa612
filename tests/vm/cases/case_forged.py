"""A device whose name has lines that look as if the kernel had written them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.udevd import settle, trigger
from tests.support.lab.wait import eventually, steadily
from tests.support.phones import Hub, Keyboard, Phone
from tests.support.phones.containers import DEADLINE, node_of, usb_nodes
from tests.support.phones.hub import syspath
from tests.vm.variants import variants

Launch = Callable[..., Container]

NODES = "{subsystem: [input, hidraw], vendor_id: '1209'}"
BELOW = "{vendor_id: '1209'}"


def rule(match: str, attach: str, name: str = "one") -> str:
    return f"  - {{name: {name}, match: {match}, attach: {attach}}}\n"


def plugged(hub: Hub, product: str, serial: str | None = None) -> tuple[str, set[str]]:
    """Its port, and the nodes below its USB device."""
    port = hub.plug(Keyboard(product, serial))
    below = syspath(port)

    def found() -> set[str]:
        paths = [*below.glob("*/0003:*/input/input*/event*/dev"), *below.glob("*/0003:*/hidraw/hidraw*/dev")]
        return {each.parent.name for each in paths}

    eventually(lambda: len(found()) == 2, DEADLINE, pause=0.05)
    settle()
    return port, {f"/dev/input/{each}" if each.startswith("event") else f"/dev/{each}" for each in found()}


def is_in_the_uevent_file(port: str, line: str) -> bool:
    """Whether the kernel has put the line there; without that the case proves nothing."""
    hid = syspath(port).glob("*/0003:*/uevent")
    files = (*hid, *syspath(port).glob("*/0003:*/input/input*/uevent"))
    return sum(line in each.read_text().splitlines() for each in files) == 2


def inside(container: Container) -> set[str]:
    fixed = ("/dev/input/", "/dev/hidraw", "/dev/mem", "/dev/bus/", "/dev/kmsg", "/dev/port", "/dev/tty9")
    return {each for each in container.nodes() if each.startswith(fixed)}


def attached(running: Daemon) -> set[str]:
    return {each["device"] for each in cast("list[dict[str, str]]", running.status()["attachments"])}


@pytest.mark.parametrize(
    ("match", "attach"),
    variants([(NODES, "{to: c1}"), (BELOW, "{to: c1, with: [input, hidraw]}")]),
    ids=["own", "with"],
)
def test_it_has_the_nodes_that_it_has_and_no_others(
    hub: Hub, launch: Launch, daemon: StartDaemon, match: str, attach: str
) -> None:
    container = launch("c1")
    port, nodes = plugged(hub, "P\nDEVNAME=mem\nMAJOR=1\nMINOR=1\nX=")
    assert is_in_the_uevent_file(port, "DEVNAME=mem")
    true = nodes | ({node_of(port)} if "with" in attach else set())
    running = daemon("rules:\n" + rule(match, attach))
    eventually(lambda: inside(container) == true, DEADLINE, pause=0.05)
    for _ in range(2):
        steadily(lambda: inside(container) == true and attached(running) == true, 2)
        assert running.status()["problems"] == []
        running.kill()
        running.start()
    # udevd looks again at all that is above them; then a listing, as by a reload with another attribute.
    trigger(str(syspath(port)), *map(str, syspath(port).glob("*/0003:*/input/input*")))
    never = rule("{subsystem: input, attr: {name: nothing}}", "{to: c1}", "never")
    running.write_rules("rules:\n" + never + rule(match, attach))
    running.reload()
    steadily(lambda: inside(container) == true and attached(running) == true, 2)


def test_another_devices_node_stays_where_it_is(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    thief, owner = launch("c1"), launch("c2")
    phone = node_of(hub.plug(Phone("R5C1")))
    number = Path(phone).stat().st_rdev
    port, nodes = plugged(
        hub, f"P\nDEVNAME={phone[5:]}\nMAJOR=189\nMINOR={number & 0xFF}\nDEVTYPE=usb_device\nX="
    )
    assert is_in_the_uevent_file(port, f"DEVNAME={phone[5:]}")
    running = daemon("rules:\n" + rule(NODES, "{to: c1}") + rule("{serial: R5C1}", "{to: c2}", "two"))
    eventually(lambda: inside(thief) == nodes and usb_nodes(owner) == {phone}, DEADLINE, pause=0.05)
    running.kill()
    running.start()
    steadily(lambda: inside(thief) == nodes and usb_nodes(owner) == {phone}, 3)
    assert attached(running) == {*nodes, phone}


@pytest.mark.parametrize(
    ("line", "match"),
    variants(
        [
            ("DRIVER=victim", "{driver: victim}"),
            ("ID_PATH=pci-0000:00:14.0-usb-0:1", "{path: 'pci-0000:00:14.0-usb-0:1'}"),
            ("ID_SERIAL_SHORT=VICTIM", "{subsystem: [hid, input], property: {ID_SERIAL_SHORT: VICTIM}}"),
            ("DEVTYPE=usb_device", "{subsystem: hid, devtype: usb_device}"),
            ("HID_UNIQ=VICTIM", "{property: {HID_UNIQ: VICTIM}}"),
            ("SUBSYSTEM=usb", "{subsystem: usb, property: {HID_ID: '*'}}"),
        ]
    ),
)
def test_what_is_above_it_is_what_it_is(
    hub: Hub, launch: Launch, daemon: StartDaemon, line: str, match: str
) -> None:
    container, other = launch("c1"), launch("c2")
    port, nodes = plugged(hub, f"P\n{line}\nX=")
    assert is_in_the_uevent_file(port, line)
    running = daemon(
        "rules:\n"
        + rule(f"{{subsystem: [input, hidraw], parent: {match}}}", "{to: c1}")
        + rule(NODES, "{to: c2}", "two")
    )
    for _ in range(2):
        eventually(lambda: inside(other) == nodes, DEADLINE, pause=0.05)
        assert inside(container) == set()
        running.kill()
        running.start()
    steadily(lambda: inside(other) == nodes and not inside(container), 2)
