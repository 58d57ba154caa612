"""The requests to the server about one instance, and how each one ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from hotplugd.aio.backoff import NEVER
from hotplugd.model import entry as entries
from hotplugd.model.ports import Busy, Changed, Gone, LeftBehind, Refused, ServerError, Stuck, Unreachable
from hotplugd.model.values import Entry, Instance, InstanceName
from hotplugd.plan.change import Change
from hotplugd.plan.kinds.kind import Want
from hotplugd.plan.nic_entries import told_of_stuck
from hotplugd.reconcile.instance_state import DISK, SERVER, InstanceState
from hotplugd.reconcile.inventory import Inventory
from hotplugd.reconcile.lease_view import leases_text
from hotplugd.reconcile.orphans import AWAY, BUSY
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.sealing import Sealing, sealed_by_now


class Requests:
    """Asks the server for one instance, and has it change the instance.

    inventory  when devices came, and which go from one instance to another
    learned    called whenever the server said how the instance is, with None where there is none
    """

    def __init__(
        self,
        known: InstanceState,
        ports: Ports,
        inventory: Inventory,
        learned: Callable[[InstanceName, Instance | None], None],
    ) -> None:
        self._known = known
        self._ports = ports
        self._sealing = Sealing(known.name, ports.seals)
        self._inventory = inventory
        self._tell_learned = learned
        self._loop = asyncio.get_running_loop()

    def ask_at(self) -> float:
        """When the server may be asked how the instance is."""
        return max(self._known.backoff.ask_at, self._known.freshness.due())

    async def seal(self, names: Iterable[str]) -> bool:
        """Seal the nodes of these entries inside the instance: they are about to be removed.

        Returns whether there are some, and all are sealed.
        """
        if (actual := self._known.actual) is None or self._ports.dry_run:
            return False
        return await self._sealing.seal(names, actual)

    def restarted(self) -> None:
        """The instance restarted or stopped: there are other nodes."""
        self._ports.seals.restarted(self._known.name)
        self._sealing.restarted()

    async def ask(self) -> None:
        """Ask the server how the instance is, if it may be asked now."""
        self._known.freshness.doubt()
        now = self._loop.time()
        if self.ask_at() > now:
            return
        # Before the server is asked: what happens while it answers may not be in the answer.
        self._known.planned = False
        self._known.freshness.begin(now)
        self._known.backoff.asked()
        self._known.log.asks()
        self._asks(SERVER)
        try:
            actual = await self._ports.server.get(self._known.name)
            if self._known.is_to_be_told(actual):
                raise Unreachable("the server cannot tell how it is now")
            self._sealing.asked(actual)
            self.learn(actual)
        except Gone:
            known = self._known.actual is not None or self._known.freshness.missed > 0
            self._known.backoff.reset()
            self._known.batching.hurry()
            self._sealing.asked(None)
            self.learn(None)
            if known and self._known.wants and (pause := self._known.freshness.is_missing()) is not None:
                self._known.backoff.wait(self._loop.time() + pause)
        except ServerError as error:
            self._back_off(error, asking=True)
        finally:
            self._known.asked_at = NEVER

    def learn(self, said: Instance | None) -> None:
        """The server says that the instance is like this; None where there is none."""
        now, before, restarts, actual = self._loop.time(), self._known.actual, self._known.restarts, said
        # What runs is in no restart: a plug need not ask.
        if said is None or not said.running:
            actual = restarts.judged(before, said, now, has_leases=self._inventory.has_leases)
        if actual is None or not actual.running or not actual.here:
            self._known.verifier.forget()
        moved = before is not None and actual is not None and before.location != actual.location
        self._known.freshness.learned(now, moved=moved, exists=actual is not None)
        self._known.backoff.learned(before, actual, now, restarts.until)
        self._known.failed_starts.learned(actual)
        if not self._ports.dry_run:
            self._known.orphans.learned(before, actual, self._known.sending)
            self._ports.seals.has(self._known.name, actual)
            self._sealing.learned(actual)
        self._known.log.attachments.learned(before, actual, self._known.sending)
        self._known.actual = actual
        self._known.planned = False
        self._tell_learned(self._known.name, actual)

    def _asks(self, whom: str) -> None:
        """Take note that somebody is asked, and that all changes wait for the answer."""
        self._known.asked, self._known.asked_at = whom, self._loop.time()

    def _link_slots(self, batch: Sequence[Change]) -> list[Change]:
        """The changes whose slots are there."""
        linked: list[Change] = []
        for change in batch:
            try:
                if change.want is not None and "source" in change.entry.config:
                    self._ports.slots.make(change.want.device, alone=change.want.is_alone)
            except OSError as error:
                self._hold(change, f"its link in {entries.SLOTS} cannot be made: {error}")
            else:
                linked.append(change)
        return linked

    async def send(self, batch: Sequence[Change]) -> None:
        """Have the server make these changes, and take note of what came of it."""
        if not batch:
            self._known.lease_view.written(self._loop.time())
            if not self._known.lease_view.differs(self._known.actual, self._known.wanted()):
                await self._put_leases()
                return
        if (linked := self._link_slots(batch)) or not batch:
            await self._apply(linked)

    async def _apply(self, batch: Sequence[Change]) -> None:
        put = [self._stamped(change.entry) for change in batch if change.action != "remove"]
        remove = [change.entry.name for change in batch if change.action == "remove"]
        self._known.sending = frozenset(change.entry.name for change in batch)
        paths = [entries.target_of(change.entry) for change in batch]
        before, restarts = self._known.actual, self._sealing.restarts
        there = before.entries if before is not None else {}
        going = [there[change.entry.name] for change in batch if change.entry.name in there]
        self._known.observed.changed(paths)
        for old in going:
            self._known.verifier.ends(old)
        self._known.freshness.sent()
        self._known.batching.sent(self._loop.time())
        self._known.orphans.records.begin(batch)
        self._inventory.handovers.sends(self._known.name, batch)
        if remove and any(
            change.action == "remove" and entries.MARK_POOL in change.entry.config for change in batch
        ):
            # Until it goes the entry is the record of a lease whose device is absent. Others know by now what
            # is sent: meanwhile a device of this batch may be given to another instance, or go.
            self._asks(DISK)
            await self._ports.leases.written()
        self._asks(SERVER)
        sealed = bool(remove) and await self.seal(remove)
        # For updates and repairs, too, the server removes the node and makes a new one.
        replaced = [change.entry.name for change in batch if change.action in ("update", "repair")]
        if before is not None and replaced:
            await self._sealing.hold(replaced, before)
        try:
            await self._put_files(before, batch)
            if going:
                self._sealing.check(restarts)
            leases = self._leases_with(put, remove)
            actual = await self._ports.server.apply(self._known.name, put, remove, before, leases)
        except ServerError as error:
            self._failed(batch, error, sealed=sealed)
        else:
            self._known.orphans.records.done()
            self._known.backoff.reset()
            self.learn(actual)
            self._done(batch)
            await self._put_leases()
            if before is not None and self._sealing.went(going, before, restarts):
                self._known.freshness.stale = True
        finally:
            # Also after a refusal: the server undid its changes, and so made new nodes.
            self._known.observed.changed(paths)
            self._known.sending, self._known.asked_at = frozenset(), NEVER
            self._known.planned = False

    async def clear(self, left: Sequence[Change]) -> bool:
        """Have the server remove what is left of these, each alone if it refuses them together.

        Returns whether the server answers.
        """
        self._known.planned, self._known.freshness.answered = False, False
        await self._ports.seals.seal(self._known.name, [change.entry for change in left])
        self._asks(SERVER)
        try:
            await self._ports.server.clear(self._known.name, [change.entry for change in left])
        except Refused as error:
            if len(left) > 1:
                for change in left:
                    if not await self.clear([change]):
                        return False
                return True
            pause, new = self._known.orphans.held(left, str(error), self._loop.time())
            if new:
                problem = self._known.orphans.refused(left[0], str(error))
                self._known.log.refused(str(error), pause, problem)
        except ServerError as error:
            # Held for a limited time: an orphan must not keep other devices out for ever.
            most = BUSY if isinstance(error, Busy) else AWAY
            self._known.orphans.held(left, "", self._loop.time(), most)
            self._back_off(error)
            return False
        else:
            self._known.orphans.cleared(left)
        finally:
            self._known.asked_at = NEVER
        # The server may list other entries now.
        self._known.freshness.stale = True
        for change in left:
            self._known.observed.changed([entries.target_of(change.entry)])
            self._known.verifier.ends(change.entry)
            self._known.verifier.left(change.entry, cleared=True)
        return True

    async def _put_files(self, actual: Instance | None, batch: Sequence[Change]) -> None:
        """Have the files of pools inside before devices of theirs. Raises ServerError."""
        files = self._inventory.pool_files
        if files is None or actual is None or not (actual.running or actual.kind == "container"):
            return
        adds = (change.want for change in batch if change.action == "add" and change.want is not None)
        if pools := {want.attach.pool for want in adds if want.attach.pool}:
            await files.before(actual, pools)

    @property
    def is_misstated(self) -> bool:
        """Whether the configuration, or a file inside, says anything else of leases than what there is."""
        actual, files = self._known.actual, self._inventory.pool_files
        if actual is None or self._inventory.unserved:
            # Nobody here knows.
            return False
        leased = [want for wants in self._known.wants.values() for want in wants if want.attach.pool]
        has_files = files is not None and self._known.name in files.leases
        if not (leased or actual.leases or has_files):
            return False
        if self._known.lease_view.differs(actual, self._known.wanted()):
            return True
        return files is not None and files.differs(actual, _pools(leased))

    async def _put_leases(self) -> None:
        """Have the files inside say what the instance has leased."""
        if self._inventory.pool_files is not None and self._known.actual is not None:
            await self._inventory.pool_files.after(self._known.actual, _pools(self._known.wanted()))

    def _leases_with(self, put: Iterable[Entry], remove: Iterable[str]) -> str | None:
        """What its configuration is to say of its leases after this; None where nobody knows."""
        if (actual := self._known.actual) is None or self._inventory.unserved:
            return None
        leased = [want for wants in self._known.wants.values() for want in wants if want.unit]
        if not leased:
            return ""
        names = (actual.entries.keys() | {each.name for each in put}) - {*remove}
        return leases_text(leased, names)

    def _stamped(self, entry: Entry) -> Entry:
        """The entry with the mark that says since when it exists."""
        actual = self._known.actual.entries.get(entry.name) if self._known.actual else None
        since = ""
        if actual and actual.config.get(entries.MARK_INSTANCE) == entry.config[entries.MARK_INSTANCE]:
            since = actual.config.get(entries.MARK_SINCE, "")
        return Entry(entry.name, {**entry.config, entries.MARK_SINCE: since or self._ports.now()})

    # --- what came of a request -------------------------------------------------------------------------

    def _failed(self, batch: Sequence[Change], error: ServerError, *, sealed: bool) -> None:
        """The server did not make these changes. sealed: the nodes that were to go are, all of them."""
        if isinstance(error, Unreachable) or (isinstance(error, Refused) and error.half):
            # It is unknown which entries the server has recorded.
            self._known.orphans.records.unknown()
            self._known.freshness.stale = True
        else:
            self._known.orphans.records.undone()
        if isinstance(error, Changed):
            # What is inside now is sealed before it is tried again, at the pace of questions.
            self._known.freshness.stale = True
        elif isinstance(error, Refused):
            self._known.freshness.expect_nothing()
            self._split(batch, error, sealed=sealed)
        else:
            if isinstance(error, LeftBehind):
                self._known.orphans.doubt(each.entry for each in batch if each.entry.name in error.entries)
            self._back_off(error)

    def _split(self, batch: Sequence[Change], error: Refused, *, sealed: bool) -> None:
        if len(batch) == 1 and isinstance(error, Stuck):
            message = told_of_stuck(batch[0].entry, self._known.name, str(error))
            if self._known.batching.stuck(batch[0], message, self._loop.time()):
                self._known.log.held(batch[0], message, None)
            return
        if len(batch) == 1:
            left = sealed_by_now(self._known.name, batch[0].entry.name) if sealed else ""
            self._hold(batch[0], f"{error}; {left}" if left else str(error))
            return
        if not batch:
            now = self._loop.time()
            self._known.log.refused(str(error), max(self._known.lease_view.until - now, 0.0))
        blamed = [change for change in batch if change.entry.name in error.entries]
        for change in blamed or batch:
            self._known.batching.spoiled(change, self._loop.time())

    def _back_off(self, error: ServerError, *, asking: bool = False) -> None:
        self._known.freshness.stale = True
        runs = self._known.actual is None or self._known.actual.running
        pause, new = self._known.backoff.failed(error, self._loop.time(), asking=asking, runs=runs)
        if new:
            self._known.log.refused(str(error), pause)

    def _hold(self, change: Change, message: str) -> None:
        """Try this change again later, alone."""
        pause, new = self._known.batching.held(change, message, self._loop.time())
        if new:
            self._known.log.held(change, message, pause)

    def _done(self, batch: Sequence[Change]) -> None:
        now, boottime = self._loop.time(), self._ports.boottime()
        put = {entries.target_of(change.entry) for change in batch if change.action != "remove"}
        self._known.orphans.arrived(put)
        # A device that was enumerated again: log its removal before its new entry.
        for change in sorted(batch, key=lambda each: each.action != "remove"):
            path = entries.target_of(change.entry)
            if (fight := self._known.batching.done(change, now)) is not None:
                self._known.log.fight(change, fight.message)
            if change.action == "remove" and path not in put:
                runs = self._known.actual is not None and self._known.actual.running
                self._known.verifier.left(change.entry, running=runs)
            plugged = self._inventory.since.get(change.want.device.key) if change.want is not None else None
            self._known.log.done(change, boottime - plugged if plugged is not None else None)


def _pools(wants: Iterable[Want]) -> set[str]:
    return {want.attach.pool for want in wants if want.attach.pool}
