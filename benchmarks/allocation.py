"""What one event costs in the allocation of pools: a thousand devices, 200 instances, 500 claims.

Half of the claims ask for one device by its serial or by patterns, the rest for any of their pool. Most are
bound; the others wait, since there are fewer devices of their kind than claims.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Final

from benchmarks.figure import Figure
from hotplugd.model.lease import Lease
from hotplugd.model.values import Device, InstanceName
from hotplugd.plan.desired import judged
from hotplugd.pools.allocate import Asking, allocate
from hotplugd.pools.claims import claims_of
from hotplugd.pools.devices import PoolDevice, PoolDevices
from hotplugd.pools.leasing import Leasing
from hotplugd.rulefile.load import parse
from hotplugd.rules.pattern import Pattern
from hotplugd.rules.pools import Pool
from tests.support.devices import box, phone

_DEVICES: Final = 1_000
_INSTANCES: Final = 200
_CLAIMS: Final = 500
_POOLS: Final = {name: Pool(name, (Pattern.of("*"),)) for name in ("android", "spare")}
_RULES: Final = parse(
    "pools: {android: {instances: '*'}}\n"
    "rules: [{name: phones, match: {vendor_id: 18d1}, attach: {pool: android}}]",
    "farm",
).rules
_LIMIT: Final = 5.0


def figures(repetitions: int = 50) -> list[Figure]:
    """A plug, a pull, a claim, and everything at once, which is what a start costs."""
    world = _World()
    works = {
        "a device comes or goes": world.plug_or_pull,
        "a claim comes or goes": world.claim_or_withdraw,
    }
    works["a phone is pulled or plugged, with all that follows from rules"] = _Farm().plug_or_pull
    what = f"{_DEVICES:,} devices, {_INSTANCES} instances, {_CLAIMS} claims"
    found = [
        Figure(f"allocation after {event}: {what}", "", "≤", _LIMIT, _cpu(work, repetitions), "ms of CPU")
        for event, work in works.items()
    ]
    return [*found, Figure("the first allocation of all that", "", "≤", 1_000, _cpu(_World, 5), "ms of CPU")]


def _cpu(work: Callable[[], object], repetitions: int) -> float:
    """The median of the CPU's time, in ms: what else the machine does is not in it."""
    took: list[float] = []
    for _ in range(repetitions):
        start = time.process_time()
        work()
        took.append((time.process_time() - start) * 1000)
    return median(took)


class _World:
    """Devices, claims and leases; each change is followed by an allocation."""

    def __init__(self) -> None:
        self.devices = PoolDevices()
        for number in range(_DEVICES):
            self.devices.put(_device(number))
        self.claims = [_asking(number) for number in range(_CLAIMS)]
        self.leases: dict[str, Lease] = {}
        self._allocate(self.claims)
        self._withdrawn = False

    def plug_or_pull(self) -> None:
        """A device that is leased goes, or comes back."""
        if "phone-0" in self.devices:
            self.devices.drop("phone-0")
            self.leases.pop("phone-0", None)
        else:
            self.devices.put(_device(0))
        self._allocate(self.claims)

    def claim_or_withdraw(self) -> None:
        """A claim that is bound is withdrawn, or made again."""
        self._withdrawn = not self._withdrawn
        self._allocate(self.claims[1:] if self._withdrawn else self.claims)

    def _allocate(self, claims: list[Asking]) -> None:
        self.leases = {**allocate(self.devices, claims, self.leases).leases}


class _Farm:
    """The same as the daemon has it: devices as rules judge them, and instances."""

    def __init__(self) -> None:
        self.leasing = Leasing(_RULES)
        self._phones = [phone(number, f"R5C{number:04}") for number in range(_DEVICES)]
        for device in self._phones:
            self._tell(device)
        for number in range(_INSTANCES):
            texts = {f"p{claim}": "android" for claim in range(_CLAIMS // _INSTANCES + number % 2)}
            instance = replace(box(name=f"c{number}"), claims=texts, created=f"{number:04}")
            self.leasing.learned(instance.id, instance)
        self.leasing.settle(lambda _: ())
        self._plugged = True

    def plug_or_pull(self) -> None:
        """A phone that is leased goes, or comes back."""
        if self._plugged:
            self.leasing.gone(self._phones[0].key)
        else:
            self._tell(self._phones[0])
        self._plugged = not self._plugged
        self.leasing.settle(lambda _: ())

    def _tell(self, device: Device) -> None:
        self.leasing.judged(judged(_RULES, device, lambda _: False, holder=self.leasing.holder))


def _device(number: int) -> PoolDevice:
    pool = "android" if number % 3 else "spare"
    return PoolDevice(f"phone-{number}", pool, phone(number, f"R5C{number:04}"))


def _asking(number: int) -> Asking:
    """Two of five ask for a phone that does not come free, or does not exist; the rest get one."""
    instance = InstanceName("default", f"c{number % _INSTANCES}")
    kinds = (
        "android",
        f"android serial=R5C{number:04}",
        f"spare count=2 serial=R5C*{number % 10}",
        f"android serial=R5C000{number % 10}|R5C001*",
        "spare",
    )
    (claim,), problems = claims_of(instance, {f"c{number}": kinds[number % len(kinds)]}, _POOLS)
    assert not problems
    return Asking(instance, claim, number)
