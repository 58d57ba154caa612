"""What has to be out of one instance before it goes into another one.

A device of a pool, and one that somebody attached by hand, is in one instance at a time. Where the server
takes long, or does not answer, about the one that has it, the other one waits, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

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


class Handovers:
    """Which instances may have entries of ours for which slots. All of it belongs to the event loop.

    holders  the instances by name
    """

    def __init__(self, holders: Mapping[InstanceName, Holder]) -> None:
        self._holders = holders
        # By instance and slot, whether it has the device of a pool.
        self._by_instance: dict[InstanceName, dict[str, bool]] = {}
        self._by_slot: dict[str, set[InstanceName]] = {}
        self._waiting: set[InstanceName] = set()

    def learned(self, name: InstanceName, instance: Instance | None) -> None:
        """The instance is like this now, None if it is gone."""
        self._note(name, instance.entries.values() if instance is not None and instance.here else ())

    def sends(self, name: InstanceName, batch: Sequence[Change]) -> None:
        """These changes are about to be asked for: whether they were made may never be known."""
        self._note(name, [change.entry for change in batch if change.action == "add"])

    def ready(self, name: InstanceName, changes: Sequence[Change]) -> Sequence[Change]:
        """Those of the instance's changes that need not wait for another instance."""
        ready = [change for change in changes if self._other(name, change) is None]
        if len(ready) < len(changes):
            self._waiting.add(name)
        return ready

    def held(self, name: InstanceName, changes: Sequence[Change]) -> list[Held]:
        """Those that wait, and for which instance."""
        others = [(change, self._other(name, change)) for change in changes]
        return [
            Held(
                change.device,
                change.rule,
                Wait(NEVER, f"{other} has it, or may have it", f"it is out of {other}"),
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
        known, holder = self._by_instance.get(name, {}), self._holders.get(name)
        gone = [slot for slot in known if holder is None or not holder.may_name(slot)]
        for slot in gone:
            del known[slot]
            self._by_slot[slot].discard(name)
            if not self._by_slot[slot]:
                del self._by_slot[slot]
        if not known:
            self._by_instance.pop(name, None)
        if not gone:
            return ()
        waited, self._waiting = self._waiting, set()
        return sorted(waited)

    def _note(self, name: InstanceName, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if is_ours(entry) and (slot := slot_of(entry)):
                self._by_instance.setdefault(name, {})[slot] = MARK_POOL in entry.config
                self._by_slot.setdefault(slot, set()).add(name)

    def _other(self, name: InstanceName, change: Change) -> InstanceName | None:
        """The instance that has to be without the device first; None where there is none."""
        want, slot = change.want, slot_of(change.entry)
        if change.action != "add" or want is None:
            return None
        alone = bool(want.attach.pool) or want.override is not None
        others = self._by_slot.get(slot, ())
        return next(
            (other for other in sorted(others) if other != name and self._has(other, slot, alone)), None
        )

    def _has(self, other: InstanceName, slot: str, alone: bool) -> bool:
        holder = self._holders.get(other)
        if holder is None or not (alone or self._by_instance[other][slot]):
            return False
        return holder.may_name(slot) and not holder.is_to_have(slot)
