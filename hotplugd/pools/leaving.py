"""The devices of pools whose leases are over and that may still be in instances, or open there. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from hotplugd.model.values import InstanceName
from hotplugd.pools.units import PoolUnits

Naming = Callable[[str], Iterable[InstanceName]]
"""The instances that may have the device with a slot."""


def _in_none(_: str) -> Iterable[InstanceName]:
    return ()


@dataclass(frozen=True, slots=True)
class StillOpen:
    """What may be open still of devices that are out of instances: no other gets them meanwhile.

    instances  where
    why        what keeps it so, by the devices' slots
    """

    instances: Naming = _in_none
    why: Mapping[str, str] = field(default_factory=dict)

    def or_in(self, naming: Naming) -> Naming:
        """These instances, and those that `naming` gives."""
        return lambda slot: chain(naming(slot), self.instances(slot))


NOTHING_OPEN: Final = StillOpen()


class Leaving:
    """Says of devices that are being released what keeps them."""

    def __init__(self, units: PoolUnits, still_open: StillOpen) -> None:
        self._units = units
        self._why = still_open.why
        # Who has each of them, or may have it.
        self._where: dict[str, str] = {}

    def note(self, keys: Iterable[str], naming: Naming) -> None:
        """Take note of all devices that are being released, by their keys."""
        self._where = {key: self._told(key, naming) for key in keys}

    def slots(self) -> list[str]:
        """The slots of all of them; those of what goes along come last."""
        keys = sorted(self._where)
        own = [slot for key in keys for slot in self._units.own_slots(key)]
        along = [slot for key in keys for slot in sorted(self._units.slots_of(key))]
        return list(dict.fromkeys((*own, *along)))

    def reason(self, key: str) -> str:
        """What keeps the device that is known by this."""
        told = (self._why.get(slot, "") for slot in sorted(self._units.slots_of(key)))
        return next(filter(None, told), self._where.get(key, ""))

    def _told(self, key: str, naming: Naming) -> str:
        names = {str(name) for slot in self._units.slots_of(key) for name in naming(slot) if name.name}
        has = ", ".join(sorted(names)) or "an instance of an earlier hotplugd"
        return f"{has} has it, or has it open"
