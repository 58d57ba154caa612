"""The program that revokes and resets USB devices and switches ports of hubs: it can do nothing else.

It is served as `helper_loop` says. A request is fields with 0 bytes between them, without descriptors. The
answer is `DONE` or what went wrong.

    revoke, DEVICE, NUMBER   unbind the `usb` driver from a device and bind it again: what processes have open
                             of it fails with ENODEV from then on, and its number stays
    reset, DEVICE, NUMBER    have the port reset it (USBDEVFS_RESET): its firmware begins anew
    port, HUB, PORT, off     disconnect what is in a port and switch it off; `on` the opposite; `cycle` both
                             with a pause between them. Both ports of a socket for USB 3 (`peer`)

DEVICE is what the kernel calls a USB device (`1-4.2`) that is no hub, and NUMBER its node's (`189:5`): where
another device is called so by now, nothing is done. HUB is a hub (`usb1`, `1-4`), and PORT the number of one
of its ports.

A reset revokes nothing (measured: an open descriptor works afterwards), and to bind the driver again resets
nothing: so these are two requests.

A write to sysfs may hang in the kernel: each has its own thread and `_WRITE` seconds. While one hangs, others
to the same file are refused.

By Linux: drivers/usb/core/generic.c, usb_generic_driver_disconnect; drivers/usb/core/port.c, disable_store;
Documentation/ABI/testing/sysfs-bus-usb.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from hotplugd.aio.helper_loop import NO_REQUEST, Answer, Limits, serve

LIMITS: Final = Limits(request=256, least=0, most=0, answer=4096)
# Seconds for one write, and between off and on: with less some ports never came back (measured).
_WRITE: Final = 10.0
_PAUSE: Final = 2.0
LONGEST: Final = 4 * _WRITE + _PAUSE
"""Seconds that a request takes at most."""
_BINDS: Final = (0.0, 0.1, 0.5)
_USBDEVFS_RESET: Final = 0x5514  # linux/usbdevice_fs.h: _IO('U', 20)
_MOST_ATTRIBUTE: Final = 4096

_DEVICE: Final = re.compile(r"[0-9]{1,3}-[0-9]{1,3}(?:\.[0-9]{1,3}){0,6}", re.ASCII)
_HUB: Final = re.compile(rf"usb[0-9]{{1,3}}|{_DEVICE.pattern}", re.ASCII)
_PORT: Final = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)
_PORT_NAME: Final = re.compile(rf"(?:{_HUB.pattern})-port[1-9][0-9]{{0,2}}", re.ASCII)
_NUMBER: Final = re.compile(r"([0-9]{1,4}):([0-9]{1,7})", re.ASCII)


def main(arguments: Sequence[str] = ()) -> int:
    """Serve standard input. It takes no arguments. Returns the exit code."""
    del arguments
    return serve("usb", LIMITS, UsbHelper(Path("/sys"), Path("/dev/bus/usb")).handle)


class UsbHelper:
    """Serves requests. sys: where sysfs is; nodes: the folder of the USB devices' nodes."""

    def __init__(self, sys: Path, nodes: Path, write: float = _WRITE, pause: float = _PAUSE) -> None:
        self._sys = sys
        self._nodes = nodes
        self._write_within = write
        self._pause = pause
        # The threads that have not ended in time, by what they write to.
        self._hanging: dict[str, threading.Thread] = {}
        # When ports were switched off, by their folders.
        self._off: dict[Path, float] = {}

    def handle(self, message: bytes, descriptors: Sequence[int]) -> Answer:
        """Do what is asked for. Raises OSError and ValueError."""
        del descriptors
        match message.decode("ascii", "replace").split("\0"):
            case ["revoke", device, number]:
                self._revoke(device, number)
            case ["reset", device, number]:
                self._reset(device, number)
            case ["port", hub, port, "off" | "on" | "cycle" as what]:
                self._switch(self._ports(hub, port), what)
            case _:
                raise ValueError(NO_REQUEST)
        return Answer()

    # --- devices ----------------------------------------------------------------------------------------

    def _device(self, name: str, number: str) -> Path:
        """The folder of a USB device that is no hub and has this number. Raises ValueError."""
        if not _DEVICE.fullmatch(name) or not _NUMBER.fullmatch(number):
            raise ValueError(NO_REQUEST)
        folder = self._folder(name)
        if _text(folder / "dev") != number:
            raise ValueError(f"{name} is another device by now: expected {number}")
        if _is_hub(folder):
            raise ValueError(f"{name} is a hub: what is plugged into it would go")
        return folder

    def _folder(self, name: str) -> Path:
        """The folder of a USB device. Raises ValueError where there is none, or it is none."""
        folder = Path(os.path.realpath(self._sys / "bus/usb/devices" / name))
        if self._sys / "devices" not in folder.parents or folder.name != name or not folder.is_dir():
            raise ValueError(f"there is no USB device {name}")
        if "DEVTYPE=usb_device" not in _text(folder / "uevent").split("\n"):
            raise ValueError(f"{name} is no USB device")
        return folder

    def _revoke(self, name: str, number: str) -> None:
        folder = self._device(name, number)
        driver = _link(folder / "driver")
        if driver not in ("", "usb"):
            raise ValueError(f"the driver of {name} is {driver}, and expected was usb")
        usb = self._sys / "bus/usb/drivers/usb"
        if driver:
            self._write(usb / "unbind", name)
        self._bind(usb / "bind", folder)
        if _text(folder / "dev") != number:
            raise ValueError(f"{name} went meanwhile")

    def _bind(self, file: Path, folder: Path) -> None:
        """Bind the driver; again, since a device without it is nobody's."""
        last: OSError | None = None
        for pause in _BINDS:
            time.sleep(pause)
            if _link(folder / "driver"):
                return
            try:
                self._write(file, folder.name)
            except OSError as error:
                last = error
            else:
                return
        if last is not None:
            raise ValueError(
                f"the driver could not be bound to {folder.name} again: {last}; plug it in again"
            ) from last

    def _reset(self, name: str, number: str) -> None:
        folder = self._device(name, number)
        bus, device = _text(folder / "busnum"), _text(folder / "devnum")
        if not (bus.isdecimal() and device.isdecimal()):
            raise ValueError(f"sysfs does not say the node of {name}")
        path = self._nodes / f"{int(bus):03}" / f"{int(device):03}"
        node = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(node)
            there = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
            if not stat.S_ISCHR(found.st_mode) or there != number:
                raise ValueError(f"{path} is not the node of {name}")
            self._within(str(path), lambda: fcntl.ioctl(node, _USBDEVFS_RESET))
        finally:
            # One that hangs keeps what is behind it open, and not the number.
            os.close(node)

    # --- ports ------------------------------------------------------------------------------------------

    def _ports(self, hub: str, port: str) -> list[Path]:
        """The folders of a port and of its peer. Raises ValueError where none can be switched."""
        if not _HUB.fullmatch(hub) or not _PORT.fullmatch(port):
            raise ValueError(NO_REQUEST)
        folder = self._folder(hub)
        if not _is_hub(folder):
            raise ValueError(f"{hub} is no hub")
        interface = f"{hub.removeprefix('usb')}-0:1.0" if hub.startswith("usb") else f"{hub}:1.0"
        own = folder / interface / f"{hub}-port{port}"
        if not own.is_dir():
            raise ValueError(f"{hub} has no port {port}")
        ports = [own]
        if (own / "peer").is_symlink():
            peer = Path(os.path.realpath(own / "peer"))
            if self._sys / "devices" not in peer.parents or not _PORT_NAME.fullmatch(peer.name):
                raise ValueError(f"what shares the socket of {own.name} is no port")
            ports.append(peer)
        for each in ports:
            if not (each / "disable").is_file():
                raise ValueError(f"the kernel cannot switch {each.name}: that needs Linux 6.0 or newer")
        return ports

    def _switch(self, ports: Sequence[Path], what: str) -> None:
        failed: Exception | None = None
        if what != "on":
            try:
                for each in ports:
                    self._off[each] = time.monotonic()
                    self._write(each / "disable", "1")
            except (OSError, ValueError) as error:
                failed = error
        if what != "off":
            # Also where that went wrong: nothing is left off that was to be on.
            off = max((self._off.pop(each, float("-inf")) for each in ports), default=float("-inf"))
            time.sleep(max(0.0, off + self._pause - time.monotonic()))
            for each in ports:
                try:
                    self._write(each / "disable", "0")
                except (OSError, ValueError) as error:
                    failed = failed or error
        if failed is not None:
            raise failed

    # --- writes -----------------------------------------------------------------------------------------

    def _write(self, file: Path, text: str) -> None:
        """Write to a file of sysfs. Raises OSError, and ValueError where that takes too long."""

        def write() -> None:
            descriptor = os.open(file, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.write(descriptor, text.encode("ascii"))
            finally:
                os.close(descriptor)

        # A write to a file that all devices share may hang because of one device.
        self._within(f"{file} ({text})", write)

    def _within(self, what: str, work: Callable[[], object]) -> None:
        hanging = self._hanging.get(what)
        if hanging is not None and hanging.is_alive():
            raise ValueError(f"an earlier request to {what} hangs in the kernel still")
        failed: list[OSError] = []

        def run() -> None:
            try:
                work()
            except OSError as error:
                failed.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(self._write_within)
        if thread.is_alive():
            self._hanging[what] = thread
            raise ValueError(
                f"a request to {what} hangs in the kernel: no answer in {self._write_within:.0f} s"
            )
        self._hanging.pop(what, None)
        if failed:
            raise failed[0]


def _is_hub(folder: Path) -> bool:
    return _text(folder / "bDeviceClass") == "09" or _text(folder / "maxchild") not in ("", "0")


def _text(file: Path) -> str:
    """What a file of sysfs says; empty where there is none."""
    with suppress(OSError):
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _MOST_ATTRIBUTE).decode("utf-8", "replace").strip()
        finally:
            os.close(descriptor)
    return ""


def _link(path: Path) -> str:
    """The last part of what a link leads to; empty where there is none."""
    with suppress(OSError):
        return os.path.basename(os.readlink(path))
    return ""
