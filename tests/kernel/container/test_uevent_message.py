"""The two forms of a uevent, as others read them: a strict parser of the tests' own, and libudev itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotplugd.container.uevent_message import kernel_form, libudev_form, murmur2
from hotplugd.model.uevent import Uevent
from tests.support.devices import phone
from tests.support.lab.inject import Program
from tests.support.lab.udevd import trigger
from tests.support.lab.uevents import ENTER, KERNEL, LIBUDEV, listening, namespaces, parse
from tests.support.lab.wait import eventually

PHONE = replace(
    phone(3),
    syspath="/sys/devices/pci0000:00/0000:00:14.0/usb1/1-3",
    properties={
        "ACTION": "bind",
        "DEVPATH": "/devices/elsewhere",
        "SUBSYSTEM": "usb",
        "DEVNAME": "/dev/bus/usb/001/003",
        "DEVTYPE": "usb_device",
        "MAJOR": "189",
        "MINOR": "3",
        "SEQNUM": "17",
        "PRODUCT": "18d1/4ee7/440",
        "ID_SERIAL_SHORT": "R5C003",
        "ID_MODEL": "Pixel 7",
        "libsane_matched": "yes",
        "USEC_INITIALIZED": "12345",
        "DEVLINKS": "/dev/phone /dev/hotplugd/c-189-3-1",
        "TAGS": ":uaccess:systemd:",
        "CURRENT_TAGS": ":uaccess:",
        "HOTPLUGD_SLOT": "c-189-3-1",
        "SYSTEMD_WANTS": "phone.service",
        "SYNTH_UUID": "0",
    },
)
SYSFS = (
    "MAJOR=189\nMINOR=3\nDEVNAME=bus/usb/001/003\nDEVTYPE=usb_device\nDEVMODE=0666\nDRIVER=usb\n"
    "PRODUCT=18d1/4ee7/440\nTYPE=0/0/0\nBUSNUM=001\nDEVNUM=003"
)
ADD = Uevent("add", PHONE, "/dev/phone", SYSFS)


def test_the_kernels_form_is_the_kernels_but_for_the_path_and_the_number() -> None:
    assert kernel_form(ADD).split(b"\0") == [
        b"add@/devices/pci0000:00/0000:00:14.0/usb1/1-3",
        b"ACTION=add",
        b"DEVPATH=/devices/pci0000:00/0000:00:14.0/usb1/1-3",
        b"SUBSYSTEM=usb",
        b"MAJOR=189",
        b"MINOR=3",
        b"DEVNAME=phone",
        b"DEVTYPE=usb_device",
        b"DRIVER=usb",
        b"PRODUCT=18d1/4ee7/440",
        b"TYPE=0/0/0",
        b"BUSNUM=001",
        b"DEVNUM=003",
        b"",
    ]


def test_libudevs_form_has_what_udevd_knows_and_is_true_inside() -> None:
    assert parse(LIBUDEV, libudev_form(replace(ADD, action="remove"), 99)) == [
        ("ACTION", "remove"),
        ("DEVPATH", "/devices/pci0000:00/0000:00:14.0/usb1/1-3"),
        ("SUBSYSTEM", "usb"),
        ("MAJOR", "189"),
        ("MINOR", "3"),
        ("DEVNAME", "/dev/phone"),
        ("DEVTYPE", "usb_device"),
        ("SEQNUM", "99"),
        ("PRODUCT", "18d1/4ee7/440"),
        ("ID_SERIAL_SHORT", "R5C003"),
        ("ID_MODEL", "Pixel 7"),
        ("libsane_matched", "yes"),
        ("USEC_INITIALIZED", "12345"),
    ]


def test_a_device_without_a_devtype_has_no_hash_of_it() -> None:
    raw = libudev_form(replace(ADD, device=replace(PHONE, devtype="")), 1)
    assert raw[28:32] == bytes(4)
    assert "DEVTYPE" not in dict(parse(LIBUDEV, raw))


def test_hashes_are_those_of_udevd(udevd: None) -> None:
    disk = next(iter(os.listdir("/sys/class/block")))
    some = (
        "class/vc/vcs1",
        "class/mem/null",
        "class/misc/fuse",
        "bus/cpu/devices/cpu0",
        f"class/block/{disk}",
    )
    with listening(os.getpid()) as ear:
        trigger(*(f"/sys/{each}" for each in some))
        said = eventually(
            lambda: [each for each in ear.messages if each.group == LIBUDEV and each.get("DEVTYPE")]
        )
    hashes = {each["SUBSYSTEM"]: each.raw[24:28] for each in ear.messages if each.group == LIBUDEV}
    hashes |= {each["DEVTYPE"]: each.raw[28:32] for each in said}
    assert {len(text) % 4 for text in hashes} == {0, 1, 2, 3}
    assert {text: murmur2(text.encode()).to_bytes(4, "big") for text in hashes} == hashes


def test_a_newline_in_what_the_kernel_says_does_not_say_what_device_it_is() -> None:
    text = f'{SYSFS}\nNAME="x\nSUBSYSTEM=block\nDEVNAME=sda\nACTION=remove\nPRODUCT=1/2/3\nSEQNUM=1"'
    told = parse(KERNEL, kernel_form(replace(ADD, kernel=text)))
    assert len(told) == len(dict(told))
    assert dict(told) == {**dict(parse(KERNEL, kernel_form(ADD))), "NAME": '"x'}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ID_A", "one\nACTION=remove"),
        ("ID_A", "one\0ACTION=remove"),
        ("ID_A", "\x1b[2J"),
        ("ID_A", "\u202edetaerc"),
        ("ID_A", "\udcff"),
        ("ID A", "1"),
        ("ID\nA", "1"),
        ("", "1"),
        ("1A", "1"),
        ("É", "1"),
        (".LOCAL", "1"),
    ],
)
def test_hostile_properties_are_left_out(key: str, value: str) -> None:
    device = replace(PHONE, properties={**PHONE.properties, key: value})
    assert libudev_form(replace(ADD, device=device), 1) == libudev_form(ADD, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"syspath": "/sys/devices/a\nb"},
        {"syspath": "/sys/devices/a\0ACTION=remove"},
        {"syspath": "/sys/devices/\udcff"},
        {"syspath": "/sys/devices/" + "long/" * 250},
        {"subsystem": ""},
        {"devtype": "\x7f"},
    ],
)
def test_a_device_without_a_fit_name_is_not_told_of(changes: Any) -> None:
    uevent = replace(ADD, device=replace(PHONE, **changes))
    with pytest.raises(ValueError, match="told"):
        kernel_form(uevent)


def test_a_path_inside_that_is_no_path_is_not_told() -> None:
    for form in (kernel_form, lambda uevent: libudev_form(uevent, 1)):
        with pytest.raises(ValueError, match=r"its DEVNAME '.*' cannot be told"):
            form(replace(ADD, path="/dev/\n"))


def test_what_is_too_much_is_left_out_and_the_rest_is_told() -> None:
    many = {f"ID_{number}": "x" * 100 for number in range(200)}
    text = "\n".join(f"{key}={value}" for key, value in many.items())
    device = replace(PHONE, properties={**PHONE.properties, "ID_LONG": "x" * 9000, **many, "ID_LAST": "1"})
    uevent = Uevent("add", device, "/dev/phone", text)
    kernel, libudev = kernel_form(uevent), libudev_form(uevent, 1)
    assert 1900 < len(kernel) <= 2000
    assert 8000 < len(libudev) <= 8192
    assert dict(parse(LIBUDEV, libudev))["ID_LAST"] == "1"


# --- whatever there is -----------------------------------------------------------------------------------

_ODD = st.text(st.sampled_from("aZ_09=\n\0\t\x1b .\udcffé/\u202e'\"\\;") | st.characters(), max_size=12)
_KEYS = _ODD | st.sampled_from(["ACTION", "SEQNUM", "DEVNAME", "DEVPATH", "SUBSYSTEM", "ID_MODEL", "TAGS"])
_PAIRS = st.lists(st.tuples(_KEYS, _ODD), max_size=12)
_UEVENTS = st.builds(
    lambda action, pairs, lines: Uevent(
        action,
        replace(PHONE, properties=dict(pairs)),
        "/dev/phone",
        "\n".join(f"{key}={value}" for key, value in lines),
    ),
    st.sampled_from(["add", "remove"]),
    _PAIRS,
    _PAIRS,
)


@settings(max_examples=300, deadline=None)
@given(_UEVENTS)
def test_no_property_is_forged(uevent: Uevent) -> None:
    for group, raw in ((KERNEL, kernel_form(uevent)), (LIBUDEV, libudev_form(uevent, 7))):
        told = parse(group, raw)
        keys = [key for key, _ in told]
        assert len(keys) == len(set(keys))
        assert keys[:3] == ["ACTION", "DEVPATH", "SUBSYSTEM"]
        properties = dict(told)
        assert properties["ACTION"] == uevent.action
        assert properties["DEVNAME"].removeprefix("/dev/") == "phone"
        assert properties.get("SEQNUM") == ("7" if group == LIBUDEV else None)
        assert not any("\n" in part for pair in told for part in pair)


class Libudev:
    """What libudev hears in a network namespace of its own."""

    def __init__(self, tell: Callable[[Uevent, int], None], listener: subprocess.Popen[str]) -> None:
        self._tell = tell
        self._listener = listener
        self._sequence = 0

    def heard(self, uevent: Uevent) -> dict[str, str]:
        """The properties that it makes of this uevent, where it lets it pass."""
        self._sequence += 1
        self._tell(uevent, self._sequence)
        assert self._listener.stdout is not None
        found: dict[str, str] = json.loads(self._listener.stdout.readline())
        assert found["SEQNUM"] == str(self._sequence), "an earlier one"
        return found


# libudev filters by hash in the kernel, and by name afterwards.
_LISTENER = f"""
import pyudev
context = pyudev.Context()
{ENTER}
monitor = pyudev.Monitor.from_netlink(context, "udev")
monitor.filter_by("usb", "usb_device")
monitor.start()
print(flush=True)
while True:
    device = monitor.poll()
    print(json.dumps(dict(device.properties, node=device.device_node or "")), flush=True)
