"""Which device a name means, and what is said where it means none or several."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotplugd.app.find import absent, described, each_of, missing, named, without_device
from hotplugd.plan.identity import model
from tests.support.devices import phone, rule, ruleset
from tests.unit import devices

PIXEL = replace(phone(1), properties={**phone(1).properties, "ID_MODEL": "Pixel_8"})
HUBS = ruleset(
    rule("{serial: R5C002}", "{to: runner-2}", "hub-2"),
    rule("{subsystem: tty, parent: {port: 1-7}}", None, "nothing"),
    rule("{serial: '*', not: {serial: X1}}", "{to: box}", "all"),
)


@pytest.mark.parametrize("name", ["/dev/bus/usb/001/001", PIXEL.syspath, "1-1", "R5C001", "serial:R5C001"])
def test_a_device_has_five_kinds_of_names(name: str) -> None:
    assert named(name, [phone(2), PIXEL]) == [PIXEL]


def test_a_link_leads_to_its_device() -> None:
    assert named("/dev/mine", [PIXEL], "/dev/bus/usb/001/001") == [PIXEL]


def test_a_device_is_told_with_its_serial_model_and_port() -> None:
    assert described(PIXEL) == "/dev/bus/usb/001/001 (serial R5C001, Pixel_8, port 1-1)"
    assert described(devices.DISK) == "/sys/devices/virtual/block/zram0"
    evil = replace(PIXEL, properties={"ID_MODEL": "\x1b[2J", "ID_SERIAL_SHORT": "a\nb"})
    assert "\\x1b[2J" in described(evil)
    assert "\n" not in described(evil)


def test_what_hangs_from_a_device_has_its_model() -> None:
    cable = devices.usb(properties={"ID_MODEL": "FT232R"})
    assert model(devices.tty(cable)) == "FT232R"
    assert model(devices.usb(attrs={"product": "Rx"})) == "Rx"
    assert model(devices.DISK) == ""


def test_several_of_one_name_are_listed_with_what_names_each_alone() -> None:
    found = each_of([phone(10, "FT0006"), phone(2, "FT0006")])
    assert found == [
        f"/dev/bus/usb/001/{number:03} (serial FT0006, port 1-{number}) at {phone(number).syspath}"
        for number in (2, 10)
    ]
    assert each_of(phone(number) for number in range(1, 12))[-1] == "and 3 more"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("R5C002", "is plugged in; rule 'hub-2' (test.yaml:2) is for it: it goes to runner-2; "),
        ("1-7", "is plugged in; rule 'nothing' (test.yaml:3) would ignore it; "),
        # Neither a rule for any serial nor one that excludes it is about it.
        (
            "X1",
            "expected a node, a path in /sys, the kernel's name, a serial number or a location",
        ),
        ("X\x1b", "no device X\\x1b is"),
    ],
)
def test_what_is_not_plugged_in_is_told_with_the_rule_for_it(name: str, said: str) -> None:
    assert said in absent(name, HUBS)


def test_what_is_there_and_not_processed_is_not_said_to_be_unplugged() -> None:
    said = missing(PIXEL.node, PIXEL.node, [phone(2), PIXEL], HUBS)
    assert said.startswith("/dev/bus/usb/001/001 is there, but udevd has not processed it (yet); `udevadm ")
    assert missing("R5C9", "R5C9", [PIXEL], HUBS) == absent("R5C9", HUBS)


def test_a_node_without_a_device_is_told_with_its_number() -> None:
    said = without_device("/dev/nvidiactl", "char 195:255")
    assert said.startswith("/dev/nvidiactl is a node, char 195:255, of which the kernel has no device")
    assert "`as: gpu`" in said
    assert "as: gpu" not in without_device("/dev/other", "char 195:255")
