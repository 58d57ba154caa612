"""Network interfaces that have left the host for an instance, until they are back or gone.

Which instance has one is what was seen there, not what entries say: whoever may edit an instance may write
into its entries that it has another's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeVar

from hotplugd.model.nic_slot import VIRTUAL, above_of, claim_of, claimed
from hotplugd.model.values import Device, Instance, InstanceName

# One that is in no instance that runs is gone after so many seconds.
_UNHELD: Final = 10.0
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(slots=True)
class _Left:
    """An interface that has left.

    holder  the instance that has it; None where nobody knows of one
    seen    whether it was seen there
    """

    device: Device
    holder: InstanceName | None = None
    seen: bool = False
    timer: asyncio.TimerHandle | None = None


class MovedNics:
    """Which interfaces are away, by their slots, and where. All state belongs to the event loop.

    gone     called with the slot of one that is in no instance and not back
    held_by  what each instance has: its entries' names by the interfaces' slots
    """

    def __init__(self, gone: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._tell_gone = gone
        self._left: dict[str, _Left] = {}
        # By the devices above them, and by what an entry would say of them: an event looks at no others.
        self._below: dict[str, set[str]] = {}
        self._alike: dict[tuple[int, str], set[str]] = {}
        self._unheld: set[str] = set()
        self.held_by: dict[InstanceName, dict[str, str]] = {}
        # Seen inside before it was heard that they left.
        self._expected: dict[str, tuple[InstanceName, str]] = {}

    def __contains__(self, slot: str) -> bool:
        return slot in self._left

    def leave(self, device: Device) -> Device:
        """Take note that this device is not on the host any more. Returns it as it is now."""
        away = replace(device, away=True, in_use="")
        self._left[away.slot] = _Left(away)
        self._unheld.add(away.slot)
        for path in _above(away.syspath):
            self._below.setdefault(path, set()).add(away.slot)
        if (claim := claim_of(away)) is not None:
            self._alike.setdefault(claim, set()).add(away.slot)
        self._wait(away.slot)
        if (expected := self._expected.pop(away.slot, None)) is not None:
            self.held(away.slot, *expected, seen=True)
        return away

    def expect(self, slot: str, name: InstanceName, entry: str) -> None:
        """Take note that what has not left, as far as we heard, was seen in this instance."""
        self._expected[slot] = name, entry

    def expect_nothing(self, name: InstanceName) -> None:
        """Take note that nothing that has not left is in this instance."""
        self._expected = {slot: each for slot, each in self._expected.items() if each[0] != name}

    def held(self, slot: str, name: InstanceName, entry: str, *, seen: bool) -> InstanceName | None:
        """Take note that this instance has it under this entry. Returns who had it before, if another.

        seen  whether it was seen there
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

    def lost(self, slot: str) -> None:
        """Take note that the instance that had it does not have it any more, or does not run."""
        self._release(slot)
        self._wait(slot)

    def of(self, name: InstanceName) -> Mapping[str, str]:
        """What this instance has: the entries' names by slot."""
        return self.held_by.get(name, _NONE)

    def holder(self, slot: str) -> InstanceName | None:
        """Who has it; None where nobody is known to."""
        return self._left[slot].holder

    def unheld(self) -> list[Device]:
        """Those of which nobody knows where they are."""
        return [self._left[slot].device for slot in sorted(self._unheld)]

    def back(self, device: Device) -> Device | None:
        """Take note that this device is on the host, perhaps under another name than it had.

        Returns what was away: itself, or what nobody could see and had the same name and place.
        """
        self._expected.pop(device.slot, None)
        alike = (self._left[slot] for slot in sorted(self._alike.get(claim_of(device) or (0, ""), ())))
        left = self._left.get(device.slot) or next((each for each in alike if not each.seen), None)
        if left is None:
            return None
        self.end(left.device.slot)
        return left.device

    def end(self, slot: str) -> None:
        """Take note that this device is gone."""
        self._expected.pop(slot, None)
        if slot not in self._left:
            return
        self._release(slot)
        left = self._left.pop(slot)
        self._unheld.discard(slot)
        for path in _above(left.device.syspath):
            _drop(self._below, path, slot)
        if (claim := claim_of(left.device)) is not None:
            _drop(self._alike, claim, slot)
        if left.timer is not None:
            left.timer.cancel()

    def below(self, syspath: str) -> list[str]:
        """The slots of devices that left from below this one."""
        return sorted(self._below.get(syspath, ()))

    def close(self) -> None:
        """Wait for nothing any more."""
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
    """Take the value out of the set of this key, and the set along once it is empty."""
    sets[key].discard(value)
    if not sets[key]:
        del sets[key]


def _above(syspath: str) -> Iterator[str]:
    """The syspaths of all devices above one that is hardware."""
    path = above_of(syspath)
    while path != VIRTUAL and path.startswith("/sys/devices/"):
        yield path
        path = path.rpartition("/")[0]


class Claimants:
    """Which instances have entries of ours for which interfaces: who may have what has left the host.

    One that starts takes an interface before anybody says that it runs.
    """

    def __init__(self) -> None:
        self._by_instance: dict[InstanceName, frozenset[tuple[int, str]]] = {}
        self._by_claim: dict[tuple[int, str], set[InstanceName]] = {}

    def learned(self, name: InstanceName, instance: Instance | None) -> None:
        """Take note of an instance as it is, None where it is gone."""
        now = frozenset(claimed(instance)) if instance is not None and instance.here else frozenset()
        before = self._by_instance.pop(name, frozenset())
        if now:
            self._by_instance[name] = now
        for claim in before - now:
            _drop(self._by_claim, claim, name)
        for claim in now - before:
            self._by_claim.setdefault(claim, set()).add(name)

    def rivals(self, name: InstanceName) -> set[InstanceName]:
        """The other instances with an entry for any interface for which this one has an entry."""
        found = (self._by_claim[claim] for claim in self._by_instance.get(name, ()))
        return {other for names in found if len(names) > 1 for other in names if other != name}

    def of(self, device: Device) -> Collection[InstanceName]:
        """The instances with an entry for this interface, or for one of its name below the same device."""
        claim = claim_of(device)
        return self._by_claim.get(claim, ()) if claim is not None else ()


class PresentDevices:
    """Which devices there are, for the entries of one instance: what another has it has not.

    slots  those of all devices that are known
    """

    def __init__(self, name: InstanceName, slots: Container[str], away: MovedNics) -> None:
        self._name = name
        self._slots = slots
        self._away = away

    def __contains__(self, slot: object) -> bool:
        if not isinstance(slot, str) or slot not in self._slots:
            return False
        return slot not in self._away or self._away.holder(slot) in (None, self._name)
