"""Which leases whose devices are absent are leases still when their instances are met. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping

from hotplugd.model.lease import Lease
from hotplugd.pools.allocate import Asking
from hotplugd.pools.away_leases import Away


def restored(
    kept: Iterable[Away],
    left: Iterable[Away],
    leases: Mapping[str, Lease],
    asking: Iterable[Asking],
    keep: Callable[[str], float],
    there: Container[str] = (),
) -> list[Away]:
    """Those that entries are left of, and then those that were kept, as far as the claims lack something.

    Those of claims that there are come first: who may have nothing of a pool can write an entry as well.

    kept    of the daemon before; left: those that entries are left of
    leases  those that there are
    asking  all claims; one that is none of them is withdrawn: its lease ends later, and is told of
    keep    for how many seconds a pool's lease outlives the absence of its device
    there   what the devices are known by that are there: those that were kept are no less without `keep`
    """
    kept, asking = tuple(kept), tuple(asking)
    pools = {(each.instance, each.claim.name): each.claim.pool for each in asking}
    lacks = {(each.instance, each.claim.name): each.claim.count for each in asking}
    for lease in leases.values():
        if (lease.instance, lease.claim) in lacks:
            lacks[lease.instance, lease.claim] -= 1
    found: dict[str, Away] = {}
    noted = {(each.key, each.lease): each for each in kept}
    left = [noted.get((each.key, each.lease), each) for each in left]
    claimed = [it for it in (*left, *kept) if pools.get((it.lease.instance, it.lease.claim)) == it.pool]
    for away in (*claimed, *kept, *left):
        claim = away.lease.instance, away.lease.claim
        if away.key in leases or away.key in found or lacks.get(claim, 1) < 1:
            continue
        if not keep(away.pool) and not (away.key in there and (away.key, away.lease) in noted):
            continue
        lacks[claim] = lacks.get(claim, 1) - 1
        found[away.key] = away
    return [*found.values()]
