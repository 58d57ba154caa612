"""What is known of one instance: what a worker plans from, and what its requests change."""

from __future__ import annotations

from dataclasses import dataclass, field

from hotplugd.model.values import Instance, InstanceName
from hotplugd.plan.desired import Want
from hotplugd.plan.planner import Plan
from hotplugd.reconcile.batching import Batching
from hotplugd.reconcile.event_log import EventLog
from hotplugd.reconcile.failed_starts import FailedStarts
from hotplugd.reconcile.freshness import Freshness
from hotplugd.reconcile.observed import Observed
from hotplugd.reconcile.orphans import Orphans
from hotplugd.reconcile.pause import Pause
from hotplugd.reconcile.verify import Verifier


@dataclass(slots=True)
class Known:
    """One instance, or the place of one that does not exist (yet). All of it belongs to the event loop.

    actual   as the server has it; None where there is none, or nothing is known yet
    wants    where each device should be in it, by the device's key
    plan     what has to change
    planned  nothing has become known since the plan was made
    sending  the names of the entries in the request that is under way
    """

    name: InstanceName
    log: EventLog
    orphans: Orphans
    observed: Observed
    verifier: Verifier
    freshness: Freshness
    actual: Instance | None = None
    wants: dict[str, tuple[Want, ...]] = field(default_factory=dict)
    plan: Plan = field(default_factory=Plan)
    planned: bool = False
    sending: frozenset[str] = frozenset()
    pause: Pause = field(default_factory=Pause)
    batching: Batching = field(default_factory=Batching)
    failed_starts: FailedStarts = field(default_factory=FailedStarts)

    @property
    def container(self) -> Instance | None:
        """The instance, where there is an inside to see now.

        Of a virtual machine there is none, and of another cluster member's instance the init's number would
        be one of that host's.
        """
        actual = self.actual
        is_seen = actual is not None and actual.running and actual.here and actual.kind == "container"
        return actual if is_seen else None

    def wanted(self) -> list[Want]:
        """What should be in it."""
        return [want for wants in self.wants.values() for want in wants]
