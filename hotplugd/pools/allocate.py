"""Which device of a pool goes to which instance. Pure: the same state gives the same result.

    PoolDevices x Asking x Lease -> Allocation     `allocate`

- A lease is never moved to make room. It ends when its claim is withdrawn, or takes the device no more.
- A device has one lease at most. One whose lease ended is nobody's before its entry is out of the instance.
- Claims are served in their order. A claim gets what it lacks all at once, or nothing of it, and until then
  what would do for it is kept from those that come later. A pool's devices that nobody claimed go one by one.
- Of the devices that will do, a claim gets those that the fewest of the claims that still wait could use.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, Literal

from hotplugd.model.lease import Lease
from hotplugd.model.text import counted, quoted
from hotplugd.model.values import InstanceName
from hotplugd.pools.claims import Claim
from hotplugd.pools.cordons import Cordon
from hotplugd.pools.devices import PoolDevices
from hotplugd.pools.supply import Supplies, Supply


def _may_ask(_: InstanceName) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Asking:
    """A claim of an instance.

    order  a smaller number is served first; of the same number by the names
    gets   whether it gets more than it has: an instance that is stopped does not
    cordon  why the instance gets nothing more although it runs; None where it may
    """

    instance: InstanceName
    claim: Claim
    order: int = 0
    gets: bool = True
    cordon: Cordon | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A lease that is over, and why."""

    key: str
    lease: Lease
    why: str


@dataclass(frozen=True, slots=True)
class ClaimState:
    """What has become of a claim.

    state     bound: it has all that it asks for; waiting: there are such devices, and they are taken;
              unsatisfiable: there are not so many of them
    has       the keys of the devices that it has
    devices   how many devices its pool has, with those that are leased and absent
    will_do   how many of these will do, with those that are given to nobody now: `unfit` of them
    free      how many that will do are kept for it until there are enough
    kept_for  a claim before it for which devices are kept that would do for this one
    """

    asking: Asking
    state: Literal["bound", "waiting", "unsatisfiable"]
    has: tuple[str, ...] = ()
    devices: int = 0
    will_do: int = 0
    unfit: int = 0
    free: int = 0
    kept_for: Asking | None = None

    @property
    def reason(self) -> str:
        """Why it waits, or cannot be had; empty where it is bound."""
        claim, pool = self.asking.claim, f"pool '{self.asking.claim.pool}'"
        if self.state == "bound":
            return ""
        with_selector = f" with {quoted(claim.selector)}" if claim.selector else ""
        such = f"{counted(self.will_do, 'device')} of {pool}{with_selector}"
        if self.asking.cordon is not None:
            return f"{self.asking.instance} is {self.asking.cordon}"
        if self.state == "waiting":
            return f"{such}, of which {self._taken()}"
        if not self.devices:
            return f"{pool} has no device"
        if not self.will_do:
            # Without their number: claims of this kind are not told of anew with each device that comes.
            return f"none of the devices of {pool} is one{with_selector}"
        kept = f", {self.unfit} of which cannot be given to anybody: `hotplugd pool {claim.pool}` says why"
        return f"it asks for {claim.count}, and there {_be(self.will_do)} {such}{kept if self.unfit else ''}"

    def _taken(self) -> str:
        if self.kept_for is not None:
            other = self.kept_for
            return f"what is free is kept for {other.instance}, which waits for {other.claim.count}"
        if self.free or self.has:
            free = f"{self.free} {_be(self.free)} free" if self.free else "none is free"
            return f"{free}, and it lacks {self.asking.claim.count - len(self.has)}"
        return "none is free"


@dataclass(frozen=True, slots=True)
class Allocation:
    """The leases by their devices' keys, what became of them, and of each claim."""

    leases: Mapping[str, Lease] = field(default_factory=dict)
    new: tuple[str, ...] = ()
    ended: tuple[Ended, ...] = ()
    claims: tuple[ClaimState, ...] = ()


NO_ALLOCATION: Final = Allocation()


