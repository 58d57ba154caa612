"""What follows from what, as far as warnings need it: only what is certain, and in bounded time."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from hotplugd.rulefile.decode import MOST_SHOWN
from hotplugd.rulefile.lint import implies
from hotplugd.rulefile.load import parse
from hotplugd.rules.match import Match
from tests.support.devices import rule, ruleset


def match(text: str) -> Match:
    (found,) = ruleset(rule(text, None)).rules
    return found.match


def warnings(*matches: str) -> list[str]:
    text = "rules:\n" + "".join(rule(each, None, f"r{number}") for number, each in enumerate(matches))
    return [each.message for each in parse(text, "f").diagnostics]


def serials(count: int) -> tuple[str, str]:
    """So many serials as branches of `any`, and as a list."""
    names = [f"S{number}" for number in range(count)]
    return f"any: [{', '.join(f'{{serial: {each}}}' for each in names)}]", f"serial: [{', '.join(names)}]"


# A match, and another that every device meets that meets the first one.
FOLLOWS = [
    ("{serial: A}", "{serial: 'A*'}"),
    ("{serial: A, port: 1-1}", "{port: 1-1}"),
    ("{serial: [A, 'B*']}", "{serial: ['B*', A, C]}"),
    ("{serial: A}", "{any: [{port: 1-1}, {serial: [A, B]}]}"),
    ("{any: [{serial: A}, {serial: B}]}", "{serial: [A, B]}"),
    ("{driver: x, any: [{serial: A}, {serial: B}]}", "{driver: x, serial: [A, B]}"),
    ("{any: [{serial: A}, {serial: B}]}", "{any: [{serial: [A, C]}, {serial: B}]}"),
    ("{parent: {serial: A, port: 1-1}}", "{parent: {serial: A}}"),
    ("{parent: {any: [{serial: A}, {serial: B}]}}", "{parent: {serial: [A, B]}}"),
    ("{not: {serial: 'A*'}}", "{not: {serial: A}}"),
    ("{not: {serial: [A, B]}}", "{not: {any: [{serial: A}, {serial: B}]}}"),
    ("{id: '0403:6001'}", "{vendor_id: 0403, product_id: 6001}"),
    ("{vendor_id: 0403, product_id: [6001, 6010]}", "{id: '0403:60*'}"),
    (f"{{{serials(32)[0]}}}", f"{{{serials(32)[1]}}}"),
]
STANDS = [
    ("{serial: 'A*'}", "{serial: A}"),
    ("{serial: A}", "{serial: A, port: 1-1}"),
    ("{serial: A}", "{driver: A}"),
    ("{serial: [A, B]}", "{serial: A}"),
    ("{any: [{serial: A}, {port: 1-1}]}", "{serial: A}"),
    ("{serial: A}", "{any: [{port: 1-1}, {serial: B}]}"),
    ("{parent: {serial: A}}", "{serial: A}"),
    ("{serial: A}", "{parent: {serial: A}}"),
    ("{parent: {serial: A}}", "{parent: {serial: B}}"),
    ("{parent: {serial: A}}", "{parent: {serial: A, port: 1-1}}"),
    ("{not: {serial: A}}", "{not: {serial: 'A*'}}"),
    ("{not: {serial: A}}", "{serial: A}"),
    ("{vendor_id: 0403}", "{id: '0403:6001'}"),
    ("{id: '0403:6001'}", "{product_id: 0403}"),
    # It is so, but finding out could take long.
    (f"{{{serials(33)[0]}}}", f"{{{serials(33)[1]}}}"),
    ("{any: [{any: [{serial: A}, {serial: B}]}, {serial: A}]}", "{serial: [A, B]}"),
]


@pytest.mark.parametrize(("one", "other"), FOLLOWS)
def test_one_match_follows_from_another(one: str, other: str) -> None:
    assert implies(match(one), match(other))


@pytest.mark.parametrize(("one", "other"), STANDS)
def test_one_match_does_not_follow_from_another(one: str, other: str) -> None:
    assert not implies(match(one), match(other))


def test_contradictions_are_sought_in_32_branches() -> None:
    for count, expected in ((32, 1), (33, 0)):
        assert len(warnings(f"{{serial: X, {serials(count)[0]}}}")) == expected


def test_rules_after_one_that_never_matches_are_linted() -> None:
    assert warnings(
        "{vendor_id: 0403, id: '10c4:0001'}",
        "{vendor_id: 0403}",
        "{serial: A}",
        "{vendor_id: 0403, serial: A}",
    ) == [
        "rule 'r0' can never match: vendor_id: '10c4' and vendor_id: '0403' exclude each other",
        "rule 'r3' can never be reached: rule 'r1' takes all its devices",
    ]


def test_the_first_rule_that_hides_another_is_named() -> None:
    (found,) = warnings("{serial: B}", "{serial: A}", "{serial: 'A'}", "{serial: '*'}")
    assert found == "rule 'r2' can never be reached: rule 'r1' takes all its devices"
    found, _ = warnings("{serial: '*'}", "{serial: 'A*'}", "{serial: AB}")
    assert found == "rule 'r1' can never be reached: rule 'r0' takes all its devices"


def test_a_rule_that_never_matches_hides_no_other() -> None:
    assert len(warnings("{serial: 'A*', not: {serial: '*'}}", "{serial: A}")) == 1


@pytest.mark.parametrize(
    "earlier",
    ["{any: [{serial: A}, {port: 1-1}]}", "{vendor_id: 0403}", "{id: '0403:*'}", "{product_id: 6001}"],
)
def test_a_hiding_rule_is_found_by_any_indexed_key(earlier: str) -> None:
    later = "{serial: A, id: '0403:6001'}"
    assert warnings(earlier, later) == ["rule 'r1' can never be reached: rule 'r0' takes all its devices"]
    assert len(warnings("{serial: [A, B]}", "{any: [{serial: A}, {serial: B}]}")) == 1


def test_a_hundred_warnings_are_shown_and_no_more() -> None:
    assert len(warnings(*["{serial: A}"] * (MOST_SHOWN + 2))) == MOST_SHOWN


TWO = {"1": "/sys/devices/pci0000:00/0000:00:14.0", "2": "/sys/devices/pci0000:00/0000:00:14.0",
       "3": "/sys/devices/pci0000:00/0000:05:00.0"}  # fmt: skip


def doubts(
    match: str, attach: str = "{to: box}", controllers: Mapping[str, str] = TWO
) -> list[tuple[str, str]]:
    """The warnings about one rule, and what they advise."""
    found = parse("rules:\n" + rule(match, attach), "f", controllers).diagnostics
    assert {each.severity for each in found} <= {"warning"}
    return [(each.message.removeprefix("rule 'r' "), each.hint) for each in found]


BY_BUS = [
    ("{port: 1-4.2}", "1-4.2", '"pci-0000:00:14.0-usb-0:4.2"'),
    ("{port: [3-1, 1-2]}", "3-1", '"pci-0000:05:00.0-usb-0:1"'),
    ("{port: '3-1.*'}", "3-1.*", '"pci-0000:05:00.0-usb-0:1.*"'),
    ("{port: '*-4|1-2'}", "1-2", '"pci-0000:00:14.0-usb-0:2"'),
    ("{kernel: 1-4.2}", "1-4.2", '"pci-0000:00:14.0-usb-0:4.2"'),
    ("{subsystem: tty, port: 1-4.2}", "1-4.2", '"pci-0000:00:14.0-usb-0:4.2:*"'),
    ("{subsystem: net, parent: {port: '3-1.*'}}", "3-1.*", '"pci-0000:05:00.0-usb-0:1.*:*"'),
    ("{any: [{serial: A}, {port: 1-2}]}", "1-2", '"pci-0000:00:14.0-usb-0:2"'),
    ("{serial: A, not: {port: 1-2}}", "1-2", '"pci-0000:00:14.0-usb-0:2"'),
    ("{port: 9-2}", "9-2", "`path`"),
    ("{port: usb1}", "usb1", "`path`"),
    ("{attr: {busnum: '1'}}", "busnum 1", "`path`"),
    ("{property: {BUSNUM: '00?'}}", "BUSNUM 00?", "`path`"),
    ("{property: {DEVNAME: '/dev/bus/usb/001/*'}}", "DEVNAME /dev/bus/usb/001/*", "`path`"),
    ("{subsystem: tty, property: {DEVPATH: '*/usb1/1-4/*'}}", "DEVPATH */usb1/1-4/*", "`path`"),
]


@pytest.mark.parametrize(("match", "port", "path"), BY_BUS)
def test_bus_numbers_are_warned_of_with_two_controllers(match: str, port: str, path: str) -> None:
    ((message, hint),) = doubts(match)
    if " " not in port:
        port = f"{'kernel' if 'kernel' in match else 'port'} {port}"
    assert message == (
        f"goes by a bus number ({port}), and this host has 2 USB controllers, which may be numbered "
        f"otherwise after a boot"
    )
    assert path in hint
    assert ("such as" in hint) == (path != "`path`")


def test_bus_numbers_are_fine_with_one_controller() -> None:
    for controllers in ({}, {"1": TWO["1"]}, {"1": TWO["1"], "2": TWO["2"]}):
        assert doubts("{port: 1-4.2}", controllers=controllers) == []


@pytest.mark.parametrize(
    "match",
    ["{path: 'pci-0000:00:14.0-usb-0:2'}", "{serial: A}", "{port: '*-4.2'}",
     "{subsystem: tty, kernel: ttyUSB0}",
     "{property: {DEVNAME: /dev/ttyUSB0}}", "{attr: {devpath: '4.2'}}",
     "{subsystem: hidraw, parent: {subsystem: hid, kernel: '0003:046D:*'}}",
     "{subsystem: pci, kernel: '0000:00:14.0'}"],
)  # fmt: skip
def test_matches_without_a_bus_number_are_not_warned_of(match: str) -> None:
    assert doubts(match) == []


def test_bus_numbers_in_with_are_warned_of() -> None:
    ((message, hint),) = doubts(
        "{id: '2c7c:0125'}", "{to: box, with: [{match: {subsystem: tty, port: 1-2}}]}"
    )
    assert message.startswith("goes by a bus number (port 1-2)")
    assert '"pci-0000:00:14.0-usb-0:2:*"' in hint


def test_platform_controllers_have_a_path_too() -> None:
    controllers = {
        "1": "/sys/devices/platform/vhci_hcd.0",
        "2": "/sys/devices/platform/soc/fe800000.usb/xhci-hcd.0",
    }
    assert '"platform-vhci_hcd.0-usb-0:2"' in doubts("{port: 1-2}", controllers=controllers)[0][1]
    assert "platform" not in doubts("{port: 2-2}", controllers=controllers)[0][1]


CHOSEN = [
    ("{vendor_id: 18d1}", "'{property.ID_MODEL}'", "property.ID_MODEL"),
    ("{interface: 'ff:42:01'}", "'{serial}'", "serial"),
    ("{vendor_id: 18d1, serial: 'R5*'}", "'{serial}'", "serial"),
    ("{vendor_id: 18d1}", "'c{serial}'", "serial"),
    ("{vendor_id: 18d1}", "'{serial}x'", "serial"),
    ("{vendor_id: 18d1}", "[box, 'ci-{serial}', '{serial}']", "serial"),
    ("{serial: [A, B]}", "'x{vendor_id}'", "vendor_id"),
    ("{vendor_id: 18d1}", "'x{vendor_id}-{product_id}'", "product_id"),
    ("{subsystem: net, mac: '00:*'}", "'{kernel}'", "kernel"),
    ("{subsystem: tty}", "'{driver}'", "driver"),
    ("{port: '*'}", "'{serial}'", "serial"),
    ("{vendor_id: 18d1}", "'x{property.ID_PATH_OF_OURS}'", "property.ID_PATH_OF_OURS"),
    ("{any: [{serial: A}, {serial: 'B*'}]}", "'{serial}'", "serial"),
    ("{serial: 'A*', not: {port: 1-2}}", "'{serial}'", "serial"),
]
PINNED = [
    ("{interface: 'ff:42:01'}", "'phone-{serial}'"),
    ("{interface: 'ff:42:01'}", "'{serial}-phone'"),
    ("{path: 'pci-0000:00:14.0-usb-0:4.*'}", "'{serial}'"),
    ("{port: 1-4}", "'{serial}'"),
    ("{vendor_id: 18d1}", "'x{port}{serial}'"),
    ("{vendor_id: 18d1}", "'x{kernel}'"),
    ("{serial: [A, B]}", "'{serial}'"),
    ("{property: {ID_SERIAL_SHORT: [A, B]}}", "'{serial}'"),
    ("{any: [{serial: A}, {attr: {serial: B}}]}", "'{serial}'"),
    ("{id: '18d1:4ee7'}", "'x{vendor_id}x{product_id}'"),
    ("{vendor_id: 18d1}", "'x{vendor_id}'"),
    ("{subsystem: tty, parent: {path: 'pci-*'}}", "'{serial}'"),
    ("{vendor_id: 18d1}", "box"),
    ("{vendor_id: 18d1, property: {ID_MODEL: [a, b]}}", "'{property.ID_MODEL}'"),
    ("{vendor_id: 18d1}", "'x{property.ID_PATH_TAG}'"),
]


@pytest.mark.parametrize(("match", "to", "key"), CHOSEN)
def test_a_device_that_chooses_its_instance_is_warned_of(match: str, to: str, key: str) -> None:
    ((message, hint),) = doubts(match, f"{{to: {to}, share: true}}", {})
    assert message.startswith(f"lets the device choose its instance by '{{{key}}}' in '")
    assert f"`to: phone-{{{key}}}`" in hint


@pytest.mark.parametrize(("match", "to"), PINNED)
def test_a_device_that_cannot_choose_is_not_warned_of(match: str, to: str) -> None:
    assert doubts(match, f"{{to: {to}}}", {}) == []


@pytest.mark.parametrize(
    "match",
    [
        "{property: {ID_USB_INTERFACES: '*:ff4201:*'}}",
        "{vendor_id: 18d1, not: {property: {ID_USB_INTERFACES: '*:03*'}}}",
        "{subsystem: tty, parent: {property: {ID_USB_INTERFACES: '*:03*'}}}",
    ],
)
def test_matching_on_id_usb_interfaces_is_warned_of(match: str) -> None:
    ((message, hint),) = doubts(match)
    assert message.startswith("asks for ID_USB_INTERFACES, of which udev keeps 72, ")
    assert "`interface`" in hint
