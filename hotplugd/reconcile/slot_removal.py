"""Removes the slot links of a device that is gone.

At once they lead nowhere. They are removed once no instance has an entry that names them: until then the
server watches them, and may hang for ever if one is removed while an instance stops (see `host/slots.py`).
Links that stay do no harm. What fails is tried again; so are links that another hotplugd has locked: that one
may have ended, or not know the device, and then removes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final

from hotplugd.aio.alarm import Alarm
from hotplugd.aio.tasks import Activity
from hotplugd.model.entry import SLOTS, names_for, slot_links, slot_node
from hotplugd.model.problem import Problem
from hotplugd.model.values import InstanceName
from hotplugd.plan.about import Fields
from hotplugd.plan.ownership import Owner
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.worker import Worker

# Seconds until links that could not be taken away are tried again: at first, and at most.
_PAUSES: Final = (1.0, 60.0)


class SlotRemoval:
    """The slots of devices that are gone.

    devices  the name of the device that had each slot, for messages
    naming   tells which instances that run have nodes at these paths by entries that are not ours
    """

    def __init__(
        self,
        ports: Ports,
        activity: Activity,
        workers: Mapping[InstanceName, Worker],
        naming: Callable[[Iterable[str]], Iterator[Owner]],
    ) -> None:
        self._ports = ports
        self._naming = naming
        self._activity = activity
        self._workers = workers
        self._listed = False
        # The slots that wait, by one of the instances that may have an entry that names them.
        self.devices: dict[str, str] = {}
        self._by: dict[InstanceName, set[str]] = {}
        # The slots whose links could not be cut or removed, and what was told of those that failed.
        self._failed: set[str] = set()
        self._told: dict[str, Fields] = {}
        self._again = Alarm(self._try_again, *_PAUSES)

    def leave(self, slot: str, device: str) -> None:
        """A device with a node is gone. device: its name, for messages"""
        self.devices[slot] = device
        self._cut(slot)
        names = names_for(slot)
        for worker in self._workers.values():
            if worker.holds(slot):
                self._activity.start(partial(worker.seal, names), lambda _: None)
        self._settle(slot)

    def back(self, slot: str) -> None:
        """The device is back. Inside instances its node is sealed, and its links lead nowhere."""
        if not self._forget(slot):
            return
        for worker in self._workers.values():
            if worker.holds(slot):
                # After the seal: a node that is seen sealed is put in again, with its links.
                self._activity.start(partial(worker.seal, names_for(slot)), partial(_look_again, worker))

    def listed(self, *, completely: bool) -> None:
        """Instances were listed. completely: all of them; what entries of others name nobody knows."""
        before, self._listed = self._listed, completely
        if completely and not before:
            for slot in list(self.devices):
                self._settle(slot)

    def look(self, name: InstanceName) -> None:
        """More may be known of this instance: try again what waits for it."""
        for slot in self._by.pop(name, ()):
            self._settle(slot)

    def problems(self) -> list[Problem]:
        """The links that could not be taken away."""
        return [
            Problem(
                str(told["device"]),
                "",
                f"it is gone, and its links in {SLOTS} cannot be taken away: {told['reason']}",
            )
            for told in self._told.values()
        ]

    def close(self) -> None:
        """Try nothing again."""
        self._again.cancel()

    def _settle(self, slot: str) -> None:
        """Remove a slot's links, or wait for the first instance that may have an entry that names them."""
        if slot not in self.devices or not self._listed:
            return
        for name, worker in self._workers.items():
            if worker.may_name(slot):
                self._by.setdefault(name, set()).add(slot)
                return
        # Others may name our links, too, and the server watches those then.
        if (other := next(self._naming((*slot_links(slot), slot_node(slot))), None)) is not None:
            self._by.setdefault(other.instance, set()).add(slot)
            return
        try:
            is_removed = self._ports.slots.remove(slot)
        except OSError as error:
            self._fail(slot, error)
            return
        if is_removed:
            self._forget(slot)
        else:
            # Another hotplugd has locked them.
            self._over(slot)
            self._try_later(slot)

    def _forget(self, slot: str) -> bool:
        """Nothing is to be done about it any more. Returns whether anything was."""
        self._failed.discard(slot)
        self._over(slot)
        return self.devices.pop(slot, None) is not None

    def _over(self, slot: str) -> None:
        if (told := self._told.pop(slot, None)) is not None:
            self._ports.log.info("problem.over", **told)

    def _cut(self, slot: str) -> None:
        try:
            self._ports.slots.cut(slot)
        except OSError as error:
            self._fail(slot, error)

    def _fail(self, slot: str, error: OSError) -> None:
        """Try again later."""
        if slot not in self._told:
            self._told[slot] = {"device": self.devices[slot], "slot": slot, "reason": str(error)}
            self._ports.log.error("slot.problem", **self._told[slot])
        self._try_later(slot)

    def _try_later(self, slot: str) -> None:
        self._failed.add(slot)
        self._again.set()

    def _try_again(self) -> None:
        before, self._failed = self._failed, set()
        for slot in sorted(before):
            self._cut(slot)
            self._settle(slot)
            if slot not in self._failed:
                # The slot may still wait for an instance.
                self._over(slot)
        if not self._failed:
            self._again.reset()


def _look_again(worker: Worker, fine: bool) -> None:
    if fine:
        worker.look_again()
