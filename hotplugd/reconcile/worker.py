"""One instance's writer: what is known of the instance, and how its plan is applied.

A writer plans, sends what is ready as one request, and plans again, until there is nothing to send. What
arrives meanwhile gathers and goes as the next request. When it rests it has the inside seen to (`interior`),
and sets an alarm for what has to be tried again. A writer waits for no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from hotplugd.model import entry as entries
from hotplugd.model.ports import Busy, Gone, Refused, ServerError, Stuck, Unreachable
from hotplugd.model.values import Device, Entry, Inside, Instance, InstanceName
from hotplugd.plan.desired import Problem, Want
from hotplugd.plan.planner import Change, Plan, plan_instance
from hotplugd.reconcile.event_log import Report
from hotplugd.reconcile.failed_starts import Starts
from hotplugd.reconcile.freshness import EDITED, Asking
from hotplugd.reconcile.holds import Held, Wait, held
from hotplugd.reconcile.host_use import HostUse
from hotplugd.reconcile.moved_nics import Present
from hotplugd.reconcile.orphans import Doubts
from hotplugd.reconcile.pause import Pause
from hotplugd.reconcile.retry import CROWDED, LONG_AGO, NEVER, Records
from hotplugd.reconcile.sealing import Sealing
from hotplugd.reconcile.stopped import HANDS_OFF_WHY, Stopped
from hotplugd.reconcile.tools import Activity, Tools
from hotplugd.reconcile.verify import Interior
from hotplugd.server.errors import sealed_by_now


class Writer:
    """Keeps one instance, or the place of one that does not exist (yet), as it should be.

    unsettled   gives the devices that udevd has not processed; None while not all is known
    present     the slots of all devices that exist, and which interfaces are in the instance
    since       when, in the loop's time, a device (by its key) came
    learned     called whenever the server said how the instance is, with None where there is none
    looked      called whenever somebody looked into it
    used        called with a device that the host uses, as it turns out, and how
    idle        called whenever nothing is under way any more
    """

    def __init__(
        self,
        name: InstanceName,
        tools: Tools,
        activity: Activity,
        unsettled: Callable[[], Sequence[Device] | None],
        present: Present,
        since: Mapping[str, float],
        learned: Callable[[InstanceName, Instance | None], None],
        looked: Callable[[Writer], None],
        used: Callable[[Device, str], None],
        idle: Callable[[Writer], None],
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
        self._records = Records()
        self._report = Report(name, tools.log)
        self._doubts = Doubts(name, tools.notes)
        self._interior = Interior(name, tools, activity, self._report, self._doubts.looked, self._looked)
        self._host_use = HostUse(tools, used)
        self._sealing = Sealing(name, tools.seals)
        self._asking = Asking()
        # Something is new since the last plan.
        self._kicked = False
        # When the server's answer came that is in `actual`, and when the present plan was made.
        self._learned = LONG_AGO
        self._stopped = Stopped()
        self._starts = Starts()
        self._at = LONG_AGO
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
        self._records.leaves(name for each in gone for name in entries.names_for(each.slot))
        if wants:
            self.wants[key] = wants
        self.kick()

    def listed(self, actual: Instance | None, asked: float) -> None:
        """The server answers, and this was the instance at some time after it was asked."""
        self._pause.reset()
        self._doubts.hurry()
        self._stopped.listed()
        if not self._working and self._learned < asked:
            self._learn(actual)
        else:
            # A request is under way or was answered meanwhile: the listing may be older than the answer.
            self._asking.stale = True
        self.kick()

    def refresh(self) -> None:
        """Something happened to the instance: ask the server."""
        self._asking.stale = True
        self._pause.heard()
        if self._asking.missed:
            # It is not for us to wait any more: there is word of it.
            self._pause.end()
        self.kick()

    def moved(self) -> None:
        """The instance is moved to another member of the cluster."""
        self._asking.moved(self._loop.time())
        self.refresh()

    def updated(self) -> None:
        """The instance's configuration was updated: by us, or by somebody else."""
        if self._asking.is_echo():
            self.kick()
        else:
            self.refresh()

    def look_again(self) -> None:
        """What was seen inside may no longer be so."""
        self._interior.look_again()
        self.kick()

    def forget_inside(self) -> None:
        """What was seen inside is no longer so, or does not answer what is asked now."""
        self._interior.forget_sight()
        self._records.hurry()
        self.kick()

    def restarted(self) -> None:
        """The instance has another init than before, or none."""
        self._interior.forget()
        self._doubts.restarted()
        self._tools.seals.restarted(self.name)
        self._sealing.restarted()
        self.forget_inside()
        self.refresh()

    def start_failed(self, reason: str, operation: str) -> None:
        """The instance could not be started: by one of our entries, perhaps."""
        self._starts.failed(reason, operation)
        self.refresh()

    def may_start(self) -> None:
        """What kept the instance from starting may have gone."""
        self._starts.forget()

    @property
    def is_running(self) -> bool:
        """Whether the instance runs, as far as is known."""
        return self.actual is not None and self.actual.running

    @property
    def seen(self) -> Inside | None:
        """What was seen inside since the last change; None where nothing was."""
        return self._interior.seen

    def problems(self) -> list[Problem]:
        """What is wrong here, and why."""
        found = list(self.plan.problems)
        if self._pause.message:
            found.append(Problem("", "", f"{self.name}: {self._pause.message}"))
        found += [Problem("", "", f"{self.name}: {why}") for why, busy in self._busy().items() if busy]
        found += self._records.problems(self._loop.time()) + self._doubts.problems()
        return found + self._interior.problems(wanted=bool(self.wants))

    def held(self) -> list[Held]:
        """What has to wait here, until when and why."""
        now = self._loop.time()
        waits = [Wait(self._pause.until, self._pause.message)]
        if self._stopped.making:
            waits.append(Wait(self._stopped.until, "its server still makes it", "its server has made it"))
        else:
            waits.append(Wait(self._stopped.until, HANDS_OFF_WHY))
        if self._asking.stale and self._asking.is_busy(now):
            waits.append(Wait(self._asking.due(), EDITED))
        return held(self.name, self.plan, self._records, waits, now)

    def _busy(self) -> dict[str, bool]:
        now = self._loop.time()
        return {CROWDED: self._records.is_busy(now), EDITED: self._asking.is_busy(now)}

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, in doubt or to be tried again."""
        busy = self._working or self._interior.is_looked_at
        return not busy and not self._asking.stale and not self._doubts

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
        if not self._sending.isdisjoint(names) or self._doubts.may_be_there(names):
            return True
        if self._learned == LONG_AGO:
            return self._asking.stale
        actual = self.actual
        # Elsewhere in a cluster it names what another host has by that name.
        if actual is None or not actual.here:
            return False
        return any(each in actual.entries and entries.is_ours(actual.entries[each]) for each in names)

    async def seal(self, names: Iterable[str]) -> bool:
        """Seal what the instance has inside by its entries of these names: it is about to go.

        Returns whether it has something, and all is sealed.
        """
        if self.actual is None or self._tools.dry_run:
            return False
        return await self._sealing.seal(names, self.actual)

    def close(self) -> None:
        """Try nothing again."""
        self._set_alarm(NEVER)

    # --- the writer -------------------------------------------------------------------------------------

    def kick(self) -> None:
        """Something is new: plan again, now or as soon as the request under way is answered."""
        self._kicked = True
        if not self._working:
            self._working = True
            self._activity.start(self._work, self._worked)

    def _worked(self, fine: bool) -> None:
        self._working = False
        if fine and self._kicked:
            self.kick()
        elif fine:
            self._asking.expect_nothing()
            self._rest()
        self._idle(self)

    async def _work(self) -> None:
        """Plan and apply until nothing is ready to be sent."""
        while True:
            self._at = self._loop.time()
            # Before the server is asked: what happens while it answers may not be in the answer.
            self._kicked = False
            waits = not await self._find_out()
            unsettled = self._unsettled()
            if unsettled is None:
                return
            self.plan = plan_instance(
                self.name,
                self.actual,
                self._wanted(),
                self._interior.seen,
                unsettled,
                self._present,
                self._present.held,
                self._starts.barred,
            )
            # What is to be asked first is asked soon. What became so during the answer does not count: where
            # events never end nothing would ever be sent.
            if waits or max(self._pause.until, self._stopped.until) > self._at:
                return
            if left := self._doubts.left(self.actual, self._at):
                await self._clear_up(left)
                continue
            batch = self._records.batch(self.plan.changes, self._at)
            if await self._has_to_wait(batch):
                continue
            if self._tools.dry_run:
                self._report.would(batch)
                self._pause.reset()
                return
            linked = self._link(batch)
            if linked:
                await self._apply(linked)
            elif not (self._asking.echoed or self._records.batch(self.plan.changes, self._at)):
                # Only here, not after each answer: while it is busy the server still says how things are.
                self._pause.reset()
                return

    async def _has_to_wait(self, batch: Sequence[Change]) -> bool:
        """Whether a new plan comes before this request: more is known by now, or something was in its way."""
        if self._asking.echoed and not batch:
            self._asking.stale, self._asking.echoed = True, False
            return True
        if lost := self._doubts.in_the_way(batch):
            await self._clear_up(lost)
            return True
        kicked, self._kicked = self._kicked, False
        # What became known while that was asked may be that a device is gone.
        again = await self._host_use.ask(batch, self._loop.time) or self._kicked
        self._kicked |= kicked
        return again

    def _looked(self) -> None:
        self._tell_looked(self)
        self.kick()

    def _wanted(self) -> list[Want]:
        return [want for each in self.wants.values() for want in each]

    def _ask_at(self) -> float:
        """When the server may be asked how the instance is."""
        return max(self._pause.asks_at, self._asking.due())

    async def _find_out(self) -> bool:
        """Ask the server how the instance is, if that has to be. Returns False where it must not be yet."""
        if min(self._stopped.look_at(), self._asking.again_at()) <= self._at:
            self._asking.stale = True
        if self._asking.stale:
            if self._ask_at() > self._at:
                return False
            await self._refresh()
            self._at = self._loop.time()
        return True

    async def _refresh(self) -> None:
        self._asking.begin(self._at)
        self._pause.asked()
        try:
            self._learn(await self._tools.server.get(self.name))
        except Gone:
            known = self.actual is not None or self._asking.missed > 0
            self._pause.reset()
            self._records.hurry()
            self._learn(None)
            if known and self.wants and (pause := self._asking.is_missing()) is not None:
                self._pause.wait(self._loop.time() + pause)
        except ServerError as error:
            self._back_off(error, asking=True)

    def _learn(self, actual: Instance | None) -> None:
        if actual is None or not actual.running or not actual.here:
            self._interior.forget()
        self._learned = self._loop.time()
        self._stopped.learned(self.actual, actual, self._learned)
        self._starts.learned(actual)
        if not self._tools.dry_run:
            self._doubts.learned(self.actual, actual, self._sending)
            self._tools.seals.has(self.name, actual)
            self._sealing.learned(actual)
        if actual is not None:
            self._asking.missed = 0
            if self.actual is not None and self.actual.location != actual.location:
                self._asking.arrived()
        self.actual = actual
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

    async def _apply(self, batch: Sequence[Change]) -> None:
        put = [self._stamped(change.entry) for change in batch if change.action != "remove"]
        remove = [change.entry.name for change in batch if change.action == "remove"]
        self._sending = frozenset(change.entry.name for change in batch)
        paths = [entries.place_of(change.entry) for change in batch]
        self._interior.changed(paths)
        before = self.actual.entries if self.actual is not None else {}
        for change in batch:
            if (old := before.get(change.entry.name)) is not None:
                self._interior.ends(old)
        self._asking.sent()
        self._records.sent(self._loop.time())
        self._doubts.begin(batch)
        sealed = await self.seal(remove)
        if self.actual is not None:
            replaced = (each.entry.name for each in batch if each.action in ("update", "repair"))
            await self._sealing.hold(replaced, self.actual)
        try:
            actual = await self._tools.server.apply(self.name, put, remove)
        except Refused as error:
            self._asking.expect_nothing()
            if error.half:
                # Nobody knows what it has written down, either.
                self._doubts.unknown()
                self._asking.stale = True
            else:
                self._doubts.undone()
            self._split(batch, error, sealed=sealed)
        except ServerError as error:
            if isinstance(error, Unreachable):
                self._doubts.unknown()
            else:
                self._doubts.undone()
            self._back_off(error)
        else:
            self._doubts.done()
            self._pause.reset()
            self._learn(actual)
            self._done(batch)
        finally:
            # Also where it was refused: the server took out what it had put in, and put back what it took.
            self._interior.changed(paths)
            self._sending = frozenset()

    async def _clear_up(self, left: Sequence[Change]) -> bool:
        """Have taken away what is left of these, each alone where all together are refused.

        Returns whether the server answers.
        """
        await self._tools.seals.seal(self.name, [each.entry for each in left])
        try:
            await self._tools.server.clear(self.name, [each.entry for each in left])
        except Refused as error:
            if len(left) > 1:
                for each in left:
                    if not await self._clear_up([each]):
                        return False
                return True
            pause, new = self._doubts.held(left, str(error), self._loop.time())
            if new:
                self._report.refused(str(error), pause)
        except ServerError as error:
            # For a while: whatever keeps the server from it keeps no device out for ever.
            self._doubts.held(left, "", self._loop.time())
            self._back_off(error)
            return False
        else:
            self._doubts.cleared(left)
        # A listing may have seen what the server was asked for.
        self._asking.stale = True
        for change in left:
            self._interior.changed([entries.place_of(change.entry)])
            self._interior.ends(change.entry)
            self._interior.left(change, cleared=True)
        return True

    def _stamped(self, entry: Entry) -> Entry:
        """The entry with the time since when it is there."""
        actual = self.actual.entries.get(entry.name) if self.actual else None
        since = ""
        if actual and actual.config.get(entries.MARK_INSTANCE) == entry.config[entries.MARK_INSTANCE]:
            since = actual.config.get(entries.MARK_SINCE, "")
        return Entry(entry.name, {**entry.config, entries.MARK_SINCE: since or self._tools.now()})

    # --- what came of a request -------------------------------------------------------------------------

    def _split(self, batch: Sequence[Change], error: Refused, *, sealed: bool) -> None:
        if len(batch) == 1 and isinstance(error, Stuck):
            if self._records.stuck(batch[0], str(error), self._loop.time()):
                self._report.held(batch[0], str(error), None)
            return
        if len(batch) == 1:
            left = f"{error}; {sealed_by_now(self.name, batch[0].entry.name)}" if sealed else str(error)
            self._hold(batch[0], left)
            return
        blamed = [change for change in batch if change.entry.name in error.entries]
        for change in blamed or batch:
            self._records.spoiled(change, self._loop.time())

    def _back_off(self, error: ServerError, *, asking: bool = False) -> None:
        self._asking.stale = True
        runs = self.actual is None or self.actual.running
        held = isinstance(error, Busy) and not asking and not runs
        pause, new = self._pause.failed(error, self._loop.time(), asking=asking, stopped=held)
        if held:
            # Unless it starts, of which there will be word.
            self._stopped.until = self._pause.until
            self._pause.end()
        if new:
            self._report.refused(str(error), pause)

    def _hold(self, change: Change, message: str) -> None:
        """Try this change again later, alone."""
        pause, new = self._records.held(change, message, self._loop.time())
        if new:
            self._report.held(change, message, pause)

    def _done(self, batch: Sequence[Change]) -> None:
        now = self._loop.time()
        put = {entries.place_of(change.entry) for change in batch if change.action != "remove"}
        for path in put:
            self._interior.arrived(path)
        for change in batch:
            path = entries.place_of(change.entry)
            if (fight := self._records.done(change, now)) is not None:
                self._report.fight(change, fight.message)
            if change.action == "remove" and path not in put:
                self._interior.left(change)
            plugged = self._since.get(change.want.device.key) if change.want is not None else None
            self._report.done(change, now - plugged if plugged is not None else None)

    # --- what comes later -------------------------------------------------------------------------------

    def _rest(self) -> None:
        """There is nothing to send: see to the inside, and set the alarm."""
        now = self._loop.time()
        for change in self._doubts.lost(self.actual):
            self._interior.left(change)
        # What failed is told of until it would be tried again.
        times = [self._pause.until, *self._records.rest(self.plan.changes, now)]
        times += self._doubts.due()
        for why, busy in self._busy().items():
            self._report.busy(why, now=busy)
        times.append(self._asking.again_at())
        if self._asking.stale:
            times.append(self._ask_at())
        if self.plan.changes or self._doubts or self._pause.message:
            times.append(self._stopped.look_at())
        # Of a virtual machine there is no inside to see, and of another cluster member's instance the init's
        # number would be one of that host's.
        actual = self.actual
        if actual is not None and actual.running and actual.here and actual.kind == "container":
            times.append(self._interior.rest(self.plan, actual, self._wanted()))
        if not self._interior.is_looked_at:  # which may settle some of them
            self._report.problems(self.plan.problems)
        # Later than the plan, not than now: what came due in between has not been looked at.
        self._set_alarm(min((time for time in times if time > self._at), default=NEVER))

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
        self.kick()
