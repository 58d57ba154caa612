"""When the leases of pools are allocated anew, and whose devices are assigned anew then.

What changes is gathered in one turn of the event loop and allocated in the next: several changes at once are
one allocation, and none waits for a timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from hotplugd.aio.tasks import Activity
from hotplugd.model.lease import Lease
from hotplugd.model.problem import Problem
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, Instance, InstanceName
from hotplugd.plan.about import ABOUT, Fields
from hotplugd.plan.desired import Wants
from hotplugd.pools.allocate import Allocation
from hotplugd.pools.away_leases import Moment
from hotplugd.pools.cordons import Cordons
from hotplugd.pools.health import UNKNOWN, Health
from hotplugd.pools.leasing import Leasing
from hotplugd.pools.leaving import StillOpen
from hotplugd.reconcile.claim_log import ClaimLog
from hotplugd.reconcile.inventory import Inventory
from hotplugd.reconcile.pool_files import PoolFiles
from hotplugd.reconcile.ports import Ports
from hotplugd.reconcile.problem_log import ProblemLog
from hotplugd.reconcile.quarantines import Quarantines
from hotplugd.reconcile.readiness import Readiness
from hotplugd.reconcile.revocations import Revocations
from hotplugd.reconcile.worker import Worker
from hotplugd.rules.keys import PORT
from hotplugd.rules.ruleset import RuleSet

# Seconds after which it is looked again whether the lease of an absent device is over.
_LONGEST_PAUSE: Final = 60.0
_SHORTEST_PAUSE: Final = 0.1


class Leases:
    """The leases of all pools. All of it belongs to the event loop.

    leasing      what is known, and what was allocated last
    has_pools    whether devices have to be told: there are pools, or there were, or nothing was allocated yet
    revocations  of what goes from one instance to another
    ports        where it is told of leases that begin and end, and where they are kept
    quarantines  which devices come and go too often
    readiness    which devices are ready inside
    changed      called with what the devices are known by whose lease is another now
    """

    def __init__(
        self,
        rules: RuleSet,
        workers: Mapping[InstanceName, Worker],
        inventory: Inventory,
        activity: Activity,
        changed: Callable[[Sequence[str]], None],
        ports: Ports,
    ) -> None:
        self._ports = ports
        self.has_pools = True
        kept = ports.leases.before().from_now(ports.boot, self._now())
        self.leasing = Leasing(rules, kept, StillOpen(inventory.handovers.may_have, inventory.handovers.why))
        self.revocations = Revocations(workers, inventory, activity, ports, self._wake)
        self.quarantines = Quarantines(self._quarantined, ports.log, ports.now)
        self.readiness = Readiness(
            ports.commands, self.leasing, inventory.slots, self._looked_at, ports.log, ports.now
        )
        self._workers = workers
        self._inventory = inventory
        self._activity = activity
        self._changed = changed
        self._log = ports.log
        self._is_due = False
        # Whether nothing was allocated yet.
        self._is_first = True
        self._problems = ProblemLog(ports.log, "claim.problem")
        self._claims = ClaimLog(ports.log)
        # The leases that were told of and are not over.
        self._told: dict[str, Lease] = {}
        self._loop = asyncio.get_running_loop()
        # When a lease of an absent device ends.
        self._alarm: asyncio.TimerHandle | None = None
        self._files = PoolFiles(ports.server, ports.trusted_file)
        inventory.serve(rules)
        inventory.pool_files = self._files if not ports.dry_run else None
        self._files.set_rules(rules.pools)
        # What was told of and is no matter of leases: of files, and of whom the server never said anything.
        self._told_of_files: list[Problem] = []
        self._told_of_silent: frozenset[InstanceName] = frozenset()
        self.quarantines.restore(ports.leases.before().quarantines)

    def set_rules(self, rules: RuleSet) -> None:
        """Take these rules from now on. Every device is judged anew then, and `settle` is called."""
        self.has_pools = True
        self.leasing.set_rules(rules)
        self._inventory.serve(rules)
        self._files.set_rules(rules.pools)

    def set_cordons(self, cordons: Cordons) -> None:
        """Take what people have cordoned from now on."""
        if self.leasing.set_cordons(cordons):
            self._touch()

    def set_health(self, key: str, health: Health) -> None:
        """A device is of this health from now on, by what it is known by in leases."""
        if self.leasing.set_health(key, health):
            self._touch()

    def release(self, keys: Sequence[str], why: str) -> None:
        """Have these devices' leases end now, by what they are known by. Their claims go to the end."""
        for key in keys:
            if (lease := self.leasing.allocation.leases.get(key)) is not None:
                self.leasing.asked.release(key, why)
                self.leasing.claimants.last(lease)
        self.settle()

    def move(self, key: str, to: Lease, why: str) -> None:
        """Have this device leased so from now on, whoever had it."""
        self.leasing.asked.move(key, to, why)
        self.settle()

    def judged(self, found: Wants, owner: str) -> None:
        """A device is there, and the rules say this of it. owner: as in `Leasing.judged`."""
        if self.leasing.judged(found, owner):
            self._touch()
            self._see_flapping(found.device)
        if self._inventory.unserved and found.override is not None:
            self._wake([*self._inventory.handovers.may_have(found.device.slot)])
        if not self._inventory.devices_listed:
            self.revocations.met(found.device)

    def gone(self, key: str, slot: str) -> None:
        """A device is no more, by what it is known by, and its slot. key: empty where another has it now"""
        if self.leasing.gone(key):
            self._touch()
        if self._inventory.unserved:
            self._wake([*self._inventory.handovers.may_have(slot)])

    def learned(self, name: InstanceName, instance: Instance | None) -> None:
        """The server said how an instance is; None where there is none."""
        if instance is None or not instance.running:
            self._files.forget(name, gone=instance is None)
        if self.leasing.learned(name, instance):
            if self.leasing.brings(name):
                # Before its worker plans: it would take out what is leased.
                self.settle()
            else:
                self._touch()

    def listed(self, unlisted: Collection[str]) -> None:
        """All but these projects' instances were listed. At first it allocates before workers plan."""
        is_new = self.leasing.claimants.unlisted(unlisted)
        if self._is_first:
            self.settle()
        elif is_new:
            self._touch()

    def is_idle(self, worker: Worker) -> None:
        """Nothing is under way for an instance any more: what it had may be free now."""
        if not self._ports.dry_run:
            self.readiness.attached(worker.name, worker.plan.attachments if worker.is_running else ())
        self.revocations.again()
        if self.leasing.is_releasing or self._is_to_tell(worker):
            self._touch()

    def processed(self, device: Device | None) -> None:
        """Udevd has processed a device that it had not: whoever has it may get more now.

        device  as it is; None where it is gone
        """
        if device is not None:
            self.revocations.met(device)
        if device is not None and self.leasing.key_of(device) and any(self._naming(device.slot)):
            # Before the worker of who has it plans: it would take out what is leased.
            self.settle()
        else:
            self._touch()

    def settle(self) -> None:
        """Allocate now, if all devices and all instances are known.

        Called before the workers plan for the first time: without leases they would take out what is leased.
        """
        self._is_due = False
        if not (self._inventory.devices_listed and self._inventory.instances_listed):
            return
        self.readiness.only(self._inventory.slots)
        now = self._now()
        changed = self.leasing.settle(self._naming, tuple(self._inventory.unprocessed.values()), now)
        # Before the workers plan: what goes with its device is out of the server's database then.
        kept = self.leasing.kept(self._ports.boot)
        self._ports.leases.note(replace(kept, quarantines=self.quarantines.all))
        self._set_alarm(self.leasing.next_end(now))
        if self._alarm is None and self.leasing.is_releasing:
            # Whoever may have it may never say so.
            self._set_alarm(_LONGEST_PAUSE)
        self._tell(self.leasing.allocation)
        for slot in self.leasing.leaving.slots():
            self.revocations.start(slot)
        if changed:
            self._changed(changed)
        self._is_first = False
        self.has_pools = bool(self.leasing.rules.pools)

    def had_before(self, device: Device) -> bool:
        """Whether leases are allocated for the first time, and this one was somebody's before."""
        key, made = self.leasing.key_of(device), self.leasing.allocation
        return self._is_first and key in made.leases and key not in made.new

    def close(self) -> None:
        """Cancel all timers, and allocate no more."""
        self._set_alarm(None)
        self.quarantines.close()
        self.readiness.close()
        self.revocations.close()

    def _now(self) -> Moment:
        return Moment(self._ports.boottime(), self._ports.now())

    def _set_alarm(self, pause: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        if pause is not None:
            # The loop's clock stands still while the host sleeps, and rounds otherwise than the other one.
            pause = max(min(pause, _LONGEST_PAUSE), _SHORTEST_PAUSE)
            self._alarm = self._loop.call_later(pause, self._touch)

    def problems(self) -> list[Problem]:
        """What is wrong with claims, pools and their devices."""
        return self._of_pools() + self.quarantines.problems() + self.readiness.problems()

    def unwell(self) -> list[str]:
        """What the devices are known by that are in quarantine or bad, whether they are there or not."""
        return [*(each.key for each in self.quarantines.all), *self.readiness.bad]

    def forgive(self, keys: Iterable[str]) -> None:
        """Let these devices be given again, since somebody says so."""
        for key in keys:
            self.quarantines.lift(key)
            self.readiness.forgive(key)

    def _quarantined(self, key: str, health: Health) -> None:
        """A quarantine begins or is over. What was bad meanwhile, or before, is bad then."""
        self.set_health(key, health if health != UNKNOWN else self.readiness.health(key))

    def _looked_at(self, key: str, health: Health) -> None:
        """Somebody looked inside how a device does. In quarantine it is, however that is."""
        if self.leasing.health(key).state != "quarantined":
            self.set_health(key, health)

    def _see_flapping(self, device: Device) -> None:
        """A device of a pool, or what goes along with one, was plugged in or is another now."""
        rules, known = self.leasing.rules, self.leasing.devices.get(self.leasing.key_of(device))
        pool = rules.pools.get(known.pool) if known is not None and known.device.key == device.key else None
        if known is not None:
            self.readiness.enumerated(known.key, device.slot)
        if known is not None and pool is not None and pool.flap is not None:
            where = rules.hubs.location(device) or next(iter(PORT.values(device)), "")
            self.quarantines.plugged(known, pool.flap, quoted(where))

    def _wake(self, waited: Sequence[InstanceName]) -> None:
        for name in waited:
            if (worker := self._workers.get(name)) is not None:
                worker.kick()
        self._touch()

    def _touch(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._activity.start(self._settle, lambda _: None)

    async def _settle(self) -> None:
        if self._is_due:
            self.settle()

    def _tell(self, allocation: Allocation) -> None:
        """Tell of the leases and problems that are over, and of the new ones."""
        for ended in allocation.ended:
            self._tell_found(ended.key, ended.lease)
            self._log.info("lease.over", **self._fields(ended.key, ended.lease), why=ended.why)
            self._told.pop(ended.key, None)
        for key, before in list(self._told.items()):
            now = allocation.leases.get(key, before)
            if now != before and key not in allocation.new:
                self._log.info("lease.over", **self._fields(key, before), why="another claim has it")
                self._log.info("lease.given", **self._fields(key, now))
        for key in sorted(allocation.leases.keys() - self._told.keys() - {*allocation.new}):
            self._tell_found(key, allocation.leases[key])
        for away in self.leasing.away.went:
            if away.key in allocation.leases:
                self._log.info("lease.away", **self._fields(away.key, away.lease), pool=away.pool)
        for key in self.leasing.away.back:
            if key in allocation.leases:
                self._log.info("lease.back", **self._fields(key, allocation.leases[key]))
        self._problems.are(self._of_pools())
        self._told_of_files, self._told_of_silent = self._files.problems(), self._silent()
        for key in allocation.new:
            self._log.info("lease.given", **self._fields(key, allocation.leases[key]))
        self._claims.are(allocation.claims, self.leasing.claimants.why_over)
        self._told = {**allocation.leases}

    def _tell_found(self, key: str, lease: Lease) -> None:
        """Tell of a lease that somebody has already, as an entry or the state file says; once."""
        if key in self._told:
            return
        fields = self._fields(key, lease)
        if (away := self.leasing.away.get(key)) is not None:
            fields |= {"pool": away.pool, "reason": "it is absent"}
        self._log.info("lease.found", **fields)

    def _of_pools(self) -> list[Problem]:
        """What is wrong with claims, pools and files, and which instances may have what nobody knows."""
        found = self.leasing.problems() + self._files.problems()
        for name in sorted(self._silent()):
            message = "the server never said what it has; what it may have of pools is given to others"
            found.append(Problem("", "", f"{name}: {message}", instance=str(name)))
        return found

    def _silent(self) -> frozenset[InstanceName]:
        """The instances of which the server never said what they have, where that is a matter of pools."""
        workers = self._workers.items() if self.leasing.rules.serves_pools else ()
        return frozenset(name for name, worker in workers if self._is_silent(worker))

    def _is_silent(self, worker: Worker) -> bool:
        # What those of a project that was not listed yet may have is given to nobody.
        return worker.is_silent and not self.leasing.claimants.is_unknown(worker.name)

    def _is_to_tell(self, worker: Worker) -> bool:
        """Whether there is a problem that no lease is about, and that was not told of, or is over."""
        is_silent = self.leasing.rules.serves_pools and self._is_silent(worker)
        is_new = is_silent != (worker.name in self._told_of_silent)
        return is_new or self._files.problems() != self._told_of_files

    def _fields(self, key: str, lease: Lease) -> Fields:
        known = self.leasing.devices.get(key)
        # A phone in another mode has no serial number: the lease is of what it is known by.
        about: Fields = {} if known is None else {ABOUT: known.device, "pool": known.pool}
        return {**about, "identity": key, "instance": str(lease.instance), "claim": quoted(lease.claim)}

    def _naming(self, slot: str) -> Iterator[InstanceName]:
        return (
            name for name, worker in self._workers.items() if worker.may_name(slot) and not worker.is_silent
        )
