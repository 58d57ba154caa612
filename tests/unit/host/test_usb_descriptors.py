"""All interfaces of a USB device, from its descriptors as sysfs has them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplugd.host.usb_descriptors import parse, read
from tests.support.phones.stranger import (
    ADB,
    HIDDEN,
    KEYBOARD,
    TOO_MUCH,
    configuration,
    device,
    interface,
    padding,
)

# What sysfs shows at most (Linux: drivers/usb/core/sysfs.c).
SHOWN = 18 + 65535


def shown(configurations: tuple[bytes, ...]) -> bytes:
    """The kernel's file: of each configuration what it could read."""
    return (device(len(configurations)) + b"".join(configurations))[:SHOWN]


@pytest.mark.parametrize("configurations", HIDDEN.values(), ids=HIDDEN)
def test_what_udev_does_not_see_is_seen(configurations: tuple[bytes, ...]) -> None:
    found = parse(shown(configurations))
    assert found.interfaces[0] == "ff:42:01"
    assert found.interfaces[-1] == "03:01:01"
    assert found.fault == ""


def test_each_is_named_once_and_in_order() -> None:
    parts = [interface(ADB), interface(KEYBOARD, 1), interface(ADB, 2), interface((8, 6, 0x50), 3)]
    found = parse(shown((configuration(parts, 4),)))
    assert found.interfaces == ("ff:42:01", "03:01:01", "08:06:50")
    assert found.fault == ""


def test_the_last_may_have_no_endpoint_and_an_association_is_no_interface() -> None:
    association = bytes((8, 11, 0, 2, 3, 1, 1, 0))
    found = parse(shown((configuration([association, interface(ADB), interface((0xFE, 1, 1), 1)], 2),)))
    assert found.interfaces == ("ff:42:01", "fe:01:01")


def test_what_an_interface_is_in_an_alternate_setting_alone_counts() -> None:
    found = parse(shown((configuration([interface(ADB), interface(KEYBOARD, 0, 1)]),)))
    assert found.interfaces == ("ff:42:01", "03:01:01")


def test_an_address_without_a_configuration_has_none() -> None:
    assert parse(device(0)).interfaces == ()
    assert parse(device(0)).fault == ""


LARGEST = configuration([interface(ADB), padding(65535 - 18)])
FAULTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "they do not begin with the device's own"),
    "half of the device's": (device()[:17], "they do not begin with the device's own"),
    "another first": (configuration([interface(ADB)]) * 2, "they do not begin with the device's own"),
    "a length of none": (
        shown((configuration([interface(ADB), b"\0\0"]),)),
        "one at byte 36 has the length 0",
    ),
    "a length of one": (shown((configuration([interface(ADB), b"\1\4"]),)), "has the length 1, of 2 bytes"),
    "beyond the end": (shown((configuration([interface(ADB)]),))[:-1], "has the length 9, of 8 bytes"),
    "one byte": (shown((configuration([interface(ADB), b"\2"]),)), "has the length 2, of 1 bytes"),
    "a short interface": (shown((configuration([b"\5\4\0\0\0"]),)), "one of an interface has 5 bytes"),
    "a configuration too few": (
        device(2) + configuration([interface(ADB)]),
        "of 2 configurations 1 are there",
    ),
    "none of one": (device(1), "of 1 configurations 0 are there"),
    "more than is shown": (shown(TOO_MUCH), "more than the 65553 bytes that the kernel shows"),
    "a full file": ((device(2) + LARGEST)[:SHOWN], "more than the 65553 bytes"),
    "more than there can be": (device(1) + LARGEST + b"\2\xff", "more than the 65553 bytes"),
}


@pytest.mark.parametrize(("raw", "fault"), FAULTS.values(), ids=FAULTS)
def test_what_may_hide_something_is_a_fault(raw: bytes, fault: str) -> None:
    assert fault in parse(raw).fault


def test_different_interfaces_without_end_are_a_fault_and_not_kept() -> None:
    def many(count: int) -> tuple[bytes, ...]:
        parts = [interface((0xFF, each >> 8, each & 0xFF)) for each in range(count)]
        return (configuration([*parts, interface(KEYBOARD)]),)

    found = parse(shown(many(7000)))
    assert len(found.interfaces) == 256
    assert found.fault == "there are 256 different interfaces or more"
    assert parse(shown(many(254))).fault == ""
    assert parse(shown(many(254))).interfaces[-1] == "03:01:01"


def test_the_largest_configuration_is_whole() -> None:
    raw = device(1) + LARGEST
    assert len(raw) == SHOWN
    assert parse(raw).fault == ""


@given(st.binary(max_size=200))
def test_nothing_that_a_device_says_raises(raw: bytes) -> None:
    parse(raw)
    parse(device() + raw)


def kernel(wire: bytes) -> tuple[bytes, set[str]]:
    """What the kernel keeps of a configuration, and the interfaces in it (Linux: usb_parse_configuration)."""
    at, found = 9, set()
    while at + 2 <= len(wire) and 2 <= wire[at] <= len(wire) - at:
        if wire[at + 1] == 4 and wire[at] >= 9:
            found.add(":".join(f"{byte:02x}" for byte in wire[at + 5 : at + 8]))
        at += wire[at]
    return wire[:at], found


_PARTS = st.one_of(
    st.builds(
        interface, st.tuples(st.integers(0, 255), st.integers(0, 2), st.integers(0, 2)), st.integers(0, 40)
    ),
    st.binary(max_size=12),
    st.builds(bytes, st.tuples(st.just(2), st.integers(0, 255))),
    st.integers(0, 300).map(padding),
    st.just(configuration([interface(KEYBOARD)])),
)


@given(st.lists(st.lists(_PARTS, max_size=8).map(configuration), max_size=4))
def test_whatever_a_driver_can_have_is_seen_or_the_device_is_held(wires: list[bytes]) -> None:
    kept = [kernel(wire) for wire in wires]
    found = parse(shown(tuple(each for each, _ in kept)))
    assert found.fault or set().union(*(each for _, each in kept)) <= set(found.interfaces)


@given(st.lists(st.lists(st.builds(interface, st.just(KEYBOARD)), max_size=8).map(configuration), max_size=4))
def test_what_is_well_formed_is_no_fault(wires: list[bytes]) -> None:
    assert parse(shown(tuple(wires))).fault == ""


def test_the_file_is_read_to_its_end(tmp_path: Path) -> None:
    raw = shown(HIDDEN["more than a page"])
    (tmp_path / "descriptors").write_bytes(raw)
    assert read(str(tmp_path)) == parse(raw)


def test_a_file_without_an_end_is_not_read_for_ever(tmp_path: Path) -> None:
    (tmp_path / "descriptors").symlink_to("/dev/zero")
    found = read(str(tmp_path))
    assert found is not None
    assert found.fault


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert read(str(tmp_path)) is None


def test_one_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "descriptors").mkdir()
    found = read(str(tmp_path))
    assert found is not None
    assert "cannot be read: Is a directory" in found.fault
