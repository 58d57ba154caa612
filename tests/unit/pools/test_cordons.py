"""What people have cordoned, and which devices that is about."""

from __future__ import annotations

from dataclasses import replace

from hotplugd.model.asker import Asker
from hotplugd.pools.cordons import Cordon, Cordons
from hotplugd.pools.unit_key import unit_key
from hotplugd.rules.keys import KEYS
from tests.support.devices import phone

SAID = phone(serial="AB CD")


def cordon(name: str) -> Cordons:
    return Cordons.made_of([Cordon("device", name, "", "2026-11-28T03:00:00+00:00", Asker(0))])


def test_what_was_cordoned_by_udevs_form_of_a_serial_number_is_given_to_nobody() -> None:
    """As it was kept before serial numbers were the kernel's."""
    then = replace(SAID, attrs={**SAID.attrs, "serial": "AB_CD"})
    for twin in ("", "@pci-0000:00:14.0-usb-0:1-1"):
        cordons = cordon(f"{unit_key(then)}{twin}")
        assert cordons.of_device(f"{unit_key(SAID)}{twin}", "android", SAID, KEYS) is not None


def test_others_are_not_meant() -> None:
    assert cordon("serial:AB_C").of_device(unit_key(SAID), "android", SAID, KEYS) is None
    assert cordon(unit_key(SAID)).of_device("serial:AB_CD", "android", phone(serial="AB_CD"), KEYS) is None
    assert cordon("serial:").of_device("path:x", "android", phone(serial=""), KEYS) is None
