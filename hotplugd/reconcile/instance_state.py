"""What is known of one instance: the input of its plans, which its requests keep current."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from hotplugd.aio.backoff import NEVER
from hotplugd.model.entry import is_ours, names_for
from hotplugd.model.problem import Problem
from hotplugd.model.values import Instance, InstanceName
from hotplugd.plan.change import Plan
from hotplugd.plan.kinds.kind import Want
from hotplugd.reconcile.batching import CROWDED, Batching
from hotplugd.reconcile.event_log import EventLog
from hotplugd.reconcile.failed_starts import FailedStarts
from hotplugd.reconcile.freshness import EDITED, Freshness
from hotplugd.reconcile.holds import Held, Wait, held
from hotplugd.reconcile.lease_view import LeaseView
from hotplugd.reconcile.observed import BUSY, Observed
from hotplugd.reconcile.orphans import Orphans
from hotplugd.reconcile.restarts import Restarts
from hotplugd.reconcile.server_backoff import ServerBackoff
from hotplugd.reconcile.verify import Verifier

# Seconds: who answers later than this is what changes wait for. Most answers take some 20 ms.
_LONG: Final = 2.0
# Who may be asked.
SERVER: Final = "its server"
DISK: Final = "the disk with the state file"


@dataclass(slots=True)
class InstanceState:
    """One instance, which may not exist (yet). All of it belongs to the event loop.

    actual   as the server has it; None where there is none, or nothing is known yet
    wants    where each device should be in it, by the device's key
    plan     what has to change
    planned  nothing has become known since the plan was made
    sending  the names of the entries in the request that is under way
    asked    who was asked last, and asked_at when, in the loop's time; NEVER once that has answered
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
    asked_at: float = NEVER
    asked: str = ""
    backoff: ServerBackoff = field(default_factory=ServerBackoff)
    batching: Batching = field(default_factory=Batching)
    lease_view: LeaseView = field(default_factory=LeaseView)
    failed_starts: FailedStarts = field(default_factory=FailedStarts)
    restarts: Restarts = field(default_factory=Restarts)

    @property
    def container(self) -> Instance | None:
        """The instance, where there is an inside to see now.

        A virtual machine has none, and the process number of an instance on another cluster member is one of
        that host.
        """
        actual = self.actual
        is_seen = actual is not None and actual.running and actual.here and actual.kind == "container"
        return actual if is_seen else None

    def wanted(self) -> list[Want]:
        """What should be in it."""
        return [want for wants in self.wants.values() for want in wants]

    def is_to_be_told(self, answer: Instance | None) -> bool:
        """Whether the server has said only that it cannot tell how the instance is, and that matters.

        It is busy, or what runs the instance is, and tells in a moment.
        """
        # Of one of which nothing is known yet nobody knows what it has.
        may_have = self.actual is None or self.actual.claims
        return answer is not None and answer.untold and bool(self.wants or self.plan.changes or may_have)

    def calm_at(self) -> dict[str, float]:
        """When each reason for a wait ends, mounts inside included; in the past if it has ended."""
        return {
            CROWDED: self.batching.calm_at,
            EDITED: self.freshness.calm_at,
            BUSY: self.observed.calm_at,
        }

    def problems(self, now: float) -> list[Problem]:
        """What is wrong with it, and why."""
        problems = list(self.plan.problems)
        if self.backoff.message:
            problems.append(Problem("", "", f"{self.name}: {self.backoff.message}"))
        if self.batching.is_busy(now):
            problems.append(Problem("", "", f"{self.name}: {CROWDED}"))
        if self.freshness.is_busy(now):
            problems.append(Problem("", "", f"{self.name}: {EDITED}"))
        problems += self.batching.problems(now)
        if self.orphans.records.by_name:
            problems += self.orphans.problems()
        return problems + self.verifier.problems(wanted=bool(self.wants))

    def held(self, now: float) -> list[Held]:
        """What has to wait here, until when and why."""
        if not (self.plan.changes or self.plan.out):
            return []
        waits = self.backoff.waits()
        if self.freshness.stale and self.freshness.is_busy(now):
            waits.append(Wait(self.freshness.due(), EDITED))
        if (ago := now - self.asked_at) >= _LONG:
            waits.append(Wait(NEVER, f"{self.asked} was asked {ago:.0f} s ago", "that answers"))
        return held(self.name, self.plan, self.batching, waits, now)

    @property
    def is_nothing(self) -> bool:
        """Whether there is no instance, should be nothing in it, and nothing is in doubt."""
        return not (self.actual or self.wants or self.freshness.stale or self.orphans.is_unsure)

    def may_name(self, slot: str) -> bool:
        """Whether the server may have an entry of ours here for the device with this slot, now or soon."""
        names = names_for(slot)
        if not self.sending.isdisjoint(names) or (
            self.orphans.records.by_name and self.orphans.may_be_there(names)
        ):
            return True
        if not self.freshness.known:
            return self.freshness.stale or self.freshness.answered
        # On another cluster member the entry names that host's device.
        if self.actual is None or not self.actual.here:
            return False
        there = self.actual.entries
        return not there.keys().isdisjoint(names) and any(
            name in there and is_ours(there[name]) for name in names
        )
