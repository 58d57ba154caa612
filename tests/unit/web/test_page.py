"""The page's document: which tiles there are, in which order, and the word of each."""

from __future__ import annotations

from typing import Any

import pytest

from hotplugd.app import endpoints
from hotplugd.app.control_request import ControlRequest
from hotplugd.app.grants import ROOT
from hotplugd.app.peer import Peer
from hotplugd.web import page as page_module
from hotplugd.web.masking import Masking
from hotplugd.web.page import Page, TileJson, page
from tests.support.farm import HUBS, PHONES, PORTS, Farm
from tests.unit.app.test_openapi import is_as_said


@pytest.fixture
def farm() -> Farm:
    made = Farm()
    made.fill()
    return made


def made(farm: Farm, *, serials: bool = False, **changes: Any) -> Page:
    shown = Masking(serials=serials)
    documents: list[Any] = [
        farm.status(), {**farm.topology(), **changes},
        {"pools": [{"name": "android", "devices": farm.leases}], "cordons": []},
    ]  # fmt: skip
    for each in documents:
        shown.learn(each)
    status, topology, pools = documents
    return page(status, topology, pools, shown, lambda text: f"id of {text}")


def test_the_farm_says_what_a_daemon_says(farm: Farm) -> None:
    farm.lasting = {
        "problems": [farm.problem("shelf-1/1", "x")], "pending": [pending(farm, "shelf-1/2", "x")],
        "unmatched": [farm.named("shelf-1/3")],
    }  # fmt: skip
    farm.leases = [lease(farm, "shelf-1/5")]
    asked = ControlRequest(Peer(1, 0), ROOT, {"device": str(farm.phones["shelf-1/1"])}, "")
    for endpoint, handler in farm.handlers().items():
        if endpoint not in (endpoints.EVENTS, endpoints.STREAM):
            is_as_said(endpoint, handler(asked))


def tiles(found: Page) -> dict[str, TileJson]:
    return {tile["place"]: tile for group in found.document["groups"] for tile in group["tiles"]}


def lease(farm: Farm, where: str, **changes: object) -> dict[str, Any]:
    return {
        **farm.named(where), "pool": "android", "state": "free", "reason": "", "project": "",
        "instance": "", "claim": "", "since": "", "state_since": "2026-11-27T07:12:00+00:00",
        "present": True, "health": "good", "health_reason": "", "health_since": "", **changes,
    }  # fmt: skip


def pending(farm: Farm, location: str, why: str) -> dict[str, Any]:
    return {
        **farm.named(location), "project": "default", "instance": "x", "action": "add", "entry": "",
        "rule": "r", "why": why,
    }  # fmt: skip


def test_hubs_are_in_the_order_of_the_configuration_with_all_their_ports(farm: Farm) -> None:
    found = made(farm)
    groups = found.document["groups"]
    assert [each["name"] for each in groups] == [f"shelf-{hub + 1}" for hub in range(HUBS)]
    assert [tile["label"] for tile in groups[0]["tiles"]] == [str(port + 1) for port in range(PORTS)]
    assert found.document["summary"] == f"{HUBS * PHONES} attached, {HUBS * (PORTS - PHONES)} free"
    tile = tiles(found)["shelf-1/1"]
    assert (tile["look"], tile["word"], tile["who"], tile["device"], tile["speed"]) == (
        "good", "attached", "runner-1", "Pixel 7", "480 Mbit/s"
    )  # fmt: skip
    assert tile["since"] == "2026-11-26T21:30:00.000+00:00"
    names = found.names[tile["id"]]
    assert names.devices == (str(farm.phones["shelf-1/1"]),)
    assert names.identities == ("serial:R5CT000A",)
    assert names.places == ("shelf-1/1", "1-1.1")


def test_each_state_has_its_word_and_its_look(farm: Farm) -> None:
    for port in (2, 3, 5, 6, 7, 8, 9):
        del farm.attached[f"shelf-1/{port}"]
    status = farm.status()["attachments"]
    status[[each["location"] for each in status].index("shelf-1/4")]["verified"] = False
    farm.lasting = {
        "attachments": status,
        "problems": [farm.problem("shelf-1/1", "adb says unauthorized")],
        "pending": [pending(farm, "shelf-1/2", "it is stopped")],
        "unmatched": [farm.named("shelf-1/3")],
    }
    farm.leases = [
        lease(farm, "shelf-1/5"), lease(farm, "shelf-1/6", state="cordoned", reason="repair"),
        lease(farm, "shelf-1/7", health="quarantined", health_reason="it comes and goes"),
        lease(farm, "shelf-1/8", state="releasing", reason="open in x"),
    ]  # fmt: skip
    found = tiles(made(farm))
    assert {key: (each["look"], each["word"], each["why"]) for key, each in list(found.items())[:11]} == {
        "shelf-1/1": ("bad", "problem", "adb says unauthorized"),
        "shelf-1/2": ("waiting", "waiting", "it is stopped"),
        "shelf-1/3": ("idle", "no rule", "no rule takes it"),
        "shelf-1/4": ("bad", "not seen inside", "it is attached, and was not seen inside"),
        "shelf-1/5": ("idle", "free in android", ""),
        "shelf-1/6": ("idle", "cordoned", "repair"),
        "shelf-1/7": ("bad", "quarantined", "it comes and goes"),
        "shelf-1/8": ("waiting", "releasing", "open in x"),
        "shelf-1/9": ("idle", "not attached", ""),
        "shelf-1/10": ("good", "attached", ""),
        "shelf-1/11": ("free", "free", ""),
    }


