from __future__ import annotations

import textwrap
from dataclasses import replace

import pytest

from hotplugd.model.values import Descriptors, Device
from hotplugd.rulefile.load import parse
from hotplugd.rules.keys import ID, INTERFACE, KEYS, MAC, PATH
from hotplugd.rules.ruleset import Decision, RuleSet
from tests.unit.devices import CABLE, CONSOLE, DISK, HUB, PHONE, tty, usb


def rules(*matches: str) -> RuleSet:
    text = "rules:\n" + "".join(
        f"  - {{name: r{number}, match: {match}, attach: {{to: box}}}}\n"
        for number, match in enumerate(matches)
    )
    loaded = parse(text, "test.yaml")
    assert not loaded.errors, loaded.errors[0].render()
    return loaded.rules


# What a hostile udev rule, or usb_id, says of a USB device whose kernel says otherwise.
OVERRIDDEN = {"ID_VENDOR_ID": "dead", "ID_MODEL_ID": "beef", "ID_SERIAL_SHORT": "A_B"}

MEETS = [
    ("{serial: 'A B', id: '18d1:4ee7'}", usb("1-1", "18d1", "4ee7", "A B", properties=OVERRIDDEN)),
    ("{serial: 'A B'}", usb(serial=" A B ")),
    ("{property: {ID_SERIAL_SHORT: A_B}}", usb(serial="A B", properties=OVERRIDDEN)),
    ("{subsystem: tty, serial: A_B}", tty(usb(serial="A B", properties=OVERRIDDEN))),
    ("{vendor_id: 0403}", CABLE),
    ("{vendor_id: '0403', product_id: 6001}", CABLE),
    ("{id: '0403:6001'}", CABLE),
    ("{id: '18D1:4EE7'}", PHONE),
    ("{vendor_id: 18D1}", PHONE),
    ("{vendor_id: '18[D]?'}", PHONE),
    ("{vendor_id: [1050, 18d1]}", PHONE),
    ("{vendor_id: '1050|18d1'}", PHONE),
    ("{vendor_id: 18d1}", usb(vendor="0x18D1")),
    ("{serial: 'A5*'}", CABLE),
    ("{serial: A50285BI}", Device("/s", "usb", "1-4", devtype="usb_device", attrs={"serial": "A50285BI"})),
    (
        "{id: 0403:6001}",
        Device("/s", "usb", "1", "usb_device", attrs={"idVendor": "0403", "idProduct": "6001"}),
    ),
    ("{serial: 'a\\*b'}", usb(serial="a*b")),
    ("{serial: 'a*b'}", usb(serial="a\n\x1b[31mb")),
    ("{serial: [no, 0403]}", usb(serial="no")),
    ("{port: 1-4.2}", CABLE),
    ("{port: '1-4.*'}", CABLE),
    ("{port: 2-4}", usb("1-4", attrs={"peer": "2-4"})),
    ("{port: 1-4}", usb("1-4", attrs={"peer": "2-4"})),
    ("{subsystem: tty, port: 1-4.2}", CONSOLE),
    ("{subsystem: tty, serial: A50285BI, id: 0403:6001}", CONSOLE),
    ("{subsystem: tty, serial: OWN}", tty(CABLE, properties={"ID_SERIAL_SHORT": "OWN"})),
    ("{path: 'pci-*:1-4.2'}", CABLE),
    ("{interface: ff:42:01}", PHONE),
    ("{interface: FF:42:*}", PHONE),
    ("{interface: 08:06:50}", PHONE),
    ("{kernel: usb1}", HUB),
    ("{devtype: usb_device}", CABLE),
    ("{driver: usb}", CABLE),
    ("{devtype: usb_interface}", CONSOLE.parent),
    ("{subsystem: usb, devtype: usb_interface}", CONSOLE.parent),
    ("{devtype: usb_interface, any: [{driver: ftdi_sio}, {subsystem: tty}]}", CONSOLE.parent),
    ("{subsystem: '*'}", DISK),
    ("{subsystem: block, property: {EMPTY: '*'}}", DISK),
    ("{property: {ID_VENDOR_ID: 0403}}", CABLE),
    ("{attr: {speed: '480|5000'}}", usb(attrs={"speed": "5000"})),
    ("{subsystem: tty, parent: {driver: ftdi_sio, attr: {bInterfaceNumber: 01}}}", CONSOLE),
    ("{subsystem: tty, parent: {kernel: usb1}}", CONSOLE),
    ("{subsystem: tty, parent: {kernel: 1-4.2, parent: {kernel: usb1}}}", CONSOLE),
    ("{any: [{serial: nope}, {vendor_id: 0403}]}", CABLE),
    ("{any: [{serial: nope}, {subsystem: tty, vendor_id: 0403}]}", CONSOLE),
    ("{any: [{any: [{subsystem: block}]}, {serial: A50285BI}]}", DISK),
    ("{any: [{any: [{subsystem: block}]}, {serial: A50285BI}]}", CABLE),
    ("{subsystem: tty, any: [{serial: A50285BI}]}", CONSOLE),
    ("{not: {vendor_id: 1050}}", CABLE),
    ("{not: {serial: '*'}}", usb(serial="")),
    ("{not: {property: {NO_SUCH: '*'}}}", CABLE),
    ("{not: {subsystem: tty}}", CABLE),
    ("{vendor_id: 0403, not: {any: [{serial: X}, {serial: Y}]}}", CABLE),
    ("{subsystem: block, devtype: disk, kernel: 'zram[0-9]'}", DISK),
]


