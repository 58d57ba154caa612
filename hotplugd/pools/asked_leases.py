"""Leases that somebody has asked to end, or to be another instance's. Pure."""

from __future__ import annotations

from hotplugd.model.lease import Lease
from hotplugd.pools.allocate import Ended


class AskedLeases:
    """What was asked for since the last allocation, by what the devices are known by in leases."""

    def __init__(self) -> None:
        self._ends: dict[str, str] = {}
        self._moves: dict[str, tuple[Lease, str]] = {}

    def release(self, key: str, why: str) -> None:
        """The device's lease is to end. why: who asked for that."""
        self._ends[key] = why

    def move(self, key: str, to: Lease, why: str) -> None:
        """The device is to be leased so. why: who asked for that."""
        self._moves[key] = to, why

    def apply(self, leases: dict[str, Lease]) -> tuple[list[Ended], set[str]]:
        """Do it to these leases. Returns those that are over, and the keys of those that are new."""
        ended = [Ended(key, leases.pop(key), why) for key, why in self._ends.items() if key in leases]
        new = set[str]()
        for key, (to, why) in self._moves.items():
            if (before := leases.get(key)) == to:
                continue
            if before is not None:
                ended.append(Ended(key, before, why))
            leases[key] = to
            new.add(key)
        self._ends, self._moves = {}, {}
        return ended, new