def test_a_hub_that_is_not_plugged_in_is_said_so(farm: Farm) -> None:
    found = tiles(made(farm, controllers=[], hubs=[{"name": "front", "locations": ["front/left"]}]))
    assert (found["front/left"]["look"], found["front/left"]["word"]) == ("absent", "no such port")


def test_what_is_plugged_elsewhere_comes_after_the_hubs(farm: Farm) -> None:
    found = made(farm, hubs=[], controllers=renamed(farm))
    groups = found.document["groups"]
    assert groups[0]["name"] == "pci-0000:00:14.0-usb-0:1"
    assert [tile["place"] for tile in groups[0]["tiles"]][:2] == ["1-1.1", "1-1.2"]
    assert groups[0]["note"] == "2 free ports not shown"
    assert groups[0]["tiles"][0]["word"] == "attached"


def renamed(farm: Farm) -> Any:
    """The controllers without locations."""

    def bare(socket: Any) -> Any:
        return {**socket, "location": "", "sockets": [bare(each) for each in socket["sockets"]]}

    return [
        {**each, "sockets": [bare(one) for one in each["sockets"]]} for each in farm.topology()["controllers"]
    ]


def test_what_is_in_no_port_comes_last(farm: Farm) -> None:
    nic = {
        **farm.status()["attachments"][0], "port": "", "location": "", "device": "enp3s0", "model": "I210",
        "identity": "mac:x",
    }  # fmt: skip
    farm.lasting = {"attachments": [*farm.status()["attachments"], nic]}
    farm.leases = [
        lease(farm, "shelf-1/1", port="", location="", device="", present=False, identity="serial:GONE77A")
    ]
    last = made(farm, serials=True).document["groups"][-1]
    assert last["name"] == "Not in a port"
    assert [(each["place"], each["word"], each["device"]) for each in last["tiles"]] == [
        ("enp3s0", "attached", "I210"), ("serial:GONE77A", "away", "Pixel 7")
    ]  # fmt: skip


def test_problems_name_their_place_and_lead_there(farm: Farm) -> None:
    general = {**farm.problem("shelf-1/1", "reload failed"), "device": "", "port": "", "location": ""}
    port = {**general, "message": "over-current", "place": "shelf-2/11"}
    farm.lasting = {"problems": [general, farm.problem("shelf-1/2", "no"), port]}
    assert made(farm).document["problems"] == [
        {"text": "reload failed", "tile": ""},
        {"text": "shelf-1/2: no", "tile": "id of shelf-1/2"},
        {"text": "shelf-2/11: over-current", "tile": "id of shelf-2/11"},
    ]
    assert tiles(made(farm))["shelf-2/11"]["word"] == "problem"
    farm.lasting = {"problems": [general] * 70}
    told = made(farm).document["problems"]
    assert (len(told), told[-1]["text"]) == (51, "and 20 problems more: `hotplugd status`")


def test_serial_numbers_have_masks_wherever_they_stand(farm: Farm) -> None:
    farm.plug("shelf-1/11", serial="HOSTILE77", product="It is HOSTILE77", to="phone-hostile77")
    farm.lasting = {"problems": [farm.problem("shelf-1/1", "no: HOSTILE77 has it")]}
    document = str(made(farm).document)
    assert ("HOSTILE77" in document.upper(), "R5CT" in document) == (False, False)
    assert tiles(made(farm, serials=True))["shelf-1/11"]["who"] == "phone-hostile77"


def test_a_serial_number_hides_no_name_of_the_configuration_and_no_state(farm: Farm) -> None:
    for number, serial in enumerate(("attached", "shelf-1", "shelf-1/3"), 1):
        location = f"shelf-2/{number}"
        farm.phones[location] = farm.phone(location, serial, "Pixel")
    found = made(farm)
    assert found.document["groups"][0]["name"] == "shelf-1"
    assert tiles(found)["shelf-1/3"]["word"] == "attached"


def test_texts_are_short_and_printable(farm: Farm) -> None:
    farm.plug("shelf-1/11", product="\u202eelgooG\n" + "W" * 4096, to="W" * 4096)
    tile = tiles(made(farm))["shelf-1/11"]
    assert tile["device"].startswith("\\u202eelgooG\\x0aWWW")
    assert max(len(str(each)) for each in tile.values()) <= 200


@pytest.mark.parametrize(
    ("speed", "told"),
    [
        ("5000", "5 Gbit/s"),
        ("1.5", "1.5 Mbit/s"),
        ("", ""),
        ("x", ""),
        ("nan", ""),
        ("1e999", ""),
        ("-1", ""),
    ],
)
def test_speeds_have_units(farm: Farm, speed: str, told: str) -> None:
    farm.phones = {"shelf-1/1": farm.phones["shelf-1/1"]}
    farm.attached = {}
    controllers = farm.topology()["controllers"]
    controllers[0]["sockets"][0]["sockets"][0]["devices"][0]["speed"] = speed
    assert tiles(made(farm, controllers=controllers))["shelf-1/1"]["speed"] == told


def test_there_are_no_more_tiles_than_a_browser_bears(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "_MOST_TILES", 20)
    found = made(farm)
    assert sum(len(each["tiles"]) for each in found.document["groups"]) == 20
    assert found.document["groups"][1]["note"] == "more than 20 ports: not all are shown"
