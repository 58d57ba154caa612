"""A lease: one device of a pool for one instance."""

from __future__ import annotations

from dataclasses import dataclass, field

from hotplugd.model.values import InstanceName


@dataclass(frozen=True, slots=True)
class Lease:
    """One device for one instance.

    claim  the name of the claim by which it has it
    unit   what its device is known by in leases, where that is told: it is no part of the lease
    """

    instance: InstanceName
    claim: str
    unit: str = field(default="", compare=False)
