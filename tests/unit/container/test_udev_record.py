"""udev's records as programs inside are to read them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotplugd.container.udev_database_helper import MARK
from hotplugd.container.udev_record import device_id, texts
from hotplugd.model.uevent import UdevRecord
from hotplugd.model.values import Device, Devnum
from tests.support.devices import console, disk, phone, plugged
from tests.unit.devices import usb

PAD = usb("1-3", "045e", "028e", "PAD1")
INPUT = Device(
    f"{PAD.syspath}/1-3:1.0/input/input5",
    "input",
    "input5",
    properties={
        "DEVPATH": "/devices/x",
        "SUBSYSTEM": "input",
        "PRODUCT": "3/45e/28e/110",
        "NAME": '"Pad"',
        "ID_INPUT": "1",
        "ID_INPUT_JOYSTICK": "1",
        "TAGS": ":seat:",
        "USEC_INITIALIZED": "99",
    },
    parent=PAD,
)
EVENT = plugged(
    Device(
        f"{INPUT.syspath}/event3",
        "input",
        "event3",
        node="/dev/input/event3",
        properties={
            "DEVPATH": "/devices/x/event3",
            "SUBSYSTEM": "input",
            "DEVNAME": "/dev/input/event3",
            "MAJOR": "13",
            "MINOR": "67",
            "ID_INPUT": "1",
            "ID_INPUT_JOYSTICK": "1",
            "ID_SERIAL": "Pad_1",
            "DEVLINKS": "/dev/input/by-id/usb-Pad_1-event-joystick",
            "TAGS": ":uaccess:systemd:seat:hotplugd-x:old:",
            "CURRENT_TAGS": ":uaccess:seat:systemd:",
            "SYSTEMD_WANTS": "x.service",
            "HOTPLUGD_SLOT": "c-13-67-1",
            "USEC_INITIALIZED": "100",
        },
        parent=INPUT,
    ),
    13,
    67,
)


def test_a_gamepads_record_has_its_properties_tags_and_the_links_inside() -> None:
    found = texts(UdevRecord(EVENT, ("/dev/input/by-id/usb-Pad_1-event-joystick",)))
    assert found["c13:67"].split("\n") == [
        "V:1",
        "I:100",
        "S:input/by-id/usb-Pad_1-event-joystick",
        "G:seat",
        "G:uaccess",
        "Q:seat",
        "Q:uaccess",
        "E:ID_INPUT=1",
        "E:ID_INPUT_JOYSTICK=1",
        "E:ID_SERIAL=Pad_1",
        MARK.decode(),
        "",
    ]


def test_of_what_is_above_only_parts_of_the_same_device_have_one() -> None:
    assert texts(UdevRecord(EVENT)).keys() == {"c13:67", "+input:input5"}
    assert "E:ID_INPUT_JOYSTICK=1\n" in texts(UdevRecord(EVENT))["+input:input5"]
    assert texts(UdevRecord(console())).keys() == {"c188:1"}
    assert texts(UdevRecord(phone())).keys() == {"c189:1"}
    part = replace(disk(), syspath="/sys/x/zram0p1", parent=disk(), devnum=Devnum("block", 252, 9))
    assert texts(UdevRecord(part)).keys() == {"b252:9"}


@pytest.mark.parametrize(
    ("device", "name"),
    [
        (phone(3), "c189:3"),
        (disk(), "b252:0"),
        (INPUT, "+input:input5"),
        (Device("/sys/x/cciss!c0", "scsi", "cciss/c0"), "+scsi:cciss!c0"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_it_is_called_as_udev_calls_it(device: Device, name: str) -> None:
    assert device_id(device) == name


HOSTILE = {
    "a line's end": {"ID_MODEL": "x\nE:ID_INPUT=1"},
    "a null byte": {"ID_MODEL": "x\0"},
    "no UTF-8": {"ID_MODEL": "x\udcff"},
    "a key with a line's end": {"ID\nS": "x"},
    "a tag with a slash": {"CURRENT_TAGS": ":../x:"},
    "what the kernel says": {"DEVNAME": "/dev/sda", "MAJOR": "8", "DEVTYPE": "disk", "DEVPATH": "/x"},
    "no number": {"USEC_INITIALIZED": "1\nE:X=1"},
}


@pytest.mark.parametrize("properties", HOSTILE.values(), ids=HOSTILE)
def test_what_is_hostile_is_left_out(properties: dict[str, str]) -> None:
    found = texts(UdevRecord(replace(phone(1), properties=properties)))
    assert found == {"c189:1": f"V:1\nI:1\n{MARK.decode()}\n"}


@given(st.dictionaries(st.text(), st.text()), st.lists(st.text()))
def test_a_record_is_lines_of_its_own_whatever_the_device_says(
    properties: dict[str, str], links: list[str]
) -> None:
    (text,) = texts(UdevRecord(replace(phone(1), properties=properties), tuple(links))).values()
    assert len(text.encode()) <= 16 << 10
    lines = text.removesuffix("\n").split("\n")
    assert lines[-1] == MARK.decode()
    assert all(line[:2] in ("V:", "I:", "S:", "G:", "Q:", "E:") and line.isprintable() for line in lines)


def test_more_than_any_has_is_cut_and_the_mark_is_there() -> None:
    many = {f"KEY_{number}": "x" * 100 for number in range(1000)}
    (text,) = texts(UdevRecord(replace(phone(1), properties=many))).values()
    assert len(text) <= 16 << 10
    assert text.endswith(f"\n{MARK.decode()}\n")