def allocate(
    devices: PoolDevices,
    asking: Iterable[Asking],
    leases: Mapping[str, Lease],
    releasing: AbstractSet[str] = frozenset(),
    silence: Callable[[InstanceName], str] = _may_ask,
) -> Allocation:
    """The leases as they should be.

    asking     all claims
    leases     those that there are, by the devices' keys; a device may be away
    releasing  the keys of devices that an instance may have whose lease is over
    silence    why an instance asks for nothing; empty where it may ask
    """
    served = sorted(asking, key=lambda each: (each.order, *_name(each.instance, each.claim.name)))
    supplies = Supplies(devices)
    turns = [_Turn(each, supplies.of(each.claim)) for each in served]
    kept, ended = _kept(devices, turns, leases, silence)
    taken = devices.unfit
    for key in (*leases, *releasing):
        taken |= devices.bit(key)
    new = _Serving(devices, taken).serve(turns)
    states = tuple(state for turn in turns if (state := turn.state(devices)) is not None)
    return Allocation({**kept, **new}, tuple(sorted(new)), tuple(ended), states)


class _Turn:
    """A claim while the allocation is made.

    supply    what there is for it
    takes     the set of the devices that will do
    has       the keys of the devices that it has
    lacks     how many it lacks
    kept      the set of the free devices that are kept for it
    kept_for  a claim before it for which devices are kept that would do
    """

    __slots__ = ("asking", "has", "kept", "kept_for", "lacks", "supply", "takes")

    def __init__(self, asking: Asking, supply: Supply) -> None:
        self.asking = asking
        self.supply = supply
        self.takes = supply.takes
        self.has: list[str] = []
        self.lacks = asking.claim.count
        self.kept = 0
        self.kept_for: Asking | None = None

    def fits(self, devices: PoolDevices, key: str) -> bool:
        """Whether it lacks such a device."""
        return self.lacks > 0 and devices.may_keep(self.asking.claim, self.takes, key)

    def give(self, key: str) -> None:
        """It has this one from now on."""
        self.has.append(key)
        self.lacks -= 1

    def can(self, devices: PoolDevices) -> bool:
        """Whether there are as many devices as it lacks that somebody may be given, whoever has them, or may
        once they are in another mode.
        """
        fit, absent = self.supply.fit, self.supply.absent
        for key in self.has:
            fit &= ~devices.bit(key)
        there = fit.bit_count() + (len(absent.difference(self.has)) if absent else 0)
        return there >= (self.lacks if self.asking.claim.asked else 1)

    def state(self, devices: PoolDevices) -> ClaimState | None:
        """What has become of it; None of an instance that gets nothing and lacks something."""
        asking, supply = self.asking, self.supply
        if not self.lacks:
            return ClaimState(asking, "bound", tuple(self.has))
        if not asking.gets:
            return None
        return ClaimState(
            asking,
            "waiting" if asking.cordon is not None or self.can(devices) else "unsatisfiable",
            tuple(self.has),
            supply.devices,
            supply.will_do,
            supply.unfit,
            self.kept.bit_count(),
            self.kept_for,
        )


def _kept(
    devices: PoolDevices,
    turns: Sequence[_Turn],
    leases: Mapping[str, Lease],
    silence: Callable[[InstanceName], str],
) -> tuple[dict[str, Lease], list[Ended]]:
    """The leases that go on, and those that are over.

    One whose claim is there no more goes on by another claim of its instance that lacks such a device.
    """
    by_name = {_name(turn.asking.instance, turn.asking.claim.name): turn for turn in turns}
    kept: dict[str, Lease] = {}
    over: list[str] = []
    for key in sorted(leases):
        turn = by_name.get(_name(leases[key].instance, leases[key].claim))
        if turn is not None and turn.fits(devices, key):
            turn.give(key)
            kept[key] = leases[key]
        else:
            over.append(key)
    ended: list[Ended] = []
    for key in over:
        lease = leases[key]
        own = (turn for turn in turns if turn.asking.instance == lease.instance)
        other = next((turn for turn in own if turn.lacks and turn.takes & devices.bit(key)), None)
        if other is None:
            turn = by_name.get(_name(lease.instance, lease.claim))
            ended.append(Ended(key, lease, _why_over(lease, turn.asking.claim if turn else None, silence)))
        else:
            other.give(key)
            kept[key] = Lease(lease.instance, other.asking.claim.name)
    return kept, ended


