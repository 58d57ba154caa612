"""Devices as udevd and sysfs say them, in bytes: read from files, and on from there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from hotplugd.host.device_reader import Reader
from hotplugd.host.properties import _KERNELS
from hotplugd.model.values import Device
from hotplugd.rulefile import validate
from tests.fuzz import made, things
from tests.fuzz.feed import Feed
from tests.fuzz.sockets import folder

# What the kernel says itself.
_KINDS: Final[Mapping[str, Mapping[str, str]]] = {
    "1-4.2": {
        "SUBSYSTEM": "usb", "DEVTYPE": "usb_device", "DEVNAME": "bus/usb/001/004",
        "MAJOR": "189", "MINOR": "3",
    },
    "ttyUSB0": {"SUBSYSTEM": "tty", "DEVNAME": "ttyUSB0", "MAJOR": "188", "MINOR": "0"},
    "event3": {"SUBSYSTEM": "input", "DEVNAME": "input/event3", "MAJOR": "13", "MINOR": "67"},
    "sdb": {"SUBSYSTEM": "block", "DEVTYPE": "disk", "DEVNAME": "sdb", "MAJOR": "8", "MINOR": "16"},
    "eth1": {"SUBSYSTEM": "net", "INTERFACE": "eth1", "IFINDEX": "77"},
}  # fmt: skip
_OWN: Final = _KERNELS.union(*_KINDS.values())
# Most rules are about the first.
_PROPERTIES: Final = (
    *[b"ID_SERIAL_SHORT"] * 8, *(each.encode() for each in made.PROPERTIES if each not in _OWN),
    b"ID_FS_TYPE", b"HOTPLUGD_SLOT",
)  # fmt: skip
_ATTRS: Final = ("serial", "idVendor", "product", "address", "power/level", "power", "a/b/c", ".", "")


def device_bytes(data: bytes) -> None:
    """Any bytes as what udevd and the kernel say of a device and as files of its folder: read as they are."""
    feed = Feed(data)
    rules = made.ruleset(feed)
    kernel = feed.pick(tuple(_KINDS))
    place = _folder() / kernel
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    said = dict(feed.several(lambda: (_name(feed), _line(feed)), 8))
    names = _attrs(feed)
    for name in names:
        _put(feed, f"{place}/{name}")
    if feed.chance(4):
        (place / "port").mkdir(exist_ok=True)
        with suppress(OSError, ValueError):
            (place / "port" / "peer").symlink_to(feed.text())
    tail = _bytes(feed) if feed.chance() else b""
    device = _heard(place, said, tail, rules.attrs.union(names))
    own = {"DEVPATH", "USEC_INITIALIZED", *_KINDS[kernel]}
    found = {os.fsencode(name): os.fsencode(text) for name, text in device.properties.items()}
    assert {name: found[name.encode()] for name in _KINDS[kernel]} == _proper(kernel)
    given = {name: text for name, text in found.items() if name.decode("latin-1") not in own}
    assert given == said
    for name in names:
        _is_as_written(device.attrs.get(name), _at(f"{place}/{name}"))
    things.judge(feed, rules, device)


def _heard(place: Path, said: Mapping[bytes, bytes], tail: bytes, attrs: frozenset[str]) -> Device:
    """The device that comes of an event of udevd's. tail: what the device adds to the kernel's variables."""
    kind = dict(_KINDS[place.name])
    subsystem, major, minor = kind.pop("SUBSYSTEM"), kind.get("MAJOR"), kind.get("MINOR")
    lines = "".join(f"{key}={text}\n" for key, text in kind.items()).encode()
    for name in ("uevent", "dev", "subsystem", "driver"):
        _clear(place / name)
    (place / "uevent").write_bytes(lines + (b"NAME=" + tail + b"\n" if tail else b""))
    (place / "subsystem").symlink_to(f"/sys/class/{subsystem}")
    if major:
        (place / "dev").write_text(f"{major}:{minor}\n")
    record = "n77" if subsystem == "net" else f"{'b' if subsystem == 'block' else 'c'}{major}:{minor}"
    database = _folder() / "data"
    database.mkdir(exist_ok=True)
    own = b"".join(b"E:" + name + b"=" + text + b"\n" for name, text in said.items())
    (database / record).write_bytes(b"I:7\n" + own)
    seen = Reader(attrs, str(database)).read(str(place), None, listing=True)
    assert seen is not None
    assert seen.settled
    return seen.device


def _proper(kernel: str) -> dict[str, bytes]:
    """What the kernel's variables become."""
    return {
        key: (b"/dev/" if key == "DEVNAME" else b"") + text.encode() for key, text in _KINDS[kernel].items()
    }


def _clear(path: Path) -> None:
    """Nothing is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _bytes(feed: Feed) -> bytes:
    raw = feed.raw(126) if feed.chance() else feed.text().encode("utf-8", "surrogatepass")
    return raw.replace(b"\0", b"")


def _line(feed: Feed) -> bytes:
    return _bytes(feed).replace(b"\n", b"")


def _name(feed: Feed) -> bytes:
    name = _line(feed).replace(b"=", b"") if feed.chance(8) else feed.pick(_PROPERTIES)
    return name if name and name.decode("latin-1") not in _OWN else b"P"


def _attrs(feed: Feed) -> list[str]:
    """Names of attributes, as far as rules may have them."""
    names = feed.several(lambda: feed.text() if feed.chance(4) else feed.pick(_ATTRS), 6)
    return [each for each in dict.fromkeys(names) if validate.attribute(each) is None]


def _put(feed: Feed, path: str) -> None:
    """A file of any bytes, a folder or nothing, as far as there can be such a name."""
    kind = feed.byte() % 8
    raw = feed.pick((1, 1, 1, 50)) * _bytes_of_file(feed)
    with suppress(OSError, ValueError):
        if kind:
            os.makedirs(os.path.dirname(path) if kind > 1 else path, exist_ok=True)
        if kind > 1:
            Path(path).write_bytes(raw)


def _bytes_of_file(feed: Feed) -> bytes:
    return feed.raw(200) if feed.chance() else feed.text().encode("utf-8", "surrogatepass") + b"\n"


def _at(path: str) -> bytes | None:
    """What a file has; None where there is none."""
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError):
        return None


def _is_as_written(found: str | None, raw: bytes | None) -> None:
    """An attribute is all of its file, up to a page, but for what is blank at the end."""
    if raw is None or found is None:
        assert raw is None
        assert found is None
        return
    text = os.fsencode(found)
    assert raw.startswith(text)
    assert not raw[len(text) : 4096].strip(b"\n \t\0")
    assert not text.endswith((b"\n", b" ", b"\t", b"\0"))


@cache
def _folder() -> Path:
    return Path(folder())
