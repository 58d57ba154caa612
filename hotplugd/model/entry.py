"""What a device entry of ours looks like in an instance's configuration, and how to tell it from others'.

An entry's name is `hp-` and 16 hex digits: the server removes nodes by a *prefix* of the entry's name
(LXD: device/device_utils_unix.go, `unixDeviceRemove`), so no name of ours may begin another.
Its marks are `user.hotplugd.*` keys here, and at the server one key `user.hotplugd`, all of them as JSON.
The server keeps such keys and does not read them, but writes each of all entries down by itself with every
update of the instance (LXD: db/cluster, `UpdateInstanceDevices`; measured, 0.08 ms for each).
A node's source is a slot: a link below `/dev/hotplugd` that only ever meant one enumeration of one device.
What goes in without a node has its slot as a mark.

An entry stays as it is while its device is attached, unless a rule changes what the server does by the entry.
docs/reference/entry.md lists the keys, and how other versions read them.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Container, Mapping, Sequence
from functools import lru_cache
from typing import Final

from hotplugd.model.values import Device, Devnum, Entry, Instance, InstanceName, kept_once

SLOTS: Final = "/dev/hotplugd"
VERSION: Final = "2"

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
MARK_MEMBER: Final = MARK + "member"
MARK_POOL: Final = MARK + "pool"
MARK_CLAIM: Final = MARK + "claim"
MARK_UNIT: Final = MARK + "unit"
# Only of version 1: the links inside. Now they are in a journal, since they may change.
MARK_LINKS: Final = MARK + "links"

# The versions whose marks are all known here.
_VERSIONS: Final = frozenset({"1", VERSION})
# The server does nothing by such keys. A change of them alone makes LXD take the device out and put it in
# again, and Incus from 6.15 refuse the request (`Update` in its device/config/devices.go).
_INERT: Final = "user."

# The keys of entries of ours of any kind; in every version they mean what they mean to the server.
_KEYS: Final = frozenset(
    {
        "type", "source", "path", "required", "uid", "gid", "mode", "nictype", "parent", "name", "gputype",
        "pci", "address", "busnum", "devnum", "vendorid", "productid",
    }
)  # fmt: skip

_NAME = re.compile(r"hp-[0-9a-f]{16}")
_AGAIN: Final = ".r"
_NODE: Final = ".node"
_MADE: Final = ".made"
_LONGEST_AGE: Final = 20
# Our marks take some KB. A user who may edit an instance can write nested lists, which take twenty times the
# memory and block the event loop while they are parsed.
_LONGEST_MARKS: Final = 1 << 18
# Stands for the boot's id in names of links: our udev rule cannot read the id.
_THIS_BOOT: Final = "boot"
_FILE: Final = re.compile(r"([cb]-\d+-\d+)-(?:([0-9a-f]{8}|boot)-(i?\d+)|i?\d+)", re.ASCII)
_NUMBER: Final = re.compile(r"\d+", re.ASCII)
# The number in slots of version 1: the time in µs, which is larger than any sequence number.
_OLDER: Final = 1 << 80


def name_for(slot: str) -> str:
    """The entry's name for a device's slot."""
    return "hp-" + hashlib.sha256(slot.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@lru_cache(256)  # asked of each instance when a device goes
def names_for(slot: str) -> tuple[str, ...]:
    """The names that an entry for a device's slot may have: of today, and as version 1 named it."""
    match slot.split("-"):
        case ["p", first, _, last]:
            return name_for(slot), name_for(f"p-{first}-{last}")
    return (name_for(slot),)


def read(name: str, config: Mapping[str, object]) -> Entry:
    """An entry as the server has it, with each mark as a key.

    Marks that are no JSON, or longer than ours, stay one text, and the entry has none.
    """
    # Entries and devices have many equal texts: each is kept once.
    texts = {kept_once(str(key)): kept_once(str(value)) for key, value in config.items()}
    together = texts.get(MARKS)
    if together is None or len(together) > _LONGEST_MARKS:
        return Entry(name, texts)
    try:
        marks = json.loads(together)
    except (ValueError, RecursionError):
        return Entry(name, texts)
    if not isinstance(marks, dict):
        return Entry(name, texts)
    del texts[MARKS]
    # A value that is no text is of a later version.
    said = {key: value for key, value in marks.items() if isinstance(value, str)}
    return Entry(name, texts | {kept_once(MARK + key): kept_once(value) for key, value in said.items()})


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


def is_later(entry: Entry) -> bool:
    """Whether a later version made the entry, with marks that this one may not know."""
    return entry.config.get(MARK_VERSION) not in _VERSIONS


def age_of(slot: str) -> int:
    """A number that is smaller for a slot that is older."""
    # Marks can be edited: they may be no slots, and Python refuses numbers of some thousand digits.
    kind, _, rest = slot.partition("-")
    *numbers, token = rest.split("-")
    if not token.isdecimal() or len(token) > _LONGEST_AGE:
        return sys.maxsize
    of_version_1 = kind in ("c", "b") and len(numbers) == len(("major", "minor"))
    return int(token) - _OLDER if of_version_1 else int(token)


def slot_for(number: Devnum, boot: str, token: str) -> str:
    """The slot of a device with this number. token: unique among all devices with the number in this boot.

    The token is the sequence number of the kernel's event that announced the device, from our udev rule; or
    else `i` and the inode number of its folder in sysfs.
    """
    return f"{slot_prefix(number)}{boot}-{token}"


def in_full(name: str, boot: str) -> str:
    """The slot that our udev rule means by `c-189-3-boot-4711`."""
    return name.replace(f"-{_THIS_BOOT}-", f"-{boot}-", 1)


