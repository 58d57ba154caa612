"""Which rules are tried on a device: by their exact values, so that most are not."""

from __future__ import annotations

import pytest

from hotplugd.model.values import Device
from hotplugd.rules.keys import PORT, SERIAL, SUBSYSTEM
from hotplugd.rules.ruleset import RuleSet
from tests.support.devices import rule, ruleset
from tests.unit.devices import CABLE, CONSOLE, PHONE, usb


def rules(*matches: str) -> RuleSet:
    return ruleset(*(rule(match, None, f"r{number}") for number, match in enumerate(matches)))


def tried(found: RuleSet, device: Device) -> list[int]:
    return list(dict.fromkeys(found.index.candidates(device)))


# The match of a rule, and whether it is tried on the cable (0403:6001, A50285BI, at 1-4.2) and on the phone.
TRIED = [
    ("{serial: A50285BI}", True, False),
    ("{serial: [A50285BI, 1A2B]}", True, True),
    ("{id: '18d1:4ee7'}", False, True),
    ("{vendor_id: 18d1}", False, True),
    ("{port: 1-4.2}", True, False),
    ("{path: 'pci-0000:00:14.0-usb-0:1-1'}", False, True),
    ("{interface: 'ff:42:01'}", False, True),
    ("{serial: 'A*'}", True, True),
    ("{serial: 'A*', product_id: 4ee7}", False, True),
    ("{any: [{serial: A50285BI}, {serial: X}]}", True, False),
    ("{any: [{serial: X}, {id: '18d1:4ee7'}]}", False, True),
    ("{any: [{serial: X}, {any: [{port: 1-1}, {port: 1-2}]}]}", False, True),
    ("{any: [{serial: X}, {driver: '*'}]}", True, True),
    ("{any: [{port: 1-1}, {port: 1-2}], serial: 'A*'}", False, True),
    ("{not: {serial: A50285BI}}", True, True),
    # Of several the most telling one counts, wherever it stands.
    ("{vendor_id: 0403, serial: X}", False, False),
    ("{serial: X, vendor_id: 0403}", False, False),
    ("{driver: usb, any: [{serial: X}, {vendor_id: 18d1}]}", False, True),
    ("{any: [{serial: X}, {driver: usb}], vendor_id: 18d1}", False, True),
]


@pytest.mark.parametrize(("match", "on_cable", "on_phone"), TRIED)
def test_a_rule_is_tried_on_devices_that_may_match(match: str, on_cable: bool, on_phone: bool) -> None:
    found = rules(match)
    assert (tried(found, CABLE), tried(found, PHONE)) == ([0] * on_cable, [0] * on_phone)


def test_rules_are_tried_in_their_order() -> None:
    found = rules("{serial: A50285BI}", "{serial: 'A*'}", "{port: 1-4.2}", "{serial: X}", "{serial: '*'}")
    assert tried(found, CABLE) == [0, 1, 2, 4]


def test_a_device_with_two_ports_is_tried_by_both() -> None:
    found = rules("{port: 2-4}", "{port: 1-4}", "{port: 3-4}")
    assert tried(found, usb("1-4", attrs={"peer": "2-4"})) == [0, 1]


def test_without_exact_rules_no_value_is_looked_at() -> None:
    assert rules("{subsystem: '*', serial: 'A*'}").index.keys == ()
    assert rules("{subsystem: tty}", "{port: 1-1}", "{serial: A}").index.keys == (SERIAL, PORT, SUBSYSTEM)
    assert tried(rules("{serial: A50285BI}"), CONSOLE) == [0]
