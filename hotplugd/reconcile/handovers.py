"""What has to be out of one instance before it goes into another one.

A device of a pool, and one that somebody attached by hand, is in one instance at a time. Where the server
takes long, or does not answer, about the one that has it, the other one waits, and that is said. Processes in
there may have it open after that: until it is revoked (`revocations`) the other one waits as well. And
nothing is put into a virtual machine by its numbers on a USB bus before another's entry is out that takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Final, Protocol

from hotplugd.aio.backoff import NEVER
from hotplugd.model.entry import MARK_POOL, is_ours, slot_of
from hotplugd.model.values import Entry, Instance, InstanceName
from hotplugd.plan.change import Change
from hotplugd.reconcile.holds import Held, Wait


class Holder(Protocol):
    """An instance that may have a device."""

    def may_name(self, slot: str) -> bool:
        """Whether the server may have an entry of ours here for the device with this slot, now or soon."""

    def is_to_have(self, slot: str) -> bool:
        """Whether the device with this slot should be in the instance."""


_Number = tuple[str, str]
"""A USB bus number and device number, as entries have them."""


class _UsbNumbers:
    """Which virtual machines have entries of ours for which bus and device numbers of USB.

    An entry that names its device by numbers may outlive it while no hotplugd runs, and the numbers are
    another device's in time: after some 127 plugs, or once the bus is another one. Then its server gives that
    device to the wrong virtual machine.
    """

    def __init__(self) -> None:
        self._by_instance: dict[InstanceName, dict[_Number, Entry]] = {}
        self._waiting: set[InstanceName] = set()

    def learned(self, name: InstanceName, instance: Instance | None) -> Sequence[InstanceName]:
        """The instance is like this now, None if it is gone. Returns those that may have waited for that."""
        there = instance.entries.values() if instance is not None and instance.here else ()
        before = self._by_instance.pop(name, {})
        now = {number: entry for entry in there if (number := _number(entry)) is not None}
        if now:
            self._by_instance[name] = now
        if all(now.get(number) == entry for number, entry in before.items()):
            return ()
        waited, self._waiting = self._waiting, set()
        return sorted(waited)

    def ready(self, name: InstanceName, changes: Sequence[Change]) -> Sequence[Change]:
        """The instance's changes that need not wait for another instance."""
        ready = [change for change in changes if not self._is_others(name, change)]
        if len(ready) < len(changes):
            self._waiting.add(name)
        return ready

    def _is_others(self, name: InstanceName, change: Change) -> bool:
        number = _number(change.entry) if change.action != "remove" else None
        if number is None:
            return False
        others = (numbers.get(number) for other, numbers in self._by_instance.items() if other != name)
        # One of this name was made for this enumeration.
        return any(entry is not None and entry.name != change.entry.name for entry in others)


