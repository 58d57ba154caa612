"""In which instance each network interface is that has left the host.

What was seen inside counts, and what an entry says alone does not: whoever may edit an instance writes its
entries. Where nobody can look, as into a virtual machine, an interface is where an entry says if the host
lacks it and no other instance may have it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from hotplugd.model.nic_slot import assumed, claiming, inside, number_above, recalled
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, Entry, Inside, Instance, InstanceName, Interface, quoted
from hotplugd.reconcile.inventory import Inventory
from hotplugd.reconcile.moved_nics import Claimants, MovedNics
from hotplugd.reconcile.worker import Worker

# What liblxc calls an interface on its way, so that no two have one name (lxc: network.c, physXXXXXX).
_TEMPORARY: Final = re.compile("phys[A-Za-z0-9]{6}")


class NicLocations:
    """Keeps `away` as it was seen to be. All state belongs to the event loop.

    boot      the first 8 digits of the present boot's id
    workers   of all instances
    inventory the devices that are known
    may_have  gives the instances that may have what has left the host
    restore   called with an interface that is in an instance and that nobody has seen on the host
    gone      called with the slot of one that is in no instance and not back
    """

    def __init__(
        self,
        boot: str,
        workers: Mapping[InstanceName, Worker],
        inventory: Inventory,
        may_have: Callable[[Device], Iterable[InstanceName]],
        restore: Callable[[Device], None],
        gone: Callable[[str], None],
    ) -> None:
        self.away = MovedNics(self._given_up)
        self.claimants = Claimants()
        self._boot = boot
        self._workers = workers
        self._inventory = inventory
        self._may_have = may_have
        self._restore = restore
        self._gone = gone
        # What those were called that are called as liblxc calls what it moves, by slot.
        self._names: dict[str, str] = {}

    def back(self, device: Device) -> Device | None:
        """Take note that this device is on the host. Returns what was away, if it was."""
        was = self.away.back(device)
        if was is not None and _TEMPORARY.fullmatch(device.kernel) and not _TEMPORARY.fullmatch(was.kernel):
            self._names[device.slot] = was.kernel
        return was

    def problems(self) -> list[Problem]:
        """Which interfaces have lost their names."""
        if not self._names:
            return []
        found = [each for each in self._inventory.devices.values() if each.slot in self._names]
        lost = {each: self._names[each.slot] for each in found if _TEMPORARY.fullmatch(each.kernel)}
        self._names = {each.slot: name for each, name in lost.items()}
        return [
            Problem(
                str(each),
                "",
                f"it was {quoted(name)}, and a server that could not start an instance with it left it under "
                f"the name {each.kernel}; once it is on the host give it its own again: "
                f"ip link set {each.kernel} name {quoted(name)}",
            )
            for each, name in lost.items()
        ]

    def learned(self, name: InstanceName, instance: Instance | None) -> None:
        """Take note of an instance as it is, None where it is gone."""
        self.claimants.learned(name, instance)
        for slot, entry in list(self.away.of(name).items()):
            if instance is None or not instance.running or entry not in instance.entries:
                self.away.lost(slot)

    def looked(self, worker: Worker) -> None:
        """Take note of what was seen in an instance, or that nothing can be."""
        instance, seen = worker.actual, worker.seen
        if instance is None or not instance.running or not instance.here:
            return
        if instance.kind == "virtual-machine" or (seen is not None and _shows_nothing(seen)):
            self._assume(worker, instance)
        elif seen is not None and seen.folders:
            self._see(worker, instance, seen.folders)
            for name in self.claimants.rivals(worker.name):
                rival = self._workers[name]
                if rival.actual is not None and rival.actual.kind == "virtual-machine":
                    self.looked(rival)

    def _see(self, worker: Worker, instance: Instance, folders: Mapping[str, Interface]) -> None:
        found = {str(each[0]): each for each in inside(instance, folders, self._boot)}
        for slot in self.away.of(worker.name).keys() - found.keys():
            self.away.lost(slot)
        self.away.expect_nothing(worker.name)
        for slot, (parts, entry, interface) in found.items():
            if (
                slot not in self._inventory.slots
                and (device := recalled(parts, entry, interface)) is not None
            ):
                self._restore(device)
            if slot in self.away:
                self._has(worker, slot, entry, seen=True)
            elif slot in self._inventory.slots:
                self.away.expect(slot, worker.name, entry.name)

    def _assume(self, worker: Worker, instance: Instance) -> None:
        if instance.kind == "virtual-machine" and (found := list(assumed(instance))):
            known = {
                number_above(each.slot)
                for each in self._inventory.devices.values()
                if each.subsystem == "net"
            }
            for device in found:
                if number_above(device.slot) not in known and self._is_rightful(worker.name, device):
                    self._restore(device)
                    known.add(number_above(device.slot))
        for device in self.away.unheld():
            self._assume_of(worker, device)

    def _assume_of(self, worker: Worker, device: Device) -> bool:
        """Whether the instance has it, as far as anybody can tell."""
        entry = claiming(worker.actual, device) if worker.actual is not None else None
        if entry is None or not self._is_rightful(worker.name, device):
            return False
        self._has(worker, device.slot, entry, seen=False)
        return True

    def _given_up(self, slot: str) -> None:
        """What was seen nowhere is gone, unless an instance runs that nobody could look into yet."""
        device = self._inventory.devices[slot]
        workers = [worker for name in self._may_have(device) if (worker := self._workers.get(name))]
        unseen = [each for each in workers if each.is_running and not _shows(each)]
        if not any(self._assume_of(each, device) for each in unseen):
            self._gone(slot)

    def _is_rightful(self, name: InstanceName, device: Device) -> bool:
        """Whether no other that says so may have it: one that was looked into has not."""
        others = [self._workers[each] for each in self.claimants.of(device) if each != name]
        return not any(each.is_running and not _shows(each) for each in others)

    def _has(self, worker: Worker, slot: str, entry: Entry, *, seen: bool) -> None:
        before = self.away.held(slot, worker.name, entry.name, seen=seen)
        if before is not None:
            # Its entry for the interface may have to go, whether or not somebody can look.
            self._workers[before].look_again()
            self._workers[before].kick()


def _shows(worker: Worker) -> bool:
    """Whether it was to be seen which interfaces are inside."""
    return worker.seen is not None and bool(worker.seen.folders)


def _shows_nothing(seen: Inside) -> bool:
    """Whether somebody looked, and which interfaces are inside was not to be seen."""
    return bool(seen.error) or (seen.folders is not None and not seen.folders)
