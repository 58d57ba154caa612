"""The made-up USB tree's own process: `umockdev-wrapper python -m tests.support.lab.usb_bed`.

It must be one of its own, since libumockdev reads the tree through libudev in its own process, which only
works with umockdev's library preloaded; whoever has that sees nothing of the real /sys any more.
Speaks in lines of JSON: first the tree's folder, then a reply to each request. Ends when its input does,
and the tree with it.

Talks to libumockdev with ctypes: Debian's gi bindings load in Debian's own Python alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

_KEPT_ON_REMOVAL: Final = frozenset(
    {b"DEVTYPE", b"DEVNAME", b"MAJOR", b"MINOR", b"BUSNUM", b"DEVNUM", b"PRODUCT"}
)


def _library() -> Any:
    """libumockdev with the types of what is called (umockdev.h)."""
    string, pointer = ctypes.c_char_p, ctypes.c_void_p
    strings = ctypes.POINTER(string)
    library: Any = ctypes.CDLL("libumockdev.so.0")
    library.umockdev_testbed_new.restype = pointer
    library.umockdev_testbed_get_root_dir.restype = string
    library.umockdev_testbed_get_root_dir.argtypes = [pointer]
    library.umockdev_testbed_add_devicev.restype = string
    library.umockdev_testbed_add_devicev.argtypes = [pointer, string, string, string, strings, strings]
    library.umockdev_testbed_uevent.restype = None
    library.umockdev_testbed_uevent.argtypes = [pointer, string, string]
    library.umockdev_testbed_remove_device.restype = None
    library.umockdev_testbed_remove_device.argtypes = [pointer, string]
    library.g_object_unref.restype = None
    library.g_object_unref.argtypes = [pointer]
    return library


class _Bed:
    def __init__(self) -> None:
        self._library = _library()
        self._bed = self._library.umockdev_testbed_new()
        self.root = Path(self._library.umockdev_testbed_get_root_dir(self._bed).decode())

    def add(
        self, subsystem: str, name: str, parent: str, attrs: Mapping[str, str], properties: Mapping[str, str]
    ) -> str:
        """A new device, which libumockdev announces to both groups of listeners. Returns its syspath."""
        syspath: bytes | None = self._library.umockdev_testbed_add_devicev(
            self._bed, subsystem.encode(), name.encode(), parent.encode() or None,
            _strings(attrs), _strings(properties),
        )  # fmt: skip
        assert syspath is not None, f"umockdev did not take {name}"
        return syspath.decode()

    def remove(self, syspath: str) -> None:
        """A device goes. Its last uevent carries what the kernel knows and nothing of udev's, as in life."""
        uevent = Path(syspath, "uevent")
        lines = uevent.read_bytes().splitlines(keepends=True)
        uevent.write_bytes(b"".join(each for each in lines if each.partition(b"=")[0] in _KEPT_ON_REMOVAL))
        self._library.umockdev_testbed_uevent(self._bed, syspath.encode(), b"remove")
        self._library.umockdev_testbed_remove_device(self._bed, syspath.encode())

    def change(self, syspath: str, properties: Mapping[str, str], action: str) -> None:
        """udev has new properties for a device, and says so."""
        lines = "".join(f"{key}={value}\n" for key, value in properties.items())
        Path(syspath, "uevent").write_bytes(os.fsencode(lines))
        self._library.umockdev_testbed_uevent(self._bed, syspath.encode(), action.encode())

    def close(self) -> None:
        self._library.g_object_unref(self._bed)


def _strings(pairs: Mapping[str, str]) -> Any:
    flat = [os.fsencode(text) for pair in pairs.items() for text in pair]
    return (ctypes.c_char_p * (len(flat) + 1))(*flat, None)


def _answer(value: str | None) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve requests until there are no more."""
    bed = _Bed()
    try:
        _answer(str(bed.root))
        for line in sys.stdin:
            verb, *arguments = json.loads(line)
            verbs: dict[str, Callable[..., str | None]] = {
                "add": bed.add,
                "remove": bed.remove,
                "change": bed.change,
            }
            _answer(verbs[verb](*arguments))
    finally:
        bed.close()


if __name__ == "__main__":
    main()
