"""What a pool has for the claims with one selector: compared once, however many claims have it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from hotplugd.pools.claims import Claim
from hotplugd.pools.devices import PoolDevices


@dataclass(frozen=True, slots=True)
class Supply:
    """What there is for all claims of one pool and selector.

    takes    the set of the devices that will do
    fit      those of them that somebody may be given, whoever has them, or may once they are in another mode
    absent   the keys of the leased ones that are absent and would do
    devices  how many devices the pool has, with those that are leased and absent
    will_do  how many of these will do, with those that are given to nobody now: `unfit` of them
    """

    takes: int
    fit: int
    absent: frozenset[str]
    devices: int
    will_do: int
    unfit: int


class Supplies:
    """The supplies of one allocation, during which the devices stay what they are."""

    def __init__(self, devices: PoolDevices) -> None:
        self._devices = devices
        self._known: dict[tuple[str, str], Supply] = {}

    def of(self, claim: Claim) -> Supply:
        """What there is for a claim."""
        name = claim.pool, claim.selector
        if (found := self._known.get(name)) is not None:
            return found
        devices = self._devices
        takes, absent = devices.taken_by(claim), devices.absent_for(claim)
        found = self._known[name] = Supply(
            takes,
            takes & ~devices.useless,
            absent,
            devices.of_pool(claim.pool).bit_count() + devices.absent_of_pool(claim.pool),
            takes.bit_count() + len(absent),
            (takes & devices.useless).bit_count(),
        )
        return found
