"""Pools: devices that any of several instances may have, one instance each at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hotplugd.model.pool_file import PoolFile
from hotplugd.model.values import InstanceName
from hotplugd.rules.pattern import Pattern
from hotplugd.rules.pool_health import Flap, Ready

NO_CLAIM: Final = "none"
"""What stands in the place of a pool's name in a claim that asks for nothing."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of devices. Rules put devices into it by `attach: {pool: NAME}`.

    instances     the names of the instances that may have devices of it
    project       the project of those instances
    per_instance  how many devices each of them gets without a claim while it runs
    keep_stopped  whether an instance that stops keeps what it has
    expect        how many devices there should be
    keep          for how many seconds a lease outlives the absence of its device
    ready         how it is found out inside whether a device is ready; None where nobody asks
    files         what its instances have inside before a device of it
    leases_file   where an instance has its leases in a file inside; empty for nowhere
    flap          how often a device may be plugged in; None for as often as any
    """

    name: str
    instances: tuple[Pattern, ...]
    project: str = "default"
    per_instance: int = 0
    keep_stopped: bool = False
    expect: int = 0
    keep: float = 0.0
    flap: Flap | None = None
    ready: Ready | None = None
    files: tuple[PoolFile, ...] = ()
    leases_file: str = ""

    def admits(self, instance: InstanceName) -> bool:
        """Whether the instance may have devices of it."""
        return instance.project == self.project and any(
            pattern.matches(instance.name) for pattern in self.instances
        )
