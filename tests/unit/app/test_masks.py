"""Masks of a report: no name of a device or a host gets through, and twins are told apart."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplugd.app.masks import Masks

_KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIK3\nabc\n-----END EC PRIVATE KEY-----"


def masks(*serials: str, host: str = "") -> Masks:
    made = Masks()
    for each in serials:
        made.learn("serial", each)
    made.learn("host", host)
    return made


def test_the_same_serial_has_the_same_mask_everywhere() -> None:
    made = masks("R5CT10ABCDE", "R5CT10ABCDF")
    text = made.apply("phone-r5ct10abcde: serial R5CT10ABCDE, twin of serial:R5CT10ABCDF")
    assert text == "phone-<serial-1>: serial <serial-1>, twin of serial:<serial-2>"


def test_a_serial_that_begins_as_another_does() -> None:
    assert masks("ABCDEF", "ABCDEF12").apply("ABCDEF12 ABCDEF") == "<serial-2> <serial-1>"


@pytest.mark.parametrize(
    ("serial", "text", "masked"),
    [
        ("AAA", "serial: AAA, model AAA", "serial: <serial-1>, model AAA"),
        (
            "AAA",
            "serial:AAA serial=AAA serial AAA.",
            "serial:<serial-1> serial=<serial-1> serial <serial-1>.",
        ),
        ("0000", "pci-0000:00:14.0, serial 0000", "pci-0000:00:14.0, serial <serial-1>"),
        ("1A03", "1A03 and 1A031, x_1A03", "<serial-1> and 1A031, x_<serial-1>"),
        ("a b\tc", "a_b_c and a b\\x09c and a%20b%09c", "<serial-1> and <serial-1> and <serial-1>"),
        ('q"r\\st1', json.dumps({"x": 'q"r\\st1'}), '{"x": "<serial-1>"}'),
    ],
)
def test_a_serial_is_found_as_it_is_written(serial: str, text: str, masked: str) -> None:
    assert masks(serial).apply(text) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("at 02:00:00:aa:BB:01 and 02-00-00-aa-bb-01", "at <mac-1> and <mac-1>"),
        ("enx0200005e0001 is 02:00:00:5e:00:01", "enx<mac-1> is <mac-1>"),
        ("00:00:00:00:00:00", "00:00:00:00:00:00"),
        (f"before {_KEY} after", "before <key-1> after"),
        ("-----BEGIN CERTIFICATE-----\nabc", "<key-1>"),
        ('token: abcDEF, "password": "x y"', 'token=<secret>, "password=<secret> y"'),
        ("7c9e6679-7425-40de-944b-e07fc1f90ae7", "<uuid-1>"),
        ("f" * 64, "<hex-1>"),
        ("https://10.1.2.3:8443 at 127.0.0.1", "https://<address-1>:8443 at 127.0.0.1"),
        ("fe80::1%eth0 and ::1 and 2001:db8::5", "<address-1>%eth0 and ::1 and <address-2>"),
        ("/home/anna/rules.d/10.yaml", "/home/<user-1>/rules.d/10.yaml"),
        ("Zq9" * 20, "<secret-1>"),
    ],
)
def test_what_has_the_shape_of_a_secret_is_masked(text: str, masked: str) -> None:
    assert Masks().apply(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "pci-0000:00:14.0-usb-0:1.4:1.0", "04e8:6860", "hp-0123456789abcdef", "c-189-64-1f2e3d4c-812",
        "2026-11-27T21:14:02.123456+00:00", "5.0.2-5+deb12u6", "usb_by_number device_usb_serial",
        "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-4/1-4.2/1-4.2:1.0/ttyUSB0/tty/ttyUSB0",
        "virtual_machine_and_container_extension_names_can_be_long", "6.18.44 #1 SMP 03:04:05",
    ],
)  # fmt: skip
def test_what_tells_places_and_versions_stays(text: str) -> None:
    assert Masks().apply(text) == text


def test_the_hosts_name_is_masked_as_a_word() -> None:
    made = masks(host="shelf7")
    assert made.apply("shelf7.example.org, shelf71, Shelf7") == "<host-1>.example.org, shelf71, <host-1>"
    assert masks(host="lxd").apply("lxd") == "lxd"


def test_values_of_documents_are_masked_with_their_keys() -> None:
    found = masks("R5CT10ABCDE").applied({"R5CT10ABCDE": ["x R5CT10ABCDE", 7, None, {"a": True}]})
    assert found == {"<serial-1>": ["x <serial-1>", 7, None, {"a": True}]}


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=40), st.text(max_size=40)
)
def test_no_serial_gets_through(serial: str, around: str) -> None:
    text = masks(serial).apply(f"{around}{serial}{around} {json.dumps(serial)}")
    # A mask's own letters aside.
    assert serial.casefold() not in text.casefold() or serial.casefold() in "<serial-1> <serial-1>"


@pytest.mark.parametrize(
    ("serial", "text"),
    [
        ("i" * 6, "\u0130" * 6), ("i" * 6, "\u0131" * 6),
        ("\u0130stanbul", "istanbul"), ("\u0130stanbul", "\u0130stanbul"), ("stra\xdfe12", "stra\xdfe12"),
        ("\ufb01\ufb0112", "\ufb01\ufb0112"), ("\ufb05abcde", "\ufb06abcde"),
        ("\u1e9ex\xdfx\u1e9ex", "\xdfx\xdfx\xdfx"),
    ],
)  # fmt: skip
def test_letters_whose_case_is_odd_are_masked_too(serial: str, text: str) -> None:
    masks = Masks()
    masks.learn("serial", serial)
    assert masks.apply(f"at {text} now") == "at <serial-1> now"