def describe(device: Device) -> dict[str, list[str]]:
    return {key.name: list(values) for key in KEYS if (values := key.values(device))}


NO_SUBSYSTEM = "'usb', since the rule names no subsystem"

# The match, the device, the key that is not met, what is wanted and what is found.
FAILS = [
    ("{vendor_id: 0403}", PHONE, "vendor_id", "'0403'", "'18d1'"),
    ("{vendor_id: 0403, serial: X}", CABLE, "serial", "'X'", "'A50285BI'"),
    ("{serial: X}", usb(serial=""), "serial", "'X'", "none"),
    ("{serial: x}", usb(serial="X"), "serial", "'x'", "'X'"),
    ("{serial: X}", usb(serial="\x1b[2J"), "serial", "'X'", "'\\x1b[2J'"),
    ("{serial: [X, 'Y*']}", CABLE, "serial", "'X' or 'Y*'", "'A50285BI'"),
    ("{serial: 'A?'}", CABLE, "serial", "'A?'", "'A50285BI'"),
    ("{vendor_id: 0403}", CONSOLE, "subsystem", NO_SUBSYSTEM, "'tty'"),
    (
        "{vendor_id: 0403}",
        CONSOLE.parent,
        "devtype",
        "'usb_device', since the rule names no subsystem",
        "'usb_interface'",
    ),
    ("{not: {subsystem: block}}", CONSOLE, "subsystem", NO_SUBSYSTEM, "'tty'"),
    ("{parent: {subsystem: usb}}", CONSOLE, "subsystem", NO_SUBSYSTEM, "'tty'"),
    ("{devtype: disk}", DISK, "subsystem", NO_SUBSYSTEM, "'block'"),
    ("{port: '3-*'}", usb("1-4", attrs={"peer": "2-4"}), "port", "'3-*'", "'1-4', '2-4'"),
    ("{interface: '03:*'}", PHONE, "interface", "'03:*'", "'ff:42:01', '08:06:50'"),
    ("{property: {NO_SUCH: '*'}}", CABLE, "property.NO_SUCH", "'*'", "none"),
    ("{attr: {a.b: x}}", usb(attrs={"a.b": "y"}), "attr.a.b", "'x'", "'y'"),
    (
        "{subsystem: tty, parent: {driver: cp210x}}",
        CONSOLE,
        "parent.driver",
        "'cp210x'",
        "'ftdi_sio' (of 1-4.2:1.0)",
    ),
    (
        "{subsystem: tty, parent: {kernel: 1-4.2, driver: x}}",
        CONSOLE,
        "parent.driver",
        "'x'",
        "'usb' (of 1-4.2)",
    ),
    (
        "{subsystem: tty, parent: {kernel: 1-4.2, parent: {driver: y}}}",
        CONSOLE,
        "parent.parent.driver",
        "'y'",
        "'usb' (of usb1) (of 1-4.2)",
    ),
    (
        "{subsystem: block, parent: {driver: x}}",
        DISK,
        "parent",
        "a device above it with driver: 'x'",
        "none above it",
    ),
    (
        "{any: [{serial: X}, {vendor_id: 1050}]}",
        CABLE,
        "any",
        "one of 2",
        "1. serial: wants 'X', has 'A50285BI'; 2. vendor_id: wants '1050', has '0403'",
    ),
    ("{not: {vendor_id: 0403}}", CABLE, "not", "anything but {vendor_id: '0403'}", "vendor_id '0403'"),
    (
        "{not: {vendor_id: 0403, product_id: '60*'}}",
        CABLE,
        "not",
        "anything but {vendor_id: '0403', product_id: '60*'}",
        "vendor_id '0403', product_id '6001'",
    ),
    (
        "{not: {any: [{serial: A50285BI}, {port: 1-1, not: {driver: x}}]}}",
        CABLE,
        "not",
        "anything but {any: [{serial: 'A50285BI'}, {port: '1-1', not: {driver: 'x'}}]}",
        "just that",
    ),
    ("{not: {parent: {kernel: usb1}}}", CABLE, "not", "anything but {parent: {kernel: 'usb1'}}", "just that"),
]


