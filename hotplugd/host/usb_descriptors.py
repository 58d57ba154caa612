"""A USB device's descriptors, as sysfs has them: all its interfaces, whatever udev made of them.

The kernel keeps what it parsed (Linux: drivers/usb/core/config.c): the device descriptor, then each
configuration as far as it could be read, with every alternate setting. Of that udev reads the first 4 KiB and
keeps 72 different interfaces (systemd: src/udev/udev-builtin-usb_id.c).

The kernel drives 128 alternate settings of an interface and 32 interfaces of a configuration; here the others
count as well. What follows a descriptor without a length the kernel forgets, and then so does sysfs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from hotplugd.aio.shortage import is_short
from hotplugd.model.values import Descriptors

_DEVICE, _CONFIGURATION, _INTERFACE = 1, 2, 4
_DEVICE_LENGTH: Final = 18
_INTERFACE_LENGTH: Final = 9
_HEADER: Final = 2
# The file's size: the device's own, and one configuration of the largest size. Of more, sysfs gives no more.
_MOST: Final = _DEVICE_LENGTH + 65535
# No real device has so many different ones; the bound keeps a hostile device from filling memory.
_MOST_INTERFACES: Final = 256
# sysfs gives a page at a time, however much is asked for.
_PAGE: Final = 4096


class _Malformed(Exception):
    """The descriptors are malformed."""


def read(syspath: str) -> Descriptors | None:
    """The descriptors of the USB device; None where sysfs has no such file.

    Does no I/O on the device: the kernel has kept the bytes since the enumeration. Raises OSError where no
    file can be opened.
    """
    try:
        file = os.open(f"{syspath}/descriptors", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if is_short(error):
            raise
        return Descriptors(fault=f"they cannot be read: {error.strerror}")
    raw = bytearray()
    try:
        while len(raw) <= _MOST and (part := os.read(file, _PAGE)):
            raw += part
    except OSError as error:
        return Descriptors(fault=f"they cannot be read: {error.strerror}")
    finally:
        os.close(file)
    return parse(bytes(raw))


def parse(raw: bytes) -> Descriptors:
    """The interfaces in all configurations and alternate settings, each once, and what is wrong with them."""
    interfaces: dict[str, None] = {}
    fault = ""
    configurations = 0
    try:
        for kind, descriptor in _each(raw):
            if kind == _CONFIGURATION:
                configurations += 1
            elif kind == _INTERFACE and len(interfaces) < _MOST_INTERFACES:
                interfaces[":".join(f"{byte:02x}" for byte in descriptor[5:8])] = None
        if configurations < (expected := raw[_DEVICE_LENGTH - 1]):
            fault = f"of {expected} configurations {configurations} are there"
    except _Malformed as error:
        fault = str(error)
    if len(interfaces) == _MOST_INTERFACES:
        fault = f"there are {_MOST_INTERFACES} different interfaces or more"
    # A single configuration never has more; with several, a full file may be a cut one.
    if len(raw) > _MOST or (len(raw) == _MOST and raw[_DEVICE_LENGTH - 1] > 1):
        fault = f"there is more than the {_MOST} bytes that the kernel shows"
    return Descriptors((*interfaces,), fault)


def _each(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Each descriptor after the device's own, with its kind. Raises _Malformed."""
    if len(raw) < _DEVICE_LENGTH or raw[0] != _DEVICE_LENGTH or raw[1] != _DEVICE:
        raise _Malformed("they do not begin with the device's own")
    at = _DEVICE_LENGTH
    while at < len(raw):
        length = raw[at]
        if length < _HEADER or at + length > len(raw):
            raise _Malformed(
                f"one at byte {at} has the length {length}, of {len(raw) - at} bytes that follow"
            )
        if raw[at + 1] == _INTERFACE and length < _INTERFACE_LENGTH:
            raise _Malformed(f"one of an interface has {length} bytes")
        yield raw[at + 1], raw[at : at + length]
        at += length
