"""hotplugd at work with one server: udev and the server's events go in, and the reconciler does the rest.

Devices are listened to and listed before the server is spoken to, and the server's events are listened to
before its instances are listed, so nothing that happens in between is missed.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, closing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotplugd.aio.backoff import LONG_AGO, Retry
from hotplugd.aio.threads import Threads
from hotplugd.app.host_look import HostLook
from hotplugd.app.host_problems import HostProblems
from hotplugd.app.instance_listing import PAUSES, InstanceListing
from hotplugd.app.leave_alone import LeaveAlone
from hotplugd.app.left_over_slots import LeftOverSlots
from hotplugd.app.lifecycle import tell_lifecycle
from hotplugd.app.served_pools import ServedPools
from hotplugd.app.settings import Config
from hotplugd.container.injector import Injector
from hotplugd.container.inspector import Inspector
from hotplugd.container.opener import Opener
from hotplugd.container.sealer import Sealer
from hotplugd.container.seals import Seals
from hotplugd.container.udev_database import UdevDatabase
from hotplugd.host.journals import Links, Notes, RecordNotes
from hotplugd.host.properties import kernel_lines
from hotplugd.host.server_lock import lock
from hotplugd.host.slots import Slots
from hotplugd.host.sysfs import boot, sequence_now
from hotplugd.host.udev import Udev
from hotplugd.model.ports import ServerError, ServerInfo
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, Instance, InstanceName
from hotplugd.plan.about import HUBS
from hotplugd.plan.overrides import NONE, Overrides
from hotplugd.pools.cordons import NO_CORDONS, Cordons
from hotplugd.reconcile.device_log import Cause
from hotplugd.reconcile.early_devices import goes_early
from hotplugd.reconcile.flapping import Flapping
from hotplugd.reconcile.hold_off import CALM
from hotplugd.reconcile.holds import Held
from hotplugd.reconcile.ports import LeaseKeeperPort, Ports
from hotplugd.reconcile.reconciler import Reconciler
from hotplugd.rules.ruleset import RuleSet
from hotplugd.server.client import Lxd
from hotplugd.server.events import Lifecycle

# The net below the events: everything is looked at again this often, in seconds.
_RESYNC: Final = 300.0
# One instance that hangs does not keep the service from being ready.
_FIRST_CONVERGENCE: Final = 20.0
TRIED_AGAIN: Final = f"; it is tried again every {PAUSES[1]:.0f} s at least"
# A server that ends sooner after it was found is as one that was not found: it is tried less and less often.
_STEADY: Final = 1.0
# So many requests at a time: an event of a profile concerns all instances that use it.
_REQUESTS: Final = 100


class Session:
    """The devices of one server, at `address`.

    config       where others listen and look; its server and rules were found and read already
    leases       keeps what no entry records of leases
    overrides    what people decided by hand, and cordons what they have cordoned
    host         what the host itself uses, and who has devices open
    tried        set once the first convergence was tried, whatever came of it
    server       who answers; None until somebody did
    connected    whether the server's events are heard; `lost_events` how often uevents were lost
    """

    def __init__(
        self,
        address: str,
        rules: RuleSet,
        log: FilteringBoundLogger,
        config: Config,
        leases: LeaseKeeperPort,
        *,
        overrides: Overrides = NONE,
        cordons: Cordons = NO_CORDONS,
        dry_run: bool = False,
    ) -> None:
        self.address = address
        self.rules = rules
        self.tried = asyncio.Event()
        self._answered = asyncio.Event()
        self.server: ServerInfo | None = None
        self.connected = False
        self.lost_events = 0
        log = log.bind(**{HUBS: lambda: self.rules.hubs})
        self._log = log
        self._dry_run = dry_run
        self._retry = Retry()
        # Whether an answer has ended a pause since the server's events were heard at last.
        self._woken = False
        self._never = asyncio.Event()
        # When, in the loop's time, the server's events were heard at last.
        self._since = LONG_AGO
        self._threads = Threads()
        # The server has its own threads: a hung container must not block requests.
        self._lxd = Lxd(address, Threads(_REQUESTS))
        self._opener = Opener(self._threads, config.roots)
        self._inspector = Inspector(
            self._threads, self._opener, self._lxd.init, self._changed_inside, self._ended
        )
        self._slots = Slots()
        self._notes = Notes(address)
        self._links = Links(address)
        self._records = RecordNotes(address)
        self._udev_database = UdevDatabase(self._threads, self._inspector.opened, config.udevdb)
        self._injector = Injector(
            self._threads, self._inspector.network, kernel_lines, sequence_now, config.inject
        )
        self._host_problems = HostProblems(log)
        self._seals = Seals(
            Sealer(self._threads, config.seal, address),
            self._opener,
            self._inspector.node,
            self._host_problems.unsealed,
            self._host_problems.seal_over,
        )
        self.host = HostLook(self._threads, config.roots, config.usb)
        ports = Ports(
            server=self._lxd,
            commands=self._lxd,
            inspector=self._inspector,
            injector=self._injector,
            udev_database=self._udev_database,
            slots=self._slots,
            seals=self._seals,
            revoker=self.host,
            entry_journal=self._notes,
            link_journal=self._links,
            record_journal=self._records,
            restore=self._restore,
            log=log,
            now=_now,
            in_use=self.host.in_use,
            unsure=self.host.unsure,
            leases=leases,
            boottime=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
            trusted_file=self.host.trusted_file,
            dry_run=dry_run,
            boot=boot(),
        )
        self._pools = ServedPools(log, address, self._may_have_leased, dry_run=dry_run)
        self.reconciler = Reconciler(ports, rules.without_leases() if rules.pools else rules)
        self.reconciler.assignments.leases.set_cordons(cordons)
        self.reconciler.set_overrides(overrides, "start")
        self._left_over = LeftOverSlots(
            address, self._slots, self._seals, self.reconciler, log, self._host_problems
        )
        self._listing = InstanceListing(self._lxd, self.reconciler, log)
        folder = None if dry_run else config.udev_rules
        self._leave_alone = LeaveAlone(self._threads, folder, rules, self.reconciler.assignments.kept, log)
        self._flapping = Flapping(log, lambda: self.rules, config.most_plugs)
        lost, wrong, early = self._lost, self._host_problems.udev, partial(goes_early, self.reconciler)
        gate, over_current = self._flapping, self.host.over_current
        self._udev = Udev(rules.attrs, self.reconciler, lost, wrong, gate, early, over_current)

    async def run(self) -> None:
        """Work until cancelled. A server that is away is waited for.

        Raises AlreadyRunning where another hotplugd does this already, and OSError where uevents cannot be
        heard or /dev cannot be written.
        """
        if self._dry_run:
            await self._work()
        else:
            with lock(self.address), closing(self._pools):
                self._notes.read()
                self._links.read()
                self._records.read()
                # Before devices are listed: a device that has one of these slots is listed then, or gone.
                self._left_over.hold()
                await self._work()

    def set_rules(self, rules: RuleSet) -> None:
        """Take these rules from now on."""
        self.rules = rules
        self._inspector.ask_for(rules.users, rules.groups)
        self.reconciler.set_rules(self._pools.served(rules))
        self._udev.ask_for(rules.attrs)
        self._leave_alone.set_rules(rules)

    def set_overrides(self, overrides: Overrides, cause: Cause) -> None:
        """Take what people decided by hand from now on."""
        self.reconciler.set_overrides(overrides, cause)
        self._leave_alone.set_rules(self.rules)

    async def instance(self, name: InstanceName) -> Instance:
        """An instance as the server has it now. Raises Gone, and any other ServerError."""
        return await self._lxd.get(name)

    def problems(self, goes_on: str = "") -> list[Problem]:
        """Everything that is not as it should be. goes_on: what to add of a server that is away."""
        away = [Problem("", "", self._retry.message + goes_on)] if self._retry.message else []
        away += [self._pools.problem] if self._pools.problem is not None else []
        flapping = self._flapping.problems(asyncio.get_running_loop().time())
        faults = [Problem(device, "", what) for device, what in self._udev.faults()]
        rest = self._listing.problems() + self._leave_alone.problems() + faults + flapping
        return away + self._host_problems.problems() + rest + self.reconciler.problems()

    def held(self) -> list[Held]:
        """What has to wait, until when in the loop's time, and why."""
        return self._flapping.held(asyncio.get_running_loop().time()) + self.reconciler.held()

    # --- tasks ------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        self._inspector.ask_for(self.rules.users, self.rules.groups)
        if self.rules.pools:
            self.reconciler.set_rules(self._pools.served(self.rules))
        known = self.reconciler.inventory
        try:
            self._udev.start()
            self.host.start()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._resync())
                tasks.create_task(self._listing.run())
                tasks.create_task(self._try())
                tasks.create_task(self._leave_alone.run())
                tasks.create_task(self._tell_over())
                tasks.create_task(self.host.watch_usb(self._host_problems, known, lambda: self.rules.hubs))
                tasks.create_task(self._serve_pools())
                tasks.create_task(self.host.run(self.reconciler.usable, self.reconciler.found_used))
        finally:
            self._listing.close()
            self._udev.stop()
            self.host.stop()
            self.reconciler.close()
            self._inspector.close()
            self._injector.close()
            self._udev_database.close()
            self._seals.close()
            self._slots.close()
            self._opener.close()
            self._leave_alone.close()
            self._lxd.close()
            self._threads.close()

    async def _listen(self) -> None:
        """Hear what happens to instances; again and again, since servers end and start."""
        while True:
            try:
                self.server = await self._lxd.connect()
                await self._seals.connected(self.server)
                await self._left_over.sweep()
                async with aclosing(self._lxd.events()) as events:
                    async for happened in events:
                        await self._happened(happened)
            except ServerError as error:
                now = asyncio.get_running_loop().time()
                if self.connected and now - self._since > _STEADY:
                    self._retry.reset()
                self.connected = False
                pause, new = self._retry.failed(str(error), now, *PAUSES)
                if new:
                    self._log.warning("server.away", reason=str(error), retry_in=pause)
                self.tried.set()
                await self._pause(pause)

    async def _pause(self, seconds: float) -> None:
        """Wait so long before the server is tried again, or until it answers somebody else.

        That once while it is away: it may answer everything but whoever listens.
        """
        self._lxd.answered.clear()
        try:
            async with asyncio.timeout(seconds):
                await (self._never if self._woken else self._lxd.answered).wait()
        except TimeoutError:
            return
        # The server has just started to answer: try again soon.
        self._woken, self._retry.tries = True, 0

    async def _happened(self, happened: Lifecycle | None) -> None:
        if happened is None:
            await self._listing.list_now()
            self._retry.message, self._woken = "", False
            self.connected, self._since = True, asyncio.get_running_loop().time()
            self._log.info("server.connected", server=str(self.server))
            self._answered.set()
        else:
            tell_lifecycle(happened, self.reconciler, self._listing, self._log)

    async def _try(self) -> None:
        await self._answered.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_CONVERGENCE):
                await self.reconciler.settled()
                await self._leave_alone.told.wait()
        self.tried.set()

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(_RESYNC)
            self._udev.refresh()
            self.reconciler.look_everywhere()
            self._listing.soon()

    async def _serve_pools(self) -> None:
        """Serve the pools of the rules once no other hotplugd of this host serves any."""
        while True:
            await self._pools.left()
            self.set_rules(self.rules)

    async def _tell_over(self) -> None:
        """Have it said what is not held off any more."""
        while True:
            await asyncio.sleep(CALM)
            self._flapping.tell_over(asyncio.get_running_loop().time())
            self._listing.tell_crowded()
            self._pools.let_go()

    def _may_have_leased(self) -> bool:
        """Whether an instance may have a leased device: nobody knows before all were listed."""
        is_known = self._answered.is_set() and not self._lxd.unlisted
        return not is_known or self.reconciler.inventory.handovers.has_leased

    def _restore(self, device: Device) -> Device | None:
        return self._udev.restore(device)

    # --- what is heard ----------------------------------------------------------------------------------

    def _lost(self, reason: str) -> None:
        self.lost_events += 1
        self._log.warning("udev.lost-events", reason=reason)

    def _changed_inside(self, name: InstanceName) -> None:
        self.reconciler.look_again(name)

    def _ended(self, name: InstanceName) -> None:
        self.reconciler.restarted(name)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