@pytest.mark.parametrize(("match", "device"), MEETS)
def test_a_match_is_met(match: str, device: Device) -> None:
    found = rules(match)
    assert found.decide(device) == Decision(found.rules[0])
    (verdict,) = found.explain(device)
    assert verdict.failed is None


@pytest.mark.parametrize(("match", "device", "key", "wanted", "found"), FAILS)
def test_a_match_is_not_met_and_says_why(
    match: str, device: Device, key: str, wanted: str, found: str
) -> None:
    ruleset = rules(match)
    assert ruleset.decide(device) is None
    (verdict,) = ruleset.explain(device)
    assert verdict.failed is not None
    assert (verdict.failed.key, verdict.failed.wanted, verdict.failed.found) == (key, wanted, found)


def test_the_first_rule_that_matches_decides() -> None:
    found = rules("{serial: X}", "{vendor_id: 0403}", "{serial: A50285BI}")
    decided = found.decide(CABLE)
    assert decided is not None
    assert decided.rule.name == "r1"


def test_explaining_ends_with_the_match() -> None:
    verdicts = rules("{serial: X}", "{vendor_id: 0403}", "{serial: A50285BI}").explain(CABLE)
    assert [(each.rule.name, each.failed is None) for each in verdicts] == [("r0", False), ("r1", True)]


def test_an_ignore_rule_decides_too() -> None:
    loaded = parse("rules: [{name: x, match: {vendor_id: 0403}, ignore: true}]", "x")
    decided = loaded.rules.decide(CABLE)
    assert decided is not None
    assert decided.rule.attach is None


NAMES_SERIAL = [
    ("{serial: A1}", "box", True),
    ("{serial: 'A*', vendor_id: 0403}", "box", True),
    ("{vendor_id: 0403}", "box", False),
    ("{vendor_id: 0403}", "ci-{serial}", True),
    ("{serial: A1, port: 1-4}", "box", False),
    ("{serial: A1, path: 'pci*'}", "box", False),
    ("{serial: A1, mac: '00:e0:4c:00:00:01'}", "box", False),
    ("{serial: A1}", "ci-{port}", False),
    ("{not: {serial: A1}}", "box", False),
    ("{any: [{serial: A1}, {serial: B2}]}", "box", True),
    ("{any: [{serial: A1}, {port: 1-4}]}", "box", False),
    ("{any: [{serial: A1}, {port: 1-4}]}", "ci-{serial}", True),
    ("{serial: A1, not: {port: 1-4}}", "box", True),
    ("{subsystem: tty, parent: {serial: A1}}", "box", True),
]


