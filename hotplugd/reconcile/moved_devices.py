"""Devices that have left the host for an instance, until they are back or gone: network interfaces, and what
a virtual machine has by its PCI device.

What was seen inside says which instance has one. Entries prove nothing: a user who may edit an instance can
write an entry for the interface of another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeVar

from hotplugd.aio.backoff import LONG_AGO
from hotplugd.model.nic_slot import VIRTUAL, above_of, nic_key, nic_keys
from hotplugd.model.pci_slot import is_like
from hotplugd.model.values import Device, Instance, InstanceName

# An interface that no running instance has counts as gone after this many seconds.
_UNHELD: Final = 10.0
# What is handed over to a virtual machine counts as gone after this many seconds: QEMU pins all its memory
# first, and that takes minutes where it is much.
_STARTS_WITHIN: Final = 600.0
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(slots=True)
class _Left:
    """A network interface that is not on the host, or what was made of a PCI device that is a machine's.

    holder  the instance that has it; None if unknown
    seen    whether it was seen inside that instance
    instead the PCI device as the host has it meanwhile, without its driver; None of what is no such device
    until   how long, in the loop's time, it may be on its way into a virtual machine
    """

    device: Device
    holder: InstanceName | None = None
    seen: bool = False
    instead: Device | None = None
    timer: asyncio.TimerHandle | None = None
    until: float = LONG_AGO


class MovedDevices:
    """Tracks the devices that have left the host, by slot. All state belongs to the event loop.

    gone     called with the slot of a device that no instance has and that is not back on the host
    held_by  what each instance has: its entries' names by the devices' slots
    """

    def __init__(self, gone: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._tell_gone = gone
        self._left: dict[str, _Left] = {}
        # Indexes by parent device and by `nic_key`, so that events need no search.
        self._below: dict[str, set[str]] = {}
        self._alike: dict[tuple[int, str], set[str]] = {}
        self._unheld: set[str] = set()
        self.held_by: dict[InstanceName, dict[str, str]] = {}
        # Seen inside before the event that they left the host.
        self._expected: dict[str, tuple[InstanceName, str]] = {}

    def __contains__(self, slot: str) -> bool:
        return slot in self._left

    def leave(self, device: Device) -> Device:
        """The device has left the host. Returns it as it is now."""
        away = replace(device, away=True, in_use="")
        self._left[away.slot] = _Left(away, until=self._loop.time() + _STARTS_WITHIN)
        self._unheld.add(away.slot)
        for path in _above(away):
            self._below.setdefault(path, set()).add(away.slot)
        if (key := nic_key(away)) is not None:
            self._alike.setdefault(key, set()).add(away.slot)
        self._wait(away.slot)
        if (expected := self._expected.pop(away.slot, None)) is not None:
            self.held(away.slot, *expected, seen=True)
        return away

    def expect(self, slot: str, name: InstanceName, entry: str) -> None:
        """The interface was seen in this instance, and no event said yet that it left the host."""
        self._expected[slot] = name, entry

    def expect_nothing(self, name: InstanceName) -> None:
        """No interface is in this instance without an event that it left the host."""
        self._expected = {slot: holder for slot, holder in self._expected.items() if holder[0] != name}

    def held(self, slot: str, name: InstanceName, entry: str, *, seen: bool) -> InstanceName | None:
        """Take note of the instance that has the interface. Returns the holder before, if another.

        seen  whether it was seen inside
        """
        left = self._left[slot]
        before = left.holder
        self._release(slot)
        left.holder, left.seen = name, seen
        self._unheld.discard(slot)
        self.held_by.setdefault(name, {})[slot] = entry
        if left.timer is not None:
            left.timer.cancel()
            left.timer = None
        return before if before != name else None

    def is_now(self, device: Device) -> None:
        """A PCI device that is away is this on the host, without its driver."""
        self._left[device.slot].instead = device

    def instead(self, slot: str) -> Device | None:
        """What there is on the host of what is away; None where nothing is."""
        return self._left[slot].instead

    def lost(self, slot: str) -> None:
        """The instance that had the interface lost it, or does not run."""
        self._release(slot)
        self._left[slot].until = LONG_AGO
        self._wait(slot)

    def wait_longer(self, slot: str) -> bool:
        """Wait again for a device that goes into a virtual machine. Returns whether there is time left."""
        if self._loop.time() >= self._left[slot].until:
            return False
        self._wait(slot)
        return True

    def of(self, name: InstanceName) -> Mapping[str, str]:
        """The interfaces that this instance has: the entries' names by slot."""
        return self.held_by.get(name, _NONE)

    def holder(self, slot: str) -> InstanceName | None:
        """The instance that has the interface; None if unknown."""
        return self._left[slot].holder

    def unheld(self) -> list[Device]:
        """The interfaces that no known instance has."""
        return [self._left[slot].device for slot in sorted(self._unheld)]

    def back(self, device: Device) -> Device | None:
        """The device is on the host again, perhaps under another name.

        Returns the device that was away: the same one, or one that was seen nowhere and that an entry could
        not tell from it.
        """
        self._expected.pop(device.slot, None)
        if not self._left:
            return None
        alike = (self._left[slot] for slot in sorted(self._alike.get(nic_key(device) or (0, ""), ())))
        left = self._left.get(device.slot) or next(
            (each for each in alike if not each.seen and is_like(each.device, device)), None
        )
        if left is None:
            return None
        self.end(left.device.slot)
        return left.device

    def end(self, slot: str) -> None:
        """The device is gone."""
        self._expected.pop(slot, None)
        if slot not in self._left:
            return
        self._release(slot)
        left = self._left.pop(slot)
        self._unheld.discard(slot)
        for path in _above(left.device):
            _drop(self._below, path, slot)
        if (key := nic_key(left.device)) is not None:
            _drop(self._alike, key, slot)
        if left.timer is not None:
            left.timer.cancel()

    def below(self, syspath: str) -> list[str]:
        """The slots of interfaces that left the host and have this parent device."""
        return sorted(self._below.get(syspath, ()))

    def close(self) -> None:
        """Cancel all timers."""
        for left in self._left.values():
            if left.timer is not None:
                left.timer.cancel()

    def _release(self, slot: str) -> None:
        left = self._left[slot]
        if left.holder is not None:
            self.held_by[left.holder].pop(slot, None)
            if not self.held_by[left.holder]:
                del self.held_by[left.holder]
        left.holder, left.seen = None, False
        self._unheld.add(slot)

    def _wait(self, slot: str) -> None:
        left = self._left[slot]
        if left.timer is None:
            left.timer = self._loop.call_later(_UNHELD, self._give_up, slot)

    def _give_up(self, slot: str) -> None:
        self._left[slot].timer = None
        self._tell_gone(slot)


