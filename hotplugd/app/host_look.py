"""Watches which of the devices that rules take the host uses itself, for which there are no uevents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from hotplugd.aio.alarm import Alarm
from hotplugd.aio.threads import Threads
from hotplugd.app.host_problems import HostProblems
from hotplugd.app.revoker import revoke
from hotplugd.container.disk_users import DiskUsers
from hotplugd.host.in_use import disks_of, in_use, in_use_by_anybody
from hotplugd.host.open_disks import OpenDisks
from hotplugd.host.open_files import cgroup_name, holder
from hotplugd.host.trusted_files import read_trusted
from hotplugd.host.usb_actions import UsbActions
from hotplugd.host.usb_signs import usb_signs
from hotplugd.host.use_watch import HostWatch
from hotplugd.model.text import quoted
from hotplugd.model.values import CANNOT_TELL, Device
from hotplugd.plan.kinds.kind import Want
from hotplugd.reconcile.hold_off import CALM
from hotplugd.reconcile.inventory import Inventory
from hotplugd.rules.hubs import Hubs

# An answer takes some milliseconds.
_ASKED: Final = 2.0
# Seconds until it is asked again where that could not be told: at first, and at most.
_PAUSES: Final = (1.0, 30.0)

# So many seconds a file of the host's is waited for.
_FILE: Final = 5.0

# USB ports are looked at no more often than this, in seconds.
_USB_PAUSE: Final = 1.0


class HostLook:
    """Looks at devices when the host begins or ends a use, and again soon where a look failed.

    usb    revokes and resets USB devices, and switches ports; given is where systemd listens for its program
    roots  likewise, for the program that sees who has disks open
    """

    def __init__(self, threads: Threads, roots: Path, usb: Path) -> None:
        self.usb = UsbActions(threads, usb)
        self._threads = threads
        # One at a time: a device whose driver hangs keeps whoever reads its configuration.
        self._signs = Threads(1)
        # Set while a hub has told of over-current that nobody has looked at.
        self._over_current = asyncio.Event()
        # Set while a look is due.
        self._unseen = asyncio.Event()
        self._watch = HostWatch(self._unseen.set)
        self._users = DiskUsers(threads, roots)
        self._open_disks = OpenDisks(self._users.look, self._unseen.set)
        self._again = Alarm(self._unseen.set, *_PAUSES)

    def start(self) -> None:
        """Listen. Raises OSError."""
        self._watch.start()

    def stop(self) -> None:
        """Listen no more."""
        self._watch.stop()
        self._open_disks.close()
        self._users.close()
        self.usb.close()
        self._signs.close()
        self._again.cancel()

    def unsure(self) -> None:
        """Look again soon: a look at a device failed, and no event tells when it would succeed."""
        self._again.set()

    async def run(
        self, usable: Callable[[], list[tuple[Device, Want]]], found: Callable[[Device, str], None]
    ) -> None:
        """Look whenever that is due, until cancelled.

        usable  returns the devices that rules take unless the host uses them, and where each would go
        found   called with a device of which the host's use has changed, and with the use
        """
        while True:
            await self._unseen.wait()
            self._unseen.clear()
            unsure = False
            for device, want in usable():
                used = in_use(device)
                if device.in_use and not used:
                    used = await self.in_use(replace(want, device=device))
                unsure = unsure or used.startswith(CANNOT_TELL)
                if used != device.in_use:
                    found(device, used)
                # With a hundred phones all looks take long: events in between do not wait for all of them.
                await asyncio.sleep(0)
            if unsure:
                self.unsure()
            else:
                self._again.reset()

    async def in_use(self, want: Want) -> str:
        """See `Ports`. Where disks are shared others may have them mounted."""
        device, inside = want.device, cgroup_name(want.instance)
        if want.attach.share:
            return in_use(device)
        try:
            if not disks_of(device):
                return in_use(device)
            used = await self._threads.call(partial(in_use_by_anybody, device, inside), _ASKED)
        except (OSError, TimeoutError) as error:
            return f"{CANNOT_TELL}: {str(error) or f'no answer in {_ASKED:.0f} s'}"
        return used or await self._open_disks.used(device, inside, waits=bool(device.in_use))

    async def trusted_file(self, path: str) -> bytes:
        """What is in a file of root's. Raises OSError, with a text fit to be shown."""
        try:
            return await self._threads.call(partial(read_trusted, path), _FILE)
        except TimeoutError as error:
            raise OSError(f"{path} cannot be read: the disk does not answer") from error

    def over_current(self) -> None:
        """Look at USB ports soon: a hub tells of over-current."""
        self._over_current.set()

    async def watch_usb(self, told: HostProblems, known: Inventory, hubs: Callable[[], Hubs]) -> None:
        """Look at USB ports and buses now, from time to time, and when a hub tells of over-current: of all
        else there are no uevents. Ends when cancelled.
        """
        while True:
            self._over_current.clear()
            await self.look_at_usb(told, known.devices, hubs())
            await asyncio.sleep(_USB_PAUSE)
            with suppress(TimeoutError):
                async with asyncio.timeout(CALM - _USB_PAUSE):
                    await self._over_current.wait()

    async def look_at_usb(self, told: HostProblems, devices: Mapping[str, Device], hubs: Hubs) -> None:
        """Look how USB ports and buses do, and tell of those that do not do well."""
        try:
            signs = await self._signs.call(usb_signs, _FILE)
        except OSError:
            signs = None
        told.usb(signs, [*devices.values()], hubs)

    async def revoke(self, device: Device) -> str:
        """See `RevokerPort`."""
        return await revoke(self.usb, self._used, self.held, device)

    async def _used(self, device: Device) -> str:
        """How the host itself uses a device; or empty."""
        try:
            return await self._threads.call(partial(in_use, device), _ASKED)
        except (OSError, TimeoutError) as error:
            return f"{CANNOT_TELL}: {str(error) or f'no answer in {_ASKED:.0f} s'}"

    async def held(self, device: Device) -> str:
        """Which process has a device open, of the host or of an instance, or has it mounted; or empty."""
        try:
            if disks_of(device):
                used = await self._threads.call(partial(in_use_by_anybody, device), _ASKED)
                return used or await self._open_disks.used(device, "", waits=True)
            if device.devnum is None:
                return ""
            for pid in await self._users.of(device.devnum):
                with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                    return f"{device} is open in {quoted(str(holder(pid)))}"
        except (OSError, ValueError, TimeoutError) as error:
            return f"it cannot be told who has it open: {str(error) or f'no answer in {_ASKED:.0f} s'}"
        return ""
