"""The devices that are known, and whether all are."""

from __future__ import annotations

from dataclasses import dataclass, field

from hotplugd.model.entry import number_of
from hotplugd.model.values import Device
from hotplugd.plan.overrides import Override, told_of
from hotplugd.reconcile.handovers import Handovers
from hotplugd.reconcile.pool_files import PoolFiles
from hotplugd.rules.ruleset import RuleSet


@dataclass(slots=True)
class Inventory:
    """What the reconciler and its workers know of devices. All of it belongs to the event loop.

    devices           by what they are known by
    slots             those of the devices
    since             when, by CLOCK_BOOTTIME, a device came, by what it is known by; not where nobody saw it
    unprocessed       devices that udevd has not processed, by their syspaths
    devices_listed    whether all devices were listed once, and `instances_listed` all instances
    starting          whether instances are yet to be taken note of for the first time
    by_hand           what somebody decided about a device, in words, by its slot
    pool_files        what pools put inside; None where nothing is
    unserved          whether the rules have pools, and another hotplugd of this host serves pools
    has_leases        whether the rules have pools, and this hotplugd serves them
    handovers         what has to be out of one instance before it goes into another
    """

    devices: dict[str, Device] = field(default_factory=dict)
    slots: set[str] = field(default_factory=set)
    since: dict[str, float] = field(default_factory=dict)
    unprocessed: dict[str, Device] = field(default_factory=dict)
    devices_listed: bool = False
    instances_listed: bool = False
    starting: bool = True
    by_hand: dict[str, str] = field(default_factory=dict)
    handovers: Handovers = field(default_factory=lambda: Handovers({}))
    pool_files: PoolFiles | None = None
    unserved: bool = False
    has_leases: bool = False

    def serve(self, rules: RuleSet) -> None:
        """Take note of whether pools are served by these rules."""
        self.unserved, self.has_leases = bool(rules.pools) and not rules.leases, rules.serves_pools

    def decided(self, slot: str, override: Override | None) -> None:
        """Take note of the override of a device, by its slot; None: there is none, or the device is gone."""
        if override is not None:
            self.handovers.decided(slot, attaches=override.attaches)
            self.by_hand[slot] = told_of(override)
        elif self.by_hand.pop(slot, None) is not None:
            self.handovers.decided(slot, attaches=False)

    def drop_slot(self, slot: str) -> None:
        """Forget a slot whose device is gone."""
        self.slots.discard(slot)
        self.handovers.gone(slot)

    def remove(self, key: str) -> Device | None:
        """Forget the device that is known by this. Returns it, None where none is."""
        self.since.pop(key, None)
        if (device := self.devices.pop(key, None)) is not None:
            self.drop_slot(device.slot)
        return device

    def is_of_another(self, slot: str) -> bool:
        """Whether a device has the number that this slot's device had, and another slot."""
        number = number_of(slot)
        return slot not in self.slots and any(number_of(other) == number for other in self.slots)
