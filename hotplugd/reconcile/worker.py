"""One instance's worker keeps the instance as it should be, independently of all others.

Here is what a worker is told and asked. What it does then is in `work_loop`, and what it knows in
`instance_state`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

from hotplugd.aio.tasks import Activity
from hotplugd.model import entry as entries
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, Inside, Instance, InstanceName, Stop
from hotplugd.plan.change import Plan
from hotplugd.plan.kinds.kind import Want
from hotplugd.reconcile.device_log import Cause
from hotplugd.reconcile.event_log import EventLog
from hotplugd.reconcile.freshness import Freshness
from hotplugd.reconcile.holds import Held
from hotplugd.reconcile.host_use import HostUse
from hotplugd.reconcile.instance_state import InstanceState
from hotplugd.reconcile.inventory import Inventory
from hotplugd.reconcile.moved_devices import MovedDevices
from hotplugd.reconcile.observed import Observed
from hotplugd.reconcile.orphans import Orphans
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.requests import Requests
from hotplugd.reconcile.verify import Verifier
from hotplugd.reconcile.work_loop import WorkLoop

# Seconds after which an instance keeps no device of a pool from others if nobody ever learned what it has.
_SILENCE: Final = 60.0


class Listener(Protocol):
    """Hears what a worker finds out."""

    def learned(self, name: InstanceName, instance: Instance | None) -> None:
        """The server said how the instance is; None where there is none."""

    def looked(self, worker: Worker) -> None:
        """The inside of the instance was looked at."""

    def found_used(self, device: Device, how: str) -> None:
        """The host uses a device that was about to be put in."""

    def is_idle(self, worker: Worker) -> None:
        """Nothing is under way any more."""


class Worker:
    """Keeps one instance as it should be, also one that does not exist (yet).

    moved      which devices have left the host for instances
    forgotten  when an instance, perhaps this one, was last found to be missing, in the loop's time
    """

    def __init__(
        self,
        name: InstanceName,
        ports: Ports,
        activity: Activity,
        inventory: Inventory,
        moved: MovedDevices,
        listener: Listener,
        forgotten: float,
    ) -> None:
        self.name = name
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._handovers = inventory.handovers
        log = EventLog(name, ports.log, inventory)
        orphans, observed = Orphans(name, ports.entry_journal), Observed()
        self._verifier = Verifier(name, ports, activity, log, orphans, observed, self._looked)
        self._known = InstanceState(name, log, orphans, observed, self._verifier, Freshness(forgotten))
        self._requests = Requests(self._known, ports, inventory, listener.learned)
        host_use = HostUse(ports, listener.found_used)
        self._work = WorkLoop(
            self._known,
            self._requests,
            host_use,
            ports,
            activity,
            inventory,
            moved,
            lambda: listener.is_idle(self),
        )

    # --- what happened ----------------------------------------------------------------------------------

    def want(self, key: str, wants: tuple[Want, ...], cause: Cause) -> None:
        """Put the device into the instance as these say, and take it out if there are none."""
        if gone := self._known.wants.pop(key, ()):
            self._known.batching.leaves(name for want in gone for name in entries.names_for(want.slot))
        self._known.log.attachments.because([want.slot for want in (*gone, *wants)], cause)
        if wants:
            self._known.wants[key] = wants
        self._work.kick()

    def listed(self, actual: Instance | None, asked: float) -> None:
        """The server listed its instances, and this one was like this, some time after it was asked."""
        self._known.backoff.listed()
        self._known.orphans.hurry()
        if self._known.freshness.takes_listing(asked, working=self._work.working):
            if self._known.is_to_be_told(actual):
                self._known.freshness.stale = True
            else:
                self._requests.learn(actual)
        self._work.kick()

    def unlisted(self) -> None:
        """The listing did not contain its project: the server is asked for the instance if it matters."""
        if self._known.wants or not self._known.freshness.known:
            self.refresh()

    def find(self) -> None:
        """Its project cannot be listed: the server is asked for the instance if nothing is known of it."""
        if not self._known.freshness.known:
            self.refresh()

    def refresh(self, stop: Stop | None = None) -> None:
        """Something happened to the instance: ask the server. stop: it has stopped, as the server tells"""
        if stop is not None:
            self._known.restarts.stops(self._known.actual, stop)
        self._known.freshness.stale = True
        self._known.backoff.heard()
        if self._known.freshness.missed:
            # It exists: do not wait for the next search.
            self._known.backoff.end()
        self._work.kick()

    def moved(self) -> None:
        """The instance is moved to another member of the cluster."""
        self._known.freshness.moved(self._loop.time())
        self.refresh()

    def updated(self) -> None:
        """The instance's configuration was updated, by us or by another client.

        What is on another member of the cluster, and stays there, is that member's matter: each update would
        have all members ask for it. A move is told of by itself.
        """
        actual = self._known.actual
        if actual is not None and actual.known and not actual.here:
            return
        if self._known.freshness.is_echo():
            self._work.kick()
        else:
            self.refresh()

    def look_again(self) -> None:
        """What was seen inside may no longer be so: look before the next plan."""
        self._known.observed.look_again()
        self._work.go_on()

    def forget_inside(self) -> None:
        """Drop what was seen inside: it is out of date, or lacks what rules ask for now."""
        self._known.observed.forget()
        self._known.batching.hurry()
        self._work.kick()

    def restarted(self) -> None:
        """The instance restarted or stopped."""
        self._known.log.attachments.restarted()
        self._verifier.forget()
        self._requests.restarted()
        self.forget_inside()
        self.refresh()

    def start_failed(self, reason: str, operation: str) -> None:
        """The instance could not be started: by one of our entries, perhaps."""
        self._known.failed_starts.failed(reason, operation)
        self.refresh()

    def may_start(self) -> None:
        """What kept the instance from starting may be over."""
        self._known.failed_starts.forget()

    def close(self) -> None:
        """Try nothing again: there is no such instance, and nothing should be in it."""
        self._known.log.close()
        self._verifier.close()
        self._work.stop()

    # --- what is known ----------------------------------------------------------------------------------

    @property
    def actual(self) -> Instance | None:
        """The instance as the server has it; None where there is none, or nothing is known yet."""
        return self._known.actual

    @property
    def plan(self) -> Plan:
        """What has to change, and what is as it should be."""
        return self._known.plan

    @property
    def is_wanted(self) -> bool:
        """Whether some device should be in the instance."""
        return bool(self._known.wants)

    @property
    def is_running(self) -> bool:
        """Whether the instance runs, as far as is known."""
        return self._known.actual is not None and self._known.actual.running

    @property
    def seen(self) -> Inside | None:
        """What was seen inside since the last change; None where nothing was."""
        return self._known.observed.inside

    @property
    def is_over(self) -> bool:
        """Whether there is no instance, should be nothing in it, and nothing is under way or in doubt."""
        return not (self._work.working or self._verifier.is_looked_at) and self._known.is_nothing

    @property
    def is_silent(self) -> bool:
        """Whether the server has not said for long what the instance has, ever."""
        return not self._known.freshness.known and self._loop.time() - self._since >= _SILENCE

    def problems(self) -> list[Problem]:
        """What is wrong here, and why."""
        return self._known.problems(self._loop.time())

    def held(self) -> list[Held]:
        """What has to wait here, until when and why."""
        waits = self._handovers.held(self.name, self._known.plan.changes)
        return self._known.held(self._loop.time()) + waits

    def holds(self, slot: str) -> bool:
        """Whether the device with this slot is in the instance, or on its way there or back."""
        names, actual = entries.names_for(slot), self._known.actual
        if not self._known.sending.isdisjoint(names):
            return True
        return actual is not None and actual.running and not actual.entries.keys().isdisjoint(names)

    def may_take(self, want: Want) -> bool:
        """Whether what has left the host may be in the instance by this, or on its way there."""
        actual = self._known.actual
        leaves = actual is not None and actual.kind in want.kind.leaves
        return leaves and (self.holds(want.slot) or self.has_entry(want.slot))

    def is_to_have(self, slot: str) -> bool:
        """Whether the device with this slot should be in the instance."""
        return any(want.slot == slot for want in self._known.wanted())

    def has_entry(self, slot: str) -> bool:
        """Whether the instance has an entry for the device with this slot."""
        actual = self._known.actual
        return actual is not None and any(name in actual.entries for name in entries.names_for(slot))

    def may_name(self, slot: str) -> bool:
        """Whether the server may have an entry of ours here for the device with this slot, now or soon."""
        return self._known.may_name(slot)

    async def seal(self, names: Iterable[str]) -> bool:
        """Seal what the instance has inside by its entries of these names: it is about to go.

        Returns whether it has something, and all is sealed.
        """
        return await self._requests.seal(names)

    def kick(self) -> None:
        """Something is new: plan again, now or once the present step is done."""
        self._work.kick()

    def _looked(self) -> None:
        self._listener.looked(self)
        self._work.kick()
