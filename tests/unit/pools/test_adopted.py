"""Which leases entries record."""

from __future__ import annotations

from collections import UserDict
from collections.abc import ValuesView
from dataclasses import replace

from hotplugd.model.entry import name_for
from hotplugd.model.values import Entry
from hotplugd.pools.claimants import PoolClaimants
from tests.support.devices import entry, phone
from tests.unit.reconcile.test_leases import job, rules


class _Many(UserDict[str, Entry]):
    """Entries that are too many to be looked at one after the other, for each lease."""

    def values(self) -> ValuesView[Entry]:
        raise AssertionError("all entries were looked at")


def test_whether_an_instance_has_an_entry_takes_no_look_at_all_of_them() -> None:
    claimants, holder = PoolClaimants(rules()), job(1, running=False)
    own, copied = entry(phone(1), {}, instance=holder.id), entry(phone(2), {}, instance=job(2).id)
    foreign = Entry(name_for(phone(3).slot), {"type": "none"})
    there = _Many({each.name: each for each in (own, copied, foreign)})
    claimants.learned(holder.id, replace(holder, entries=there))
    assert not claimants.lacks(holder.id, {phone(4).slot, phone(1).slot})
    assert all(claimants.lacks(holder.id, {phone(number).slot}) for number in (2, 3, 4))
    # Of what nobody knows nothing is said.
    assert not claimants.lacks(job(2).id, {phone(1).slot})
