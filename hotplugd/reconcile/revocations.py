"""Revokes devices that were in one instance before they go into another one.

Who had a device has it open, perhaps, after its node went: that ends first (`RevokerPort`). Where it cannot
be ended it is waited for, and after some seconds that is a problem which names who has it open.

To unbind a driver makes uevents: the device changes for a moment, under the same slot, and what hangs from it
goes and comes back. They are taken as all others are: what was revoked is known by the slot, which stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from hotplugd.aio.backoff import Retry
from hotplugd.aio.tasks import Activity
from hotplugd.model.entry import names_for
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, InstanceName
from hotplugd.plan.about import ABOUT
from hotplugd.reconcile.inventory import Inventory
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.problem_log import ProblemLog
from hotplugd.reconcile.worker import Worker

# Nobody tells when a file is closed: seconds until it is tried again, at first and at most.
_PAUSES: Final = (0.5, 15.0)
# After so many seconds it is a problem: programs let go of a device that went within one (measured: adb).
_LONG: Final = 5.0


@dataclass(slots=True)
class _Try:
    """What is tried for one slot. since: when it was tried first, in the loop's time."""

    since: float
    devices: Sequence[Device] = ()
    retry: Retry = field(default_factory=Retry)
    alarm: asyncio.TimerHandle | None = None
    busy: bool = False


class Revocations:
    """The revocations that are under way, or are tried again. All of it belongs to the event loop.

    done  called with the instances that may have waited, when a device was revoked
    """

    def __init__(
        self,
        workers: Mapping[InstanceName, Worker],
        inventory: Inventory,
        activity: Activity,
        ports: Ports,
        done: Callable[[Sequence[InstanceName]], None],
    ) -> None:
        self._workers = workers
        self._inventory = inventory
        self._handovers = inventory.handovers
        self._handovers.revoke = self.start
        self._activity = activity
        self._ports = ports
        self._done = done
        self._loop = asyncio.get_running_loop()
        self._tries: dict[str, _Try] = {}
        # Slots whose revocation waits, for an instance that is not known yet or for another device.
        self._late: set[str] = set()
        self._problems = ProblemLog(ports.log, "lease.problem")

    def met(self, device: Device) -> None:
        """A device was there when hotplugd began: an earlier one may have had it in an instance."""
        if self._ports.slots.was_made(device.slot):
            self._handovers.was_attached(device.slot, alone=self._ports.slots.was_alone(device.slot))

    def start(self, slot: str) -> None:
        """Revoke the device with this slot, once no instance has it and nobody revokes it already."""
        tried = self._tries.get(slot)
        if tried is not None and (tried.busy or tried.alarm is not None):
            return
        if not self._is_due(slot):
            if self._handovers.is_left(slot):
                self._late.add(slot)
            return
        if tried is None:
            self._tries[slot] = tried = _Try(self._loop.time())
        tried.devices = self._devices(slot)
        tried.busy = True
        self._activity.start(partial(self._revoke, slot, tried), lambda _: None)

    def again(self) -> None:
        """Start what had to wait: for an instance of which nobody knew what it has, or for another device."""
        late, self._late = self._late, set()
        for slot in late:
            if self._handovers.is_left(slot):
                self.start(slot)
            else:
                self._forget(slot)

    def problems(self) -> list[Problem]:
        """The devices that wait for being closed for long."""
        now = self._loop.time()
        return [
            Problem(
                str(tried.devices[0]) if tried.devices else "",
                "",
                f"{had} is without it, and it is not given to another instance: {why}",
            )
            for slot, tried in self._tries.items()
            if now - tried.since >= _LONG
            and (why := self._handovers.why.get(slot, ""))
            and (had := self._handovers.left_by(slot) or "an instance of an earlier hotplugd")
        ]

    def close(self) -> None:
        """Try nothing again."""
        for tried in self._tries.values():
            if tried.alarm is not None:
                tried.alarm.cancel()
        self._tries.clear()

    def _is_due(self, slot: str) -> bool:
        if not self._handovers.is_left(slot):
            return False
        if any(worker.may_name(slot) and not worker.is_silent for worker in self._workers.values()):
            return False
        return not any(self._hangs_from(device) for device in self._devices(slot))

    def _hangs_from(self, device: Device) -> bool:
        """Whether it hangs from a USB device that is being revoked: it goes with that, and comes back."""
        return any(
            tried.busy and device.syspath.startswith(f"{usb.syspath}/")
            for tried in self._tries.values()
            for usb in tried.devices
            if usb.is_usb_device
        )

    def _devices(self, slot: str) -> list[Device]:
        """The device with this slot; the nodes of a GPU whose entry names its PCI device."""
        own = [each for each in self._inventory.devices.values() if each.slot == slot]
        nodes = [
            each
            for each in self._inventory.devices.values()
            if each.subsystem == "drm" and (pci := each.pci) is not None and pci.slot == slot
        ]
        return [*own, *nodes]

    async def _revoke(self, slot: str, tried: _Try) -> None:
        self._handovers.begins(slot)
        why = "" if self._ports.dry_run else await self._why(slot, tried.devices)
        tried.busy, stayed = False, self._handovers.ends(slot)
        if self._tries.get(slot) is not tried:
            return
        if not (why or stayed) and self._handovers.is_left(slot):
            # Whoever had it meanwhile may have opened it after that.
            self.start(slot)
            return
        if why and self._handovers.is_left(slot):
            pause, _ = tried.retry.failed(why, self._loop.time(), *_PAUSES)
            self._handovers.why[slot] = why
            tried.alarm = self._loop.call_later(pause, self._ring, slot, tried)
            waited: Sequence[InstanceName] = ()
        else:
            del self._tries[slot]
            if not why and self._handovers.is_left(slot):
                self._tell(slot, tried.devices)
            waited = self._handovers.revoked(slot)
        self._problems.are(self.problems(), tried.devices)
        # Also where it failed: what hangs from it is seen to by itself then.
        self._done(waited)
        self.again()

    async def _why(self, slot: str, devices: Iterable[Device]) -> str:
        """Why somebody may have it open still; empty where nobody has."""
        if unsealed := await self._ports.seals.unsealed(names_for(slot)):
            # Who has a handle on its node could open it again right after that.
            return unsealed
        for device in devices:
            if why := await self._ports.revoker.revoke(device):
                return why
        return ""

    def _ring(self, slot: str, tried: _Try) -> None:
        tried.alarm = None
        if self._handovers.is_left(slot):
            self.start(slot)
        elif self._tries.get(slot) is tried:
            self._forget(slot)

    def _forget(self, slot: str) -> None:
        """The device went, or is back where it was."""
        if (tried := self._tries.get(slot)) is not None and not tried.busy and tried.alarm is None:
            del self._tries[slot]
            self._problems.are(self.problems())

    def _tell(self, slot: str, devices: Sequence[Device]) -> None:
        fields = {"instance": had} if (had := self._handovers.left_by(slot)) else {}
        for device in devices:
            self._ports.log.info("device.revoked", **{ABOUT: device}, **fields)