"""


@pytest.fixture(scope="module")
def libudev(udevd: None) -> Iterator[Libudev]:
    with namespaces() as pid, closing(Program()) as program:
        words = [sys.executable, "-c", _LISTENER, str(pid)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "\n"
            space = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)

            def tell(uevent: Uevent, sequence: int) -> None:
                # One that libudev is to filter away, first.
                other = replace(uevent, device=replace(uevent.device, subsystem="usc"))
                for each in (other, uevent):
                    assert program.tell(each, sequence, space) == "done"

            yield Libudev(tell, listener)
            os.close(space)
            listener.kill()


def test_libudev_finds_the_device_and_its_node(libudev: Libudev) -> None:
    assert libudev.heard(ADD) == {
        **dict(parse(LIBUDEV, libudev_form(ADD, libudev._sequence))),
        "node": "/dev/phone",
    }


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(uevent=_UEVENTS)
def test_libudev_reads_the_same_as_was_written(libudev: Libudev, uevent: Uevent) -> None:
    found = libudev.heard(uevent)
    assert found.pop("node") == "/dev/phone"
    told = parse(LIBUDEV, libudev_form(uevent, libudev._sequence))
    assert found == dict(told)


def test_a_device_without_a_number_is_told_without(libudev: Libudev) -> None:
    assert "MAJOR" not in libudev.heard(replace(ADD, device=replace(PHONE, devnum=None)))
