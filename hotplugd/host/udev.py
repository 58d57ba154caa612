"""udev: the only file that knows pyudev.

Two groups of the kernel's uevent socket are listened to, before anything is listed:

- udevd's: devices count once udevd has processed them. Before that they lack the properties that rules ask
  for, and would fall through to a later, broader rule.
- the kernel's own: removals come earlier there, and still come when udevd hangs; what is added there and
  never processed by udevd is noticed; and USB devices are read at once (`early`).

What was lost (an overflow, a broken socket) is found again by opening new sockets and listing.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import pyudev

from hotplugd.aio.tasks import Activity
from hotplugd.aio.threads import Threads
from hotplugd.host import sysfs
from hotplugd.host.bpf_filter import hush
from hotplugd.host.device_reader import Reader, name_of
from hotplugd.host.early import MOST_READ, Early
from hotplugd.host.present import Present, Sink
from hotplugd.host.udevd import Backlog, Udevd, unprocessed
from hotplugd.host.uevent import Event
from hotplugd.host.waiting import Gate
from hotplugd.model.values import Device

_BUFFER: Final = 64 << 20
_ONE_TURN: Final = 128
# Of the kernel's own uevents these are not read.
_UNHEARD: Final = ("change", "bind")
# Sockets that break again are opened again no more often than this, in seconds.
_PAUSE: Final = 0.25
# SYNTH_UUID marks events that somebody asked for (Documentation/ABI/testing/sysfs-uevent).
_OF_PLUGS: Final = (b"DEVTYPE", b"SYNTH_UUID")
# In a hub's event the port that drew too much power (kernel: drivers/usb/core/hub.c).
_OVER_CURRENT: Final = b"OVER_CURRENT_PORT"
# What reading a message may raise: its strings may be malformed.
_UNREADABLE: Final = (ValueError, pyudev.DeviceNotFoundError)


class Udev:
    """Listens to udev for one event loop. libudev's objects belong to one thread: the loop's.

    attrs     the sysfs attributes that rules ask for
    lost      called when something was not heard or read, with what was the matter
    trouble   called with a device, or an empty text, and what is the matter when udevd does not do its work;
              and with the same and an empty text when that is over
    gate      holds off what comes and goes all the time; None where nothing does
    early     called with a USB device that was just plugged in, and returns whether it goes by what the
              kernel says of it; None where all devices wait for udevd
    over_current  called when a hub tells of over-current at one of its ports
    """

    def __init__(
        self,
        attrs: frozenset[str],
        sink: Sink,
        lost: Callable[[str], None],
        trouble: Callable[[str, str], None] = lambda _device, _what: None,
        gate: Gate | None = None,
        early: Callable[[Device], bool] | None = None,
        over_current: Callable[[], None] = lambda: None,
    ) -> None:
        self._lost = lost
        self._over_current = over_current
        self._trouble = trouble
        self._udevd = Udevd(self._about_udevd)
        self._backlog = Backlog(self._about_late, self._about_over)
        # What devices were called that udevd had not processed, by syspath.
        self._late: dict[str, str] = {}
        self._present = Present(Reader(attrs), sink, self._backlog, self._hear_kernel, gate, self._list_later)
        self._early: Early | None = None
        if early is not None:
            self._early = Early(self._present, Threads(MOST_READ), Activity(), early)
        self._context: Any = pyudev.Context()
        # udevd's and the kernel's, or none.
        self._monitors: list[Any] = []
        # The number of the last event of the kernel's that was heard.
        self._heard = 0
        self._restarted = float("-inf")
        self._short = False
        self._again: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Listen, then list. Raises OSError where no uevent socket can be had."""
        self._listen()
        self._udevd.start()

    def stop(self) -> None:
        """Listen no more."""
        self._close()
        if self._early is not None:
            self._early.stop()
        self._present.stop()
        self._udevd.stop()
        self._backlog.stop()

    def ask_for(self, attrs: frozenset[str]) -> None:
        """From now on rules ask for these attributes."""
        if attrs != self._present.reader.attrs:
            self._present.reader.attrs = attrs
            self.refresh()

    def refresh(self) -> None:
        """List all devices, now or as soon as they can be read."""
        try:
            self.list()
        except OSError as error:
            self._list_later(f"the devices cannot be listed: {error}")
        else:
            self._short = False

    def restore(self, device: Device) -> Device | None:
        """See `Present.restore`."""
        return self._present.restore(device)

    def faults(self) -> Iterator[tuple[str, str]]:
        """What is the matter with udevd, and each device that it has not processed for seconds."""
        if self._udevd.fault:
            yield "", self._udevd.fault
        why = self._udevd.why()
        for syspath, since in self._backlog.late(found=bool(why)):
            yield name_of(syspath), unprocessed(why, since, early=self._present.is_early(syspath))

    def list(self) -> None:
        """Tell the sink of every device there is. Raises OSError, and tells nothing, where files run out."""
        self._present.list(wait=bool(self._monitors))

    # --- sockets ----------------------------------------------------------------------------------------

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._close()
        self._restarted = time.monotonic()
        try:
            for source in ("udev", "kernel"):
                monitor: Any = pyudev.Monitor.from_netlink(self._context, source)
                self._monitors.append(monitor)
                with suppress(OSError):  # without CAP_NET_ADMIN the default has to do
                    monitor.set_receive_buffer_size(_BUFFER)
                if source == "kernel":
                    hush(monitor.fileno(), _UNHEARD)
                monitor.start()
                loop.add_reader(monitor.fileno(), self._read, monitor, source)
        except OSError:
            self._close()
            raise
        self.refresh()

    def _close(self) -> None:
        loop = asyncio.get_running_loop()
        for monitor in self._monitors:
            loop.remove_reader(monitor.fileno())
        self._monitors.clear()
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _start_again(self) -> None:
        self._close()
        self._present.plugs.missed()
        pause = max(0.0, self._restarted + _PAUSE - time.monotonic())
        self._again = asyncio.get_running_loop().call_later(pause, self._try_again)

    def _try_again(self) -> None:
        self._again = None
        try:
            self._listen()
        except OSError as error:
            self._lost(str(error))
            self._start_again()

    def _list_later(self, reason: str) -> None:
        self._present.plugs.missed()
        if not self._short:
            self._short = True
            self._lost(reason)
        if self._again is None:
            self._again = asyncio.get_running_loop().call_later(_PAUSE, self._list_again)

    def _list_again(self) -> None:
        self._again = None
        self.refresh()

    # --- messages ---------------------------------------------------------------------------------------

    def _read(self, monitor: Any, source: str) -> bool:
        """Read what there is, so many messages at most. Returns whether there may be more."""
        # Not `poll`, which makes a poll object for each message, and answers ENOBUFS without reading: the
        # socket would stay readable for ever. A message that is cut short, or none, raises ValueError.
        try:
            for _ in range(_ONE_TURN):
                message = monitor._receive_device()  # noqa: SLF001
                if message is None:
                    return False
                self._hear(message, source)
        except ValueError as error:
            # A malformed message, whose device is unknown. The next message is not affected.
            self._list_later(str(error) or type(error).__name__)
        except OSError as error:
            self._lost(str(error) or type(error).__name__)
            self._start_again()
        else:
            return True
        return False

    def _hear_kernel(self) -> None:
        if not self._monitors or not self._read(self._monitors[-1], "kernel"):
            return
        # What the kernel says from now on is later than what was read.
        until = sysfs.sequence_now()
        while self._heard < until and self._read(self._monitors[-1], "kernel"):
            pass

    def _hear(self, message: Any, source: str) -> None:
        try:
            event = _event(message, source)
        except OSError as error:  # no file can be opened: what the event was about is listed once one can
            self._list_later(f"an event cannot be judged: {error}")
            return
        except _UNREADABLE as error:
            self._lost(f"an event of a device that cannot be read: {error}")
            return
        if source == "kernel":
            self._heard = event.sequence
        if event.over_current:
            self._over_current()
        try:
            self._present.heard(event)
            if event.plug and self._early is not None:
                self._early.plugged(event)
        except OSError as error:
            self._list_later(f"an event of {event.syspath} cannot be judged: {error}")

    def _about_udevd(self, what: str) -> None:
        self._trouble("", what)
        if not what:
            self.refresh()

    def _about_late(self, syspaths: Sequence[str]) -> None:
        why = self._udevd.why()
        for each in syspaths:
            self._late[each] = name_of(each)
            self._trouble(self._late[each], unprocessed(why, early=self._present.is_early(each)))

    def _about_over(self, syspath: str) -> None:
        self._trouble(self._late.pop(syspath), "")


