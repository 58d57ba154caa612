"""What an adb server says of phones, by its own protocol."""

from __future__ import annotations

import pytest

from hotplugd.pools import adb
from hotplugd.pools.adb import Phone, listed, state_of, told

LINES = (
    "R5C001                 device usb:1-1.4 product:panther model:Pixel_7 device:panther transport_id:3\n"
    "R5C002                 unauthorized usb:1-1.3 transport_id:4\n"
    "(no serial number)     no permissions (missing udev rules? user is in the plugdev group); see "
    "[http://developer.android.com/tools/device.html] usb:2-7 transport_id:5\n"
    "emulator-5554          offline transport_id:1\n"
    "SAME                   recovery usb:1-1.1 transport_id:6\n"
    "SAME                   sideload usb:1-1.2 transport_id:7\n"
)


def answer(text: str = LINES) -> bytes:
    return f"OKAY{len(text):04x}{text}".encode()


def test_the_request_is_the_protocols() -> None:
    assert adb.REQUEST == b"000ehost:devices-l"


def test_phones_are_read_with_their_states_and_ports() -> None:
    assert listed(answer()) == [
        Phone("R5C001", "device", "1-1.4"),
        Phone("R5C002", "unauthorized", "1-1.3"),
        Phone("", "no permissions", "2-7"),
        Phone("emulator-5554", "offline", ""),
        Phone("SAME", "recovery", "1-1.1"),
        Phone("SAME", "sideload", "1-1.2"),
    ]


@pytest.mark.parametrize(
    ("serial", "port", "state"),
    [
        ("R5C001", "1-1.4", "device"),
        ("R5C001", "9-9", "device"),
        ("", "2-7", "no permissions"),
        ("0123456789ABCDEF", "2-7", "no permissions"),
        ("SAME", "1-1.2", "sideload"),
        ("SAME", "1-9", ""),
        ("NONE", "1-9", ""),
        ("", "", ""),
    ],
)
def test_a_phone_is_found_by_its_serial_or_else_by_its_port(serial: str, port: str, state: str) -> None:
    phones = listed(answer())
    assert phones is not None
    assert state_of(phones, serial, port) == state


@pytest.mark.parametrize(
    "state",
    ["unauthorized", "offline", "recovery", "sideload", "no permissions", "authorizing", "connecting", ""],
)
def test_each_state_says_what_to_do(state: str) -> None:
    assert state in told(state)
    assert ": " in told(state)


def test_one_that_is_ready_says_nothing() -> None:
    assert told("device") == ""


def test_a_state_that_nobody_knows_is_said_as_it_is() -> None:
    assert told("hibernating") == "adb says 'hibernating'"


@pytest.mark.parametrize(
    "said", [b"", b"OKAY", b"OKAYzz", b"FAIL0003no!", b"nc: can't connect", b"\xff" * 4000, b"OKA\x00"]
)
def test_what_is_no_answer_is_none(said: bytes) -> None:
    assert listed(said) is None


@pytest.mark.parametrize(
    "text",
    ["x\n", "\n\n", " \n", "a  \n", "\x1b[2J\x00 device\n", "a \ud7ff\n", "a 9\n", "device\n" * 40],
)
def test_hostile_lines_are_left_out(text: str) -> None:
    phones = listed(answer(text))
    assert phones is not None
    assert all(each.state == "device" for each in phones)


def test_phones_without_end_are_bounded() -> None:
    text = "".join(f"A{number} device\n" for number in range(4000))
    assert len(listed(b"OKAYffff" + text.encode()) or ()) == adb._MOST_PHONES
    assert listed(b"OKAY-fff" + text.encode()) is not None
