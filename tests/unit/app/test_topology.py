"""USB drawn as a tree, and the section `hubs` that follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import click
import pytest

from hotplugd.app.suggest_hubs import hubs_section
from hotplugd.app.topology import SocketJson, TopologyJson, topology
from hotplugd.cli.topology import show
from hotplugd.host.usb_ports import UsbPort
from hotplugd.model.values import Device
from hotplugd.rulefile.load import parse
from hotplugd.rules.hubs import NO_HUBS, Hub, Hubs
from tests.support.usb_tree import CONTROLLER, Sockets

TREE = Sockets(fast={"3": "1", "4": "2"})
PHONE = TREE.plug(
    "3.4.1", attrs={"product": "Pixel 7", "idVendor": "18d1", "idProduct": "4ee7", "serial": "1A"}
)
BOX = {"idVendor": "05e3", "idProduct": "0610", "product": "USB2.1 Hub"}
FAST_BOX = {**BOX, "idProduct": "0626"}


def box(socket: str, **attrs: str) -> list[Device]:
    """A USB 3 hub with four ports: both of its halves."""
    return [
        TREE.plug(socket, fast=fast, ports=4, attrs={**(FAST_BOX if fast else BOX), **attrs})
        for fast in (False, True)
    ]


ROOTS = [TREE.root(), TREE.root(fast=True)]
SEVEN = [*ROOTS, *box("3"), *box("3.4")]
SHELF = Hubs((Hub("shelf-1", (f"{CONTROLLER}-usb-0:3",), "", {"a": "1", "2": "4.1"}),))


def ports(*hubs: str) -> dict[str, dict[int, UsbPort]]:
    return dict(TREE.ports(hub, fast=fast) for hub in ("", *hubs) for fast in (False, True))


def drawn(devices: list[Device], hubs: Hubs = NO_HUBS, *, of: tuple[str, ...] = ("3", "3.4")) -> TopologyJson:
    return topology(devices, ports(*of), hubs, {PHONE.syspath: ["default/box"]})


def every(sockets: list[SocketJson]) -> Iterator[SocketJson]:
    for each in sockets:
        yield each
        yield from every(each["sockets"])


def by_name(found: TopologyJson) -> dict[str, SocketJson]:
    return {" ".join(each["ports"]): each for one in found["controllers"] for each in every(one["sockets"])}


def test_a_socket_for_both_speeds_is_one() -> None:
    (controller,) = drawn(ROOTS)["controllers"]
    assert (controller["path"], controller["driver"]) == (CONTROLLER, "xhci_hcd")
    assert controller["buses"] == {"1": "480", "2": "5000"}
    assert [(each["number"], each["ports"], each["path"]) for each in controller["sockets"]] == [
        (1, ["1-1"], f"{CONTROLLER}-usb-0:1"),
        (2, ["1-2"], f"{CONTROLLER}-usb-0:2"),
        (3, ["1-3", "2-1"], f"{CONTROLLER}-usb-0:3"),
        (4, ["1-4", "2-2"], f"{CONTROLLER}-usb-0:4"),
        (3, ["2-3"], f"{CONTROLLER}-usbv3-0:3"),
        (4, ["2-4"], f"{CONTROLLER}-usbv3-0:4"),
    ]


def test_a_hub_for_both_speeds_is_one() -> None:
    found = by_name(drawn([*SEVEN, PHONE], SHELF))
    outer = found["1-3 2-1"]
    assert [(each["port"], each["ports"]) for each in outer["devices"]] == [("1-3", 4), ("2-1", 4)]
    assert [each["ports"] for each in outer["sockets"]] == [[f"1-3.{n}", f"2-1.{n}"] for n in range(1, 5)]
    assert [each["location"] for each in outer["sockets"]] == ["shelf-1/a", "", "", ""]
    phone = found["1-3.4.1 2-1.4.1"]
    assert (phone["location"], phone["free"], phone["sockets"]) == ("shelf-1/2", False, [])
    (device,) = phone["devices"]
    assert device == {
        "device": PHONE.node, "port": "1-3.4.1", "id": "18d1:4ee7", "product": "Pixel 7", "serial": "1A",
        "speed": "480", "ports": 0, "fixed": False, "instances": ["default/box"],
    }  # fmt: skip


def test_what_is_plugged_in_for_usb_3_is_in_the_same_socket() -> None:
    fast = TREE.plug("3.4.1", fast=True)
    assert [each["port"] for each in by_name(drawn([*SEVEN, fast]))["1-3.4.1 2-1.4.1"]["devices"]] == [
        "2-1.4.1"
    ]


def test_without_the_ports_of_sysfs_the_halves_of_a_hub_are_paired_by_number() -> None:
    found = topology([*ROOTS, *box("3")], ports(), NO_HUBS, {})
    assert [each["ports"] for each in by_name(found)["1-3 2-1"]["sockets"]] == [
        [f"1-3.{n}", f"2-1.{n}"] for n in range(1, 5)
    ]


@pytest.mark.parametrize(
    ("connection", "free"),
    [("hotplug", True), ("unknown", True), ("", True), ("not used", False), ("hardwired", False)],
)
def test_a_port_that_the_firmware_does_not_lead_out_is_not_free(connection: str, free: bool) -> None:
    root = TREE.root()
    found = topology([root], {root.syspath: {n: UsbPort("", connection) for n in range(1, 5)}}, NO_HUBS, {})
    assert {each["free"] for each in by_name(found).values()} == {free}


@pytest.mark.parametrize("text", ["", "x", "-1", "99999999999", "٣"])
def test_a_count_of_ports_that_cannot_be_ends_nothing(text: str) -> None:
    root = replace(TREE.root(), attrs={"maxchild": text})
    assert len(by_name(topology([root], {}, NO_HUBS, {}))) in (0, 255)


def test_it_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    evil = TREE.plug("1", attrs={"product": "\x1b[31m\n"})
    show(drawn([*SEVEN, PHONE, evil], SHELF))
    speeds = "480 Mbit/s and 5000 Mbit/s"
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert lines == [
        f"{CONTROLLER}: bus 1 480 Mbit/s, bus 2 5000 Mbit/s, xhci_hcd",
        f"  1  1-1  \\x1b[31m\\x0a 480 Mbit/s, {evil.node}",
        "  2  1-2  free",
        f"  3  1-3 2-1  hub 05e3:0610 USB2.1 Hub, 4 ports, {speeds}, {CONTROLLER}-usb-0:3",
        "    1  1-3.1 2-1.1  shelf-1/a  free",
        "    2  1-3.2 2-1.2  free",
        "    3  1-3.3 2-1.3  free",
        f"    4  1-3.4 2-1.4  hub 05e3:0610 USB2.1 Hub, 4 ports, {speeds}, {CONTROLLER}-usb-0:3.4",
        f"      1  1-3.4.1 2-1.4.1  shelf-1/2  18d1:4ee7 Pixel 7 serial 1A 480 Mbit/s, in box, {PHONE.node}",
        "      2  1-3.4.2 2-1.4.2  free",
        "      3  1-3.4.3 2-1.4.3  free",
        "      4  1-3.4.4 2-1.4.4  free",
        "  4  1-4 2-2  free",
        "  3  2-3  free",
        "  4  2-4  free",
        "1 controller, 12 sockets, 10 free",
    ]


class TestSuggestion:
    def test_a_tree_of_like_hubs_is_one(self) -> None:
        text = hubs_section(drawn([*SEVEN, PHONE]))
        assert text == (
            "hubs:\n"
            "  # 05e3:0610 USB2.1 Hub: 7 ports, at 1-3 and 2-1\n"
            "  hub-1:\n"
            f'    path: "{CONTROLLER}-usb-0:3"\n'
            '    ports: {1: "1", 2: "2", 3: "3", 4: "4.1", 5: "4.2", 6: "4.3", 7: "4.4"}\n'
        )
        loaded = parse(text, "x")
        assert loaded.diagnostics == ()
        assert loaded.rules.hubs.location(PHONE) == "hub-1/4"

    def test_another_hub_in_a_port_is_one_of_its_own(self) -> None:
        other = box("3.4", idVendor="2109")
        text = hubs_section(drawn([*ROOTS, *box("3"), *other]))
        hubs = parse(text, "x").rules.hubs.hubs
        assert [(each.paths, dict(each.ports)) for each in hubs] == [
            ((f"{CONTROLLER}-usb-0:3",), {str(n): str(n) for n in range(1, 5)}),
            ((f"{CONTROLLER}-usb-0:3.4",), {str(n): str(n) for n in range(1, 5)}),
        ]

    def test_another_hub_that_cannot_be_unplugged_is_part_of_it(self) -> None:
        other = box("3.4", idVendor="2109", removable="fixed")
        (hub,) = parse(hubs_section(drawn([*ROOTS, *box("3"), *other])), "x").rules.hubs.hubs
        assert len(hub.ports) == 7

    def test_names_that_are_there_stay(self) -> None:
        text = hubs_section(drawn([*SEVEN, *box("4")], SHELF, of=("3", "3.4", "4")))
        hubs = parse(text, "x").rules.hubs.hubs
        assert [each.name for each in hubs] == ["shelf-1", "hub-1"]
        assert dict(hubs[0].ports) == {
            "a": "1", "1": "2", "3": "3", "2": "4.1", "4": "4.2", "5": "4.3", "6": "4.4",
        }  # fmt: skip

    @pytest.mark.parametrize("ports", [{"1": "1", "2": "4.1"}, {"1": "4.2", "2": "3.1"}])
    def test_hubs_of_different_makes_that_have_one_name_are_one(self, ports: dict[str, str]) -> None:
        named = Hubs((Hub("shelf", (f"{CONTROLLER}-usb-0:3",), "", ports),))
        inner = [*box("3.3", idVendor="2109"), *box("3.4", idVendor="2109")]
        loaded = parse(hubs_section(drawn([*ROOTS, *box("3"), *inner], named, of=("3", "3.3", "3.4"))), "x")
        assert loaded.diagnostics == ()
        hub = next(each for each in loaded.rules.hubs.hubs if each.name == "shelf")
        assert hub.paths == named.hubs[0].paths
        assert ports.items() <= hub.ports.items()

    def test_a_hub_in_a_port_that_has_a_name_is_one_of_its_own(self) -> None:
        named = Hubs((Hub("shelf", (f"{CONTROLLER}-usb-0:3",), "", {"a": "1", "b": "4"}),))
        inner = box("3.4", idVendor="2109")
        loaded = parse(hubs_section(drawn([*ROOTS, *box("3"), *inner], named)), "x")
        assert [each.name for each in loaded.rules.hubs.hubs] == ["shelf", "hub-1"]
        assert named.hubs[0].ports.items() <= loaded.rules.hubs.hubs[0].ports.items()

    def test_ports_of_several_hubs_that_are_named_by_their_controller_are_not_one(self) -> None:
        named = Hubs((Hub("front", (CONTROLLER,), "", {"a": "3.1", "b": "4.1"}),))
        loaded = parse(hubs_section(drawn([*ROOTS, *box("3"), *box("4")], named, of=("3", "4"))), "x")
        assert loaded.diagnostics == ()
        assert [each.name for each in loaded.rules.hubs.hubs] == ["front", "hub-1"]

    def test_a_new_name_is_nobody_elses(self) -> None:
        named = Hubs((Hub("hub-1", (f"{CONTROLLER}-usb-0:4",), "", {"1": "1"}),))
        hubs = parse(
            hubs_section(drawn([*ROOTS, *box("3"), *box("4")], named, of=("3", "4"))), "x"
        ).rules.hubs
        assert [each.name for each in hubs.hubs] == ["hub-2", "hub-1"]

    def test_what_a_hub_calls_itself_stays_in_its_comment(self) -> None:
        evil = {"product": "x\nhubs: {}\u2028y", "serial": "\r- z"}
        text = hubs_section(drawn([*ROOTS, *box("3", **evil)], of=("3",)))
        assert len(text.splitlines()) == 5
        assert parse(text, "x").diagnostics == ()

    def test_a_hub_whose_usb_2_half_is_missing_has_its_path_all_the_same(self) -> None:
        text = hubs_section(drawn([*ROOTS, box("3")[1]], of=("3",)))
        assert f'path: "{CONTROLLER}-usb-0:3"' in text

    def test_where_udev_gives_no_path_it_is_the_serial_number(self) -> None:
        roots = [replace(root, properties={}) for root in ROOTS]
        bare = [replace(half, parent=roots[0], properties={}) for half in box("3", serial="A'1")]
        (hub,) = parse(hubs_section(drawn([*roots, bare[0]], of=())), "x").rules.hubs.hubs
        assert (hub.paths, hub.serial) == ((), "A'1")
        nameless = replace(bare[0], attrs={**bare[0].attrs, "serial": ""})
        assert hubs_section(drawn([*roots, nameless], of=())) == ""

    def test_without_a_hub_there_is_nothing(self) -> None:
        assert hubs_section(drawn([*ROOTS, TREE.plug("1")])) == ""