def slot_named(name: str, number: Devnum, boot: str) -> str:
    """The slot that our udev rule gave a device, in full; empty where it is none of such a device.

    Of one that was plugged under version 1 that is `c-189-3-123456`.
    """
    prefix = slot_prefix(number)
    if not name.startswith(prefix):
        return ""
    said, dash, token = name.removeprefix(prefix).rpartition("-")
    is_one = _NUMBER.fullmatch(token) is not None and (said == boot or not dash)
    return name if is_one else ""


def slot_links(slot: str) -> tuple[str, str]:
    """The two links of a slot. An entry names the first; a repair moves it to the other and back.

    Changing an entry's source is what makes every server take the node out and put it in again.
    """
    return f"{SLOTS}/{slot}", f"{SLOTS}/{slot}{_AGAIN}"


def slot_node(slot: str) -> str:
    """The link that a slot's two links lead to, and which leads to the device's node.

    No entry names it, so no server watches it: it can go at once with the device.
    """
    return f"{SLOTS}/{slot}{_NODE}"


def slot_made(slot: str) -> str:
    """The file beside a slot's links, which exists as long as they may: it tells our udev rule of them.

    Its name is the slot as the rule knows it, and its content is the name of the links.
    """
    kind, major, minor, *of_boot = slot.split("-")
    if len(of_boot) > 1:
        of_boot[0] = _THIS_BOOT
    return f"{SLOTS}/{'-'.join((kind, major, minor, *of_boot))}{_MADE}"


def is_slot(text: str) -> bool:
    """Whether this is a node's slot, of any version."""
    return _FILE.fullmatch(text) is not None


def slot_of_file(name: str, boot: str) -> str:
    """The slot to which a file in /dev/hotplugd belongs; empty where to none."""
    found = _FILE.match(name)
    if found is None:
        return ""
    of_boot = boot if found[2] == _THIS_BOOT else found[2]
    return f"{found[1]}-{of_boot}-{found[3]}" if of_boot else found[0]


def slot_of(entry: Entry) -> str:
    """The slot that an entry of ours names, or empty."""
    folder, _, name = entry.config.get("source", "").rpartition("/")
    return name.removesuffix(_AGAIN) if folder == SLOTS else entry.config.get(MARK_SLOT, "")


def slot_prefix(number: Devnum) -> str:
    """The common prefix of the slots of all devices with this number."""
    return f"{number.kind[0]}-{number.major}-{number.minor}-"


def number_of(slot: str) -> str:
    """The device's number in a node's slot, the same for all devices that had the number."""
    return "-".join(slot.split("-", 3)[:3])


def is_for(entry: Entry, number: Devnum) -> bool:
    """Whether the entry was made for a device with this number, in any enumeration."""
    return slot_of(entry).startswith(slot_prefix(number))


def is_path(place: str) -> bool:
    """Whether a target is a node's path; else it is a network interface's name."""
    return place.startswith("/")


def target_of(entry: Entry) -> str:
    """The target of the entry's device, as the server reads the entry: its node's path, or a network
    interface's name. Empty where it has neither, or the server chooses it.
    """
    kind = entry.config.get("type", "")
    if kind == "nic":
        return entry.config.get("name", "")
    if not kind.startswith("unix-"):
        return ""
    path = entry.config.get("path") or entry.config.get("source", "")
    return "/" + path.strip("/") if path else ""


def is_link(path: str) -> bool:
    """Whether this is a path inside at which a link of ours may be."""
    return path.startswith("/dev/") and ".." not in path.split("/")


def links_of(entry: Entry) -> tuple[str, ...]:
    """The links inside that version 1 made for an entry. Marks can be edited: only what is below /dev."""
    paths = entry.config.get(MARK_LINKS, "").split()
    return tuple(filter(is_link, paths))


def mark_for(instance: InstanceName) -> str:
    """The mark that ties an entry to the instance it was made for: a copied entry names another."""
    return f"{instance.project}/{instance.name}"


def differing(actual: Entry, wanted: Entry) -> list[str]:
    """The keys by which the server would treat the two entries differently; marks do not count.

    Further keys of a later version do not count either.
    """
    keys = {key for key in actual.config.keys() | wanted.config.keys() if not key.startswith(_INERT)}
    if is_later(actual):
        keys &= _KEYS
    return sorted(key for key in keys if actual.config.get(key) != wanted.config.get(key))


def of_unprocessed(entries: Mapping[str, Entry], devices: Sequence[Device]) -> dict[str, Entry]:
    """The entries, by name, that may be for one of these devices, which udevd has not processed."""
    if not devices:
        return {}
    numbers = {slot_prefix(device.devnum) for device in devices if device.devnum is not None}
    interfaces = {device.kernel for device in devices if device.subsystem == "net"}
    parts = {part for device in devices for part in device.syspath.split("/")}

    def may_be_for(entry: Entry) -> bool:
        if "-".join(slot_of(entry).split("-", 3)[:3]) + "-" in numbers:
            return True
        if entry.config.get("type") == "nic":
            return entry.config.get("parent") in interfaces
        return (entry.config.get("pci") or entry.config.get("address")) in parts

    return {name: entry for name, entry in entries.items() if may_be_for(entry)}


def of_pools(
    instance: Instance, ours: Mapping[str, Entry], present: Container[str], decided: Container[str]
) -> dict[str, Entry]:
    """The entries, by name, of devices that pools gave to this instance and that are there: where another
    hotplugd serves pools, nobody here knows whose they should be.

    present  the slots of all devices that exist; decided: of those about which somebody decided by hand
    """
    own = mark_for(instance.id), instance.location
    return {
        name: entry
        for name, entry in ours.items()
        if MARK_POOL in entry.config
        and (entry.config.get(MARK_INSTANCE, ""), entry.config.get(MARK_MEMBER, "")) == own
        and (slot := slot_of(entry)) in present
        and slot not in decided
    }
