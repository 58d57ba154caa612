"""Which port of a hub with a name a device is in."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplugd.model.values import Device
from hotplugd.plan.desired import wants
from hotplugd.rulefile.load import parse
from hotplugd.rules.hubs import Hub, Hubs, place_below, sockets
from hotplugd.rules.keys import LOCATION, keys_with
from hotplugd.rules.ruleset import RuleSet
from hotplugd.rules.template import render
from tests.support.devices import plugged
from tests.support.usb_tree import CONTROLLER, Sockets
from tests.unit.devices import DISK, tty

TREE = {"1": "1", "2": "2", "3": "3", "4": "4.1", "5": "4.2", "6": "4.3", "7": "4.4"}
SHELF = Hub("shelf-1", (f"{CONTROLLER}-usb-0:3",), "", TREE)
SHELVES = Hubs((SHELF,))


def hub(*paths: str, serial: str = "", **ports: str) -> Hubs:
    return Hubs((Hub("h", paths, serial, ports),))


def rules(text: str, hubs: str = "") -> RuleSet:
    loaded = parse(f"{hubs}rules:\n{text}", "x")
    assert not loaded.errors, loaded.errors[0].render()
    return loaded.rules


@pytest.mark.parametrize(("label", "below"), TREE.items())
@pytest.mark.parametrize("fast", [False, True], ids=["USB 2", "USB 3"])
def test_each_port_of_a_tree_of_hubs_has_its_label(label: str, below: str, fast: bool) -> None:
    assert SHELVES.location(Sockets().plug(f"3.{below}", fast=fast)) == f"shelf-1/{label}"


@pytest.mark.parametrize("socket", ["3", "3.4", "3.4.5", "3.4.1.1", "1", "1.1", "13.1", "4.1", "4.4.1"])
def test_any_other_place_has_no_name(socket: str) -> None:
    assert SHELVES.location(Sockets().plug(socket)) == ""


def test_usb_3s_number_of_another_socket_is_not_taken_for_usb_2s() -> None:
    """Socket 4 is port 3 of the other bus."""
    found = Sockets(fast={"4": "3"}).plug("4.1", fast=True)
    assert found.kernel == "2-3.1"
    assert found.properties["ID_PATH"] == f"{CONTROLLER}-usb-0:3.1"
    assert SHELVES.location(found) == ""


def test_what_hangs_from_a_device_is_where_that_is() -> None:
    cable = Sockets().plug("3.2")
    assert SHELVES.location(tty(cable)) == "shelf-1/2"
    assert SHELVES.location(DISK) == ""
    assert SHELVES.location(Sockets().root()) == ""


def test_the_numbers_of_buses_do_not_matter() -> None:
    for slow, fast in ((1, 2), (2, 1), (3, 7)):
        tree = Sockets(slow_bus=slow, fast_bus=fast)
        assert {SHELVES.location(tree.plug("3.2", fast=each)) for each in (False, True)} == {"shelf-1/2"}


def test_the_other_half_of_a_hub_may_be_enumerated_later() -> None:
    found = Sockets().plug("3.2", fast=True, peers=False)
    assert "peer" not in found.attrs
    assert SHELVES.location(found) == "shelf-1/2"


def test_ports_below_that_the_firmware_pairs_otherwise_count_as_it_says() -> None:
    found = Sockets().plug("3.2", fast=True)
    assert SHELVES.location(replace(found, attrs={**found.attrs, "peer": "1-3.1"})) == "shelf-1/1"


def test_a_controllers_own_sockets_have_names() -> None:
    front = hub(CONTROLLER, left="3", right="4", inner="4.1")
    for fast in (False, True):
        assert front.location(Sockets().plug("3", fast=fast)) == "h/left"
        assert front.location(Sockets().plug("4.1", fast=fast)) == "h/inner"
    assert front.location(Sockets().plug("1")) == ""


def test_a_path_by_usb_3_is_the_same_hub() -> None:
    found = hub(f"{CONTROLLER}-usbv3-0:1", a="2")
    for fast in (False, True):
        assert found.location(Sockets().plug("3.2", fast=fast)) == "h/a"


def test_halves_that_the_kernel_does_not_pair_have_a_path_each() -> None:
    tree = Sockets()
    device = tree.plug("3.2", fast=True)
    alone = replace(device, attrs={"idProduct": "1"}, parent=replace(tree.plug("3", fast=True), attrs={}))
    assert hub(f"{CONTROLLER}-usb-0:3", a="2").location(alone) == ""
    assert hub(f"{CONTROLLER}-usb-0:3", f"{CONTROLLER}-usbv3-0:1", a="2").location(alone) == "h/a"


@pytest.mark.parametrize("revision", ["v1", "v2"])
def test_other_revisions_count_as_usb_2(revision: str) -> None:
    assert hub(f"{CONTROLLER}-usb{revision}-0:3", a="2").location(Sockets().plug("3.2")) == "h/a"


def test_without_id_path_of_the_root_hub_the_devices_own_counts() -> None:
    tree = Sockets(path=False)
    assert SHELVES.location(tree.plug("3.2")) == "shelf-1/2"
    assert SHELVES.location(tree.plug("3.2", fast=True)) == "shelf-1/2"
    assert SHELVES.location(replace(tree.plug("3.2"), properties={})) == ""


def test_id_path_of_another_place_is_not_believed() -> None:
    liar = replace(Sockets(path=False).plug("1"), properties={"ID_PATH": f"{CONTROLLER}-usb-0:3.2"})
    assert SHELVES.location(liar) == ""
    liar = replace(Sockets(path=False).plug("3.2"), properties={"ID_PATH": "pci-0000:00:99.0-usb-0:7"})
    assert hub("pci-0000:00:99.0-usb-0:3", a="2").location(liar) == ""
    liar = replace(Sockets().plug("1"), properties={"ID_PATH": f"{CONTROLLER}-usb-0:3.2"})
    assert SHELVES.location(liar) == ""


class TestSerial:
    CART = hub(serial="C1", a="1", b="4.1")

    def test_the_hub_may_be_anywhere(self) -> None:
        for socket in ("3", "1.2"):
            tree = Sockets(serials={socket: "C1"})
            assert self.CART.location(tree.plug(f"{socket}.1")) == "h/a"
            assert self.CART.location(tree.plug(f"{socket}.4.1")) == "h/b"
            assert self.CART.location(tree.plug(f"{socket}.2")) == ""

    def test_both_halves_that_say_it_are_one(self) -> None:
        tree = Sockets(serials={"3": "C1"})
        assert self.CART.location(tree.plug("3.1", fast=True)) == "h/a"

    def test_the_device_itself_is_not_the_hub(self) -> None:
        assert self.CART.location(Sockets(serials={"3.1": "C1"}).plug("3.1")) == ""

    def test_a_controller_is_no_such_hub(self) -> None:
        found = hub(serial="0000:00:14.0", a="3")
        assert found.location(Sockets().plug("3")) == ""


CHAINS = st.lists(st.integers(1, 4), min_size=0, max_size=4).map(lambda each: "".join(f".{n}" for n in each))
ROOTS = st.sampled_from(["3", "4"])


@st.composite
def named(draw: st.DrawFn) -> tuple[Hubs, str]:
    """Hubs, and a socket that may be below one of them."""
    hubs = []
    for number in range(draw(st.integers(0, 3))):
        above = draw(ROOTS) + draw(CHAINS)
        path = draw(
            st.sampled_from([f"{CONTROLLER}-usb-0:{above}", f"{CONTROLLER}-usbv2-0:{above}", CONTROLLER])
        )
        below = draw(st.lists(CHAINS.filter(bool), min_size=1, max_size=4))
        hubs.append(Hub(f"h{number}", (path,), "", {str(at): each[1:] for at, each in enumerate(below)}))
    return Hubs(tuple(hubs)), draw(ROOTS) + draw(CHAINS)


@given(named(), st.permutations(["1", "2", "3", "4"]), st.booleans())
def test_what_is_in_one_socket_is_in_one_place_at_either_speed(
    given_: tuple[Hubs, str], order: list[str], peers: bool
) -> None:
    hubs, socket = given_
    tree = Sockets(fast=dict(zip("1234", order, strict=True)))
    slow, fast = (tree.plug(socket, fast=each, peers=peers) for each in (False, True))
    assert hubs.location(slow) == hubs.location(fast)
    assert sockets(slow)[0] == sockets(fast)[0]
    # And it is the one that follows from the numbers of USB 2.
    at = f"{CONTROLLER}-usb-0:{socket}"
    meant = [one.location(label) for one in hubs.hubs for place, label in one.places() if place == at]
    assert hubs.location(slow) == (meant[-1] if meant else "")


def test_a_place_below_a_hub() -> None:
    assert place_below("pci-0", "3") == "pci-0-usb-0:3"
    assert place_below("pci-0-usb-0:3", "4.1") == "pci-0-usb-0:3.4.1"
    assert place_below("pci-0-usbv2-0:3", "4") == "pci-0-usb-0:3.4"
    assert place_below("pci-0-usbv3-0:3", "4") == "pci-0-usbv3-0:3.4"


def test_a_name_in_a_template_has_no_slash() -> None:
    keys = keys_with(SHELVES)
    assert render("p-{location}", Sockets().plug("3.4.1"), keys) == "p-shelf-1-4"
    assert render("/dev/by-shelf/{location}", Sockets().plug("3.4.1"), keys) == "/dev/by-shelf/shelf-1-4"


HUBS = f"""\
hubs:
  shelf-1:
    path: {CONTROLLER}-usb-0:3
    ports: {{1: "1", 2: "2", 4: "4.1"}}
