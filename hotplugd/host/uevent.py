"""A uevent of the host's, as far as it says anything that is not read from sysfs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """A uevent, with the kernel's sequence number, 0 where it has none.

    source  `kernel`, or `udev` once udevd has processed it
    before  the syspath that the device had until then, where it was renamed
    plug    the kernel says that a USB device was plugged in, and nobody has asked it to say so again
    over_current  a hub says that one of its ports was, or is, switched off for drawing too much power
    """

    source: str
    action: str
    syspath: str
    sequence: int
    before: str = ""
    plug: bool = False
    over_current: bool = False
