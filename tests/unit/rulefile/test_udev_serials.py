"""Serial numbers as udev writes them, and as devices say them."""

from __future__ import annotations

import pytest

from hotplugd.rulefile.udev_serials import written_as_udev
from hotplugd.rules.udev_serial import as_udev
from tests.support.devices import rule, ruleset

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


def doubts(match: str, *serials: str) -> list[tuple[str, str]]:
    (found,) = ruleset(rule(match, "{to: box}")).rules
    return list(written_as_udev(found.match, serials))


@pytest.mark.parametrize(("own", "udevs"), MEASURED.items())
def test_serials_are_rewritten_as_udev_does(own: str, udevs: str) -> None:
    assert as_udev(own) == udevs


def test_a_rule_that_has_udevs_serial_of_a_device_that_is_there_is_told_the_devices_own() -> None:
    assert doubts("{serial: AB_CD}", "AB CD", "X1") == [
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
    assert doubts(match, "AB CD") == []
