"""What people mean by a name in what they ask about leases: a device, a location, an instance or a pool."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hotplugd.app.control_request import Forbidden
from hotplugd.app.device_request import DeviceRequest
from hotplugd.app.find import named
from hotplugd.app.grants import Grant, Verb, not_for_all
from hotplugd.app.permitted import see_may
from hotplugd.app.refusal import Refusal, none_called, several_called
from hotplugd.app.session import Session
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, InstanceName
from hotplugd.pools.cordons import Cordon, CordonKind, Cordons
from hotplugd.pools.leasing import Leasing
from hotplugd.pools.unit_key import key_before
from hotplugd.rules.pattern import Pattern, PatternError
from hotplugd.rules.pools import Pool

# The longest glob: compiling one of 64 KiB blocks the event loop for a second.
_LONGEST_PATTERN: Final = 1024


@dataclass(frozen=True, slots=True)
class Target:
    """What a name means. name: as in `Cordon`; keys: the devices that it is about, as leases know them."""

    kind: CordonKind
    name: str
    told: str
    keys: tuple[str, ...] = ()


def meant(session: Session, words: DeviceRequest) -> Target:
    """A location, a device, an instance or a pool, in this order. Raises Refusal."""
    if (location := _location(session, words.device)) is not None:
        return location
    name, devices = _instance(words), _devices(session, words)
    if not devices and session.reconciler.knows(name):
        return Target("instance", f"{name.project}/{name.name}", str(name))
    if not devices and (pool := _pool(session, words.device)) is not None:
        return pool
    return device(session, words)


def _location(session: Session, name: str) -> Target | None:
    if name.startswith("/") or len(name) > _LONGEST_PATTERN:
        return None
    try:
        pattern = Pattern.of(name)
    except PatternError:
        return None
    if not any(map(pattern.matches, session.rules.hubs.locations)):
        return None
    leasing, hubs = leasing_of(session), session.rules.hubs
    at = [known.key for known in leasing.devices if pattern.matches(hubs.location(known.device))]
    # What is leased and absent, as while it reboots, comes back there.
    at += [each.key for each in leasing.away if pattern.matches(leasing.away.location(each, hubs))]
    return Target("location", name, f"location {name}", tuple(at))


def _pool(session: Session, name: str) -> Target | None:
    leasing = leasing_of(session)
    if name not in leasing.rules.pools:
        return None
    there = (each.key for each in leasing.devices if each.pool == name)
    absent = (each.key for each in leasing.away.with_edl if each.pool == name)
    return Target("pool", name, f"pool {name}", tuple(dict.fromkeys((*there, *absent))))


def _instance(words: DeviceRequest) -> InstanceName:
    return InstanceName(words.project, words.device)


def _devices(session: Session, words: DeviceRequest) -> list[Device]:
    inventory = session.reconciler.inventory.devices.values()
    return named(words.device, inventory, words.real, session.rules.hubs)


def device(session: Session, words: DeviceRequest) -> Target:
    """One device of a pool, or one that is absent and leased. Raises Refusal."""
    leasing, found = leasing_of(session), _devices(session, words)
    by_key = {key: each for each in found if (key := leasing.key_of(each))}
    absent = [each.key for each in leasing.away.with_edl if _is_called(each.key, words.device)]
    if len(by_key) > 1:
        raise several_called(words.device, by_key.values())
    if by_key:
        ((key, one),) = by_key.items()
        return Target("device", key, str(one), (key,))
    if len(absent) == 1:
        return Target("device", absent[0], absent[0], (absent[0],))
    if found:
        raise Refusal(f"{found[0]} is of no pool; `hotplugd explain {found[0]}` says why")
    if words.device in leasing.rules.pools:
        raise Refusal(
            f"{words.device} is a pool; name one of its devices; `hotplugd pool {words.device}` has them"
        )
    raise none_called(session, words.device, words.real)


def leased(session: Session, of: Target) -> list[str]:
    """Which of the target's devices are leased."""
    leases = leasing_of(session).allocation.leases
    if of.kind == "instance":
        return [key for key, lease in leases.items() if _path(lease.instance) == of.name]
    return [key for key in of.keys if key in leases]


def cordoned(
    session: Session, words: DeviceRequest, cordons: Cordons, others: Collection[str]
) -> list[Cordon]:
    """What is cordoned by that name, whether it is there or not. Raises Refusal where that is nothing.

    others  devices of that name for which there is something else to do
    """
    leasing = leasing_of(session)
    devices = [(leasing.key_of(each), each) for each in _devices(session, words)]
    keys = {name for key, each in devices for name in (key, key_before(key, each))}
    instance = f"{words.project}/{words.device}"
    found = [
        each
        for each in cordons
        if (each.kind == "location" and each.name == words.device)
        or (each.kind == "instance" and each.name == instance)
        or (each.kind == "pool" and each.name == words.device)
        or (each.kind == "device" and (each.name in keys or _is_called(each.name, words.device)))
    ]
    if not found and not others:
        raise Refusal(
            f"{quoted(words.device)} is not cordoned, and neither bad nor in quarantine; `hotplugd pool` has "
            f"what is"
        )
    return found


