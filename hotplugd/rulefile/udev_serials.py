"""Warns of serial numbers that a rule has as udev writes them, and not as the USB device says them. Pure.

`serial` is what the device says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hotplugd.model.text import printable, quoted
from hotplugd.rules.keys import DEVTYPE, SERIAL
from hotplugd.rules.match import KeyTest, Match
from hotplugd.rules.udev_serial import as_udev


def written_as_udev(match: Match, serials: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What is doubtful about the match of a rule for USB devices, and what to write instead.

    serials  those of the USB devices that are plugged in, as sysfs has them
    """
    devtype = match.test_of(DEVTYPE)
    if devtype is None or not devtype.matches("usb_device"):
        return
    tests = [test for test in match.tests if isinstance(test, KeyTest) and test.key.name == SERIAL.name]
    for serial in serials:
        udevs, own = as_udev(serial), serial.strip(" ")
        if udevs and any(test.matches(udevs) and not test.matches(own) for test in tests):
            yield (
                (
                    f"asks for the serial '{printable(udevs)}', as udev writes it, and the device that is "
                    f"there says '{printable(own)}'"
                ),
                f"write '{quoted(own)}'; udev's is `property: {{ID_SERIAL_SHORT: '{quoted(udevs)}'}}`",
            )
