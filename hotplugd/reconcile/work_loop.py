"""One instance's work, one step after the other: ask the server, plan, send, look inside, and rest.

`step` says what comes next. What becomes known meanwhile gathers and goes as the next request. When there is
nothing to send the inside is seen to (`verify`), and an alarm is set for what has to be tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from hotplugd.aio.backoff import LONG_AGO, NEVER
from hotplugd.aio.tasks import Activity
from hotplugd.plan.guard_rails import may_be_used
from hotplugd.plan.kinds.kind import Want
from hotplugd.plan.planner import plan_instance
from hotplugd.reconcile.host_use import HostUse
from hotplugd.reconcile.instance_state import InstanceState
from hotplugd.reconcile.inventory import Inventory
from hotplugd.reconcile.moved_devices import MovedDevices, PresentDevices
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.requests import Requests
from hotplugd.reconcile.step import Ask, Check, Clear, Look, MakePlan, Rest, Send, State, next_step

# A reason for a wait has ended only after this many seconds without it: one that goes on may pause.
_CALM: Final = 1.0


class WorkLoop:
    """Does what is to be done for one instance.

    moved    which devices have left the host for instances
    idle     called when nothing is under way any more
    working  whether a step is under way; looks inside do not count
    """

    def __init__(
        self,
        known: InstanceState,
        requests: Requests,
        host_use: HostUse,
        ports: Ports,
        activity: Activity,
        inventory: Inventory,
        moved: MovedDevices,
        idle: Callable[[], None],
    ) -> None:
        self._known = known
        self._requests = requests
        self._host_use = host_use
        self._ports = ports
        self._activity = activity
        self._inventory = inventory
        self._moved = moved
        self._present = PresentDevices(known.name, inventory.slots, moved)
        self._tell_idle = idle
        self._verifier = known.verifier
        self._loop = asyncio.get_running_loop()
        self.working = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = NEVER

    def kick(self) -> None:
        """Something is new: plan again, now or once the present step is done."""
        self._known.planned = False
        if not self.working:
            self._start()

    def go_on(self) -> None:
        """Do the next step, unless one is under way, which goes on by itself."""
        if self.working:
            return
        self._known.freshness.answered = False
        state = self._state()
        step = next_step(state)
        if isinstance(step, Look):
            self._verifier.look(self._known.plan)
            state = replace(state, look_at=NEVER)
            step = next_step(state)
        if isinstance(step, Rest):
            self._rest(state, step)
        else:
            self._start()

    def stop(self) -> None:
        """Try nothing again."""
        self._set_alarm(NEVER)

    def _start(self) -> None:
        self.working = True
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
                    # A device may have gone while the host was asked.
                    self._known.freshness.answered &= self._known.planned
                case Send(batch):
                    self._host_use.free.clear()
                    await self._requests.send(batch)
                case Look() | Rest():
                    return

    def _worked(self, fine: bool) -> None:
        self.working = False
        if fine:
            self.go_on()
        self._tell_idle()

    def _state(self) -> State:
        now = self._loop.time()
        known, fresh, backoff = self._known, self._known.freshness, self._known.backoff
        is_old = fresh.stale or min(backoff.look_at, fresh.again_at) <= now
        stale = is_old and not fresh.answered
        sends = known.planned and not stale and backoff.until <= now
        plan, dry_run = known.plan.changes, self._ports.dry_run
        changes = self._inventory.handovers.ready(known.name, plan, dry_run=dry_run) if sends and plan else ()
        batch = known.batching.batch(changes, now) if changes else []
        doubtful = sends and known.orphans.records.by_name
        added = [change.want for change in batch if change.action == "add" and change.want is not None]
        unseen = self._is_unseen(added)
        to_check = [*filter(may_be_used, added)]
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
            unseen=unseen,
            misstated=sends and not batch and self._is_misstated(now),
            echoed=fresh.echoed,
            look_at=self._look_at() if known.planned and (unseen or not batch) else NEVER,
            dry_run=dry_run,
        )

    def _is_unseen(self, added: Iterable[Want]) -> bool:
        """Whether these give interfaces names, and nobody has looked which names are taken inside: a server
        that finds a name taken leaves the interface inside under another, without an entry (measured).
        """
        known = self._known
        return (
            any(want.kind.has_name for want in added)
            and known.container is not None
            and not known.observed.knows_names
        )

    def _is_misstated(self, now: float) -> bool:
        """Whether what is said of the instance's leases, there or inside, is to be written anew by now."""
        view = self._known.lease_view
        return view.until <= now and self._requests.is_misstated

    def _look_at(self) -> float:
        if (container := self._known.container) is None:
            return NEVER
        return self._verifier.look_at(self._known.plan, container, self._known.wanted())

    def _make_plan(self) -> None:
        known = self._known
        known.planned = True
        known.plan = plan_instance(
            known.name,
            known.actual,
            [want for wants in known.wants.values() for want in wants],
            known.observed.inside,
            tuple(self._inventory.unprocessed.values()),
            self._present,
            self._moved.held_by.get(known.name, {}),
            known.failed_starts.barred,
            self._inventory.by_hand,
            unserved=self._inventory.unserved,
        )
        known.log.attachments.planned(known.plan, dry_run=self._ports.dry_run)

    def _rest(self, state: State, step: Rest) -> None:
        """There is nothing to ask or to send: have links made and uevents told, and set the alarm."""
        known, now = self._known, state.now
        self._host_use.free.clear()
        known.freshness.expect_nothing()
        times = [*known.batching.rest(known.plan.changes, now), state.look_at]
        times += [known.freshness.again_at, known.backoff.retry_at, known.lease_view.until]
        if state.stale:
            times.append(state.ask_at)
        # A failure is reported until the next try.
        if step.done and known.backoff.message:
            known.backoff.reset()
        in_doubt = False
        if known.orphans.records.by_name:
            times += known.orphans.due()
            in_doubt = known.orphans.is_unsure
        restarts = known.actual is not None and known.actual.restarts
        waits = known.plan.changes or in_doubt or restarts or known.backoff.message
        if known.backoff.look_at != NEVER and (waits or self._requests.is_misstated):
            times.append(known.backoff.look_at)
        if step.would:
            known.log.would(step.would)
        # All this comes after a look, which may resolve some of it.
        if not self._verifier.is_looked_at:
            for why, until in known.calm_at().items():
                if until > now or until + _CALM <= now:
                    known.log.busy(why, now=until > now)
                times.append(until + _CALM)
            if (container := known.container) is not None:
                self._verifier.rest(known.plan, container)
            known.log.problems(known.problems(now), known.wanted)
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
        self.go_on()
