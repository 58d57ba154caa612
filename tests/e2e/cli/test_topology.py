"""`hotplugd topology` and `hotplugd suggest hubs`, on a made-up controller with a hub for USB 2 and 3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

from hotplugd.app.control_client import get
from hotplugd.web.masking import Masking
from hotplugd.web.page import page
from tests.conftest import StartDaemon
from tests.support.lab.commands import Commands
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.usb import Phone, Plugged, Usb
from tests.support.lab.wait import eventually

_CONTROLLER = "pci-0000:00:14.0"
_RULES = f"""\
hubs:
  shelf-1:
    path: {_CONTROLLER}-usb-0:4
    ports: {{left: "1", right: "2"}}
rules:
  - {{name: shelf, match: {{location: "shelf-1/*"}}, attach: {{to: BOX}}}}
"""
_HUB = {"vendor": "05e3", "interfaces": ("09:00:00",), "device_class": "09"}


@dataclass(frozen=True, slots=True)
class Shelf:
    """A hub in socket 4, which is port 1 by USB 3, with a device for USB 2 and one for USB 3."""

    slow: Plugged
    fast: Plugged
    bus: int


@pytest.fixture
def shelf(usb: Usb) -> Shelf:
    first, second = usb.bus, usb.add_bus()
    usb.plug(Phone(product="0610", serial="H", **_HUB), "4")  # type: ignore[arg-type]
    usb.plug(Phone(product="0626", **_HUB), "1", bus=second)  # type: ignore[arg-type]
    slow = usb.plug(Phone(serial="1A"), "4.2")
    fast = usb.plug(Phone(serial="1B"), "1.1", bus=second)
    other = f"../../usb{second}/usb{second}:1.0/usb{second}"
    usb.lead_out(f"usb{first}", 4, peers={4: f"{other}-port1"})
    usb.lead_out(f"usb{second}", 2, peers={1: f"../../usb{first}/usb{first}:1.0/usb{first}-port4"})
    usb.lead_out(f"{first}-4", 2)
    usb.lead_out(f"{second}-1", 2)
    usb.in_port(usb.there(f"{first}-4"), f"usb{first}-port4")
    usb.in_port(usb.there(f"{second}-1"), f"usb{second}-port1")
    # Their own ports' peers come with the other half of the hub: the one above says enough.
    usb.in_port(slow, f"{first}-4-port2")
    usb.in_port(fast, f"{second}-1-port1")
    return Shelf(slow, fast, second)


@pytest.fixture
def made(usb: Usb, commands: Commands) -> Iterator[Daemon]:
    """Commands that see the made-up bus, and no server."""
    made = Daemon(usb.root / "none", _RULES.replace("BOX", "box"), usb.environment, commands=commands)
    yield made
    made.close()


def attachments(running: Daemon) -> dict[str, str]:
    """The locations of attached devices by their nodes."""
    found = cast("list[dict[str, str]]", running.status()["attachments"])
    return {each["device"]: each["location"] for each in found}


def sockets(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Those with a name, by that."""
    found: dict[str, dict[str, Any]] = {}

    def walk(each: dict[str, Any]) -> None:
        for socket in each["sockets"]:
            if socket["location"]:
                found[socket["location"]] = socket
            walk(socket)

    for controller in document["controllers"]:
        walk(controller)
    return found


def test_it_is_drawn(usb: Usb, shelf: Shelf, made: Daemon) -> None:
    done = made.ask("topology")
    assert done.returncode == 0, done.stderr
    problem, *lines = done.stdout.splitlines()
    assert problem.startswith("problem: the server cannot be asked: ")
    one, two = usb.bus, shelf.bus
    assert lines == [
        f"{_CONTROLLER}: bus {one}, bus {two}, xhci_hcd",
        f"  1  {one}-1  free",
        f"  2  {one}-2  free",
        f"  3  {one}-3  free",
        f"  4  {one}-4 {two}-1  hub 05e3:0610 serial H, 2 ports, {_CONTROLLER}-usb-0:4",
        f"    1  {one}-4.1 {two}-1.1  shelf-1/left  18d1:4ee7 serial 1B, {shelf.fast.node}",
        f"    2  {one}-4.2 {two}-1.2  shelf-1/right  18d1:4ee7 serial 1A, {shelf.slow.node}",
        f"  2  {two}-2  free",
        "1 controller, 6 sockets, 4 free",
    ]


