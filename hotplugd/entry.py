"""What a device entry of ours looks like in an instance's configuration, and how to tell it from others'.

An entry's name is `hp-` and 16 hex digits: the server removes nodes by a *prefix* of the entry's name
(LXD: device/device_utils_unix.go, `unixDeviceRemove`), so no name of ours may begin another.
Its marks are `user.hotplugd.*` keys here, and at the server one key `user.hotplugd`, all of them as JSON.
The server keeps such keys and does not read them, but writes each of all entries down by itself with every
update of the instance (LXD: db/cluster, `UpdateInstanceDevices`; measured, 0.08 ms for each).
A node's source is a slot: a link below `/dev/hotplugd` that only ever meant one enumeration of one device.
What goes in without a node has its slot as a mark.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from sys import intern
from typing import Final

from hotplugd.model import Devnum, Entry, InstanceName

SLOTS: Final = "/dev/hotplugd"
VERSION: Final = "1"

MARKS: Final = "user.hotplugd"
MARK: Final = MARKS + "."
MARK_VERSION: Final = MARK + "version"
MARK_INSTANCE: Final = MARK + "instance"
MARK_DEVICE: Final = MARK + "device"
MARK_NODE: Final = MARK + "node"
MARK_RULE: Final = MARK + "rule"
MARK_SINCE: Final = MARK + "since"
MARK_SLOT: Final = MARK + "slot"
MARK_SEEN: Final = MARK + "seen"
MARK_LINKS: Final = MARK + "links"
MARK_MEMBER: Final = MARK + "member"

# For people to read. A difference here alone is no reason to take a device out and put it in again,
# which is what the server does when any key changes.
_INFORMAL: Final = frozenset({MARK_DEVICE, MARK_NODE, MARK_RULE, MARK_SINCE, MARK_SEEN})

_NAME = re.compile(r"hp-[0-9a-f]{16}")
_AGAIN: Final = ".r"
_MADE: Final = ".made"
_LONGEST_AGE: Final = 20


def name_for(slot: str) -> str:
    """The entry's name for a device's slot."""
    return "hp-" + hashlib.sha256(slot.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read(name: str, config: Mapping[str, object]) -> Entry:
    """An entry as the server has it, with its marks apart. What is no JSON has none, and stays as it is."""
    # Entries say the same as each other, and as their devices: it is kept once.
    texts = {intern(str(key)): intern(str(value)) for key, value in config.items()}
    if (together := texts.get(MARKS)) is None:
        return Entry(name, texts)
    try:
        marks = json.loads(together)
    except (ValueError, RecursionError):
        return Entry(name, texts)
    if not isinstance(marks, dict) or not all(isinstance(value, str) for value in marks.values()):
        return Entry(name, texts)
    del texts[MARKS]
    return Entry(name, texts | {intern(MARK + key): intern(value) for key, value in marks.items()})


def written(entry: Entry) -> dict[str, str]:
    """The keys of an entry as the server is to have them, with its marks as one."""
    keys = {key: value for key, value in entry.config.items() if not key.startswith(MARK)}
    marks = {key.removeprefix(MARK): value for key, value in entry.config.items() if key.startswith(MARK)}
    return keys | {MARKS: json.dumps(marks)} if marks else keys


def is_ours(entry: Entry) -> bool:
    """Whether hotplugd made this entry: by its name and by its marks, both."""
    return (
        _NAME.fullmatch(entry.name) is not None
        and MARK_VERSION in entry.config
        and MARK_INSTANCE in entry.config
    )


def age_of(slot: str) -> int:
    """A number that is smaller for a slot that is older."""
    token = slot.rpartition("-")[2]
    # Marks can be edited: Python makes no number of some thousand digits.
    return int(token) if token.isdecimal() and len(token) <= _LONGEST_AGE else sys.maxsize


def slot_links(slot: str) -> tuple[str, str]:
    """The two links of a slot. An entry names the first; a repair moves it to the other and back.

    Changing an entry's source is what makes every server take the node out and put it in again.
    """
    return f"{SLOTS}/{slot}", f"{SLOTS}/{slot}{_AGAIN}"


def slot_made(slot: str) -> str:
    """The file beside a slot's links, for as long as there may be any: our udev rule cannot see those."""
    return f"{SLOTS}/{slot}{_MADE}"


def slot_of(entry: Entry) -> str:
    """The slot that an entry of ours names, or empty."""
    folder, _, name = entry.config.get("source", "").rpartition("/")
    return name.removesuffix(_AGAIN) if folder == SLOTS else entry.config.get(MARK_SLOT, "")


def slot_prefix(number: Devnum) -> str:
    """What the slots of all devices begin with that ever had this number."""
    return f"{number.kind[0]}-{number.major}-{number.minor}-"


def is_for(entry: Entry, number: Devnum) -> bool:
    """Whether the entry was made for a device with this number, in whichever enumeration."""
    return slot_of(entry).startswith(slot_prefix(number))


def is_path(place: str) -> bool:
    """Whether a place inside is a node's path; else it is a network interface's name."""
    return place.startswith("/")


def place_of(entry: Entry) -> str:
    """Where in the instance the entry's device is, as the server reads it: its node's path, or a network
    interface's name. Empty where it has neither, or the server chooses.
    """
    kind = entry.config.get("type", "")
    if kind == "nic":
        return entry.config.get("name", "")
    if not kind.startswith("unix-"):
        return ""
    path = entry.config.get("path") or entry.config.get("source", "")
    return "/" + path.strip("/") if path else ""


def links_of(entry: Entry) -> tuple[str, ...]:
    """The links inside that an entry of ours has. Marks can be edited: only what is below /dev."""
    found = entry.config.get(MARK_LINKS, "").split()
    return tuple(each for each in found if each.startswith("/dev/") and ".." not in each.split("/"))


def mark_for(instance: InstanceName) -> str:
    """The mark that ties an entry to the instance it was made for: a copied entry names another."""
    return f"{instance.project}/{instance.name}"


def differing(actual: Entry, wanted: Entry) -> list[str]:
    """The keys in which the actual entry does not do what the wanted one would. Informal marks do nothing."""
    keys = (actual.config.keys() | wanted.config.keys()) - _INFORMAL
    return sorted(key for key in keys if actual.config.get(key) != wanted.config.get(key))
