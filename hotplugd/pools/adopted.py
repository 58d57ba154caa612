"""Which leases entries record of devices that are there, and which they do not. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping

from hotplugd.model import entry as entries
from hotplugd.model.lease import Lease
from hotplugd.model.values import InstanceName
from hotplugd.pools.allocate import Asking
from hotplugd.pools.away_leases import Away
from hotplugd.pools.claimants import PoolClaimants
from hotplugd.pools.claims import Claim
from hotplugd.pools.devices import PoolDevice
from hotplugd.pools.units import PoolUnits


def adopted(
    units: PoolUnits,
    claimants: PoolClaimants,
    asking: Collection[Asking],
    leases: Mapping[str, Lease],
    releasing: Container[str],
    is_in_others: Callable[[str, InstanceName], bool],
    kept: Collection[Away] = (),
) -> dict[str, Lease]:
    """What instances have already by entries of ours, of what was met for the first time.

    Of several instances with an entry for one device, the one has it whose claim may keep it and lacks it
    besides its newer entries: anybody can write entries into instances of their own. Of several such claims
    it is the one whose entry was made last: a snapshot that is restored brings back entries of before.

    asking     all claims
    leases     those that there are; releasing: the keys of devices whose lease is over
    is_in_others  whether an instance other than this one may have the device with a key
    kept       leases of the daemon before: those of claims that there are come before entries that none keeps
    """
    came = {key for key in units.new if key not in leases and key not in releasing}
    new = claimants.new
    free = (key for key in units if key not in leases)
    of_slot = {slot: key for key in (free if new else came) for slot in units.slots_of(key)}
    has = claimants.entries(of_slot, only_new=not came) if of_slot else []
    claims: dict[InstanceName, list[Claim]] = {name: [] for name, _ in has}
    lacks: dict[tuple[InstanceName, str], int] = {}
    for each in asking if claims else ():
        if each.instance in claims:
            claims[each.instance].append(each.claim)
            lacks[each.instance, each.claim.name] = each.claim.count
    for lease in leases.values() if lacks else ():
        if (lease.instance, lease.claim) in lacks:
            lacks[lease.instance, lease.claim] -= 1
    stand: dict[str, Lease] = {}
    others: dict[str, Lease] = {}
    for name, entry in has:
        key, own = of_slot[entries.slot_of(entry)], entry.config.get(entries.MARK_CLAIM, "")
        if not (name in new or key in came):
            continue
        # As long as nobody could tell what the instance has, that was not given to others.
        if key in stand or (key in releasing and is_in_others(key, name)):
            continue
        # It keeps no more than it asks for; an entry's own claim before others of its instance.
        may = [it.name for it in claims[name] if lacks[name, it.name] > 0 and _may_keep(units, it, key)]
        if may:
            lacks[name, own if own in may else may[0]] -= 1
        (stand if may else others).setdefault(key, Lease(name, own))
    for key in _claimed(kept, asking) if others else ():
        others.pop(key, None)
    return {**others, **stand}


def unrecorded(
    units: PoolUnits, claimants: PoolClaimants, leases: Mapping[str, Lease], before: Collection[Away]
) -> dict[str, PoolDevice]:
    """The leased devices that are there, and have no entry in instances that do not run, or just started.

    before  what this said last: the entry of one that starts is made a moment later
    """
    noted = {each.key for each in before}
    found: dict[str, PoolDevice] = {}
    for key, lease in leases.items():
        if claimants.runs(lease.instance) and key not in noted:
            continue
        known = units.devices.get(key)
        if known is not None and claimants.lacks(lease.instance, units.slots_of(key)):
            found[key] = known
    return found


def _claimed(kept: Iterable[Away], asking: Iterable[Asking]) -> list[str]:
    """The keys of those leases of which there are the claims."""
    pools = {(each.instance, each.claim.name): each.claim.pool for each in asking}
    return [each.key for each in kept if pools.get((each.lease.instance, each.lease.claim)) == each.pool]


def _may_keep(units: PoolUnits, claim: Claim, key: str) -> bool:
    device = units.devices.get(key)
    is_of_pool = device is None or device.pool == claim.pool
    return is_of_pool and units.devices.may_keep(claim, units.devices.taken_by(claim), key)