"""


def rule_of(found: RuleSet, device: Device) -> str:
    taken = found.decide(device)
    return taken.rule.name if taken is not None else ""


class TestRules:
    def test_by_one_port_and_by_any(self) -> None:
        found = rules(
            "  - {name: one, match: {location: shelf-1/4}, ignore: true}\n"
            "  - {name: any, match: {location: 'shelf-1/*'}, ignore: true}\n",
            HUBS,
        )
        for fast in (False, True):
            assert rule_of(found, Sockets().plug("3.4.1", fast=fast)) == "one"
            assert rule_of(found, Sockets().plug("3.2", fast=fast)) == "any"
            assert rule_of(found, Sockets().plug("3.3", fast=fast)) == ""

    def test_inside_other_matches(self) -> None:
        found = rules(
            "  - {name: behind, match: {subsystem: tty, parent: {location: shelf-1/1}}, ignore: true}\n"
            "  - {name: either, match: {any: [{serial: x}, {location: shelf-1/2}]}, ignore: true}\n"
            "  - {name: rest, match: {not: {location: 'shelf-1/*'}}, ignore: true}\n",
            HUBS,
        )
        # Behind a hub in that port, too.
        assert rule_of(found, tty(Sockets().plug("3.1.2"))) == "behind"
        assert rule_of(found, Sockets().plug("3.2")) == "either"
        assert rule_of(found, Sockets().plug("3.4.1")) == ""
        assert rule_of(found, Sockets().plug("1")) == "rest"

    def test_what_goes_along(self) -> None:
        found = rules(
            "  - {name: a, match: {location: shelf-1/2}, attach: {to: '{location}', with: "
            "{match: {subsystem: tty, location: shelf-1/2}, link: '/dev/{location}'}}}\n",
            HUBS,
        )
        console = plugged(tty(Sockets().plug("3.2")), 188, 1)
        (want,) = wants(found, console).wants
        assert (want.instance.name, want.links) == ("shelf-1-2", ("/dev/shelf-1-2",))

    def test_a_device_elsewhere_has_no_name_for_the_template(self) -> None:
        found = rules("  - {name: a, match: {subsystem: usb}, attach: {to: 'p-{location}'}}\n", HUBS)
        (problem,) = wants(found, plugged(Sockets().plug("1"), 189, 1)).problems
        assert problem.message == "the device has no location, which 'p-{location}' needs"

    def test_other_hubs_decide_anew_about_the_same_device(self) -> None:
        """What a reload does that changes hubs alone."""
        text = "  - {name: a, match: {location: 'shelf-1/*'}, attach: {to: '{location}'}}\n"
        device = plugged(Sockets().plug("3.4.1"), 189, 1)
        names = [
            [want.instance.name for want in wants(rules(text, hubs), device).wants]
            for hubs in (HUBS, HUBS.replace("4:", "door:"), HUBS.replace("-0:3", "-0:4"))
        ]
        assert names == [["shelf-1-4"], ["shelf-1-door"], []]

    def test_the_explanation_has_the_location(self) -> None:
        found = rules("  - {name: a, match: {location: shelf-1/4}, ignore: true}\n", HUBS)
        (verdict,) = found.explain(Sockets().plug("3.2"))
        assert str(verdict.failed) == "location: wants 'shelf-1/4', has 'shelf-1/2'"
        (verdict,) = found.explain(Sockets().plug("1"))
        assert str(verdict.failed) == "location: wants 'shelf-1/4', has none"

    def test_it_is_a_place(self) -> None:
        found = rules(
            "  - {name: a, match: {serial: A, location: shelf-1/4}, ignore: true}\n"
            "  - {name: b, match: {serial: A}, attach: {to: 'p-{location}'}}\n"
            "  - {name: c, match: {serial: A}, attach: {to: p}}\n",
            HUBS,
        )
        assert [rule.names_serial() for rule in found.rules] == [False, False, True]

    def test_each_port_is_found_by_the_index(self) -> None:
        found = rules(
            "".join(
                f"  - {{name: r{n}, match: {{location: shelf-1/{n}}}, ignore: true}}\n" for n in (1, 2, 4)
            ),
            HUBS,
        )
        assert [list(found.index.candidates(Sockets().plug(f"3.{n}"))) for n in ("2", "4.1", "3")] == [
            [1],
            [2],
            [],
        ]


def test_without_hubs_no_device_has_a_location() -> None:
    assert keys_with(Hubs()) == tuple(keys_with(Hubs()))
    assert LOCATION.values(Sockets().plug("3.2")) == ()
    assert (
        rule_of(rules("  - {name: a, match: {location: '*'}, ignore: true}\n"), Sockets().plug("3.2")) == ""
    )


def test_a_thousand_devices_cost_little() -> None:
    """Each is asked by its location, which a walk up to the root hub and one look into a table tell."""
    ports = {str(n): str(n) for n in range(1, 17)}
    hubs = Hubs(tuple(Hub(f"s{n}", (f"{CONTROLLER}-usb-0:{n}",), "", ports) for n in range(1, 64)))
    devices = [Sockets().plug(f"{1 + n % 4}.{1 + n % 16}") for n in range(1000)]
    start = time.process_time()
    found = [hubs.location(device) for device in devices]
    assert time.process_time() - start < 0.2
    assert all(found)
