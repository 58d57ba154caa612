"""Devices as udevd and sysfs say them, in bytes: read through libudev and from files, and on from there."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import pyudev

from hotplugd.model import Device
from hotplugd.rules import forms
from hotplugd.udev import Udev
from tests.fuzz import made, things
from tests.fuzz.feed import Feed
from tests.fuzz.sockets import folder

# What the kernel and udevd say themselves; libudev makes more of these than properties.
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
_EVENT: Final = {"ACTION": "add", "SEQNUM": "7", "USEC_INITIALIZED": "7"}
_OWN: Final = frozenset(
    {
        *_EVENT, *(key for each in _KINDS.values() for key in each), "DEVPATH", "DEVLINKS", "DRIVER", "TAGS",
        "CURRENT_TAGS", "DEVMODE", "DEVUID", "DEVGID", "DISKSEQ", "SYNTH_UUID", "UDEV_DATABASE_VERSION",
    }
)  # fmt: skip
# Most rules are about the first.
_PROPERTIES: Final = (
    *[b"ID_SERIAL_SHORT"] * 8, *(each.encode() for each in made.PROPERTIES if each not in _OWN),
    b"DEVPATH_OLD", b"ID_FS_TYPE", b"HOTPLUGD_SLOT",
)  # fmt: skip
_ATTRS: Final = ("serial", "idVendor", "product", "address", "power/level", "power", "a/b/c", ".", "")


def device_bytes(data: bytes) -> None:
    """Any bytes as what udevd says of a device and as files of its folder in sysfs: read as they are."""
    feed = Feed(data)
    rules = made.ruleset(feed)
    kernel = feed.pick(tuple(_KINDS))
    place = _folder() / kernel
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    said = dict(feed.several(lambda: (_name(feed), _bytes(feed)), 8))
    names = _attrs(feed)
    for name in names:
        _put(feed, f"{place}/{name}")
    if feed.chance(4):
        (place / "port").mkdir(exist_ok=True)
        with suppress(OSError, ValueError):
            (place / "port" / "peer").symlink_to(feed.text())
    device = _heard(place, said, rules.attrs.union(names))
    own = {"DEVPATH", *_EVENT, *_KINDS[kernel]}
    found = {os.fsencode(name): os.fsencode(text) for name, text in device.properties.items()}
    given = {name: text for name, text in found.items() if text and name.decode("latin-1") not in own}
    assert given == {name: text for name, text in said.items() if text}
    for name in names:
        _is_as_written(device.attrs.get(name), _at(f"{place}/{name}"))
    things.judge(feed, rules, device)


class _Listener:
    """Hears udevd, and keeps what it heard of. One for all cases: pyudev has gcc look for libudev."""

    def __init__(self) -> None:
        self.devices: list[Device] = []
        self._udev = Udev(frozenset(), self, _fail)

    def hear(self, lines: Sequence[bytes], attrs: frozenset[str]) -> None:
        for each in (self.devices, self._udev._known, self._udev._heard):
            each.clear()
        self._udev._attrs = attrs
        self._udev._from_udevd(_message(self._udev._context, lines))

    def device(self, device: Device) -> None:
        self.devices.append(device)

    def no_device(self, syspath: str) -> None: ...

    def listed_devices(self, devices: list[Device], unsettled: list[Device]) -> None: ...


_listener = cache(_Listener)


def _heard(place: Path, said: Mapping[bytes, bytes], attrs: frozenset[str]) -> Device:
    """The device that comes of an event of udevd's."""
    proper = {"DEVPATH": f"/..{place}", **_EVENT, **_KINDS[place.name]}
    lines = [name + b"=" + text for name, text in said.items()]
    listener = _listener()
    listener.hear([*lines, *(f"{key}={text}".encode() for key, text in proper.items())], attrs)
    (device,) = listener.devices
    return device


def _message(context: Any, lines: Sequence[bytes]) -> Any:
    """The device that libudev makes of the lines of an event.

    It makes them from its environment, as programs have it that udev's rules run, by the same code as those
    that it hears. `putenv` would keep all that was ever in there.
    """
    environment = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "environ")
    block = (ctypes.c_char_p * (len(lines) + 1))(*lines, None)
    before, environment.value = environment.value, ctypes.addressof(block)
    try:
        return pyudev.Devices.from_environment(context)
    finally:
        environment.value = before


def _fail(why: str) -> None:
    raise AssertionError(why)


def _bytes(feed: Feed) -> bytes:
    raw = feed.raw(126) if feed.chance() else feed.text().encode("utf-8", "surrogatepass")
    return raw.replace(b"\0", b"")


def _name(feed: Feed) -> bytes:
    name = _bytes(feed).replace(b"=", b"") if feed.chance(8) else feed.pick(_PROPERTIES)
    return name if name and name.decode("latin-1") not in _OWN else b"P"


def _attrs(feed: Feed) -> list[str]:
    """Names of attributes, as far as rules may have them."""
    names = feed.several(lambda: feed.text() if feed.chance(4) else feed.pick(_ATTRS), 6)
    return [each for each in dict.fromkeys(names) if forms.attribute(each) is None]


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
