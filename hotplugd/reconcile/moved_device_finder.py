"""Finds out which instance has each network interface and each PCI device that left the host.

What was seen inside counts. An entry alone proves nothing: a user who may edit an instance can write any
entry. Into a virtual machine nobody can look; there an entry counts if the host lacks the interface and no
other instance may have it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

from hotplugd.model.nic_slot import assumed, entry_for, inside, nic_key, number_above, recalled
from hotplugd.model.pci_slot import VFIO, is_like, is_taken
from hotplugd.model.pci_slot import entries as pci_entries
from hotplugd.model.pci_slot import recalled as recalled_pci
from hotplugd.model.problem import Problem
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, Entry, Inside, Instance, InstanceName, Interface
from hotplugd.reconcile.inventory import Inventory
from hotplugd.reconcile.moved_devices import Candidates, MovedDevices
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.problem_log import ProblemLog
from hotplugd.reconcile.worker import Worker

# The temporary name that liblxc gives an interface while it moves it (lxc: network.c, physXXXXXX).
_TEMPORARY: Final = re.compile("phys[A-Za-z0-9]{6}")


class MovedDeviceFinder:
    """Keeps `away` up to date with what was seen inside instances. All state belongs to the event loop.

    workers     of all instances
    inventory   the devices that are known
    candidates  which instances may have which interfaces
    may_have    gives the instances that may have what has left the host
    left        called with an interface that is in an instance and that nobody has seen on the host
    gone        called with the slot of one that is in no instance and not back
    there       called with what the host has of such a one all the same
    """

    def __init__(
        self,
        ports: Ports,
        workers: Mapping[InstanceName, Worker],
        inventory: Inventory,
        candidates: Candidates,
        may_have: Callable[[Device], Iterable[InstanceName]],
        left: Callable[[Device], None],
        gone: Callable[[str], None],
        there: Callable[[Device], None],
    ) -> None:
        self.away = MovedDevices(self._given_up)
        self.candidates = candidates
        self._ports = ports
        self._workers = workers
        self._inventory = inventory
        self._may_have = may_have
        self._tell_left = left
        self._gone = gone
        self._tell_there = there
        # The former names of interfaces that have a temporary name, by slot.
        self._names: dict[str, str] = {}
        self._problems = ProblemLog(ports.log, "device.problem")

    def back(self, device: Device) -> Device | None:
        """The device is on the host. Returns the device that was away, if it was."""
        was = self.away.back(device)
        if was is not None and _TEMPORARY.fullmatch(device.kernel) and not _TEMPORARY.fullmatch(was.kernel):
            self._names[device.slot] = was.kernel
        return was

    def takes(self, device: Device) -> bool:
        """Whether a virtual machine has this PCI device, which the host sees without its driver.

        It is away then: what rules say of it they say of what it was.
        """
        if not is_taken(device):
            return False
        if device.slot not in self.away:
            before = self._inventory.devices.get(device.syspath)
            if before is None or before.slot != device.slot or is_taken(before) or not self._may_have(before):
                return False
            self._tell_left(before)
        self.away.is_now(device)
        return True

    def tell(self) -> None:
        """Tell of interfaces that are left under a temporary name, and of those that no more are."""
        self._problems.are(self.problems(), self._inventory.devices.values() if self._names else ())

    def problems(self) -> list[Problem]:
        """Interfaces that were left on the host under a temporary name."""
        if not self._names:
            return []
        renamed = [device for device in self._inventory.devices.values() if device.slot in self._names]
        lost = {device: self._names[device.slot] for device in renamed if _TEMPORARY.fullmatch(device.kernel)}
        self._names = {device.slot: name for device, name in lost.items()}
        return [
            Problem(
                str(device),
                "",
                f"it was {quoted(name)}, and a server that could not start an instance with it left it under "
                f"the name {device.kernel}; once it is on the host give it its own again: "
                f"ip link set {device.kernel} name {quoted(name)}",
            )
            for device, name in lost.items()
        ]

    def learned(self, name: InstanceName, instance: Instance | None) -> None:
        """The instance is like this now; None if it is gone."""
        self.candidates.learned(name, instance)
        for slot, entry in list(self.away.of(name).items()):
            if instance is None or not instance.running or entry not in instance.entries:
                self.away.lost(slot)

    def is_lost(self, device: Device) -> bool:
        """Whether the parent device of an interface is gone while the interface is in an instance."""
        try:
            return self._ports.restore(device) is None
        except OSError:  # unknown until the next listing
            return False

    def looked(self, worker: Worker) -> None:
        """The worker looked into its instance, or its instance has no visible inside."""
        instance, seen = worker.actual, worker.seen
        if (
            not self._inventory.devices_listed
            or instance is None
            or not instance.running
            or not instance.here
        ):
            return
        if instance.kind == "virtual-machine" or (seen is not None and _shows_nothing(seen)):
            self._assume(worker, instance)
        elif seen is not None and seen.folders:
            self._see(worker, instance, seen.folders)
            for name in self.candidates.rivals(worker.name):
                rival = self._workers[name]
                if rival.actual is not None and rival.actual.kind == "virtual-machine":
                    self.looked(rival)

    def _restore(self, device: Device) -> None:
        """An interface is inside that was not on the host since the start."""
        with suppress(OSError):  # unknown until the next listing
            if (restored := self._ports.restore(device)) is not None:
                self._inventory.slots.add(restored.slot)
                self._tell_left(restored)

    def _see(self, worker: Worker, instance: Instance, folders: Mapping[str, Interface]) -> None:
        there = {str(each[0]): each for each in inside(instance, folders, self._ports.boot)}
        for slot in self.away.of(worker.name).keys() - there.keys():
            self.away.lost(slot)
        self.away.expect_nothing(worker.name)
        for slot, (parts, entry, interface) in there.items():
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
        if instance.kind == "virtual-machine" and (devices := list(assumed(instance))):
            known = {
                number_above(device.slot)
                for device in self._inventory.devices.values()
                if device.subsystem == "net"
            }
            for device in devices:
                if number_above(device.slot) not in known and self._is_rightful(worker.name, device):
                    self._restore(device)
                    known.add(number_above(device.slot))
        for device in filter(None, map(recalled_pci, pci_entries(instance))):
            self._assume_pci(worker, device)
        for device in self.away.unheld():
            self._assume_of(worker, device)

    def _assume_pci(self, worker: Worker, device: Device) -> None:
        """Assume the virtual machine has what its entry was made for, if its PCI device is a machine's."""
        pci = device.pci
        there = self._inventory.devices.get(pci.syspath) if pci is not None else None
        if pci is None or there is None or (there.slot, there.driver) != (pci.slot, VFIO):
            return
        if not self._is_rightful(worker.name, device):
            return
        if device is not pci:
            made = [each for each in self._inventory.devices.values() if each.pci is not None]
            if not any(nic_key(each) == nic_key(device) and is_like(each, device) for each in made):
                self._restore(device)
        elif device.driver != VFIO:
            self._gone(there.syspath)
            self._restore(device)
            if device.slot in self.away:
                self.away.is_now(there)
            else:
                self._tell_there(there)

    def _assume_of(self, worker: Worker, device: Device) -> bool:
        """Assume the instance has the interface if its entry says so and no other may. Returns whether."""
        entry = entry_for(worker.actual, device) if worker.actual is not None else None
        if entry is None or not self._is_rightful(worker.name, device):
            return False
        self._has(worker, device.slot, entry, seen=False)
        return True

    def _given_up(self, slot: str) -> None:
        """The interface was not seen: it is gone unless an instance without a look may have it."""
        device = self._inventory.devices[slot]
        workers = [worker for name in self._may_have(device) if (worker := self._workers.get(name))]
        unseen = [worker for worker in workers if worker.is_running and not _shows(worker)]
        if (holder := next((each for each in unseen if self._assume_of(each, device)), None)) is not None:
            # Its plan was made while another's entry said so, too.
            holder.kick()
            return
        waits = self._is_handed_over(device) and any(map(_is_of_a_machine, workers))
        if waits and self.away.wait_longer(slot):
            return
        there = self.away.instead(slot)
        self._gone(slot)
        if there is not None:
            self._tell_there(there)

    def _is_handed_over(self, device: Device) -> bool:
        """Whether its PCI device has the driver by which virtual machines get theirs."""
        pci = device.pci
        if pci is None:
            return False
        known = self._inventory.devices.get(pci.syspath)
        there = self.away.instead(pci.slot) if pci.slot in self.away else known
        return there is not None and there.driver == VFIO

    def _is_rightful(self, name: InstanceName, device: Device) -> bool:
        """Whether no other instance may have it: those with an entry were looked into, and do not."""
        others = [self._workers[other] for other in self.candidates.of(device) if other != name]
        return not any(worker.is_running and not _shows(worker) for worker in others)

    def _has(self, worker: Worker, slot: str, entry: Entry, *, seen: bool) -> None:
        before = self.away.held(slot, worker.name, entry.name, seen=seen)
        if before is not None:
            # Its entry for the interface may have to go, even if its inside cannot be looked at.
            self._workers[before].look_again()
            self._workers[before].kick()


def _is_of_a_machine(worker: Worker) -> bool:
    """Whether it is a virtual machine's: one that starts, or is being given a device, says so afterwards."""
    return worker.actual is not None and worker.actual.kind == "virtual-machine"


def _shows(worker: Worker) -> bool:
    """Whether the last look has seen which interfaces are inside."""
    return worker.seen is not None and bool(worker.seen.folders)


def _shows_nothing(seen: Inside) -> bool:
    """Whether the last look could not see which interfaces are inside."""
    return bool(seen.error) or (seen.folders is not None and not seen.folders)
