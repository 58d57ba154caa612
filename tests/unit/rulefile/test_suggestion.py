"""A rule that is suggested takes the device and nothing else, or says what else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplugd.model.values import Device
from hotplugd.rulefile.load import parse
from hotplugd.rulefile.made_up import made_up
from hotplugd.rulefile.suggestion import suggestions, taken_too
from hotplugd.rules.hubs import Hub, Hubs
from tests.support.devices import console, interface, phone
from tests.support.usb_tree import CONTROLLER, Sockets
from tests.unit import devices

PIXEL = replace(phone(1), properties={**phone(1).properties, "ID_MODEL": "Pixel_8"})
FLEET = [PIXEL, phone(2), phone(3, serial="0000000000"), console(1), console(2), interface()]


def taken(rule: str, fleet: list[Device]) -> list[Device]:
    rules = parse(f"rules:\n{rule}", "f")
    assert rules.errors == ()
    return [each for each in fleet if rules.rules.decide(each) is not None]


@pytest.mark.parametrize("device", FLEET, ids=str)
def test_the_first_takes_the_device_and_nothing_else(device: Device) -> None:
    first = suggestions(device, FLEET, "box")[0]
    assert taken(first.rule, FLEET) == [device]
    assert first.others == ()
    assert taken_too(first) == ""


def test_a_phone_goes_by_its_serial_number_and_else_by_its_place() -> None:
    first, *others = suggestions(PIXEL, FLEET, "runner-1")
    assert first.rule == (
        "  - name: pixel-8-r5c001\n"
        '    match: {vendor_id: "18d1", serial: R5C001}\n'
        "    attach: {to: runner-1}\n"
    )
    assert first.why == "its serial number, wherever it is plugged in"
    assert first.problems == ()
    assert [dict(each.match).keys() for each in others] == [{"id", "path"}, {"path"}, {"id"}]
    assert taken_too(others[-1]) == "it takes /dev/bus/usb/001/002, /dev/bus/usb/001/003, too"


def test_a_phone_is_taken_in_its_bootloader_too() -> None:
    first = suggestions(PIXEL, FLEET, "runner-1")[0]
    bootloader = replace(PIXEL, properties={**PIXEL.properties, "ID_MODEL_ID": "4ee0"})
    assert taken(first.rule, [bootloader]) == [bootloader]


def test_a_serial_that_numbers_nothing_comes_after_the_place() -> None:
    found = suggestions(phone(3, serial="0000000000"), FLEET, "box")
    assert "path" in dict(found[0].match)
    (by_serial,) = [each for each in found if "serial" in dict(each.match)]
    assert by_serial.why == "its serial number, but it is what makers write who number nothing"


def test_a_serial_that_two_have_is_told_and_comes_last() -> None:
    twin = phone(4, serial="R5C001")
    found = suggestions(PIXEL, [*FLEET, twin], "box")
    assert "path" in dict(found[0].match)
    (by_serial,) = [each for each in found if "serial" in dict(each.match)]
    assert by_serial.others == (twin,)
    assert "1 other device that is plugged in has the same" in by_serial.why


def test_a_port_with_a_name_comes_before_its_path() -> None:
    hubs = Hubs((Hub("shelf", (f"{CONTROLLER}-usb-0:3",), "", {"1": "1", "2": "2"}),))
    sockets = Sockets()
    fleet = [sockets.plug(each, attrs={"idVendor": "18d1", "idProduct": "4ee7"}) for each in ("3.1", "3.2")]
    first = suggestions(fleet[0], fleet, "box", hubs)[0]
    assert dict(first.match) == {"id": ("18d1:4ee7",), "location": ("shelf/1",)}
    assert first.others == ()
    whole = (
        f'hubs: {{shelf: {{path: "{CONTROLLER}-usb-0:3", ports: {{1: "1", 2: "2"}}}}}}\nrules:\n{first.rule}'
    )
    rules = parse(whole, "f")
    assert rules.errors == ()
    assert [each for each in fleet if rules.rules.decide(each) is not None] == fleet[:1]
    # Without names it goes by the path.
    assert all("location" not in dict(each.match) for each in suggestions(fleet[0], fleet, "box"))


def test_what_hangs_from_a_device_is_named_by_its_subsystem() -> None:
    first = suggestions(console(1), FLEET, "box")[0]
    assert dict(first.match) == {"subsystem": ("tty",), "vendor_id": ("0403",), "serial": ("A5001",)}


def test_an_interface_goes_by_its_permanent_address() -> None:
    first = suggestions(interface(), FLEET, "router")[0]
    assert dict(first.match) == {"subsystem": ("net",), "mac": ("00:e0:4c:00:00:01",)}


def test_what_has_nothing_else_goes_by_its_name() -> None:
    (only,) = suggestions(devices.DISK, [devices.DISK], "box")
    assert dict(only.match) == {"subsystem": ("block",), "devtype": ("disk",), "kernel": ("zram0",)}


@given(st.text(min_size=1, max_size=20), st.text(max_size=12))
def test_whatever_a_device_says_the_rule_is_one_and_takes_it(serial: str, name: str) -> None:
    device = replace(PIXEL, properties={**PIXEL.properties, "ID_SERIAL_SHORT": serial, "ID_MODEL": name})
    for each in suggestions(device, [device, phone(2)], "box"):
        assert device in taken(each.rule, [device])
        assert each.rule.isprintable() or set(each.rule) - {"\n"} == set(filter(str.isprintable, each.rule))


@pytest.mark.parametrize(
    ("subsystem", "kernel", "said"),
    [
        ("misc", "fuse", "path '/dev/fuse' belongs to every container"),
        ("leds", "led0", "it has no device node"),
        ("misc", "kvm", ""),
    ],
)
def test_why_it_stays_all_the_same_is_said(subsystem: str, kernel: str, said: str) -> None:
    device = made_up({"subsystem": (subsystem,), "kernel": (kernel,)})
    (only,) = suggestions(device, [device], "box")
    assert len(only.problems) == bool(said)
    assert said in "".join(only.problems)