NAMES_SERIAL += [
    ("{property: {ID_SERIAL_SHORT: A1}}", "box", True),
    ("{property: {ID_SERIAL: '*A1'}}", "box", True),
    ("{property: {ID_USB_SERIAL_SHORT: A1}}", "box", True),
    ("{attr: {serial: A1}}", "box", True),
    ("{subsystem: tty, parent: {attr: {serial: A1}}}", "box", True),
    ("{subsystem: block, parent: {attr: {vpd_pg80: '*A1'}}}", "box", True),
    ("{property: {DEVLINKS: '*/dev/serial/by-id/usb-*A1*'}}", "box", True),
    ("{property: {DEVLINKS: '*/dev/disk/by-uuid/1*'}}", "box", False),
    ("{property: {ID_MODEL: Pixel}}", "box", False),
    ("{serial: A1, property: {ID_PATH: 'pci-*'}}", "box", False),
    ("{serial: A1, property: {DEVLINKS: '*/by-path/pci-*'}}", "box", False),
    ("{serial: A1, attr: {devpath: '4.2'}}", "box", False),
    ("{serial: A1, kernel: 1-4.2}", "box", False),
    ("{serial: A1, parent: {subsystem: pci, kernel: '0000:00:14.0'}}", "box", False),
    ("{subsystem: hidraw, serial: A1, parent: {subsystem: hid, kernel: '0003:046D:C31C.*'}}", "box", True),
    ("{subsystem: tty, serial: A1, kernel: ttyUSB0}", "box", True),
    ("{serial: A1, port: '*'}", "box", True),
    ("{serial: A1, port: '*-*'}", "box", True),
    ("{serial: A1, port: '[0-9]-*'}", "box", True),
    ("{serial: A1, port: '*-4.2'}", "box", False),
    ("{serial: A1, port: [1-4, '*']}", "box", True),
    ("{any: [{serial: A1}, {property: {ID_SERIAL_SHORT: B2}}]}", "box", True),
]


@pytest.mark.parametrize(("match", "to", "expected"), NAMES_SERIAL)
def test_a_rule_may_rely_on_the_serial_alone(match: str, to: str, expected: bool) -> None:
    loaded = parse(f"rules: [{{name: x, match: {match}, attach: {{to: '{to}'}}}}]", "x")
    assert [rule.names_serial() for rule in loaded.rules.rules] == [expected]


def test_only_branches_that_a_device_meets_count() -> None:
    either = "any: [{serial: A50285BI}, {port: 1-4.2}]"
    text = f"rules: [{{name: x, match: {{{either}}}, attach: {{to: box, with: [tty]}}}}]"
    (rule,) = parse(text, "x").rules.rules
    elsewhere, nameless = usb("1-7"), usb(serial="")
    assert rule.names_serial(elsewhere)
    assert rule.names_serial(tty(elsewhere))
    assert not rule.names_serial(CABLE)
    assert not rule.names_serial(nameless)
    text = f"rules: [{{name: x, match: {{subsystem: tty, parent: {{{either}}}}}, ignore: true}}]"
    (rule,) = parse(text, "x").rules.rules
    assert rule.names_serial(tty(elsewhere))
    assert not rule.names_serial(CONSOLE)
    assert not rule.names_serial(tty(nameless))


