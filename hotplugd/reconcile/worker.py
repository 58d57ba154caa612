"""One instance's worker keeps the instance as it should be, independently of all others.

A worker asks the server where it has to, plans, sends what is ready as one request, and plans again, until
there is nothing to send; `step` says what comes next. What arrives meanwhile gathers and goes as the next
request. When there is nothing to send it has the inside seen to (`verify`), and sets an alarm for what has to
be tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

from hotplugd.aio.backoff import LONG_AGO, NEVER
from hotplugd.aio.tasks import Activity
from hotplugd.model import entry as entries
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, Inside, Instance, InstanceName
from hotplugd.plan.change import Plan
from hotplugd.plan.guard_rails import may_be_used
from hotplugd.plan.kinds.kind import Want
from hotplugd.plan.planner import plan_instance
from hotplugd.reconcile.device_log import Cause
from hotplugd.reconcile.event_log import EventLog
from hotplugd.reconcile.freshness import Freshness
from hotplugd.reconcile.holds import Held
from hotplugd.reconcile.host_use import HostUse
from hotplugd.reconcile.inventory import Inventory
from hotplugd.reconcile.known import Known
from hotplugd.reconcile.moved_nics import MovedNics, PresentDevices
from hotplugd.reconcile.observed import Observed
from hotplugd.reconcile.orphans import Orphans
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.requests import Requests
from hotplugd.reconcile.step import Ask, Check, Clear, Look, MakePlan, Rest, Send, State, next_step
from hotplugd.reconcile.verify import Verifier

# What makes an instance wait is over after so many seconds without: what never ends pauses for a moment, too.
_CALM: Final = 1.0


class Listener(Protocol):
    """Who is told what a worker finds out."""

    def learned(self, name: InstanceName, instance: Instance | None) -> None:
        """The server said how the instance is; None where there is none."""

    def looked(self, worker: Worker) -> None:
        """Somebody looked into the instance."""

    def found_used(self, device: Device, how: str) -> None:
        """The host uses a device that was about to be put in."""

    def is_idle(self, worker: Worker) -> None:
        """Nothing is under way any more."""


class Worker:
    """Keeps one instance as it should be, also one that does not exist (yet).

    nics       which network interfaces are in instances
    forgotten  when the server said last that there is none of some name: this may be it
    """

    def __init__(
        self,
        name: InstanceName,
        ports: Ports,
        activity: Activity,
        inventory: Inventory,
        nics: MovedNics,
        listener: Listener,
        forgotten: float,
    ) -> None:
        self.name = name
        self._ports = ports
        self._activity = activity
        self._inventory = inventory
        self._nics = nics
        self._present = PresentDevices(name, inventory.slots, nics)
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        log = EventLog(name, ports.log, inventory)
        orphans, observed = Orphans(name, ports.entry_journal), Observed()
        self._verifier = Verifier(name, ports, activity, log, orphans, observed, self._looked)
        self._known = Known(name, log, orphans, observed, self._verifier, Freshness(forgotten))
        self._requests = Requests(self._known, ports, inventory.since, listener.learned)
        self._host_use = HostUse(ports, listener.found_used)
        self._working = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = NEVER

    # --- what happened ----------------------------------------------------------------------------------

    def want(self, key: str, wants: tuple[Want, ...], cause: Cause) -> None:
        """Put the device into the instance as these say, and take it out if there are none."""
        if gone := self._known.wants.pop(key, ()):
            self._known.batching.leaves(name for want in gone for name in entries.names_for(want.slot))
        self._known.log.attachments.because((want.slot for want in (*gone, *wants)), cause)
        if wants:
            self._known.wants[key] = wants
        self.kick()

    def listed(self, actual: Instance | None, asked: float) -> None:
        """The server listed its instances, and this one was like this, some time after it was asked."""
        self._known.backoff.listed()
        self._known.orphans.hurry()
        if self._known.freshness.takes_listing(asked, working=self._working):
            self._requests.learn(actual)
        self.kick()

    def unlisted(self) -> None:
        """The server listed others, and could not tell of this one: it is asked for if it matters."""
        if self._known.wants or not self._known.freshness.known:
            self.refresh()

    def find(self) -> None:
        """Its project could not be listed: it is asked for where nothing is known of it."""
        if not self._known.freshness.known:
            self.refresh()

    def refresh(self) -> None:
        """Something happened to the instance: ask the server."""
        self._known.freshness.stale = True
        self._known.backoff.heard()
        if self._known.freshness.missed:
            # It exists: do not wait for the next search.
            self._known.backoff.end()
        self.kick()

    def moved(self) -> None:
        """The instance is moved to another member of the cluster."""
        self._known.freshness.moved(self._loop.time())
        self.refresh()

    def updated(self) -> None:
        """The instance's configuration was updated: by us, or by somebody else."""
        if self._known.freshness.is_echo():
            self.kick()
        else:
            self.refresh()

    def look_again(self) -> None:
        """What was seen inside may no longer be so: look before the next plan."""
        self._known.observed.look_again()
        self._continue()

    def forget_inside(self) -> None:
        """What was seen inside is no longer so, or does not answer what is asked now."""
        self._known.observed.forget()
        self._known.batching.hurry()
        self.kick()

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
        self._set_alarm(NEVER)

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
        return not (self._working or self._verifier.is_looked_at) and self._known.is_nothing

    def problems(self) -> list[Problem]:
        """What is wrong here, and why."""
        problems = self._known.problems(self._loop.time())
        return problems + self._verifier.problems(wanted=bool(self._known.wants))

    def held(self) -> list[Held]:
        """What has to wait here, until when and why."""
        return self._known.held(self._loop.time())

    def holds(self, slot: str) -> bool:
        """Whether the device with this slot is in the instance, or on its way there or back."""
        names, actual = entries.names_for(slot), self._known.actual
        if not self._known.sending.isdisjoint(names):
            return True
        return actual is not None and actual.running and not actual.entries.keys().isdisjoint(names)

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

    # --- what comes next --------------------------------------------------------------------------------

    def kick(self) -> None:
        """Something is new: plan again, now or once the present step is done."""
        self._known.planned = False
        if not self._working:
            self._start()

    def _start(self) -> None:
        self._working = True
        self._activity.start(self._work, self._worked)

    async def _work(self) -> None:
        """Do one step after the other, until there is nothing to ask or to send."""
        while True:
            match next_step(self._state()):
                case Ask():
                    await self._requests.ask()
                case MakePlan():
                    self._make_plan()
                case Clear(orphans):
                    await self._requests.clear(orphans)
                case Check(wants):
                    await self._host_use.ask(wants, self._loop.time)
                    # What became known meanwhile may be that a device is gone.
                    self._known.freshness.answered &= self._known.planned
                case Send(batch):
                    self._host_use.forget()
                    await self._requests.send(batch)
                case Look() | Rest():
                    return

    def _worked(self, fine: bool) -> None:
        self._working = False
        if fine:
            self._continue()
        self._listener.is_idle(self)

    def _continue(self) -> None:
        """Do what comes next, unless something is under way: that will."""
        if self._working:
            return
        self._known.freshness.answered = False
        state = self._state()
        step = next_step(state)
        if isinstance(step, Look):
            self._verifier.look(self._known.plan)
            state = self._state()
            step = next_step(state)
        if isinstance(step, Rest):
            self._rest(state, step)
        else:
            self._start()

    def _state(self) -> State:
        now = self._loop.time()
        known, fresh, backoff = self._known, self._known.freshness, self._known.backoff
        is_old = fresh.stale or min(backoff.look_at, fresh.again_at) <= now
        stale = is_old and not fresh.answered
        sends = known.planned and not stale and backoff.until <= now
        batch = known.batching.batch(known.plan.changes, now) if sends and known.plan.changes else []
        doubtful = sends and known.orphans.records
        added = [change.want for change in batch if change.action == "add" and change.want is not None]
        to_check = [want for want in added if may_be_used(want)]
        return State(
            now=now,
            stale=stale,
            ask_at=self._requests.ask_at() if stale else LONG_AGO,
            listed=self._inventory.devices_listed and self._inventory.instances_listed,
            planned=known.planned,
            send_at=backoff.until,
            orphans=known.orphans.to_clear(known.actual, now) if doubtful else (),
            batch=batch,
            blocking=known.orphans.in_the_way(batch) if doubtful else (),
            unchecked=self._host_use.unchecked(to_check, now) if to_check else (),
            echoed=fresh.echoed,
            look_at=self._look_at() if known.planned and not batch else NEVER,
            dry_run=self._ports.dry_run,
        )

    def _look_at(self) -> float:
        if (container := self._known.container) is None:
            return NEVER
        return self._verifier.look_at(self._known.plan, container, self._known.wanted())

    def _make_plan(self) -> None:
        known = self._known
        known.planned = True
        known.plan = plan_instance(
            self.name,
            known.actual,
            [want for wants in known.wants.values() for want in wants],
            known.observed.inside,
            tuple(self._inventory.unprocessed.values()),
            self._present,
            self._nics.held_by.get(self.name, {}),
            known.failed_starts.barred,
        )
        known.log.attachments.planned(known.plan, dry_run=self._ports.dry_run)

    def _looked(self) -> None:
        self._listener.looked(self)
        self.kick()

    def _rest(self, state: State, step: Rest) -> None:
        """There is nothing to ask or to send: have links made and uevents told, and set the alarm."""
        known, now = self._known, state.now
        self._host_use.forget()
        known.freshness.expect_nothing()
        times = [*known.batching.rest(known.plan.changes, now), state.look_at]
        times += [known.freshness.again_at, known.backoff.retry_at]
        if state.stale:
            times.append(state.ask_at)
        # What failed is told of until it would be tried again.
        if step.done:
            known.backoff.reset()
        in_doubt = False
        if known.orphans.records:
            times += known.orphans.due()
            in_doubt = known.orphans.is_unsure
        if known.plan.changes or in_doubt or known.backoff.message:
            times.append(known.backoff.look_at)
        if step.would:
            known.log.would(step.would)
        # A look may settle some of it: all this comes after the look.
        if not self._verifier.is_looked_at:
            for why, until in known.calm_at().items():
                if until > now or until + _CALM <= now:
                    known.log.busy(why, now=until > now)
                times.append(until + _CALM)
            if (container := known.container) is not None:
                self._verifier.rest(known.plan, container)
            known.log.problems(known.plan.problems, known.wanted)
            known.log.still(self.problems)
        self._set_alarm(min((time for time in times if time > now), default=NEVER))

    def _set_alarm(self, when: float) -> None:
        if self._alarm is not None:
            if self._alarm_at == when:
                return
            self._alarm.cancel()
            self._alarm = None
        self._alarm_at = when
        if when != NEVER:
            self._alarm = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, NEVER
        self._continue()
