"""Where each device should be, by the rules and by what others' entries take.

All state belongs to the event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotplugd.aio.pace import Pace
from hotplugd.model.problem import Problem
from hotplugd.model.values import Device, Instance, InstanceName
from hotplugd.plan.desired import Wants, judged, wants
from hotplugd.plan.early import decided, differs
from hotplugd.plan.guard_rails import guard_rail, may_be_used
from hotplugd.plan.kinds.kind import EntrySelector, Want
from hotplugd.plan.overrides import NONE, Override, Overrides
from hotplugd.plan.ownership import Owners, met, owner, withheld
from hotplugd.pools.early import is_decided
from hotplugd.reconcile.device_log import DeviceLog
from hotplugd.reconcile.leases import Leases
from hotplugd.reconcile.moved_devices import Candidates
from hotplugd.reconcile.worker import Worker

# A restart takes no longer than this between the stop and the start.
_RESTART: Final = 10.0
# So often in a row devices are judged anew for what changed in others' entries, and then once in so many
# seconds: an entry may take all devices, and 200 of them take 6 ms.
_CHANGES: Final = (50, 0.1)


class OwnershipWatch:
    """Whom devices belong to by foreign entries, and the devices that are withheld for them.

    changed  called with the selectors of entries that came or went, while none are gathered; of those that
             change all the time, with several together
    """

    def __init__(self, changed: Callable[[AbstractSet[EntrySelector]], None]) -> None:
        self.owners = Owners()
        self._loop = asyncio.get_running_loop()
        self._changed = changed
        self._gathered: set[EntrySelector] | None = None
        # Selectors that changed since the last report, while reports are limited.
        self._late: set[EntrySelector] = set()
        self._pace = Pace(*_CHANGES)
        self._timer: asyncio.TimerHandle | None = None
        # The wants of the devices that are withheld, by key.
        self._withheld: dict[str, Wants] = {}
        # Instances that have just stopped, and may be about to start again.
        self._restarting: dict[InstanceName, asyncio.TimerHandle] = {}

    def gather(self) -> None:
        """Gather changes until `tell`: many instances are listed at once."""
        self._gathered = set()

    def tell(self) -> None:
        """Report what was gathered."""
        changed, self._gathered = self._gathered, None
        if changed:
            self._say(changed)

    def learned(self, name: InstanceName, instance: Instance | None) -> None:
        """The instance is like this now; None if it is gone."""
        changed = self.owners.learned(name, instance, restarts=self._restarts(name, instance))
        if self._gathered is not None:
            self._gathered |= changed
        elif changed:
            self._say(changed)

    def judge(self, wants: Wants, is_attached: Callable[[Wants], bool]) -> Wants:
        """The wants of a device, less those that conflict with others' entries.

        is_attached  whether the device is where it should be
        """
        self.forget(wants.device.key)
        if not self.owners.by_instance:
            return wants
        judged = withheld(wants, self.owners, attached=is_attached(wants))
        if wants.wants and not judged.wants:
            self._withheld[wants.device.key] = wants
        return judged

    def forget(self, key: str) -> None:
        """The device is gone, has another key, or is judged again."""
        self._withheld.pop(key, None)

    def withheld(self, name: InstanceName) -> list[Wants]:
        """The wants of withheld devices that would otherwise be in this instance."""
        return [
            wants for wants in self._withheld.values() if any(name == want.instance for want in wants.wants)
        ]

    def close(self) -> None:
        """Cancel all timers."""
        for timer in self._restarting.values():
            timer.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _say(self, changed: AbstractSet[EntrySelector]) -> None:
        """Report these, now or with what changes meanwhile."""
        self._late |= changed
        if self._timer is None:
            if self._pace.due > self._loop.time():
                self._timer = self._loop.call_at(self._pace.due, self._say_late)
            else:
                self._say_late()

    def _say_late(self) -> None:
        self._timer = None
        self._pace.done(self._loop.time())
        changed, self._late = self._late, set()
        self._changed(changed)

    def _restarts(self, name: InstanceName, instance: Instance | None) -> bool:
        """Whether the instance may be in the middle of a restart.

        It would not start again if another had got meanwhile what only one can have.
        """
        timer = self._restarting.pop(name, None)
        if timer is not None:
            timer.cancel()
        if instance is None or instance.running or not instance.known:
            return False
        if timer is None and not self.owners.has_alone(instance):
            return False
        if instance.restarts:
            # Its worker learns when that is over.
            return True
        until = timer.when() if timer is not None else self._loop.time() + _RESTART
        self._restarting[name] = self._loop.call_at(until, self._has_stopped, name, instance)
        return True

    def _has_stopped(self, name: InstanceName, instance: Instance) -> None:
        del self._restarting[name]
        if changed := self.owners.learned(name, instance):
            self._say(changed)


class Assignments:
    """Which device should be in which instances.

    overrides  what people decided in place of rules; whoever sets others has each device assigned anew
    ownership  what others' entries take
    wants      of each device that a rule takes, by the device's key
    taken      how many devices each rule took so far, by its name; each plug counts
    leases     who has devices of pools
    log        tells of devices
    """

    def __init__(
        self,
        leases: Leases,
        workers: Mapping[InstanceName, Worker],
        candidates: Candidates,
        changed: Callable[[AbstractSet[EntrySelector]], None],
        log: FilteringBoundLogger,
    ) -> None:
        self.leases = leases
        self.overrides = NONE
        self.wants: dict[str, Wants] = {}
        self.ownership = OwnershipWatch(changed)
        self._workers = workers
        self._candidates = candidates
        self.log = DeviceLog(log)
        self.taken = Counter[str]()
        # The devices that rules take and the host uses, by key.
        self._used: dict[str, Device] = {}

    def assign(self, device: Device, *, gone: bool = False, was: str = "") -> tuple[Wants | None, Wants]:
        """Decide where the device should be. Returns where it should have been before, and now.

        was  what it was known by before, if by something else
        """
        key = device.key
        before = self.wants.pop(was or key, None)
        self._used.pop(was or key, None)
        if was not in ("", key):
            self.leases.gone(was, device.slot)
        # Of one that udevd has not processed it may be unknown by now where it goes: then it waits, too.
        waits = gone or (device.early and not self.is_decided(device))
        if waits:
            self.leases.gone(key, device.slot)
        now = Wants(device) if waits else self._wanted(device)
        if before is not None and (problem := differs(before, now)) is not None:
            now = replace(now, problems=(*now.problems, problem))
        if now.rule is not None:
            self.wants[key] = now
            if before is None or before.rule is None or before.rule.name != now.rule.name:
                self.taken[now.rule.name] += 1
        if now.kept:
            self._used[key] = device
        if gone:
            self.log.gone(device, was)
        else:
            self.log.judged(device, now.rule, was)
        self.log.problems(before, now)
        return before, now

    def is_decided(self, device: Device) -> bool:
        """Whether it is known where a USB device goes that udevd has not processed yet: into an instance."""
        leasing = self.leases.leasing
        attach = decided(leasing.rules, device, self.overrides, self.ownership.owners)
        return attach is not None and (not attach.pool or is_decided(leasing, device, attach.pool))

    def learned(self, name: InstanceName, instance: Instance | None) -> list[Device]:
        """Take note of an instance as it is, None where it is gone. Returns the devices to assign anew."""
        self.ownership.learned(name, instance)
        self.leases.learned(name, instance)
        again: list[Device] = []
        if instance is not None:
            # A device that was attached before its owner was known stays.
            again += [wants.device for wants in self.ownership.withheld(name) if self._is_attached(wants)]
        # A device that the host uses stays in a running instance.
        return again + [
            device
            for key, device in self._used.items()
            if any(want.instance == name for want in self.wants[key].kept)
        ]

    def met(self, selectors: AbstractSet[EntrySelector]) -> list[Device]:
        """The devices that others' entries take by any of these. No rule takes the rest."""
        return met([wants.device for wants in self.wants.values()], selectors)

    def may_have(self, device: Device) -> set[InstanceName]:
        """The instances that have, or may be about to have, what has left the host: one that starts takes it
        before anybody says that it runs.
        """
        wants = self.wants[device.key].wants if device.key in self.wants else ()
        workers = [(self._workers[want.instance], want) for want in wants if want.instance in self._workers]
        names = {worker.name for worker, want in workers if worker.may_take(want)}
        return names.union(self._candidates.of(device) if device.subsystem == "net" else ())

    def problems(self) -> list[Problem]:
        """Why devices are nowhere that rules take."""
        found = [problem for wants in self.wants.values() for problem in wants.problems if not problem.guard]
        return found + self.leases.problems() + self.leases.revocations.problems()

    def usable(self, devices: Mapping[str, Device]) -> list[tuple[Device, Want]]:
        """The devices that rules take unless the host uses them, and the first place where each would go."""
        return [
            (device, want)
            for key, wants in self.wants.items()
            if (device := devices.get(key)) is not None
            and (want := next(iter(wants.kept or wants.wants), None)) is not None
            and may_be_used(want)
        ]

    def kept(self) -> list[str]:
        """The syspaths of devices that rules take and that stay on the host, by a guard rail or by hand."""
        return [
            wants.device.syspath
            for wants in self.wants.values()
            if (wants.override is not None and not wants.override.attaches)
            or (
                wants.rule is not None
                and wants.rule.attach is not None
                and not wants.rule.attach.force
                and guard_rail(wants.device)
            )
        ]

    def would(self, device: Device, override: Override) -> Wants:
        """Where the device would go if somebody decided this, and what is in the way."""
        found = wants(self.leases.leasing.rules, device, Overrides.made_of([override]))
        return withheld(found, self.ownership.owners, attached=self._is_attached(found))

    def _wanted(self, device: Device) -> Wants:
        wants = self._judged(device)
        if self.leases.has_pools and self._is_leased_anew(wants):
            wants = self._judged(device)
        return self.ownership.judge(wants, self._is_attached)

    def _judged(self, device: Device) -> Wants:
        leasing = self.leases.leasing
        return judged(leasing.rules, device, self._has, self.overrides, holder=leasing.holder)

    def _is_leased_anew(self, wants: Wants) -> bool:
        """Tell the leases of a device. Returns whether it has another lease by what it is known by now."""
        device, holder = wants.device, self.leases.leasing.holder
        lease = holder(device)
        is_of_pool = wants.rule is not None and wants.rule.attach is not None and wants.rule.attach.pool
        belongs = is_of_pool and not self._is_attached(wants)
        self.leases.judged(wants, owner(device, self.ownership.owners) if belongs else "")
        return holder(device) != lease

    def _is_attached(self, wants: Wants) -> bool:
        """Whether an instance where it should be has an entry of ours for it, of whichever version."""
        holders = self._candidates.of(wants.device) if wants.device.subsystem == "net" else ()
        return any(
            want.instance in holders or self._workers[want.instance].has_entry(want.slot)
            for want in wants.wants
            if want.instance in self._workers
        )

    def _has(self, want: Want) -> bool:
        worker = self._workers.get(want.instance)
        return worker is not None and worker.is_running and worker.has_entry(want.slot)
