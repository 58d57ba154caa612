"""The devices of all pools, and which of them each claim takes. Pure.

Sets of devices are whole numbers, one bit a device: a thousand devices of five hundred claims are compared in
some hundred microseconds. Each claim's set is kept, and a device that comes is compared with each selector
once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from hotplugd.model.values import Device
from hotplugd.pools import edl
from hotplugd.pools.claims import Claim
from hotplugd.pools.unit_key import unit_key


@dataclass(frozen=True, slots=True)
class PoolDevice:
    """A device of a pool.

    key     what it is known by, also after it was enumerated again
    device  as it is there
    unfit   why it cannot be put into an instance now, or empty; whoever has it inside keeps it
    not_given  why it is given to nobody who has it not, or empty: it is cordoned, or its health is bad
    edl     why it is given to nobody in the emergency download mode that it is in; empty in any other mode
    was     in that mode, as it was before; None where nobody knows
    """

    key: str
    pool: str
    device: Device
    unfit: str = ""
    not_given: str = ""
    edl: str = ""
    was: Device | None = None

    @property
    def reason(self) -> str:
        """Why it is given to nobody now, or empty; whoever has it keeps it."""
        return self.unfit or self.not_given or self.edl

    @property
    def in_edl(self) -> bool:
        """Whether it is in emergency download mode, where it is not what selectors ask for."""
        return bool(self.edl)

    @property
    def is_known(self) -> bool:
        """Whether it is known which device it is: of one in that mode alone it may not be."""
        return not self.in_edl or self.key != unit_key(self.device)

    @property
    def comes_back(self) -> bool:
        """Whether nothing is in the way but that mode, and it is known which phone it is."""
        kept = self.unfit or self.not_given
        return self.in_edl and not kept and self.is_known

    @property
    def lasting(self) -> Device | None:
        """As it is in no such mode; None where nobody knows."""
        return self.was if self.in_edl else self.device

    def will_do(self, claim: Claim) -> bool:
        """Whether a claim takes it. In emergency download mode its ids are another device's, and it does not
        say its serial number: it is taken for what it was, or by what stays, where nobody knows that.
        """
        if not self.in_edl or not self.is_known:
            return claim.takes(self.device)
        if self.was is not None:
            return claim.takes(self.was)
        return claim.may_take(edl.with_serial(self.device, self.key), edl.STAYS)


class PoolDevices:
    """Devices by key. What it answers depends on the devices in it, and not on how they came there."""

    def __init__(self) -> None:
        self._devices: dict[str, PoolDevice] = {}
        self._bits: dict[str, int] = {}
        self._at: list[str] = []
        self._unused: list[int] = []
        self._pools: dict[str, int] = {}
        self._unfit = 0
        self._coming_back = 0
        # The keys of those that udevd has not processed.
        self._early: set[str] = set()
        # By pool and selector, with a claim of that selector.
        self._taken: dict[tuple[str, str], tuple[int, Claim]] = {}
        self._absent: Mapping[str, tuple[str, Device | None]] = {}
        # By pool and selector the keys of the absent ones.
        self._absent_taken: dict[tuple[str, str], frozenset[str]] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._devices

    def __iter__(self) -> Iterator[PoolDevice]:
        return iter(self._devices.values())

    def get(self, key: str) -> PoolDevice | None:
        """The device of that key, if there is one."""
        return self._devices.get(key)

    def put(self, device: PoolDevice) -> bool:
        """A device is there, and like this. Returns whether another allocation may come of that."""
        before = self._devices.get(device.key)
        if before == device:
            return False
        taken_before = self._claims_on(device.key)
        if before is not None:
            self.drop(device.key)
        position = self._unused.pop() if self._unused else len(self._at)
        if position == len(self._at):
            self._at.append("")
        bit = 1 << position
        self._devices[device.key], self._bits[device.key], self._at[position] = device, bit, device.key
        self._pools[device.pool] = self._pools.get(device.pool, 0) | bit
        if device.reason:
            self._unfit |= bit
        if device.comes_back:
            self._coming_back |= bit
        if device.device.early:
            self._early.add(device.key)
        for name, (taken, claim) in self._taken.items():
            if claim.pool == device.pool and device.will_do(claim):
                self._taken[name] = taken | bit, claim
        is_same = before is not None and replace(before, device=device.device) == device
        return not is_same or self._claims_on(device.key) != taken_before

    def drop(self, key: str) -> None:
        """A device is not there any more. It need not have been."""
        device = self._devices.pop(key, None)
        if device is None:
            return
        self._early.discard(key)
        bit = self._bits.pop(key)
        self._unused.append(bit.bit_length() - 1)
        self._pools[device.pool] &= ~bit
        self._unfit &= ~bit
        self._coming_back &= ~bit
        for name, (taken, claim) in self._taken.items():
            if taken & bit:
                self._taken[name] = taken & ~bit, claim

    def of_pool(self, pool: str) -> int:
        """The set of a pool's devices."""
        return self._pools.get(pool, 0)

    @property
    def unfit(self) -> int:
        """The set of those that are given to nobody now."""
        return self._unfit

    @property
    def useless(self) -> int:
        """The set of those without the phones that come back from emergency download mode."""
        return self._unfit & ~self._coming_back

    @property
    def early(self) -> tuple[PoolDevice, ...]:
        """Those that udevd has not processed."""
        return tuple(map(self._devices.__getitem__, self._early))

    def bit(self, key: str) -> int:
        """The set of this device alone; none where it is not there."""
        return self._bits.get(key, 0)

    def keys(self, devices: int) -> Iterator[str]:
        """The keys of a set's devices, in no order that means anything."""
        while devices:
            lowest = devices & -devices
            yield self._at[lowest.bit_length() - 1]
            devices ^= lowest

    def taken_by(self, claim: Claim) -> int:
        """The set of the devices that will do for a claim."""
        name = claim.pool, claim.selector
        known = self._taken.get(name)
        if known is not None:
            return known[0]
        taken = self.of_pool(claim.pool)
        if claim.selector:
            for key in self.keys(taken):
                if not self._devices[key].will_do(claim):
                    taken ^= self._bits[key]
        self._taken[name] = taken, claim
        return taken

    def _claims_on(self, key: str) -> list[tuple[str, str]]:
        """The pools and selectors that a device will do for."""
        bit = self.bit(key)
        return [name for name, (taken, _) in self._taken.items() if taken & bit]

    def set_absent(self, absent: Mapping[str, tuple[str, Device | None]]) -> None:
        """These are leased and absent, by key: the pool of each, and what selectors are compared with; None
        where nobody knows that.
        """
        if self._absent != absent:
            self._absent, self._absent_taken = absent, {}

    def absent_of_pool(self, pool: str) -> int:
        """How many of a pool's devices are leased and absent."""
        return sum(pool == of for of, _ in self._absent.values())

    def absent_for(self, claim: Claim) -> frozenset[str]:
        """The keys of those that are leased and absent, and would do for a claim, as far as is known."""
        name = claim.pool, claim.selector
        if name not in self._absent_taken:
            self._absent_taken[name] = frozenset(
                key
                for key, (pool, device) in self._absent.items()
                if pool == claim.pool and (device is None or claim.takes(device))
            )
        return self._absent_taken[name]

    def may_keep(self, claim: Claim, taken: int, key: str) -> bool:
        """Whether a claim may keep a device that it has.

        One that is away, or in emergency download mode, cannot be compared with anything; one that udevd has
        not processed not with everything.

        taken  the set of the devices that will do for the claim
        """
        device, bit = self._devices.get(key), self.bit(key)
        if device is not None and (device.in_edl or claim.may_ask_udev(device.device)):
            return self.of_pool(claim.pool) & bit != 0
        return device is None or taken & bit != 0

    def forget_others(self, claims: Iterable[Claim]) -> None:
        """Keep the sets of these claims alone: whoever edits instances may write new ones all the time."""
        used = {(claim.pool, claim.selector) for claim in claims}
        if len(self._taken) > 2 * len(used):
            self._taken = {name: known for name, known in self._taken.items() if name in used}
        if len(self._absent_taken) > 2 * len(used):
            self._absent_taken = {name: keys for name, keys in self._absent_taken.items() if name in used}