def _event(message: Any, source: str) -> Event:
    """What a message says. All else that is in it is not needed: see `present`.

    Of udevd's a device may have written any of this (see `properties`): so no number is taken that the kernel
    has not given yet, and no path by links to a device, which would be a second one.
    Raises ValueError, and OSError where no file can be opened.
    """
    syspath: str = message.sys_path
    action: str = message.action
    sequence: int = message.sequence_number
    before, plug, over_current = "", False, False
    if source == "kernel" and action == "add" and message.subsystem == "usb":
        said = (message._libudev.udev_device_get_property_value(message, key) for key in _OF_PLUGS)  # noqa: SLF001
        plug = tuple(said) == (b"usb_device", None)
    if source == "udev" and action == "change" and message.subsystem == "usb":
        over_current = message._libudev.udev_device_get_property_value(message, _OVER_CURRENT) is not None  # noqa: SLF001
    if source == "udev":
        sequence = min(sequence, sysfs.sequence_now() or sequence)
        if (folder := os.path.realpath(syspath)) != syspath:
            raise ValueError(f"{syspath} is no device's own path, and leads to {folder}")
    if source == "udev" and (action == "move" or message.subsystem == "net"):
        raw = message._libudev.udev_device_get_property_value(message, b"DEVPATH_OLD")  # noqa: SLF001
        before = f"/sys{os.fsdecode(raw)}" if raw else ""
    return Event(source, action, syspath, sequence, before, plug, over_current)
