"""One instance's worker: what is known of the instance, and how its plan is applied.

A worker plans, sends what is ready as one request, and plans again, until there is nothing to send. What
arrives meanwhile gathers and goes as the next request. When it rests it has the inside seen to (`interior`),
and sets an alarm for what has to be tried again. A worker waits for no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from hotplugd.aio.backoff import LONG_AGO, NEVER
from hotplugd.aio.tasks import Activity
from hotplugd.model import entry as entries
from hotplugd.model.ports import Gone, Refused, ServerError, Stuck, Unreachable
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, Entry, Inside, Instance, InstanceName
from hotplugd.plan.desired import Want
from hotplugd.plan.planner import Change, Plan, plan_instance
from hotplugd.reconcile.batching import CROWDED, Batching
from hotplugd.reconcile.event_log import EventLog
from hotplugd.reconcile.failed_starts import FailedStarts
from hotplugd.reconcile.freshness import EDITED, Freshness
from hotplugd.reconcile.host_use import HostUse
from hotplugd.reconcile.moved_nics import PresentDevices
from hotplugd.reconcile.orphans import Orphans
from hotplugd.reconcile.pause import Pause
from hotplugd.reconcile.ports import Tools
from hotplugd.reconcile.step import Ask, Check, Clear, Look, MakePlan, Rest, Send, State, next_step
from hotplugd.reconcile.verify import Verifier


class Worker:
    """Keeps one instance, or the place of one that does not exist (yet), as it should be.

    unsettled   gives the devices that udevd has not processed; None while not all is known
    present     the slots of all devices that exist, and which interfaces are in the instance
    since       when, in the loop's time, a device (by its key) came
    learned     called whenever the server said how the instance is, with None where there is none
    looked      called whenever somebody looked into it
    used        called with a device that the host uses, as it turns out, and how
    idle        called whenever nothing is under way any more
    forgotten   when the server said last that there is none of some name: this may be it
    """

    def __init__(
        self,
        name: InstanceName,
        tools: Tools,
        activity: Activity,
        unsettled: Callable[[], Sequence[Device] | None],
        present: PresentDevices,
        since: Mapping[str, float],
        learned: Callable[[InstanceName, Instance | None], None],
        looked: Callable[[Worker], None],
        used: Callable[[Device, str], None],
        idle: Callable[[Worker], None],
        forgotten: float,
    ) -> None:
        self.name = name
        self.actual: Instance | None = None
        self.wants: dict[str, tuple[Want, ...]] = {}
        self.plan = Plan()
        self._tools = tools
        self._activity = activity
        self._unsettled = unsettled
        self._present = present
        self._since = since
        self._tell_learned = learned
        self._tell_looked = looked
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._batching = Batching()
        self._log = EventLog(name, tools.log)
        self._orphans = Orphans(name, tools.notes)
        self._verifier = Verifier(name, tools, activity, self._log, self._orphans, self._looked)
        self._host_use = HostUse(tools, used)
        self._freshness = Freshness(forgotten)
        # Nothing has become known since the plan was made.
        self._planned = False
        self._failed_starts = FailedStarts()
        self._pause = Pause()
        # The names of the entries in the request that is under way.
        self._sending: frozenset[str] = frozenset()
        self._working = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = NEVER

    # --- what is known ----------------------------------------------------------------------------------

    def want(self, key: str, wants: tuple[Want, ...]) -> None:
        """From now on this device should be here as these say; nowhere here where there are none."""
        gone = self.wants.pop(key, ())
        self._batching.leaves(name for each in gone for name in entries.names_for(each.slot))
        if wants:
            self.wants[key] = wants
        self.kick()

    def listed(self, actual: Instance | None, asked: float) -> None:
        """The server answers, and this was the instance at some time after it was asked."""
        self._pause.listed()
        self._orphans.hurry()
        if self._freshness.takes_listing(asked, working=self._working):
            self._learn(actual)
        self.kick()

    def refresh(self) -> None:
        """Something happened to the instance: ask the server."""
        self._freshness.stale = True
        self._pause.heard()
        if self._freshness.missed:
            # It is not for us to wait any more: there is word of it.
            self._pause.end()
        self.kick()

    def moved(self) -> None:
        """The instance is moved to another member of the cluster."""
        self._freshness.moved(self._loop.time())
        self.refresh()

    def updated(self) -> None:
        """The instance's configuration was updated: by us, or by somebody else."""
        if self._freshness.is_echo():
            self.kick()
        else:
            self.refresh()

    def look_again(self) -> None:
        """What was seen inside may no longer be so: look before the next plan."""
        self._verifier.look_again()
        if not self._working:
            self._settle()

    def forget_inside(self) -> None:
        """What was seen inside is no longer so, or does not answer what is asked now."""
        self._verifier.forget_observed()
        self._batching.hurry()
        self.kick()

    def restarted(self) -> None:
        """The instance has another init than before, or none."""
        self._verifier.forget()
        self._tools.seals.restarted(self.name)
        self.forget_inside()
        self.refresh()

    def start_failed(self, reason: str, operation: str) -> None:
        """The instance could not be started: by one of our entries, perhaps."""
        self._failed_starts.failed(reason, operation)
        self.refresh()

    def may_start(self) -> None:
        """What kept the instance from starting may have gone."""
        self._failed_starts.forget()

    @property
    def is_running(self) -> bool:
        """Whether the instance runs, as far as is known."""
        return self.actual is not None and self.actual.running

    @property
    def seen(self) -> Inside | None:
        """What was seen inside since the last change; None where nothing was."""
        return self._verifier.seen

    def problems(self) -> list[Problem]:
        """What is wrong here, and why."""
        found = list(self.plan.problems)
        if self._pause.message:
            found.append(Problem("", "", f"{self.name}: {self._pause.message}"))
        found += [Problem("", "", f"{self.name}: {why}") for why, busy in self._busy().items() if busy]
        found += self._batching.problems(self._loop.time()) + self._orphans.problems()
        return found + self._verifier.problems(wanted=bool(self.wants))

    def _busy(self) -> dict[str, bool]:
        now = self._loop.time()
        return {CROWDED: self._batching.is_busy(now), EDITED: self._freshness.is_busy(now)}

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, in doubt or to be tried again."""
        busy = self._working or self._verifier.is_looked_at
        return not busy and not self._freshness.stale and not self._orphans.is_unsure

    def holds(self, slot: str) -> bool:
        """Whether the device with this slot is in the instance, or on its way there or back."""
        running = self.actual is not None and self.actual.running
        sending = not self._sending.isdisjoint(entries.names_for(slot))
        return sending or (running and self.has_entry(slot))

    def has_entry(self, slot: str) -> bool:
        """Whether the instance has an entry for the device with this slot."""
        actual = self.actual
        return actual is not None and any(each in actual.entries for each in entries.names_for(slot))

    def may_name(self, slot: str) -> bool:
        """Whether the server may have an entry of ours here for the device with this slot, now or soon."""
        names = entries.names_for(slot)
        if not self._sending.isdisjoint(names) or self._orphans.may_be_there(names):
            return True
        if not self._freshness.known:
            return self._freshness.stale
        actual = self.actual
        # Elsewhere in a cluster it names what another host has by that name.
        if actual is None or not actual.here:
            return False
        return any(each in actual.entries and entries.is_ours(actual.entries[each]) for each in names)

    async def seal(self, names: Iterable[str]) -> None:
        """Seal what the instance has inside by its entries of these names: it is about to go."""
        if self.actual is not None and self.actual.has_nodes and not self._tools.dry_run:
            there = self.actual.entries
            leaving = [there.get(each, Entry(each, {})) for each in names]
            await self._tools.seals.seal(self.name, leaving)

    def close(self) -> None:
        """Try nothing again."""
        self._set_alarm(NEVER)

    # --- what comes next --------------------------------------------------------------------------------

    def kick(self) -> None:
        """Something is new: plan again, now or as soon as the request under way is answered."""
        self._planned = False
        if not self._working:
            self._start()

    def _start(self) -> None:
        self._working = True
        self._activity.start(self._work, self._worked)

    def _worked(self, fine: bool) -> None:
        self._working = False
        if fine:
            self._settle()
        self._idle(self)

    def _settle(self) -> None:
        """Nothing is under way: do what comes next."""
        self._freshness.answered = False
        state = self._state()
        step = next_step(state)
        if isinstance(step, Look):
            self._verifier.look(self.plan)
            state = self._state()
            step = next_step(state)
        if isinstance(step, Rest):
            self._rest(state, step)
        else:
            self._start()

    async def _work(self) -> None:
        """Do one step after the other, until there is nothing to ask or to send."""
        while True:
            match next_step(self._state()):
                case Ask():
                    await self._ask()
                case MakePlan():
                    self._make_plan()
                case Clear(orphans):
                    await self._clear_up(orphans)
                case Check(wants):
                    await self._check(wants)
                case Send(batch):
                    await self._send(batch)
                case Look() | Rest():
                    return

    def _state(self) -> State:
        now = self._loop.time()
        fresh, pause = self._freshness, self._pause
        stale = not fresh.answered and self._is_stale(now)
        send_at = pause.until
        sends = self._planned and not stale and send_at <= now
        batch = self._batching.batch(self.plan.changes, now) if sends else ()
        added = [each.want for each in batch if each.action == "add" and each.want is not None]
        return State(
            now=now,
            stale=stale,
            ask_at=self._ask_at() if stale else LONG_AGO,
            listed=self._unsettled() is not None,
            planned=self._planned,
            send_at=send_at,
            orphans=self._orphans.to_clear(self.actual, now) if sends and self._orphans.records else (),
            batch=batch,
            blocking=self._orphans.in_the_way(batch) if self._orphans.records else (),
            unchecked=self._host_use.unchecked(added, now),
            echoed=fresh.echoed,
            look_at=self._look_at() if self._planned and not batch else NEVER,
            dry_run=self._tools.dry_run,
        )

    def _is_stale(self, now: float) -> bool:
        return self._freshness.stale or min(self._pause.look_at, self._freshness.again_at()) <= now

    def _ask_at(self) -> float:
        """When the server may be asked how the instance is."""
        return max(self._pause.ask_at, self._freshness.due())

    def _look_at(self) -> float:
        """When to look inside.

        Of a virtual machine there is no inside to see, and of another cluster member's instance the init's
        number would be one of that host's.
        """
        if (actual := self._container) is None:
            return NEVER
        return self._verifier.look_at(self.plan, actual, self._wanted())

    @property
    def _container(self) -> Instance | None:
        """The instance, where there is an inside to see now."""
        actual = self.actual
        is_seen = actual is not None and actual.running and actual.here and actual.kind == "container"
        return actual if is_seen else None

    def _looked(self) -> None:
        self._tell_looked(self)
        self.kick()

    def _wanted(self) -> list[Want]:
        return [want for each in self.wants.values() for want in each]

    # --- the steps --------------------------------------------------------------------------------------

    def _make_plan(self) -> None:
        self._planned = True
        self.plan = plan_instance(
            self.name,
            self.actual,
            self._wanted(),
            self._verifier.seen,
            self._unsettled() or (),
            self._present,
            self._present.held,
            self._failed_starts.barred,
        )

    async def _check(self, wants: Sequence[Want]) -> None:
        await self._host_use.ask(wants, self._loop.time)
        if not self._planned:
            # What became known meanwhile may be that the device is gone.
            self._freshness.answered = False

    async def _ask(self) -> None:
        self._freshness.doubt()
        now = self._loop.time()
        if self._ask_at() > now:
            return
        # Before the server is asked: what happens while it answers may not be in the answer.
        self._planned = False
        self._freshness.begin(now)
        self._pause.asked()
        try:
            self._learn(await self._tools.server.get(self.name))
        except Gone:
            known = self.actual is not None or self._freshness.missed > 0
            self._pause.reset()
            self._batching.hurry()
            self._learn(None)
            if known and self.wants and (pause := self._freshness.is_missing()) is not None:
                self._pause.wait(self._loop.time() + pause)
        except ServerError as error:
            self._back_off(error, asking=True)

    def _learn(self, actual: Instance | None) -> None:
        if actual is None or not actual.running or not actual.here:
            self._verifier.forget()
        now, before = self._loop.time(), self.actual
        moved = before is not None and actual is not None and before.location != actual.location
        self._freshness.learned(now, moved=moved, found=actual is not None)
        self._pause.learned(before, actual, now)
        self._failed_starts.learned(actual)
        if not self._tools.dry_run:
            self._orphans.learned(before, actual, self._sending)
            self._tools.seals.has(self.name, actual)
        self.actual = actual
        self._planned = False
        self._tell_learned(self.name, actual)

    def _link(self, batch: Sequence[Change]) -> list[Change]:
        """The changes whose slots are there."""
        linked: list[Change] = []
        for change in batch:
            try:
                if change.want is not None and "source" in change.entry.config:
                    self._tools.slots.make(change.want.device)
            except OSError as error:
                self._hold(change, f"its link in {entries.SLOTS} cannot be made: {error}")
            else:
                linked.append(change)
        return linked

    async def _send(self, batch: Sequence[Change]) -> None:
        if linked := self._link(batch):
            await self._apply(linked)

    async def _apply(self, batch: Sequence[Change]) -> None:
        put = [self._stamped(change.entry) for change in batch if change.action != "remove"]
        remove = [change.entry.name for change in batch if change.action == "remove"]
        self._sending = frozenset(change.entry.name for change in batch)
        paths = [entries.place_of(change.entry) for change in batch]
        self._verifier.changed(paths)
        before = self.actual.entries if self.actual is not None else {}
        for change in batch:
            if (old := before.get(change.entry.name)) is not None:
                self._verifier.ends(old)
        self._freshness.sent()
        self._batching.sent(self._loop.time())
        self._orphans.begin(batch)
        # Updates and repairs, too: the server takes out what is there and makes a new node.
        await self.seal(each.entry.name for each in batch if each.action != "add")
        try:
            actual = await self._tools.server.apply(self.name, put, remove)
        except Refused as error:
            self._freshness.expect_nothing()
            if error.half:
                # Nobody knows what it has written down, either.
                self._orphans.unknown()
                self._freshness.stale = True
            else:
                self._orphans.undone()
            self._split(batch, error)
        except ServerError as error:
            if isinstance(error, Unreachable):
                self._orphans.unknown()
            else:
                self._orphans.undone()
            self._back_off(error)
        else:
            self._orphans.done()
            self._pause.reset()
            self._learn(actual)
            self._done(batch)
        finally:
            # Also where it was refused: the server took out what it had put in, and put back what it took.
            self._verifier.changed(paths)
            self._sending = frozenset()
            self._planned = False

    async def _clear_up(self, left: Sequence[Change]) -> bool:
        """Have taken away what is left of these, each alone where all together are refused.

        Returns whether the server answers.
        """
        self._planned, self._freshness.answered = False, False
        await self._tools.seals.seal(self.name, [each.entry for each in left])
        try:
            await self._tools.server.clear(self.name, [each.entry for each in left])
        except Refused as error:
            if len(left) > 1:
                for each in left:
                    if not await self._clear_up([each]):
                        return False
                return True
            pause, new = self._orphans.held(left, str(error), self._loop.time())
            if new:
                self._log.refused(str(error), pause)
        except ServerError as error:
            # For a while: whatever keeps the server from it keeps no device out for ever.
            self._orphans.held(left, "", self._loop.time())
            self._back_off(error)
            return False
        else:
            self._orphans.cleared(left)
        # A listing may have seen what the server was asked for.
        self._freshness.stale = True
        for change in left:
            self._verifier.changed([entries.place_of(change.entry)])
            self._verifier.ends(change.entry)
            self._verifier.left(change.entry, cleared=True)
        return True

    def _stamped(self, entry: Entry) -> Entry:
        """The entry with the time since when it is there."""
        actual = self.actual.entries.get(entry.name) if self.actual else None
        since = ""
        if actual and actual.config.get(entries.MARK_INSTANCE) == entry.config[entries.MARK_INSTANCE]:
            since = actual.config.get(entries.MARK_SINCE, "")
        return Entry(entry.name, {**entry.config, entries.MARK_SINCE: since or self._tools.now()})

    # --- what came of a request -------------------------------------------------------------------------

    def _split(self, batch: Sequence[Change], error: Refused) -> None:
        if len(batch) == 1 and isinstance(error, Stuck):
            if self._batching.stuck(batch[0], str(error), self._loop.time()):
                self._log.held(batch[0], str(error), None)
            return
        if len(batch) == 1:
            self._hold(batch[0], str(error))
            return
        blamed = [change for change in batch if change.entry.name in error.entries]
        for change in blamed or batch:
            self._batching.spoiled(change, self._loop.time())

    def _back_off(self, error: ServerError, *, asking: bool = False) -> None:
        self._freshness.stale = True
        runs = self.actual is None or self.actual.running
        pause, new = self._pause.failed(error, self._loop.time(), asking=asking, runs=runs)
        if new:
            self._log.refused(str(error), pause)

    def _hold(self, change: Change, message: str) -> None:
        """Try this change again later, alone."""
        pause, new = self._batching.held(change, message, self._loop.time())
        if new:
            self._log.held(change, message, pause)

    def _done(self, batch: Sequence[Change]) -> None:
        now = self._loop.time()
        put = {entries.place_of(change.entry) for change in batch if change.action != "remove"}
        for path in put:
            self._verifier.arrived(path)
        for change in batch:
            path = entries.place_of(change.entry)
            if (fight := self._batching.done(change, now)) is not None:
                self._log.fight(change, fight.message)
            if change.action == "remove" and path not in put:
                self._verifier.left(change.entry)
            plugged = self._since.get(change.want.device.key) if change.want is not None else None
            self._log.done(change, now - plugged if plugged is not None else None)

    # --- what comes later -------------------------------------------------------------------------------

    def _rest(self, state: State, step: Rest) -> None:
        """There is nothing to ask or to send: link and tell inside, and set the alarm."""
        self._freshness.expect_nothing()
        self._log.would(step.would)
        now, changes = state.now, self.plan.changes
        times = [*self._batching.rest(changes, now), *self._orphans.due(), self._freshness.again_at()]
        times += [state.look_at, self._pause.retry_at]
        if state.stale:
            times.append(state.ask_at)
        # What failed is told of until it would be tried again.
        if step.done:
            self._pause.reset()
        if changes or self._orphans.is_unsure or self._pause.message:
            times.append(self._pause.look_at)
        for why, busy in self._busy().items():
            self._log.busy(why, now=busy)
        if (container := self._container) is not None:
            self._verifier.rest(self.plan, container)
        if not self._verifier.is_looked_at:  # which may settle some of them
            self._log.problems(self.plan.problems)
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
        if not self._working:
            self._settle()