def test_a_ruleset_knows_what_its_rules_look_at() -> None:
    text = """
    rules:
      - name: a
        match: {attr: {speed: x}, any: [{attr: {power/level: x}}, {not: {attr: {a.b: x}}}]}
        attach: {to: box, user: root, group: dialout}
      - name: b
        match: {not: {parent: {attr: {serial: x}}}}
        attach: {to: box, user: lp}
    """
    found = parse(textwrap.dedent(text), "x").rules
    assert found.attrs == {"speed", "power/level", "a.b", "serial"}
    assert found.users == {"root", "lp"}
    assert found.groups == {"dialout"}
    assert found.has_parent
    assert not rules("{any: [{serial: x}], not: {serial: y}}").has_parent


def test_describing_uses_the_names_of_the_language() -> None:
    assert describe(PHONE) == {
        "subsystem": ["usb"],
        "devtype": ["usb_device"],
        "kernel": ["1-1"],
        "driver": ["usb"],
        "id": ["18d1:4ee7"],
        "vendor_id": ["18d1"],
        "product_id": ["4ee7"],
        "serial": ["1A2B"],
        "port": ["1-1"],
        "path": ["pci-0000:00:14.0-usb-0:1-1"],
        "interface": ["ff:42:01", "08:06:50"],
    }


def test_interfaces_come_from_descriptors_before_udev() -> None:
    known = replace(PHONE, descriptors=Descriptors(("ff:42:01", "03:01:01")))
    for device in (known, tty(known, properties={"ID_USB_INTERFACES": ":080650:"})):
        assert INTERFACE.values(device) == ("ff:42:01", "03:01:01")
    assert INTERFACE.values(replace(PHONE, descriptors=Descriptors())) == ()


def test_a_usb_path_also_has_its_usb_revision() -> None:
    def paths(product: str, path: str = "pci-0000:00:14.0-usb-0:4.2:1.0") -> tuple[str, ...]:
        root = replace(HUB, attrs={"idProduct": product})
        above = replace(usb(), parent=replace(usb("1-4", "1d6b", "0003"), parent=root))
        return PATH.values(tty(above, properties={"ID_PATH": path}))

    assert paths("0002") == ("pci-0000:00:14.0-usb-0:4.2:1.0", "pci-0000:00:14.0-usbv2-0:4.2:1.0")
    assert paths("0003")[1] == "pci-0000:00:14.0-usbv3-0:4.2:1.0"
    assert paths("0001")[1] == "pci-0000:00:14.0-usbv1-0:4.2:1.0"
    assert paths("0002", "pci-0000:01:00.0-usb-0:1:1.0-usb-0:2") == (
        "pci-0000:01:00.0-usb-0:1:1.0-usb-0:2",
        "pci-0000:01:00.0-usbv2-0:1:1.0-usb-0:2",
    )
    assert len(paths("")) == len(paths("9999")) == len(paths("0002", "pci-0000:00:1f.2-ata-1")) == 1


def test_mac_is_the_permanent_address() -> None:
    def mac(subsystem: str, **attrs: str) -> tuple[str, ...]:
        return MAC.values(Device("/s", subsystem, "x", attrs=attrs))

    assert mac("net", permanent_address="00:E0", address="aa:bb") == ("00:e0",)
    assert mac("net", address="AA:bb") == ("aa:bb",)
    assert mac("net", permanent_address="", address="aa:bb") == ("aa:bb",)
    assert mac("net", address="00:00:00:00:00:00") == mac("net", address="00:00:00:00") == ()
    assert mac("net") == mac("block", permanent_address="00:e0", address="aa:bb") == ()


def test_an_id_needs_vendor_and_product() -> None:
    assert ID.values(usb(product="")) == ID.values(usb(vendor="")) == ()


def test_every_described_value_matches() -> None:
    for device in (PHONE, CABLE, CONSOLE, DISK):
        for key, found in describe(device).items():
            for value in found:
                where = "" if key == "subsystem" else "subsystem: '*', "
                assert rules(f"{{{where}{key}: '{value}'}}").decide(device) is not None
