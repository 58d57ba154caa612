"""Which entries of ours stay as they are since nobody can tell whether they should. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping

from hotplugd.model import entry as entries
from hotplugd.model.values import Entry, Instance


def of_pools(
    instance: Instance, ours: Mapping[str, Entry], present: Container[str], decided: Container[str]
) -> dict[str, Entry]:
    """The entries, by name, of devices that pools gave to this instance and that are there: where another
    hotplugd serves pools, nobody here knows whose they should be.

    present  the slots of all devices that exist; decided: of those about which somebody decided by hand
    """
    own = entries.mark_for(instance.id), instance.location
    return {
        name: entry
        for name, entry in ours.items()
        if entries.MARK_POOL in entry.config
        and (entry.config.get(entries.MARK_INSTANCE, ""), entry.config.get(entries.MARK_MEMBER, "")) == own
        and (slot := entries.slot_of(entry)) in present
        and slot not in decided
    }