def _name(instance: InstanceName, claim: str) -> tuple[str, str, str]:
    """What a claim is known by: texts, which are compared far faster than what they are of."""
    return instance.project, instance.name, claim


def _why_over(lease: Lease, claim: Claim | None, silence: Callable[[InstanceName], str]) -> str:
    if why := silence(lease.instance):
        return why
    if claim is not None:
        return f"claim '{quoted(lease.claim)}' asks for {claim} now"
    return f"claim '{quoted(lease.claim)}' is withdrawn"


class _Serving:
    """Gives free devices to claims, one after the other.

    taken  the set of the devices that are somebody's, or are given to nobody now
    """

    def __init__(self, devices: PoolDevices, taken: int) -> None:
        self._devices = devices
        self._taken = taken
        self._demand: dict[str, _Demand] = {}
        # The claims that wait and whose turn has not come.
        self._waiting: deque[_Turn] = deque()
        # For whom devices of a pool are kept.
        self._kept: dict[str, list[_Turn]] = {}

    def serve(self, turns: Sequence[_Turn]) -> dict[str, Lease]:
        """Gives each claim what it gets. Returns the new leases."""
        wait = [turn for turn in turns if turn.lacks and turn.asking.gets and turn.asking.cordon is None]
        possible = [turn for turn in wait if turn.can(self._devices)]
        self._waiting.extend(possible)
        new: dict[str, Lease] = {}
        for turn in wait:
            claim = turn.asking.claim
            if self._waiting and self._waiting[0] is turn:
                self._waiting.popleft()
                if claim.pool in self._demand:
                    self._demand[claim.pool].remove(turn.takes)
                given = self._given(turn)
                new.update(dict.fromkeys(given, Lease(turn.asking.instance, claim.name)))
            if turn.lacks:
                kept = self._kept.get(claim.pool, ())
                other = next((other for other in kept if other is not turn and other.kept & turn.takes), None)
                turn.kept_for = other.asking if other is not None and not turn.kept else None
        return new

    def _given(self, turn: _Turn) -> list[str]:
        """The keys of the devices that it gets now; keeps what is free for it where that is too little."""
        claim, free = turn.asking.claim, turn.takes & ~self._taken
        there, given = free.bit_count(), list[str]()
        if claim.asked and there < turn.lacks:
            if there:
                self._taken |= free
                turn.kept = free
                self._kept.setdefault(claim.pool, []).append(turn)
            return given
        while turn.lacks and free:
            least = free if free.bit_count() == turn.lacks else self._demand_of(claim.pool).least(free)
            key = min(self._devices.keys(least))
            free &= ~self._devices.bit(key)
            self._taken |= self._devices.bit(key)
            turn.give(key)
            given.append(key)
        return given

    def _demand_of(self, pool: str) -> _Demand:
        """How many of the claims that still wait could use each device of a pool."""
        if pool not in self._demand:
            self._demand[pool] = _Demand()
            for turn in self._waiting:
                if turn.asking.claim.pool == pool:
                    self._demand[pool].add(turn.takes)
        return self._demand[pool]


class _Demand:
    """How many claims could use each device: the digits of all counts, in base 2, as sets of devices."""

    def __init__(self) -> None:
        self._digits: list[int] = []

    def add(self, devices: int) -> None:
        """One more claim could use these."""
        for place, digit in enumerate(self._digits):
            if not devices:
                return
            self._digits[place], devices = digit ^ devices, digit & devices
        if devices:
            self._digits.append(devices)

    def remove(self, devices: int) -> None:
        """One claim fewer could use these."""
        for place, digit in enumerate(self._digits):
            if not devices:
                return
            self._digits[place], devices = digit ^ devices, ~digit & devices

    def least(self, devices: int) -> int:
        """Those of the devices that the fewest claims could use."""
        for digit in reversed(self._digits):
            devices = devices & ~digit or devices
        return devices


def _be(number: int) -> str:
    return "is" if number == 1 else "are"
