"""What an entry keeps of a device that leaves the host for the instance, so that rules can go on judging it.

A network interface moves: while it is in an instance the host's udev knows nothing of it. Pure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Final

from hotplugd.entry import MARK_SEEN, slot_of
from hotplugd.model import Device, Entry

# What is true of one moment alone.
_PASSING: Final = frozenset({"USEC_INITIALIZED", "SEQNUM", "TAGS", "CURRENT_TAGS", "DEVPATH", "ACTION"})
_TEXTS: Final = ("syspath", "kernel", "devtype", "driver")
_MAPS: Final = ("properties", "attrs")


def remember(device: Device) -> str:
    """The device as a mark: what rules can match on, but for the devices above it."""
    texts = {key: getattr(device, key) for key in _TEXTS}
    return json.dumps(
        {**texts, "properties": _kept(device.properties), "attrs": _kept(device.attrs)},
        separators=(",", ":"),
        sort_keys=True,
    )


def recall(entry: Entry) -> Device | None:
    """The network interface that an entry of ours was made for, as it was then and away now.

    None where the entry says nothing, or nothing that could be so: marks can be edited.
    """
    try:
        found = json.loads(entry.config.get(MARK_SEEN, ""))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    texts = [found.get(key) for key in _TEXTS]
    maps = [found.get(key) for key in _MAPS]
    if not all(isinstance(each, str) for each in texts) or not all(map(_is_texts, maps)):
        return None
    syspath = str(found["syspath"])
    if not syspath.startswith("/sys/devices/") or ".." in syspath.split("/") or not _is_a_path(syspath):
        return None
    return Device(
        syspath=syspath,
        subsystem="net",
        kernel=found["kernel"],
        devtype=found["devtype"],
        driver=found["driver"],
        properties=found["properties"],
        attrs=found["attrs"],
        slot=slot_of(entry),
        away=True,
    )


def _kept(texts: Mapping[str, str]) -> dict[str, str]:
    return {key: text for key, text in texts.items() if key not in _PASSING and text.isprintable()}


def _is_a_path(text: str) -> bool:
    """Whether the system can be asked for it: JSON can have halves of characters, which are no bytes."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _is_texts(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(each, str) for each in (*found, *found.values()))
