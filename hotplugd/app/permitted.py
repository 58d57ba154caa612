"""What others than root may decide by hand: about devices that rules give to their instances, and no other.

Root decides about every device. For whom `allow` in the configuration names, a device must be one that a rule
gives to these instances, or puts into a pool that they may have devices of: who may attach devices to a CI
job's container gets neither the host's disk nor another project's phone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from hotplugd.app.control_request import Forbidden
from hotplugd.app.grants import Grant, Verb, not_for, not_for_all, not_for_pools
from hotplugd.model.values import Device, InstanceName
from hotplugd.plan.desired import wants
from hotplugd.plan.overrides import Override
from hotplugd.rules.ruleset import RuleSet


def see_permitted(
    rules: RuleSet,
    device: Device,
    there: Iterable[InstanceName],
    verb: Verb,
    to: InstanceName | None,
    grant: Grant,
) -> None:
    """See whether the device may be had in this instance, or in none, instead of where it is.

    there  the instances that have it, should have it or have it leased
    Raises Forbidden.
    """
    if grant.all:
        return
    by_rule = wants(rules, device, used=True)
    if by_rule.rule is None:
        raise Forbidden(f"no rule takes {device}, and only root may {verb} such a device")
    affected = set(there)
    affected.update(want.instance for want in by_rule.wants)
    if to is not None:
        affected.add(to)
    attach = by_rule.rule.attach
    pool = rules.pools.get(attach.pool) if attach is not None and attach.pool else None
    if pool is not None and to is not None and not pool.admits(to):
        raise Forbidden(f"pool {pool.name} does not admit {to}; only root may {verb} {device} there")
    if pool is None and not by_rule.wants:
        raise Forbidden(f"no instance is meant to have {device}; only root may {verb} it")
    if pool is not None and not affected and not grant.covers(verb, pool):
        raise Forbidden(not_for_all(str(device), f"pool {pool.name} admits", verb))
    see_may(verb, str(device), affected, () if pool is None else (pool.name,), grant)


def see_may(
    verb: Verb, told: str, instances: Iterable[InstanceName], pools: Collection[str], grant: Grant
) -> None:
    """See whether this may be asked for of all these instances and devices of all these pools.

    told   what it is that is asked about
    pools  none: it is of no pool
    Raises Forbidden.
    """
    own = grant.about(pools)
    for each in sorted(instances, key=str):
        if not grant.may_with(verb, [each]):
            raise Forbidden(not_for(told, each, verb))
        if not own.may_with(verb, [each]):
            raise Forbidden(not_for_pools(told, pools, verb))


def see_own(overrides: Iterable[Override], uid: int, grant: Grant) -> None:
    """See whether these decisions may be undone by this user. Raises Forbidden."""
    if grant.all:
        return
    for each in overrides:
        if each.by.uid != uid:
            raise Forbidden(f"{each.by} decided that about {each.device}; only root may undo it")
