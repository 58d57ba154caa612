"""Allocation alone, event after event: what holds after each of them, by sets of names and nothing else.

Small worlds of every shape are in tests/unit/pools/test_allocate_at_random.py; this is one farm, for long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from hotplugd.model.lease import Lease
from hotplugd.model.values import InstanceName
from hotplugd.pools.allocate import Allocation, Asking, allocate
from hotplugd.pools.claims import claims_of
from hotplugd.pools.devices import PoolDevice, PoolDevices
from hotplugd.rules.pattern import Pattern
from hotplugd.rules.pools import Pool
from tests.unit.devices import usb

_POOLS: Final = {name: Pool(name, (Pattern.of("*"),)) for name in ("android", "loose")}
_SERIALS: Final = [f"{first}{number:02}" for first in "AL" for number in range(1, 21)]
_INSTANCES: Final = [InstanceName("default", f"job-{number:02}") for number in range(1, 25)]
_NAMES: Final = ("phone", "other")


@dataclass(frozen=True, slots=True)
class _Claim:
    """A claim in words that are not hotplugd's: how many of which devices."""

    count: int
    fit: frozenset[str]


def live(seed: int, events: int) -> int:
    """So many events. Returns how many leases were given. Raises AssertionError with the event's number."""
    farm, die = _Farm(), Random(seed)
    for number in range(events):
        try:
            farm.event(die, number)
        except AssertionError as error:
            error.add_note(f"seed {seed}, event {number}")
            raise
    return farm.given


class _Farm:
    """Forty devices of two pools, and two dozen instances with up to two claims each.

    given  how many leases there were
    """

    def __init__(self) -> None:
        self.given = 0
        self._devices = PoolDevices()
        self._there: set[str] = set()
        self._unfit: set[str] = set()
        self._claims: dict[tuple[InstanceName, str], tuple[Asking, _Claim]] = {}
        self._leases: Mapping[str, Lease] = {}
        self._releasing: set[str] = set()

    def event(self, die: Random, number: int) -> None:
        """One event, and an allocation. Half of what ended before is out of its instance by then."""
        serial, claim = die.choice(_SERIALS), (die.choice(_INSTANCES), die.choice(_NAMES))
        self._releasing = {each for each in sorted(self._releasing) if die.random() < 0.5}
        match die.randrange(8):
            case 0 | 1:
                self._plug(serial, unfit=die.random() < 0.1)
            case 2:
                self._there.discard(serial)
                self._devices.drop(serial)
            case 3:
                self._claims.pop(claim, None)
            case 4 if claim in self._claims:
                asking, words = self._claims[claim]
                self._claims[claim] = replace(asking, gets=not asking.gets), words
            case _:
                self._claim(*claim, die, number)
        self._see(self._allocate(), claim[0], serial)

    def _plug(self, serial: str, *, unfit: bool) -> None:
        self._there.add(serial)
        (self._unfit.add if unfit else self._unfit.discard)(serial)
        device = usb(f"1-{_SERIALS.index(serial) + 1}", serial=serial)
        self._devices.put(PoolDevice(serial, _pool_of(serial), device, "it is a hub" if unfit else ""))

    def _claim(self, instance: InstanceName, name: str, die: Random, number: int) -> None:
        pool, count = die.choice([*_POOLS]), die.choice((1, 1, 1, 2, 3))
        own = [each for each in _SERIALS if _pool_of(each) == pool]
        only = die.sample(own, 4) if die.random() < 0.3 else []
        text = f"{pool} count={count}" + (f" serial={'|'.join(only)}" if only else "")
        (claim,), problems = claims_of(instance, {name: text}, _POOLS)
        assert not problems
        before = self._claims.get((instance, name))
        order = before[0].order if before is not None else number
        self._claims[instance, name] = (
            Asking(instance, claim, order),
            _Claim(count, frozenset(only or own)),
        )

    def _allocate(self) -> Allocation:
        asking = [each for each, _ in self._claims.values()]
        found = allocate(self._devices, asking, self._leases, self._releasing)
        assert allocate(self._devices, [*reversed(asking)], self._leases, self._releasing) == found
        return found

    def _see(self, found: Allocation, changed: InstanceName, plugged: str) -> None:
        before, after = self._leases, found.leases
        over = {each.key for each in found.ended}
        # Nothing is moved: a lease goes on in its instance or is over, and that only where its claim changed.
        # What is absent cannot be compared with a claim before it is back.
        for key, lease in before.items():
            assert (key in over) != (key in after and after[key].instance == lease.instance), key
            ends = lease.instance == changed or key == plugged
            assert key not in over or ends, f"{key} was taken from {lease.instance}"
        has: dict[tuple[InstanceName, str], set[str]] = {}
        for key, lease in after.items():
            has.setdefault((lease.instance, lease.claim), set()).add(key)
        for claim, keys in has.items():
            asking, words = self._claims[claim]
            assert keys & self._there <= words.fit, f"{claim} has {keys}"
            assert len(keys) <= words.count, f"{claim} has {keys}"
            if gained := keys - before.keys():
                # All at once, of what was free, to somebody who runs.
                assert len(keys) == words.count, f"{claim} has got {gained} of {words.count}"
                assert gained <= self._there - self._unfit - self._releasing - over, (
                    f"{claim} has got {gained}"
                )
                assert asking.gets, f"{claim} has got {gained}"
        self._see_idle(after, has, over)
        self.given += len(found.new)
        self._leases = after
        self._releasing |= over & self._there

    def _see_idle(
        self, after: Mapping[str, Lease], has: Mapping[tuple[InstanceName, str], set[str]], over: set[str]
    ) -> None:
        """No device is free that would complete a claim, but what is kept for one that came before it."""
        free = self._there - self._unfit - self._releasing - over - after.keys()
        in_order = sorted(self._claims, key=lambda each: (self._claims[each][0].order, each))
        for claim in in_order:
            asking, words = self._claims[claim]
            own = has.get(claim, set())
            lack = words.count - len(own)
            there = free & words.fit
            if asking.gets and lack > 0:
                assert len(there) < lack, f"{claim} lacks {lack}, and {sorted(there)} are free"
                if len((words.fit & self._there) - self._unfit - own) >= lack:
                    free -= there


def _pool_of(serial: str) -> str:
    return "android" if serial[0] == "A" else "loose"
