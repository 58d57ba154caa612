"""What udev's own usb_id makes of the USB devices that were recorded: hotplugd's notion of it is the same."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hotplugd.rules.keys import UDEV_INTERFACES
from hotplugd.rules.udev_serial import as_udev
from tests.support.recorded_usb import MEASURED, RECORDED, Recorded

Said = list[tuple[Recorded, dict[str, str]]]


@pytest.fixture(scope="module")
def said() -> Said:
    """Each with udev's properties of it."""
    words = ["unshare", "--mount", sys.executable, "-m", "tests.kernel.udev.usb_ids"]
    found = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return list(zip(RECORDED, json.loads(found), strict=True))


def test_a_serial_number_is_rewritten_as_hotplugd_does_it(said: Said) -> None:
    for recorded, properties in said:
        assert properties.get("ID_SERIAL_SHORT", "") == as_udev(recorded.serial), recorded


def test_udev_has_the_first_of_the_interfaces_that_hotplugd_reads(said: Said) -> None:
    for recorded, properties in said:
        first = list(dict.fromkeys(each for some in recorded.configurations for each in some))
        six = [each.replace(":", "") for each in first[:UDEV_INTERFACES]]
        assert properties["ID_USB_INTERFACES"] == f":{':'.join(six)}:", recorded


def test_what_was_measured_is_so(said: Said) -> None:
    """Of devices that are made up; of real ones other versions of systemd wrote other names."""
    for recorded, properties in said:
        if recorded.source.startswith(MEASURED):
            assert {name: properties.get(name) for name in recorded.udev} == recorded.udev, recorded
