"""Ids and serial numbers as udev has them, and as devices say them."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType

import pytest

from hotplugd.model.values import Device
from hotplugd.rulefile.udev_values import twofold, written_as_udev
from hotplugd.rules.match import unmet
from hotplugd.rules.udev_serial import as_udev
from tests.support.devices import rule, ruleset
from tests.unit.devices import usb

# What `udevadm test-builtin usb_id` of systemd 252 made of each serial.
MEASURED = {
    "AB CD": "AB_CD",
    " AB CD ": "AB_CD",
    "AB  CD": "AB_CD",
    "AB/CD": "AB_CD",
    "AB(1)": "AB_1_",
    "AB+C#D=E.F:G@H_I-J": "AB+C#D=E.F:G@H_I-J",
    "AB*?[": "AB___",
    "A'B\"C`D$E": "A_B_C_D_E",
    "%&;<>|~{}^!": "___________",
    "AB,CD": "",
    "ABé": "",
    "AB\tCD": "",
    "": "",
}


def plugged(serial: str, **said: str) -> Device:
    """A USB device with this serial number. said: what a udev rule says of it; else udev rewrites that."""
    udev = {"ID_SERIAL_SHORT": as_udev(serial), **said}
    return usb("1-1", "18d1", "4ee7", serial, properties=udev)


def doubts(match: str, *devices: Device) -> list[tuple[str, str]]:
    (found,) = ruleset(rule(match, "{to: box}")).rules
    return list(written_as_udev(found.match, twofold(devices)))


@pytest.mark.parametrize(("own", "udevs"), MEASURED.items())
def test_serials_are_rewritten_as_udev_does(own: str, udevs: str) -> None:
    assert as_udev(own) == udevs


def test_a_rule_that_has_udevs_serial_of_a_device_that_is_there_is_told_the_devices_own() -> None:
    assert doubts("{serial: AB_CD}", plugged("AB CD"), plugged("X1")) == [
        (
            "asks for the serial 'AB_CD', as udev writes it, and the device that is there says 'AB CD'",
            "write 'AB CD'; udev's is `property: {ID_SERIAL_SHORT: 'AB_CD'}`",
        )
    ]


@pytest.mark.parametrize(
    "match",
    [
        "{serial: 'AB CD'}",
        "{serial: 'AB?CD'}",
        "{serial: [AB_CD, 'AB CD']}",
        "{serial: OTHER}",
        "{not: {serial: AB_CD}}",
        "{property: {ID_SERIAL_SHORT: AB_CD}}",
        # Of these it is udev's.
        "{subsystem: tty, serial: AB_CD}",
    ],
)
def test_other_rules_are_not_told(match: str) -> None:
    assert doubts(match, plugged("AB CD")) == []


# What a udev rule may say: ENV{ID_VENDOR_ID}="dead".
OVERRIDDEN = plugged("R5C1", ID_VENDOR_ID="dead", ID_MODEL_ID="beef", ID_SERIAL_SHORT="TABLE-4")


@pytest.mark.parametrize(
    ("match", "asks", "write"),
    [
        (
            "{serial: TABLE-4}",
            "the serial 'TABLE-4', …'R5C1'",
            "write 'R5C1'; … {ID_SERIAL_SHORT: 'TABLE-4'}",
        ),
        ("{vendor_id: dead}", "the vendor_id 'dead', …'18d1'", "write '18d1'; … {ID_VENDOR_ID: 'dead'}"),
        ("{product_id: BEEF}", "the product_id 'beef', …'4ee7'", "write '4ee7'; … {ID_MODEL_ID: 'beef'}"),
        (
            "{any: [{serial: X}, {id: 'dead:*'}]}",
            "the id 'dead:beef', …'18d1:4ee7'",
            "write '18d1:4ee7'; … {ID_VENDOR_ID: 'dead', ID_MODEL_ID: 'beef'}",
        ),
        (
            "{serial: TABLE-4, property: {ID_VENDOR_ID: dead}}",
            "the serial 'TABLE-4', …'R5C1'",
            "write 'R5C1'; … {ID_SERIAL_SHORT: 'TABLE-4'}",
        ),
    ],
)
def test_what_a_udev_rule_says_is_told_likewise(match: str, asks: str, write: str) -> None:
    asks, write = (
        asks.replace("…", "as udev writes it, and the device that is there says "),
        write.replace("…", "udev's is `property:"),
    )
    assert doubts(match, OVERRIDDEN) == [(f"asks for {asks}", f"{write}`")]


def test_of_a_device_without_a_serial_number_there_is_none_to_write() -> None:
    (found,) = doubts("{serial: TABLE-4}", plugged("", ID_SERIAL_SHORT="TABLE-4"))
    assert found == (
        "asks for the serial 'TABLE-4', as udev writes it, and the device that is there says none",
        "udev's is `property: {ID_SERIAL_SHORT: 'TABLE-4'}`",
    )


@pytest.mark.parametrize(
    "match", ["{serial: R5C1}", "{serial: '*'}", "{vendor_id: 18d1}", "{serial: TABLE-4, vendor_id: 0403}"]
)
def test_what_the_device_says_is_not_told_of_and_nor_is_what_the_rule_does_not_take(match: str) -> None:
    assert doubts(match, OVERRIDDEN) == []


def test_a_serial_number_that_udev_drops_is_the_devices_for_rules_as_ever() -> None:
    assert twofold([plugged("AB,CD"), plugged("ABé"), plugged("AB1"), plugged("")]) == []


@pytest.mark.parametrize("own", ["AB|OTHER", "AB*?[", "A'B", "', vendor_id: '*", "A\\B\x1b", "AB CD", "é"])
def test_what_is_to_be_written_takes_that_device_alone(own: str) -> None:
    ((_, hint),) = doubts("{serial: UDEVS}", plugged(own, ID_SERIAL_SHORT="UDEVS"))
    value = hint.removeprefix("write ").rpartition("; udev's is")[0]
    (found,) = ruleset(rule(f"{{serial: {value}}}", "{to: box}")).rules
    assert unmet(found.match, plugged(own)) is None
    assert unmet(found.match, plugged("OTHER")) is not None
    assert unmet(found.match, plugged(f"{own}X")) is not None


def test_a_rule_costs_little_for_each_of_a_thousand_devices_that_it_does_not_ask_for() -> None:
    """A host may have thousands of rules: of each device one test is made, and only where a rule has one."""
    devices = twofold([plugged(f"AB {number}") for number in range(1000)])
    calls = Counter[str]()

    def count(frame: FrameType, event: str, _: object) -> None:
        calls[frame.f_code.co_name] += event == "call"

    texts = "{serial: 'AB CD'}", "{subsystem: tty}"
    matches = [each.match for text in texts for each in ruleset(rule(text, "{to: box}")).rules]
    sys.setprofile(count)
    try:
        assert [list(written_as_udev(each, devices)) for each in matches] == [[], []]
    finally:
        sys.setprofile(None)
    assert calls["holds"] <= len(devices)
    assert calls["unmet"] == 0
