"""How often USB ports were switched off for drawing too much power, as the kernel counts it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SYSFS: Final = Path("/sys/bus/usb/devices")

# A hub's interface, 1-0:1.0 for that of a controller; and its ports, usb1-port4 or 1-2.1-port4.
_HUB: Final = re.compile(r"(?P<bus>\d+)-(?P<below>[\d.]+):\d+\.\d+", re.ASCII)
_PORT: Final = re.compile(r".+-port(\d+)", re.ASCII)
_MOST_DIGITS: Final = 20


def over_current_counts(folder: Path = SYSFS) -> dict[str, int]:
    """The counts since the boot by the name that a device in the port has, 1-2.1.4. Ports that never were are
    left out. Raises OSError where nothing can be read. Blocks.

    It is `over_current_count` of each port (kernel: Documentation/ABI/testing/sysfs-bus-usb).
    """
    return dict(_counts(folder))


def _counts(folder: Path) -> Iterator[tuple[str, int]]:
    for interface in folder.iterdir():
        hub = _HUB.fullmatch(interface.name)
        if hub is None:
            continue
        for port in interface.glob("*-port*"):
            number = _PORT.fullmatch(port.name)
            if number is not None and (count := _count(port / "over_current_count")):
                below = "" if hub["below"] == "0" else f"{hub['below']}."
                yield f"{hub['bus']}-{below}{number[1]}", count


def _count(file: Path) -> int:
    try:
        text = file.read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        # A hub that was pulled meanwhile, or a kernel before 4.17.
        return 0
    return int(text) if text.isdecimal() and len(text) < _MOST_DIGITS else 0
