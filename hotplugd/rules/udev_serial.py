"""A USB device's serial number as udev writes it. Pure.

udevd's usb_id takes away blanks at the ends, makes one `_` of blanks within and of each character that is
none of its own, and has no serial where one character is not printable ASCII, or is a comma (measured with
systemd 252; src/udev/udev-builtin-usb_id.c).
"""

from __future__ import annotations

import re
from typing import Final

_OTHER: Final = re.compile(r"[^A-Za-z0-9#+.:=@_-]", re.ASCII)


def as_udev(serial: str) -> str:
    """ID_SERIAL_SHORT of a USB device with this serial number; empty where udev has none."""
    if not (serial.isascii() and serial.isprintable()) or "," in serial:
        return ""
    return _OTHER.sub("_", "_".join(serial.split()))