def test_what_is_suggested_is_the_section(usb: Usb, shelf: Shelf, made: Daemon) -> None:
    made.write_rules("rules:\n  - {name: any, match: {location: '*'}, ignore: true}\n")
    done = made.ask("suggest", "hubs")
    assert (done.returncode, done.stderr.count("error")) == (0, 0)
    assert done.stdout == (
        "hubs:\n"
        f"  # 05e3:0610, serial H: 2 ports, at {usb.bus}-4 and {shelf.bus}-1\n"
        "  hub-1:\n"
        f'    path: "{_CONTROLLER}-usb-0:4"\n'
        '    ports: {1: "1", 2: "2"}\n'
    )
    made.write_rules(done.stdout + "rules:\n  - {name: any, match: {location: '*'}, ignore: true}\n")
    listed = {each["device"]: each for each in json.loads(made.ask("devices", "--json").stdout)}
    assert [listed[each.node]["location"] for each in (shelf.fast, shelf.slow)] == ["hub-1/1", "hub-1/2"]
    assert [listed[each.node]["rule"] for each in (shelf.fast, shelf.slow)] == ["any", "any"]


@pytest.mark.usefixtures("shelf")
def test_the_path_by_usb_3_is_warned_of(made: Daemon) -> None:
    made.write_rules(_RULES.replace("-usb-0:4", "-usb-0:1"))
    done = made.ask("check")
    assert done.returncode == 0, done.stderr
    assert f"'{_CONTROLLER}-usb-0:1' is the place of a USB 3 hub by the numbers of USB 3" in done.stderr
    assert f"it is '{_CONTROLLER}-usb-0:4'" in done.stderr


@pytest.mark.usefixtures("usb")
def test_without_a_hub_nothing_is_suggested(made: Daemon) -> None:
    done = made.ask("suggest", "hubs")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no USB hub is plugged in" in done.stderr


def test_instances_and_locations_are_named(
    container: Container, usb: Usb, shelf: Shelf, daemon: StartDaemon
) -> None:
    running = daemon(_RULES.replace("BOX", str(container)), usb.environment)
    both = {shelf.fast.node: "shelf-1/left", shelf.slow.node: "shelf-1/right"}
    eventually(lambda: attachments(running) == both)
    found = sockets(json.loads(running.ask("topology", "--json").stdout))
    assert {name: [one["instances"] for one in each["devices"]] for name, each in found.items()} == {
        "shelf-1/left": [[f"default/{container}"]],
        "shelf-1/right": [[f"default/{container}"]],
    }
    assert json.loads(running.ask("explain", shelf.slow.node, "--json").stdout)["location"] == "shelf-1/right"
    assert json.loads(running.ask("explain", "shelf-1/left", "--json").stdout)["device"] == shelf.fast.node
    # Programs are told the same on the socket.
    assert get(running.control, "topology") == json.loads(running.ask("topology", "--json").stdout)
    assert get(running.control, "devices")["devices"] == json.loads(running.ask("devices", "--json").stdout)
    told = get(running.control, "explain", {"device": "shelf-1/left"})
    assert {**told, "by": "files", "holders": []} == {
        **json.loads(running.ask("explain", "shelf-1/left", "--json").stdout), "holders": []
    }  # fmt: skip
    # And the page shows it.
    asked: tuple[Any, ...] = tuple(get(running.control, each) for each in ("status", "topology", "pools"))
    status, tree, pools = asked
    groups = page(status, tree, pools, Masking(), str).document["groups"]
    tiles = {tile["place"]: (tile["word"], tile["who"]) for group in groups for tile in group["tiles"]}
    assert tiles["shelf-1/left"] == tiles["shelf-1/right"] == ("attached", str(container))
    # Other hubs, and the same rule: a reload is enough.
    running.write_rules(_RULES.replace("BOX", str(container)).replace(', right: "2"', ""))
    running.reload()
    eventually(lambda: attachments(running) == {shelf.fast.node: "shelf-1/left"})
