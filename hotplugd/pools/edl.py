"""Phones in emergency download mode (EDL): the processor's boot program answers in the phone's place. Pure.

It does not know the phone's serial number. So nothing tells one phone from another there but the socket that
it is in: a phone that is leased, and was the last one there, is that phone. Of any other nobody knows which
one it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from hotplugd.model.values import Device
from hotplugd.rules.keys import ID, LOCATION, PATH, PORT, SERIAL

MODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        # github.com/bkerler/edl: Config/usb_ids.py; the first one also in the kernel's drivers/usb/serial/
        # qcserial.c ("Generic Gobi QDL device") and in github.com/linux-msm/qdl: usb.c.
        "05c6:9008": "Qualcomm's emergency download mode (EDL)",
        "05c6:900e": "Qualcomm's memory dump mode",
        "05c6:9025": "Qualcomm's emergency download mode (EDL)",
        # The kernel's drivers/usb/class/cdc-acm.c, and github.com/bkerler/mtkclient: config/usb_ids.py. The
        # second one is there for a moment at each start of such a phone.
        "0e8d:0003": "MediaTek's download mode (BROM)",
        "0e8d:2000": "MediaTek's preloader",
        # github.com/ilyakurdyukov/spreadtrum_flash: spd_dump.c.
        "1782:4d00": "Unisoc's download mode",
    }
)
"""What each of these vendor and product numbers means, in which no phone says its serial number."""

STAYS: Final = frozenset(key.name for key in (SERIAL, PORT, PATH, LOCATION))
"""The match keys whose values stay in such a mode, where it is known which phone it is."""


def mode(device: Device) -> str:
    """The emergency mode that a USB device is in; empty for any other device."""
    if not device.is_usb_device:
        return ""
    return next((found for each in ID.values(device) if (found := MODES.get(each))), "")


def with_serial(device: Device, key: str) -> Device:
    """A phone in such a mode with the serial number that it is known by, if it is known by one."""
    kind, _, serial = key.partition(":")
    return replace(device, attrs={**device.attrs, "serial": serial}) if kind == SERIAL.name else device


def why_not_given(device: Device, *, known: bool) -> str:
    """Why a device is given to nobody who has it not; empty for one that is in no emergency mode.

    known  whether it is known which phone that is
    """
    found = mode(device)
    if not found:
        return ""
    which = "" if known else ", which says no serial number: nobody knows which phone it is"
    return f"it is in {found}{which}"
