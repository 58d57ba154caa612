"""Removes the slot links of a device that is gone.

At once they lead nowhere. They are removed once no instance has an entry that names them: until then the
server watches them, and may hang for ever if one is removed while an instance stops (see `host/slots.py`).
Links that stay do no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from hotplugd.aio.tasks import Activity
from hotplugd.model.entry import names_for
from hotplugd.model.values import InstanceName
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.worker import Worker


class SlotRemoval:
    """The slots of devices that are gone.

    devices  the name of the device that had each slot, for messages
    """

    def __init__(self, ports: Ports, activity: Activity, workers: Mapping[InstanceName, Worker]) -> None:
        self._ports = ports
        self._activity = activity
        self._workers = workers
        self._listed = False
        # The slots that wait, by one of the instances that may have an entry that names them.
        self.devices: dict[str, str] = {}
        self._by: dict[InstanceName, set[str]] = {}

    def leave(self, slot: str, device: str) -> None:
        """A device with a node is gone. device: its name, for messages"""
        self.devices[slot] = device
        try:
            self._ports.slots.cut(slot)
        except OSError as error:
            self._tell(slot, error)
        names = names_for(slot)
        for worker in self._workers.values():
            if worker.holds(slot):
                self._activity.start(partial(worker.seal, names), lambda _: None)
        if self._listed:
            self._settle(slot)

    def back(self, slot: str) -> None:
        """The device is back. Inside instances its node is sealed, and its links lead nowhere."""
        if self.devices.pop(slot, None) is None:
            return
        for worker in self._workers.values():
            if worker.holds(slot):
                # After the seal: a node that is seen sealed is put in again, with its links.
                self._activity.start(partial(worker.seal, names_for(slot)), partial(_look_again, worker))

    def listed(self) -> None:
        """All instances are known."""
        if not self._listed:
            self._listed = True
            for slot in list(self.devices):
                self._settle(slot)

    def look(self, name: InstanceName) -> None:
        """More may be known of this instance: try again what waits for it."""
        for slot in self._by.pop(name, ()):
            self._settle(slot)

    def _settle(self, slot: str) -> None:
        """Remove a slot's links, or wait for the first instance that may have an entry that names them."""
        if slot not in self.devices:
            return
        for name, worker in self._workers.items():
            if worker.may_name(slot):
                self._by.setdefault(name, set()).add(slot)
                return
        try:
            self._ports.slots.remove(slot)
        except OSError as error:
            self._tell(slot, error)
        del self.devices[slot]

    def _tell(self, slot: str, error: OSError) -> None:
        self._ports.log.error("slot.problem", device=self.devices[slot], reason=str(error))


def _look_again(worker: Worker, fine: bool) -> None:
    if fine:
        worker.look_again()
