"""What the host's software is told to leave alone: never more than a rule takes."""

from __future__ import annotations

import pytest

from hotplugd.app.udev_ignore import ignore_rules
from hotplugd.host.udev_rules_helper import see
from hotplugd.rulefile.load import parse
from tests.support.devices import rule, ruleset

TO = "{to: box}"


def lines(*written: str, usb: bool = True, kept: tuple[str, ...] = ()) -> list[str]:
    """The rules that tell, or skip; without the frame, and what is told in short."""
    text = ignore_rules(ruleset(*written), kept, usb=usb)
    # What writes it takes nothing else.
    see(text)
    assert text.endswith('LABEL="hotplugd_leave_end"\n')
    told = (
        'ENV{ID_MM_DEVICE_IGNORE}="1", ENV{ID_MM_PORT_IGNORE}="1", ENV{UDISKS_IGNORE}="1", '
        'ENV{NM_UNMANAGED}="1", ENV{MTP_NO_PROBE}="1", ENV{ID_NET_MANAGED_BY}="hotplugd", '
        'GOTO="hotplugd_leave_end"'
    )
    frame = ("#", "ACTION", 'LABEL="hotplugd_leave_end"', 'SUBSYSTEM=="net", ATTR{type}=="280"')
    each = [line for line in text.splitlines() if line and not line.startswith(frame)][1:]
    return [line.replace(told, "TOLD").replace('GOTO="hotplugd_leave_end"', "SKIP") for line in each]


USB = 'SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device"'

SAID: dict[str, tuple[str, list[str]]] = {
    "ids": (
        "{id: ['18d1:4ee7', '04e8:6860']}",
        [
            f'{USB}, ATTR{{idVendor}}=="18d1|0x18d1", ATTR{{idProduct}}=="4ee7|0x4ee7", TOLD',
            f'{USB}, ATTR{{idVendor}}=="04e8|0x04e8", ATTR{{idProduct}}=="6860|0x6860", TOLD',
        ],
    ),
    "products": (
        "{product_id: [4EE7, '68*']}",
        [f'{USB}, ATTR{{idProduct}}=="4ee7|0x4ee7|68*|0x68*", TOLD'],
    ),
    "a vendor and serials": (
        "{vendor_id: 18D1, serial: ['1A*', 'R5[CD]?']}",
        [f'{USB}, ATTR{{idVendor}}=="18d1|0x18d1", ATTR{{serial}}=="1A*|R5[CD]?", TOLD'],
    ),
    "a port": ("{port: '1-4.*'}", [f'{USB}, KERNEL=="1-4.*", TOLD']),
    "an interface": ("{interface: 'ff:42:01'}", [f'{USB}, ENV{{ID_USB_INTERFACES}}=="*:ff4201:*", TOLD']),
    "interfaces": (
        "{interface: ['ff:42:01', '08:*']}",
        [f'{USB}, ENV{{ID_USB_INTERFACES}}=="*:ff4201:*|*:08*:*", TOLD'],
    ),
    "interfaces with a star between": (
        "{interface: ['ff:*:01', '*:01:*']}",
        [f'{USB}, ENV{{ID_USB_INTERFACES}}=="*:ff??01:*|*:??01*:*", TOLD'],
    ),
    "a property": ("{property: {ID_MODEL: 'Pixel*'}}", [f'{USB}, ENV{{ID_MODEL}}=="Pixel*", TOLD']),
    "an attribute": ("{attr: {bMaxPower: 500mA}}", [f'{USB}, ATTR{{bMaxPower}}=="500mA", TOLD']),
    "any": (
        "{any: [{serial: A}, {port: 1-2}]}",
        [f'{USB}, ATTR{{serial}}=="A", TOLD', f'{USB}, KERNEL=="1-2", TOLD'],
    ),
    "a branch that cannot be said": (
        "{any: [{serial: A}, {parent: {driver: x}}]}",
        [f'{USB}, ATTR{{serial}}=="A", TOLD'],
    ),
    "a tty": (
        "{subsystem: tty, serial: A}",
        ['SUBSYSTEM=="tty", ENV{ID_SERIAL_SHORT}=="A", TOLD'],
    ),
    "an interface's address": (
        "{subsystem: net, mac: '00:E0:4C:00:00:01'}",
        ['SUBSYSTEM=="net", ATTR{address}=="00:e0:4c:00:00:01", TOLD'],
    ),
}