class Handovers:
    """Which instances may have entries of ours for which slots. All of it belongs to the event loop.

    holders  the instances by name
    present  the slots of the devices that are there
    unknown  stands for the instances of which an earlier hotplugd knew
    revoke   called with a slot whose device has to be revoked before it goes on
    why      what is said of a device that could not be revoked yet, by its slot
    """

    unknown: Final = InstanceName("", "")

    def __init__(self, holders: Mapping[InstanceName, Holder], present: Container[str] = ()) -> None:
        self.revoke: Callable[[str], None] = lambda _: None
        self.why: dict[str, str] = {}
        self._holders = holders
        self._present = present
        # By instance and slot, whether it has the device alone: of a pool, or by hand.
        self._by_instance: dict[InstanceName, dict[str, bool]] = {}
        self._by_slot: dict[str, set[InstanceName]] = {}
        self._waiting: set[InstanceName] = set()
        # By slot: instances that gave up a device that is not revoked yet; values as in `_by_instance`.
        self._left: dict[str, dict[InstanceName, bool]] = {}
        # Slots whose revocation has begun, and which no instance has had since.
        self._revoking: set[str] = set()
        # Instances that gave up a device while a request of theirs was under way.
        self._rests_later: set[InstanceName] = set()
        # The slots of devices that somebody has attached by hand.
        self._by_hand: set[str] = set()
        self._numbers = _UsbNumbers()

    def learned(self, name: InstanceName, instance: Instance | None) -> Sequence[InstanceName]:
        """The instance is like this now, None if it is gone. Returns those that may have waited for that."""
        self._note(name, instance.entries.values() if instance is not None and instance.here else ())
        return self._numbers.learned(name, instance)

    def sends(self, name: InstanceName, batch: Sequence[Change]) -> None:
        """Take note of changes that are about to be sent: whether they were made may never be known."""
        self._note(name, [change.entry for change in batch if change.action == "add"])

    def decided(self, slot: str, *, attaches: bool) -> None:
        """The device with this slot is attached by hand, or not any more."""
        if attaches:
            self._by_hand.add(slot)
        elif slot in self._by_hand:
            self._by_hand.discard(slot)
            for name in self._by_slot.get(slot, ()):
                self._by_instance[name][slot] = True

    def ready(
        self, name: InstanceName, changes: Sequence[Change], *, dry_run: bool = False
    ) -> Sequence[Change]:
        """The instance's changes that need not wait for another instance.

        dry_run  nothing is taken out of other instances, for which this one would wait
        """
        changes = self._numbers.ready(name, changes)
        if dry_run:
            return changes
        ready: list[Change] = []
        for change in changes:
            if change.action == "add":
                self._see_left(slot_of(change.entry))
            if self._other(name, change) is None:
                ready.append(change)
                continue
            self._waiting.add(name)
            if self.is_left(slot := slot_of(change.entry)):
                self.revoke(slot)
        return ready

    def held(self, name: InstanceName, changes: Sequence[Change]) -> list[Held]:
        """The changes that wait, and for which instance."""
        others = [(change, self._other(name, change)) for change in changes]
        return [
            Held(
                change.device,
                change.rule,
                self._wait(slot_of(change.entry), other),
                name,
            )
            for change, other in others
            if other is not None
        ]

    @property
    def has_leased(self) -> bool:
        """Whether any instance may have a device of a pool, by an entry that it had or was to have."""
        return any(
            leased and (holder := self._holders.get(name)) is not None and holder.may_name(slot)
            for name, known in self._by_instance.items()
            for slot, leased in known.items()
        )

    def idle(self, name: InstanceName) -> Sequence[InstanceName]:
        """Nothing is under way for this instance. Returns those that may have waited for that."""
        gone = [slot for slot in self._by_instance.get(name, ()) if self._is_out(name, slot)]
        for slot in gone:
            self._leaves(name, slot)
        if not gone and name not in self._rests_later:
            return ()
        self._rests_later.discard(name)
        return self._waited()

    def may_have(self, slot: str) -> Iterable[InstanceName]:
        """The instances in which somebody may have the device with this slot, by what is known here."""
        return (*self._by_slot.get(slot, ()), *self._left.get(slot, ()))

    def is_left(self, slot: str) -> bool:
        """Whether the device with this slot was in instances, is in none, and was not revoked since."""
        self._see_left(slot)
        return slot in self._left and slot not in self._by_slot

    def left_by(self, slot: str) -> str:
        """The instances that had the device with this slot, in words; empty where that is not known."""
        return ", ".join(str(name) for name in sorted(self._left.get(slot, ())) if name != self.unknown)

    def was_attached(self, slot: str, *, alone: bool) -> None:
        """An earlier hotplugd has attached the device with this slot to some instance.

        alone  whether one instance had it alone: where none had, a plain rule's change does not wait for it
        """
        if slot not in self._by_slot:
            self._left.setdefault(slot, {})[self.unknown] = alone

    def begins(self, slot: str) -> None:
        """The device with this slot, which is left, is being revoked from now on."""
        self._revoking.add(slot)

    def ends(self, slot: str) -> bool:
        """End a revocation. Returns whether no instance had the device meanwhile, even for a moment."""
        stayed = slot in self._revoking
        self._revoking.discard(slot)
        return stayed

    def revoked(self, slot: str) -> Sequence[InstanceName]:
        """Take note that no process has the device with this slot open. Returns as `idle` does."""
        self.forget(slot)
        return self._waited()

    def gone(self, slot: str) -> None:
        """There is no device with this slot any more."""
        self.forget(slot)
        self._by_hand.discard(slot)

    def forget(self, slot: str) -> None:
        """Drop what is noted of a revocation of this slot."""
        self._left.pop(slot, None)
        self.why.pop(slot, None)

    def _is_out(self, name: InstanceName, slot: str) -> bool:
        holder = self._holders.get(name)
        return holder is None or not holder.may_name(slot)

    def _see_left(self, slot: str) -> None:
        """Take note of the instances that are without the device with this slot, though they do not rest."""
        for name in [name for name in self._by_slot.get(slot, ()) if self._is_out(name, slot)]:
            self._leaves(name, slot)
            self._rests_later.add(name)

    def _leaves(self, name: InstanceName, slot: str) -> None:
        """The instance is without the device with this slot, which it had, or may have had."""
        known, others = self._by_instance[name], self._by_slot[slot]
        alone = known.pop(slot) or slot in self._by_hand
        if not known:
            del self._by_instance[name]
        others.discard(name)
        if not others:
            del self._by_slot[slot]
        if slot in self._present:
            self._left.setdefault(slot, {})[name] = alone

    def _waited(self) -> Sequence[InstanceName]:
        waited, self._waiting = self._waiting, set()
        return sorted(waited)

    def _wait(self, slot: str, other: InstanceName) -> Wait:
        if slot not in self._left or other in self._by_slot.get(slot, ()):
            return Wait(NEVER, f"{other} has it, or may have it", f"it is out of {other}")
        had = self.left_by(slot) or "an instance of an earlier hotplugd"
        why = self.why.get(slot) or "that is being ended"
        return Wait(NEVER, f"{had} had it, and may have it open: {why}", "nobody has it open")

    def _note(self, name: InstanceName, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if is_ours(entry) and (slot := slot_of(entry)):
                known = self._by_instance.setdefault(name, {})
                known[slot] = known.get(slot, False) or MARK_POOL in entry.config
                self._by_slot.setdefault(slot, set()).add(name)
                self._revoking.discard(slot)
                if (left := self._left.get(slot)) is not None:
                    # An earlier hotplugd has revoked it before it has put it in there.
                    for without in (name, self.unknown):
                        left.pop(without, None)
                    if not left:
                        self.forget(slot)

    def _other(self, name: InstanceName, change: Change) -> InstanceName | None:
        """The instance that has to be without the device first; None where there is none."""
        want, slot = change.want, slot_of(change.entry)
        if change.action != "add" or want is None or not (slot in self._by_slot or slot in self._left):
            return None
        alone = want.is_alone
        left = self._left.get(slot, {})
        others = (
            *(other for other in sorted(self._by_slot.get(slot, ())) if self._has(other, slot, alone)),
            *(other for other in sorted(left) if alone or left[other]),
        )
        return next((other for other in others if other != name), None)

    def _has(self, other: InstanceName, slot: str, alone: bool) -> bool:
        holder = self._holders.get(other)
        if holder is None or not (alone or self._by_instance[other][slot]):
            return False
        return holder.may_name(slot) and not holder.is_to_have(slot)


def _number(entry: Entry) -> _Number | None:
    config = entry.config
    if config.get("type") != "usb" or "devnum" not in config or not is_ours(entry):
        return None
    return config.get("busnum", ""), config["devnum"]
