"""A device that is made up from values has these, as rules read them."""

from __future__ import annotations

import pytest

from hotplugd.plan.desired import wants
from hotplugd.rules.keys import KEYS
from hotplugd.rules.made_up import MadeUpError, made_up, values_of
from tests.support.devices import rule, ruleset


@pytest.mark.parametrize(
    "text",
    [
        "id=18d1:4ee7 serial=X port=1-4 path=pci-0000:00:14.0-usb-0:4",
        "vendor_id=18d1 product_id=4ee7 interface=ff:42:01 interface=08:06:50 driver=usb",
        "subsystem=tty kernel=ttyUSB0 id=0403:6001 serial=A5 port=1-4.2 path=pci-0:1.0 interface=ff:ff:ff",
        "subsystem=net kernel=eth0 mac=00:e0:4c:68:01:02 driver=r8152",
        "subsystem=block devtype=disk kernel=sdb serial=W1",
        "subsystem=pci kernel=0000:00:14.0",
        "devtype=usb_interface kernel=1-4:1.0 driver=ftdi_sio",
    ],
)
def test_it_has_the_values_that_it_was_made_of(text: str) -> None:
    values = values_of(text)
    device = made_up(values)
    for key in KEYS:
        assert set(values.get(key.name, ())) <= set(key.values(device))


def test_it_goes_where_a_real_one_would() -> None:
    rules = ruleset(
        rule("{serial: X, port: 1-4}", "{to: runner-1}", "phone"),
        rule("{subsystem: tty, parent: {id: '0403:6001'}}", "{to: box, path: /dev/console1}", "tty"),
        rule("{subsystem: net, mac: '00:e0:4c:68:01:02'}", "{to: router, name: wan0}", "net"),
        rule("{subsystem: block, property: {ID_FS_TYPE: ext4}, attr: {ro: '0'}}", "{to: store}", "disk"),
    )
    for text, instance, target in (
        ("id=18d1:4ee7 serial=X port=1-4", "runner-1", "/dev/bus/usb/001/002"),
        ("subsystem=tty id=0403:6001", "box", "/dev/console1"),
        ("subsystem=net mac=00:E0:4C:68:01:02", "router", "wan0"),
        ("subsystem=block kernel=sdb property.ID_FS_TYPE=ext4 attr.ro=0", "store", "/dev/sdb"),
    ):
        found = wants(rules, made_up(values_of(text)))
        assert [(str(want.instance), want.target) for want in found.wants] == [(instance, target)]
        assert found.problems == ()
    assert wants(rules, made_up(values_of("serial=Y port=1-4"))).rule is None


def test_values_with_blanks_are_quoted() -> None:
    device = made_up(values_of("property.ID_MODEL='Pixel 8' serial=X"))
    assert device.properties["ID_MODEL"] == "Pixel 8"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "no keys and values", "such as 'id="),
        ("serial", "'serial' is no key with a value", "write key=value"),
        ("serial=", "'serial=' is no key with a value", "write key=value"),
        ("serial='x", "No closing quotation", "close the quotes"),
        ("serail=x", "unknown key 'serail'", "did you mean 'serial'?"),
        ("qwertz=x", "unknown key 'qwertz'", "property.NAME and attr.NAME"),
        ("property.=x", "unknown key 'property.'", ""),
        ("serial=A serial=B", "several values of 'serial'", "a device has one of it"),
        ("property.A=1 property.A=2", "several values of 'property.A'", "a device has one of it"),
        ("id=18d1", "no device can have '18d1' as its id", "two numbers of four hex digits"),
        ("mac=00:e0:4c:68:01:02", "as its mac", "write subsystem=net"),
        ("seri\x1bal=x", "unknown key 'seri\\x1bal'", "did you mean 'serial'?"),
    ],
)
def test_what_cannot_be_made_up_is_told(text: str, message: str, hint: str) -> None:
    with pytest.raises(MadeUpError) as told:
        made_up(values_of(text))
    assert message in str(told.value)
    assert hint in told.value.hint
