"""The JSON of pools, claims and leases: `pool --json`, `lease list --json`, and what others say of them.

The keys stay. What is attached is in `status`; here is what is leased, and what waits.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import TypedDict

from hotplugd.app.naming import NamedJson, named_json
from hotplugd.model.text import natural, quoted
from hotplugd.model.values import Device
from hotplugd.plan.identity import identity
from hotplugd.pools.allocate import ClaimState
from hotplugd.pools.away_leases import Away
from hotplugd.pools.expected import empty_places
from hotplugd.pools.leasing import Leasing
from hotplugd.rules.duration import in_words
from hotplugd.rules.keys import PORT


class LeaseJson(NamedJson):
    """A device of a pool, and whose it is. state: `free`, `leased`, `cordoned`, or `releasing`: its lease is
    over, and it may still be in an instance, or open there. reason: why it is given to nobody now, or
    empty. project, instance, claim: whose lease it is, and by which claim; empty where it has none.
    since: when it was attached, ISO 8601; empty where it is not. state_since: since when the state is so,
    ISO 8601; empty where it was so when hotplugd started. present: whether the device is there; what is
    leased and absent has no name. health: `good`, `unknown`, `bad` or `quarantined`; health_reason: why;
    health_since: since when, ISO 8601; both may be empty.
    """

    device: str
    identity: str
    pool: str
    state: str
    reason: str
    project: str
    instance: str
    claim: str
    since: str
    state_since: str
    present: bool
    health: str
    health_reason: str
    health_since: str


class ClaimJson(TypedDict):
    """What an instance asks of a pool. claim: its name; that of the pool where nobody wrote the claim. count:
    how many devices. selector: the patterns that they must meet. state: `bound`, `waiting` where there are
    such devices and they are taken, or `unsatisfiable` where there are not so many. reason: why it is not
    bound. has: the identities of the devices that it has, also of absent ones.
    """

    project: str
    instance: str
    claim: str
    pool: str
    count: int
    selector: str
    state: str
    reason: str
    has: list[str]


class PoolJson(TypedDict):
    """A pool, its devices and its claims, in the order in which they are served. instances: patterns. empty:
    locations that its rules ask for and in which nothing of it is.
    """

    name: str
    project: str
    instances: list[str]
    per_instance: int
    keep_stopped: bool
    expect: int
    empty: list[str]
    devices: list[LeaseJson]
    claims: list[ClaimJson]


class CordonJson(TypedDict):
    """What is cordoned. kind: `device`, `location`, `instance` or `pool`; name: the device's identity, a
    pattern of locations, PROJECT/NAME, or the pool's. since: ISO 8601. uid, user: who asked; login: who had
    logged in.
    """

    kind: str
    name: str
    reason: str
    since: str
    uid: int
    user: str
    login: str


class PoolsJson(TypedDict):
    """`pool --json`. cordons: what is cordoned, of whichever pool."""

    pools: list[PoolJson]
    cordons: list[CordonJson]


class LeaseOrderJson(TypedDict):
    """`lease release --json`, `lease move --json`, `cordon --json`, `uncordon --json` and `drain --json`.
    taken: whether it is so now; else nothing was changed. done: whether every instance concerned has what it
    should have by then. message: what came of it, or why nothing did; more: further lines. leases: those that
    were ended or moved as they were before, or that would be.
    """

    taken: bool
    done: bool
    message: str
    more: list[str]
    leases: list[LeaseJson]


class LeasesJson(TypedDict):
    """`lease list --json`: the devices of all pools that are leased, or that are being released."""

    leases: list[LeaseJson]


def pools_json(leasing: Leasing, since: Mapping[str, str]) -> PoolsJson:
    """All pools. since: when a device was attached, by what it is called."""
    claims = [claim_json(state, leasing) for state in leasing.allocation.claims]
    return {
        "pools": [
            {
                "name": pool.name,
                "project": pool.project,
                "instances": [pattern.text for pattern in pool.instances],
                "per_instance": pool.per_instance,
                "keep_stopped": pool.keep_stopped,
                "expect": pool.expect,
                "empty": empty_places(leasing.rules, pool.name, leasing.devices),
                "devices": _devices(pool.name, leasing, since),
                "claims": [claim for claim in claims if claim["pool"] == pool.name],
            }
            for pool in leasing.rules.pools.values()
        ],
        "cordons": [
            {
                "kind": each.kind,
                "name": each.name,
                "reason": each.reason,
                "since": each.since,
                "uid": each.by.uid,
                "user": each.by.user,
                "login": each.by.login,
            }
            for each in leasing.cordons
        ],
    }


def lease_json(device: Device, leasing: Leasing, since: str = "") -> LeaseJson | None:
    """A device as its pool has it; None where it is of no pool, or goes along with one that is."""
    key = leasing.key_of(device)
    known = leasing.devices.get(key)
    if known is None:
        return None
    lease, health = leasing.allocation.leases.get(key), leasing.health(key)
    return {
        **named_json(device, hubs=leasing.rules.hubs),
        "device": str(device),
        # In emergency download mode it says nothing of itself.
        "identity": key if known.in_edl else identity(device),
        "pool": known.pool,
        "state": leasing.state(key),
        "reason": leasing.reason(key),
        "project": lease.instance.project if lease is not None else "",
        "instance": lease.instance.name if lease is not None else "",
        "claim": lease.claim if lease is not None else "",
        "since": since,
        "state_since": leasing.since.of(key),
        "present": True,
        "health": health.state,
        "health_reason": health.reason,
        "health_since": health.since,
    }


def lease_by_key(key: str, leasing: Leasing, since: str = "") -> LeaseJson | None:
    """A device as its pool has it, by what leases know it by, also one that is absent; None where none is."""
    known = leasing.devices.get(key)
    return lease_json(known.device, leasing, since) if known is not None else _absent(key, leasing)


def _absent(key: str, leasing: Leasing) -> LeaseJson | None:
    """A lease whose device is absent."""
    away = leasing.away.get(key)
    if away is None:
        return None
    health = leasing.health(key)
    return {
        **named_json(None, key.partition("@")[0]),
        "device": "",
        "identity": key,
        "pool": away.pool,
        "state": "leased",
        "reason": _why_absent(away, leasing),
        "project": away.lease.instance.project,
        "instance": away.lease.instance.name,
        "claim": away.lease.claim,
        "since": "",
        "state_since": away.since.day,
        "present": False,
        "health": health.state,
        "health_reason": health.reason,
        "health_since": health.since,
    }


def _why_absent(away: Away, leasing: Leasing) -> str:
    """That it is absent, where it was as far as somebody knows, and for how long its lease is kept."""
    was, pool = leasing.away.was(away.key), leasing.rules.pools.get(away.pool)
    port = next(iter(PORT.values(was)), "") if was is not None else ""
    where = leasing.away.location(away, leasing.rules.hubs) or port or ", ".join(away.socket) or away.place
    at = f"; it was at {quoted(where)}" if where else ""
    keep = f"; its lease is kept for {in_words(pool.keep)}" if pool is not None and pool.keep else ""
    return f"it is absent{at}{keep}"


def claim_json(state: ClaimState, leasing: Leasing) -> ClaimJson:
    """A claim, and what became of it."""
    asking = state.asking
    has = ((key, leasing.devices.get(key)) for key in state.has)
    return {
        "project": asking.instance.project,
        "instance": asking.instance.name,
        "claim": asking.claim.name,
        "pool": asking.claim.pool,
        "count": asking.claim.count,
        "selector": asking.claim.selector,
        "state": state.state,
        "reason": state.reason,
        "has": [identity(known.device) if known is not None else key for key, known in has],
    }


def unmet_json(leasing: Leasing) -> list[ClaimJson]:
    """The claims that are not bound, in the order in which they are served."""
    return [claim_json(state, leasing) for state in leasing.allocation.claims if state.state != "bound"]


def unleased_json(leasing: Leasing, attached: Container[str]) -> list[LeaseJson]:
    """The devices of pools that are there, leased to nobody and in no instance.

    attached  what devices are called that are in one, such as by hand
    """
    return [
        lease
        for pool in leasing.rules.pools
        for lease in _devices(pool, leasing, {})
        if lease["present"] and not lease["instance"] and lease["device"] not in attached
    ]


def leases_json(pools: Iterable[PoolJson]) -> LeasesJson:
    """The devices of pools that are leased, or that are being released."""
    has = ("leased", "releasing")
    return {"leases": [lease for pool in pools for lease in pool["devices"] if lease["state"] in has]}


def _devices(pool: str, leasing: Leasing, since: Mapping[str, str]) -> list[LeaseJson]:
    found = (
        lease_json(known.device, leasing, since.get(str(known.device), ""))
        for known in leasing.devices
        if known.pool == pool
    )
    absent = (_absent(away.key, leasing) for away in leasing.away if away.pool == pool)
    leases = (lease for lease in (*found, *absent) if lease is not None)
    return sorted(leases, key=lambda lease: natural(lease["location"] or lease["port"] or lease["identity"]))
