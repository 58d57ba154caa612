"""What is wrong with claims and pools: too few devices, and some that nobody can tell. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Final

from hotplugd.model.problem import Problem
from hotplugd.model.text import counted, quoted
from hotplugd.plan.identity import apart
from hotplugd.pools.allocate import Allocation
from hotplugd.pools.devices import PoolDevice, PoolDevices
from hotplugd.pools.health import Health
from hotplugd.pools.units import PoolUnits
from hotplugd.rules.hubs import Hubs
from hotplugd.rules.keys import LOCATION
from hotplugd.rules.ruleset import RuleSet

_MOST_SHOWN: Final = 16


def wrong(
    rules: RuleSet, allocation: Allocation, units: PoolUnits, health: Mapping[str, Health]
) -> Iterator[Problem]:
    """All of these problems. health: of devices of which it is known, by their keys"""
    yield from cannot_be_met(allocation)
    yield from too_few(rules, units.devices)
    yield from in_edl(units.in_edl, allocation.leases, rules.hubs)
    yield from same_identity(units.twins)
    yield from bad(units.devices, allocation.leases, health, rules.hubs)


def cannot_be_met(allocation: Allocation) -> Iterator[Problem]:
    """A problem for each claim that somebody wrote and for which there are not so many devices."""
    for state in allocation.claims:
        if state.state == "unsatisfiable" and state.asking.claim.asked:
            who, claim = state.asking.instance, state.asking.claim.name
            message = f"{who}: claim '{claim}' cannot be met: {state.reason}"
            yield Problem("", "", message, instance=str(who), claim=claim, pool=state.asking.claim.pool)


def too_few(rules: RuleSet, devices: PoolDevices) -> Iterator[Problem]:
    """A problem for each pool with fewer devices than `expect` says."""
    for pool in rules.pools.values():
        number = devices.of_pool(pool.name).bit_count()
        if number < pool.expect:
            message = f"pool '{pool.name}' has {counted(number, 'device')}, and should have {pool.expect}"
            yield Problem("", "", message + _nothing_in(rules, pool.name, devices), pool=pool.name)


def in_edl(phones: Mapping[str, PoolDevice], leases: Container[str], hubs: Hubs) -> Iterator[Problem]:
    """A problem for each phone in emergency download mode that nobody has, which names its port."""
    for key, known in phones.items():
        if key not in leases:
            device = known.device
            place = hubs.location(device) or device.kernel
            message = (
                f"{device} at {place} is given to nobody: {known.reason}; look at the phone there and "
                f"restart it, or attach it by hand"
            )
            yield Problem(str(device), "", message, pool=known.pool, place=place)


def bad(
    devices: PoolDevices, leases: Container[str], health: Mapping[str, Health], hubs: Hubs
) -> Iterator[Problem]:
    """A problem for each bad device that nobody has: while somebody has it, that is told of who has it."""
    for key, its in sorted(health.items()):
        known = devices.get(key)
        if its.state == "bad" and known is not None and key not in leases:
            device, name = known.device, quoted(key)
            place = hubs.location(device) or device.kernel
            message = (
                f"{device} at {place} is given to nobody: {its.not_given}; put it right and plug it in "
                f"anew, or `hotplugd uncordon {name}` where it is right"
            )
            yield Problem(str(device), "", message, pool=known.pool, place=place)


def same_identity(twins: Iterable[tuple[PoolDevice, PoolDevice]]) -> Iterator[Problem]:
    """A problem for each device that came when another of its serial number was there."""
    for first, came in twins:
        key, its, own = apart(first.device, came.device)
        message = (
            f"two devices are known as {quoted(first.key)}: {first.device} at {its}, and {came.device} at "
            f"{own}, which came later and is known by its place alone: tell them apart with `{key}`, or have "
            f"another serial number written into one"
        )
        yield Problem(str(came.device), "", message, pool=came.pool)


def empty_places(rules: RuleSet, pool: str, devices: PoolDevices) -> list[str]:
    """The locations that rules of the pool ask for and in which no device of it is, in the hubs' order."""
    tests = [
        test
        for rule in rules.rules
        if rule.enabled and rule.attach is not None and rule.attach.pool == pool
        for test in rule.match.key_tests()
        if test.key.name == LOCATION.name
    ]
    key = next(key for key in rules.keys if key.name == LOCATION.name)
    taken = {value for known in devices if known.pool == pool for value in key.values(known.device)}
    every = (hub.location(label) for hub in rules.hubs.hubs for label in hub.ports)
    return [
        location
        for location in every
        if location not in taken and any(test.matches(location) for test in tests)
    ]


def _nothing_in(rules: RuleSet, pool: str, devices: PoolDevices) -> str:
    places = empty_places(rules, pool, devices)
    if not places:
        return ""
    more = f" and {len(places) - _MOST_SHOWN} more" if len(places) > _MOST_SHOWN else ""
    return f"; nothing of it is in {', '.join(places[:_MOST_SHOWN])}{more}"
