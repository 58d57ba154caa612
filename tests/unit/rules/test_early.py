"""What is decided before udevd has processed a device is what is decided afterwards, whatever udevd says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotplugd.model.values import Descriptors, Device
from hotplugd.rules.early import early_decision, early_verdict, renders_early
from hotplugd.rules.keys import KEYS, PROPERTY
from hotplugd.rules.match import unmet
from tests.support.devices import rule, ruleset
from tests.unit.devices import HUB, tty, usb
from tests.unit.rules.rule_texts import made, matches, one

ADB = Descriptors(("ff:42:01",))
ROOT = replace(HUB, parent=Device("/sys/devices/pci", "pci", "0000:00:14.0"))
UDEVS = ("ID_VENDOR_ID", "ID_MODEL_ID", "ID_SERIAL_SHORT", "ID_USB_INTERFACES", "ID_PATH", "DEVLINKS", "P")
"""Properties that udevd gives a device, and any udev rule can."""


def phone(port: str = "1-1", serial: str = "1A2B", parent: Device = ROOT, peer: str = "") -> Device:
    """A phone as udevd has it; `early` is as it was before."""
    made = usb(port, "18d1", "4ee7", serial, attrs={"peer": peer} if peer else {})
    return replace(made, descriptors=ADB, parent=parent)


def early(device: Device) -> Device:
    """The device before udevd has processed it, and those above it."""
    above = early(device.parent) if device.parent is not None else None
    return replace(device, properties={}, driver="", parent=above)


def verdict(match: str, device: Device) -> bool | None:
    (found,) = ruleset(rule(match, "{to: box}")).rules
    return early_verdict(found.match, early(device))


KNOWN: Mapping[str, bool | None] = {
    "{id: '18d1:4ee7'}": True,
    "{id: '18d1:0000'}": False,
    "{serial: 1A2B, vendor_id: 18d1, product_id: 4ee7}": True,
    "{serial: '*', interface: ff:42:01}": True,
    "{interface: 08:06:50}": False,
    "{kernel: 1-1}": True,
    "{mac: '*:*:*:*:*:*'}": False,
    "{port: 1-1}": True,
    "{port: 1-2}": False,
    "{subsystem: tty}": False,
    "{subsystem: tty, property: {P: x}}": False,
    "{property: {P: x}}": None,
    "{not: {property: {P: x}}}": None,
    "{not: {serial: X}}": True,
    "{path: 'pci-*'}": None,
    "{driver: usb}": None,
    "{attr: {bConfigurationValue: 1}}": None,
    "{serial: X, property: {P: x}}": False,
    "{serial: 1A2B, property: {P: x}}": None,
    "{any: [{serial: 1A2B}, {property: {P: x}}]}": True,
    "{any: [{serial: X}, {property: {P: x}}]}": None,
    "{any: [{serial: X}, {serial: Y}]}": False,
    "{parent: {kernel: usb1}}": True,
    # What is no USB device is unknown, whatever is asked of it.
    "{parent: {kernel: usb2}}": None,
    "{parent: {subsystem: pci}}": None,
    "{not: {parent: {kernel: usb2}}}": None,
    "{not: {parent: {kernel: usb1}}}": False,
}


@pytest.mark.parametrize(("match", "expected"), KNOWN.items(), ids=KNOWN)
def test_a_verdict_is_known_where_udevd_cannot_change_it(match: str, expected: bool | None) -> None:
    assert verdict(match, phone()) is expected


def test_of_a_hub_whose_other_half_may_come_not_all_ports_are_known() -> None:
    hub = replace(usb("1-1"), attrs={"peer": "2-1"})
    assert verdict("{port: 2-1.1}", phone("1-1.1", parent=hub)) is None
    assert verdict("{port: 1-1.1}", phone("1-1.1", parent=hub)) is True
    assert verdict("{port: 2-1.2}", phone("1-1.1", parent=hub, peer="2-1.1")) is False
    below = replace(usb("1-1.1"), parent=hub)
    assert verdict("{port: 2-1.1.1}", phone("1-1.1.1", parent=below)) is None


def test_without_descriptors_no_interface_is_known() -> None:
    assert verdict("{interface: ff:42:01}", replace(phone(), descriptors=None)) is None


def test_of_what_is_no_usb_device_nothing_is_known() -> None:
    for match in ("{subsystem: tty, serial: 1A2B}", "{subsystem: tty}", "{subsystem: tty, not: {serial: X}}"):
        assert verdict(match, tty(phone())) is None


def taken(device: Device, *written: str) -> str | None:
    found = early_decision(ruleset(*written), early(device))
    return found.rule.name if found is not None else None


SERIAL, UNKNOWN, OTHER = "{serial: 1A2B}", "{property: {P: x}}", "{serial: X}"
TO = "{to: box}"


@pytest.mark.parametrize(
    ("matches", "expected"),
    [
        ((SERIAL,), "r0"),
        ((OTHER, SERIAL), "r1"),
        ((UNKNOWN, SERIAL), None),
        ((SERIAL, UNKNOWN), "r0"),
        ((OTHER, "{path: 'pci-0000:00:14.0-usb-0:9'}", SERIAL), None),
        ((OTHER, "{serial: X, path: 'pci-0000:00:14.0-usb-0:9'}", SERIAL), "r2"),
        ((OTHER,), None),
    ],
)
def test_the_first_rule_that_is_true_with_all_before_it_false_decides(
    matches: tuple[str, ...], expected: str | None
) -> None:
    assert taken(phone(), *(rule(each, TO, f"r{at}") for at, each in enumerate(matches))) == expected


def test_what_may_go_along_waits_for_its_anchor() -> None:
    along = rule("{serial: HUB}", "{to: other, with: [{match: {subsystem: usb, devtype: usb_device}}]}", "a")
    ttys = rule("{serial: HUB}", "{to: other, with: tty}", "a")
    own = rule(SERIAL, TO, "own")
    hub = replace(usb("1-1", serial="HUB"), parent=ROOT)
    below = phone("1-1.1", parent=hub)
    assert taken(below, along, own) is None
    assert taken(below, own, along) == "own"
    assert taken(below, ttys, own) == "own"
    assert taken(below, rule(SERIAL, "{to: box, with: tty}", "own")) == "own"


def test_a_rule_that_is_off_decides_nothing() -> None:
    off = "  - {name: off, match: {property: {P: x}}, attach: {to: box}, enabled: false}\n"
    assert taken(phone(), off, rule(SERIAL, TO, "on")) == "on"


@pytest.mark.parametrize(
    ("attach", "known"),
    [
        ("{to: 'ci-{serial}'}", True),
        ("{to: 'ci-{port}-{kernel}'}", True),
        ("{to: 'ci-{property.ID_MODEL}'}", False),
        ("{to: box, link: '/dev/x/{path}'}", False),
        ("{to: box, link: by-id}", True),
        ("{to: 'ci-{location}'}", False),
    ],
)
def test_templates_of_what_is_the_kernels_are_known(attach: str, known: bool) -> None:
    (found,) = ruleset(rule(SERIAL, attach)).rules
    assert found.attach is not None
    assert renders_early(found.attach, early(phone()), found.keys) is known


def test_every_key_says_whether_it_is_known_before_udevd() -> None:
    unknown = {key.name for key in (*KEYS, PROPERTY.key("P")) if key.early is None}
    assert unknown == {"driver", "path", "location", "property.P"}


# --- whatever udevd says --------------------------------------------------------------------------------

VALUES = st.sampled_from(["1A2B", "A B", "A_B", "X", ""])
NUMBERS = st.sampled_from(["18d1", "0403"])
PLACES = st.sampled_from(["1-1", "1-2", "1-1.1", "2-1", ""])
SAID = st.dictionaries(
    st.sampled_from(UDEVS),
    st.one_of(VALUES, NUMBERS, st.sampled_from([":ff4201:", ":080650:", "pci-0-usb-0:1"])),
)
SEEN = st.sampled_from([None, Descriptors(), ADB, Descriptors(("08:06:50", "ff:42:01"))])


@st.composite
def pairs(draw: st.DrawFn, depth: int = 2) -> tuple[Device, Device]:
    """A USB device, and those above it, as the kernel has them, and as udevd has them by whatever rules.

    The other half of a socket may come meanwhile where the hub's own socket has one.
    """
    above = draw(st.one_of(st.just((ROOT, ROOT)), pairs(depth - 1))) if depth else (ROOT, ROOT)
    port, peer, descriptors = draw(PLACES), draw(PLACES), draw(SEEN)
    attrs = {"idVendor": draw(NUMBERS), "idProduct": draw(NUMBERS), "serial": draw(VALUES), "peer": peer}
    first = Device(
        f"{above[0].syspath}/{port}",
        "usb",
        port,
        "usb_device",
        attrs=attrs,
        parent=above[0],
        descriptors=descriptors,
    )
    may_come = not peer and any(each.attrs.get("peer") for each in first.ancestors())
    late_peer = draw(PLACES) if may_come else peer
    then = replace(
        first,
        driver="usb",
        properties=draw(SAID),
        attrs={**attrs, "peer": late_peer},
        parent=above[1],
    )
    return first, then


TESTS = st.one_of(
    one("serial", st.sampled_from(["1A2B", "A B", "A?B", "A_B", "*", "X"])),
    one("vendor_id", NUMBERS),
    one("product_id", NUMBERS),
    one("id", st.sampled_from(["18d1:0403", "18d1:*", "0403:18d1"])),
    one("port", st.sampled_from(["1-1", "1-*", "2-1", "1-1.1"])),
    one("kernel", st.sampled_from(["1-1", "1-2", "*"])),
    one("interface", st.sampled_from(["ff:42:01", "08:06:50", "ff:*"])),
    one("path", st.sampled_from(["pci-*", "pci-0-usb-0:1"])),
    one("driver", st.just("usb")),
    one("mac", st.just("00:00:00:00:00:01")),
    st.sampled_from(["property: {P: '1A2B'}", "property: {ID_SERIAL_SHORT: '*'}", "attr: {serial: 1A2B}"]),
)


MATCHES = matches(TESTS)
DOES = st.sampled_from(
    [
        "attach: {to: box}",
        "attach: {to: 'x{serial}'}",
        "ignore: true",
        "attach: {to: box, with: tty}",
        "attach: {to: box, with: [{match: {subsystem: usb, devtype: usb_device}}]}",
        "attach: {to: box}, enabled: false",
    ]
)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(MATCHES, DOES), min_size=1, max_size=4), pairs())
def test_the_early_verdict_is_the_late_one(
    written: list[tuple[str, str]], pair: tuple[Device, Device]
) -> None:
    before, then = pair
    rules = made(written)
    for each in rules.rules:
        found = early_verdict(each.match, before)
        assert found is None or found is (unmet(each.match, then) is None)
    decided = early_decision(rules, before)
    assert decided is None or decided == rules.decide(then)