_K = TypeVar("_K")
_V = TypeVar("_V")


def _drop(sets: dict[_K, set[_V]], key: _K, value: _V) -> None:
    """Remove the value from the set of this key, and the set itself once it is empty."""
    sets[key].discard(value)
    if not sets[key]:
        del sets[key]


def _above(device: Device) -> Iterator[str]:
    """The syspaths of all devices without which this is none: above an interface that is hardware, or the PCI
    device itself.
    """
    pci = None if device.subsystem == "net" else device.pci
    path = above_of(device.syspath) if pci is None else pci.syspath
    while path != VIRTUAL and path.startswith("/sys/devices/"):
        yield path
        path = path.rpartition("/")[0]


class Candidates:
    """Which instances have entries of ours for which interfaces, and so may have what has left the host.

    An instance that starts takes its interfaces before the server says that it runs.
    """

    def __init__(self) -> None:
        self._by_instance: dict[InstanceName, frozenset[tuple[int, str]]] = {}
        self._by_key: dict[tuple[int, str], set[InstanceName]] = {}

    def learned(self, name: InstanceName, instance: Instance | None) -> None:
        """The instance is like this now; None if it is gone."""
        now = frozenset(nic_keys(instance)) if instance is not None and instance.here else frozenset()
        before = self._by_instance.pop(name, frozenset())
        if now:
            self._by_instance[name] = now
        for key in before - now:
            _drop(self._by_key, key, name)
        for key in now - before:
            self._by_key.setdefault(key, set()).add(name)

    def rivals(self, name: InstanceName) -> set[InstanceName]:
        """The other instances with an entry for any interface for which this one has an entry."""
        rivals = (self._by_key[key] for key in self._by_instance.get(name, ()))
        return {other for names in rivals if len(names) > 1 for other in names if other != name}

    def of(self, device: Device) -> Collection[InstanceName]:
        """The instances with an entry for this interface, or for one of its name below the same device."""
        key = nic_key(device)
        return self._by_key.get(key, ()) if key is not None else ()


class PresentDevices:
    """The slots of the devices that exist for one instance: on the host or inside it, not inside another.

    slots  those of all devices that are known
    """

    def __init__(self, name: InstanceName, slots: Container[str], away: MovedDevices) -> None:
        self._name = name
        self._slots = slots
        self._away = away

    def __contains__(self, slot: object) -> bool:
        if not isinstance(slot, str) or slot not in self._slots:
            return False
        return slot not in self._away or self._away.holder(slot) in (None, self._name)
