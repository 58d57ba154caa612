"""A lease: one device of a pool for one instance."""

from __future__ import annotations

from dataclasses import dataclass

from hotplugd.model.values import InstanceName


@dataclass(frozen=True, slots=True)
class Lease:
    """One device for one instance. claim: the name of the claim by which it has it."""

    instance: InstanceName
    claim: str