@pytest.mark.parametrize(("match", "expected"), SAID.values(), ids=SAID)
def test_a_rule_becomes_udev_rules_for_its_devices(match: str, expected: list[str]) -> None:
    assert lines(rule(match, TO)) == expected


HUBS = """\
hubs:
  a: {path: "pci-0000:00:14.0-usb-0:3", ports: {1: "1", 2: "4.1"}}
  front: {path: "pci-0000:00:14.0", ports: {x: "7"}}
  fast: {path: "pci-0000:00:14.0-usbv3-0:9", ports: {1: "1"}}
  cart: {serial: C, ports: {1: "1"}}
"""
ROOT = 'KERNELS=="usb*", ATTRS{idVendor}=="1d6b", ATTRS{idProduct}=="0001|0002"'


def located(match: str, does: str | None = TO) -> list[str]:
    loaded = parse(f"{HUBS}rules:\n{rule(match, does)}{rule('{serial: Z}', TO, name='z')}", "x")
    assert not loaded.errors
    text = ignore_rules(loaded.rules, usb=True)
    see(text)
    return [line for line in text.splitlines() if '"Z"' not in line and "ID_PATH" in line]


def test_a_location_is_said_by_the_paths_of_its_ports() -> None:
    """Below a root hub for USB 2: on the other bus the same ID_PATH is another socket's."""
    (line,) = located("{location: 'a/*'}")
    assert line.startswith(
        f'{USB}, ENV{{ID_PATH}}=="pci-0000:00:14.0-usb-0:3.1|pci-0000:00:14.0-usb-0:3.4.1", {ROOT}, '
        'ENV{ID_MM_DEVICE_IGNORE}="1"'
    )
    (line,) = located("{any: [{location: front/x}, {location: fast/1}]}")
    assert f'ENV{{ID_PATH}}=="pci-0000:00:14.0-usb-0:7", {ROOT}, ' in line


def test_a_location_of_what_hangs_from_a_usb_device_is_said_with_its_interface() -> None:
    (line,) = located("{subsystem: tty, location: a/1}")
    at = "pci-0000:00:14.0-usb-0:3.1"
    assert line.startswith(f'SUBSYSTEM=="tty", ENV{{ID_PATH}}=="{at}|{at}:*", {ROOT}, ')


@pytest.mark.parametrize("location", ["cart/1", "fast/1", "none/1"])
def test_a_location_that_no_path_says_is_left_out(location: str) -> None:
    assert located(f"{{location: {location}}}") == []


def test_devices_that_a_location_keeps_are_skipped_by_the_rest() -> None:
    loaded = parse(f"{HUBS}rules:\n{rule('{subsystem: tty, location: a/1}', None)}", "x")
    assert 'SUBSYSTEM=="tty", GOTO="hotplugd_leave_end"' in ignore_rules(loaded.rules, usb=False)


UNSAID = [
    "{parent: {driver: x}}",
    "{not: {serial: A}}",
    "{serial: A, not: {port: 1-2}}",
    "{subsystem: tty, port: 1-2}",
    "{subsystem: usb, devtype: 'usb_*', port: 1-2}",
    "{subsystem: usb, devtype: usb_interface, port: 1-2}",
    "{subsystem: tty, kernel: usb_device, port: 1-2}",
    "{id: '18d1*'}",
    "{interface: 'ff*01'}",
    "{interface: 'f*:42:01'}",
    "{interface: 'ff:4?*1'}",
    "{interface: '*01'}",
    "{id: '04[0:]3:6001'}",
    "{id: '18d1:4ee\\7'}",
    "{serial: 'a\"b'}",
    "{serial: 'a\\b'}",
    "{serial: '$env{x}'}",
    "{serial: '[a|b]'}",
    "{attr: {power/level: x}}",
    '{serial: "a\\nb"}',
]


@pytest.mark.parametrize("match", UNSAID)
def test_what_udev_cannot_express_is_left_out(match: str) -> None:
    assert lines(rule(match, TO)) == []