def see_granted(
    verb: Verb, session: Session, of: Target, instances: Iterable[InstanceName], grant: Grant
) -> None:
    """See whether this may be asked for. Raises Forbidden.

    Of an instance, or of leases, by whoever may ask that for the instances concerned; of devices, by whoever
    may for all instances that their pools admit; of a pool likewise; of locations, by whoever may for those
    of all pools. Whose grant is for some pools may not ask it of an instance: it may have devices of any.
    """
    if grant.all:
        return
    concerned = [*instances]
    if of.kind == "instance":
        project, _, name = of.name.partition("/")
        concerned.append(InstanceName(project, name))
    if not concerned:
        admits, pools = _pools_of(session, of)
        if not pools or not all(grant.covers(verb, each) for each in pools):
            raise Forbidden(not_for_all(of.told, admits, verb))
        return
    leasing = leasing_of(session)
    away = {each.key: each.pool for each in leasing.away.with_edl}
    there = ((key, leasing.devices.get(key)) for key in of.keys)
    of_pools = {known.pool if known is not None else away.get(key, "") for key, known in there}
    see_may(verb, of.told, concerned, of_pools, grant)


def _pools_of(session: Session, of: Target) -> tuple[str, Sequence[Pool]]:
    """How a refusal says of which pools a target's devices may be, and those; none where that is unknown."""
    leasing = leasing_of(session)
    pools = leasing.rules.pools
    if of.kind == "location":
        # Devices of any pool may be plugged in there.
        return "any pool admits", [*pools.values()]
    if of.kind == "pool":
        return "it admits", [pools[of.name]]
    known = [leasing.devices.get(key) for key in of.keys]
    there = [pools[each.pool] for each in known if each is not None]
    return "its pool admits", there if len(there) == len(known) else []


def unwell(session: Session, words: DeviceRequest) -> Target:
    """The devices of that name, location or pool that are in quarantine or bad, there or not."""
    leasing, leases = leasing_of(session), session.reconciler.assignments.leases
    several = _location(session, words.device)
    devices = _devices(session, words)
    found = leases.unwell()
    if several is None and not (devices or session.reconciler.knows(_instance(words))):
        pool = _pool(session, words.device)
        if pool is not None:
            absent = {each.key for each in leases.quarantines.all if each.pool == pool.name}
            return replace(pool, keys=tuple(key for key in found if key in absent.union(pool.keys)))
    keys = {*(several.keys if several is not None else map(leasing.key_of, devices))}
    named = [key for key in found if key in keys or _is_called(key, words.device)]
    return Target("device", "", quoted(words.device), tuple(named))


def claim_for(leasing: Leasing, key: str, to: InstanceName, told: str) -> str:
    """The claim by which an instance can have a device. Raises Refusal."""
    known = leasing.devices.get(key)
    if known is None:
        raise Refusal(f"{told} is absent; it can be moved once it is there")
    if known.reason:
        raise Refusal(f"{told} is given to nobody: {known.reason}")
    if leasing.state(key) == "releasing":
        raise Refusal(f"{told} is not out of the instance that had it; `hotplugd pool` says why")
    lease = leasing.allocation.leases.get(key)
    if lease is not None and lease.instance == to:
        raise Refusal(f"{told} is leased to {to} already")
    own = [each for each in leasing.allocation.claims if each.asking.instance == to]
    for state in own:
        claim = state.asking.claim
        lacks = claim.count - len(state.has)
        if claim.pool == known.pool and claim.takes(known.device) and lacks and state.asking.cordon is None:
            if lacks == 1:
                return claim.name
            raise Refusal(f"claim '{quoted(claim.name)}' of {to} lacks {lacks}, and gets all at once")
    have = "; ".join(f"{each.asking.claim.name}: {each.state}" for each in own) or "it has no claim"
    raise Refusal(
        f"no claim of {to} that runs lacks such a device ({have}); write one: "
        f"user.hotplugd.claim.NAME={known.pool}"
    )


def leasing_of(session: Session) -> Leasing:
    """The leases of the session's instances."""
    return session.reconciler.assignments.leases.leasing


def _is_called(key: str, name: str) -> bool:
    """Whether a device is known by this, its identity, or its serial number alone."""
    return name in (key, key.partition(":")[2])


def _path(instance: InstanceName) -> str:
    return f"{instance.project}/{instance.name}"