def test_ignored_devices_are_skipped_by_their_exact_keys() -> None:
    ignoring = rule("{subsystem: hidraw, vendor_id: 1050}", None, name="keys")
    assert lines(ignoring, rule("{subsystem: hidraw}", TO)) == [
        'SUBSYSTEM=="hidraw", SKIP',
        'SUBSYSTEM=="hidraw", TOLD',
    ]


def test_devices_in_use_are_skipped_first() -> None:
    kept = ("/sys/devices/pci0000:00/net/eth0", "/sys/devices/LNXSYSTM:00", '/sys/x"y', "/sys/x*")
    assert lines(rule("{subsystem: net}", TO), usb=False, kept=kept) == [
        'DEVPATH=="/devices/LNXSYSTM:00", SKIP',
        'DEVPATH=="/devices/pci0000:00/net/eth0", SKIP',
        'SUBSYSTEM=="net", TOLD',
    ]


ALONG = rule("{serial: A}", "{to: box, with: [net, partition, {match: {subsystem: tty, kernel: 'ttyU*'}}]}")


def test_what_goes_along_is_told_by_a_property_that_it_has_from_above() -> None:
    importing, own, device, net, partition, tty = lines(ALONG, usb=False)
    assert importing == 'IMPORT{parent}="HOTPLUGD_WITH_*"'
    assert own == 'LABEL="hotplugd_leave_own"'
    mark = device.partition("ENV{HOTPLUGD_WITH_")[2].partition("}")[0]
    assert device == f'{USB}, ATTR{{serial}}=="A", ENV{{HOTPLUGD_WITH_{mark}}}="1", TOLD'
    below = f'ENV{{HOTPLUGD_WITH_{mark}}}=="1"'
    assert net == f'{below}, SUBSYSTEM=="net", TOLD'
    assert partition == f'{below}, SUBSYSTEM=="block", ENV{{DEVTYPE}}=="partition", TOLD'
    assert tty == f'{below}, SUBSYSTEM=="tty", KERNEL=="ttyU*", TOLD'
    assert lines(ALONG.replace("ttyU", "ttyA"), usb=False)[2] != device
    assert lines(ALONG, usb=False) == lines(ALONG, usb=False)


def test_what_goes_along_and_cannot_be_said_is_left_out() -> None:
    attach = "{to: box, with: [{match: {subsystem: tty, not: {kernel: ttyUSB0}}}]}"
    assert len(lines(rule("{serial: A}", attach))) == 3
    assert len(lines(rule("{serial: A, not: {port: 1-2}}", "{to: box, with: net}"))) == 3


def test_what_is_below_a_device_in_use_has_no_property_of_it() -> None:
    kept = ("/sys/devices/usb1/1-4",)
    first = lines(ALONG, kept=kept)[0]
    assert first == 'DEVPATH=="/devices/usb1/1-4/*", GOTO="hotplugd_leave_own"'


def test_a_can_interface_is_left_to_what_gives_it_its_bit_rate() -> None:
    known = ruleset(rule("{subsystem: net, kernel: can0}", TO))
    said = ignore_rules(known, usb=False).splitlines()
    skipped = 'SUBSYSTEM=="net", ATTR{type}=="280", GOTO="hotplugd_leave_end"'
    assert skipped in said[: said.index(next(each for each in said if "NM_UNMANAGED" in each))]
    assert skipped not in ignore_rules(known, usb=True)


def test_usb_and_other_devices_have_separate_files() -> None:
    assert 'SUBSYSTEM!="usb", GOTO' in ignore_rules(ruleset(rule("{serial: A}", TO)), usb=True)
    assert 'SUBSYSTEM=="usb", GOTO' in ignore_rules(ruleset(rule("{serial: A}", TO)), usb=False)


def test_too_many_alternatives_are_left_out() -> None:
    def said(branches: int, other: str) -> int:
        many = ", ".join(f"{{serial: S{n}}}" for n in range(branches))
        return len(lines(rule(f"{{any: [{many}], {other}}}", TO)))

    assert said(64, "property: {P: x}") == 64
    assert said(65, "property: {P: x}") == 0
    assert said(32, "id: ['18d1:4ee7', '04e8:6860']") == 64
    assert said(33, "id: ['18d1:4ee7', '04e8:6860']") == 0
