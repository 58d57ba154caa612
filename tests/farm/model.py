"""Which device may be in which instance: the yardstick of a farm's day. Shares nothing with hotplugd.

The model is told what happens (`plugged`, `stopped`, …) and keeps the leases that must go on after that. At a
quiet moment `judge` compares with what was seen inside and with the daemon's own list:

1. A device is in one instance at most, and there as what it is.
2. A lease goes on until something ends it. Its device is in its instance while both are there.
3. What has come meanwhile was free to be given, to an instance that asks for it; nobody has more than it
   asks for. Who asks for several has all or none.
4. No device lies idle that would give an instance all that it asks for.
5. The daemon lists these leases, and no others.

In which order waiting claims are served is not judged here: see tests/unit/pools/test_allocate_at_random.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Claim:
    """What an instance asks for. only: these devices alone; any where it is empty."""

    pool: str
    count: int = 1
    only: frozenset[str] = frozenset()


@dataclass(slots=True)
class Device:
    """A device of a pool.

    there     whether it is plugged in
    sight     as what it is seen inside
    cordoned  whether it is given to nobody
    doubtful  whether it may be given or not: since it was plugged in it was not in order
    was_there whether it was plugged in at some time since the last quiet moment
    """

    pool: str
    there: bool = False
    sight: str = ""
    cordoned: bool = False
    doubtful: bool = False
    was_there: bool = False


@dataclass(slots=True)
class Job:
    """An instance. claim: None where it asks for nothing; ran: at some time since the last quiet moment."""

    claim: Claim | None
    running: bool = True
    ran: bool = True


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found at one moment.

    inside  by the names of instances that run: the devices in there, and as what
    listed  the daemon's leases: the instance of each device, whether that is there or not
    """

    inside: Mapping[str, Mapping[str, str]]
    listed: Mapping[str, str]


@dataclass(slots=True)
class Model:
    """What must be true.

    sticky  the pools whose leases outlive an absent device and a stopped instance (`keep`, `keep_stopped`)
    good    as what a device is seen that is in order
    leases  those that must go on: the instance of each device
    """

    sticky: frozenset[str]
    good: str
    devices: dict[str, Device]
    jobs: dict[str, Job] = field(default_factory=dict)
    leases: dict[str, str] = field(default_factory=dict)
    # The pools in which a lease may have ended since the last quiet moment that nobody here knew of.
    _ended: set[str] = field(default_factory=set)
    # Leases of an instance that has more than it asks for now: some of them go on.
    _perhaps: dict[str, str] = field(default_factory=dict)

    # --- what happens -----------------------------------------------------------------------------------

    def plugged(self, name: str) -> None:
        device = self.devices[name]
        device.there = device.was_there = True
        device.doubtful = device.sight != self.good

    def pulled(self, name: str) -> None:
        device = self.devices[name]
        device.there = False
        if device.pool not in self.sticky:
            self.ended(name)

    def enumerated(self, name: str, sight: str) -> None:
        """It was away for a moment, and is another thing on the bus."""
        self.pulled(name)
        self.devices[name].sight = sight
        self.plugged(name)

    def created(self, job: str, claim: Claim | None, *, running: bool = True) -> None:
        self.jobs[job] = Job(claim, running, running)

    def deleted(self, job: str) -> None:
        del self.jobs[job]
        self._end_all(job)

    def stopped(self, job: str) -> None:
        found = self.jobs[job]
        found.running = False
        if found.claim is None or found.claim.pool not in self.sticky:
            self._end_all(job)

    def started(self, job: str) -> None:
        self.jobs[job].running = self.jobs[job].ran = True

    def claims(self, job: str, claim: Claim | None) -> None:
        """It asks for something else from now on."""
        self.jobs[job].claim = claim
        has = [name for name, holder in self.leases.items() if holder == job]
        fit = [name for name in has if self._asks_for(job, name)]
        too_many = claim is not None and len(fit) > claim.count
        for name in has if claim is None or too_many else {*has} - {*fit}:
            self.leases.pop(name)
        if too_many:
            # It is the daemon that chooses which ones end.
            self._perhaps |= dict.fromkeys(fit, job)
        self._ended |= {self.devices[name].pool for name in self.devices}

    def ended(self, name: str) -> None:
        """The device's lease is over, if it has one."""
        self.leases.pop(name, None)
        self._perhaps.pop(name, None)
        self._ended.add(self.devices[name].pool)

    def moved(self, name: str, job: str) -> None:
        self.ended(name)
        self.leases[name] = job

    # --- what must be -----------------------------------------------------------------------------------

    def judge(self, seen: Seen) -> None:
        """See that this is right. Raises AssertionError, which says what is wrong."""
        where: dict[str, str] = {}
        for job, found in seen.inside.items():
            for name, sight in found.items():
                assert name not in where, f"{name} is in {where[name]} and in {job}"
                assert self.devices[name].there, f"{name} is in {job}, and is not plugged in"
                expected = self.devices[name].sight
                assert sight == expected, f"{name} in {job} is {sight}, expected {expected}"
                where[name] = job
        for name, job in self.leases.items():
            assert seen.listed.get(name) == job, f"{name} is {job}'s, and listed for {seen.listed.get(name)}"
        for name, job in seen.listed.items():
            assert job in self.jobs, f"{name} is leased to {job}, which is not there"
            if self.devices[name].there and self.jobs[job].running:
                assert where.get(name) == job, f"{name} is leased to {job}, and is in {where.get(name)}"
            if name not in self.leases:
                self._judge_new(name, job)
        for name, job in where.items():
            assert seen.listed.get(name) == job, f"{name} is in {job}, and listed for {seen.listed.get(name)}"
        for job in self.jobs:
            self._judge_count(job, seen.listed)
        self._judge_idle(seen.listed)

    def adopt(self, seen: Seen) -> None:
        """What was right becomes what must go on."""
        self.leases = dict(seen.listed)
        self._ended.clear()
        self._perhaps.clear()
        for device in self.devices.values():
            device.was_there = device.there
        for job in self.jobs.values():
            job.ran = job.running

    # --- within -----------------------------------------------------------------------------------------

    def _end_all(self, job: str) -> None:
        for name in [name for name, holder in (self.leases | self._perhaps).items() if holder == job]:
            self.ended(name)

    def _asks_for(self, job: str, name: str) -> bool:
        claim = self.jobs[job].claim
        return (
            claim is not None
            and claim.pool == self.devices[name].pool
            and (not claim.only or name in claim.only)
        )

    def _judge_new(self, name: str, job: str) -> None:
        device, holder = self.devices[name], self.jobs[job]
        if self._perhaps.get(name) == job:
            assert self._asks_for(job, name), f"{job} has {name}, and asks for {holder.claim}"
            return
        sticky = device.pool in self.sticky
        assert not device.cordoned, f"{name} is cordoned, and {job} has got it"
        assert device.there or (sticky and device.was_there), f"{job} has got {name}, which is not there"
        assert holder.running or (sticky and holder.ran), f"{job} has got {name}, and does not run"
        assert self._asks_for(job, name), f"{job} has got {name}, and asks for {holder.claim}"

    def _judge_count(self, job: str, listed: Mapping[str, str]) -> None:
        claim = self.jobs[job].claim
        has = {name for name, holder in listed.items() if holder == job}
        if claim is None:
            assert not has, f"{job} has {has}, and asks for nothing"
            return
        assert len(has) <= claim.count, f"{job} has {has}, and asks for {claim}"
        if has - self.leases.keys() and claim.pool not in self._ended:
            assert len(has) == claim.count, f"{job} has got {has} alone, and asks for {claim}"

    def _judge_idle(self, listed: Mapping[str, str]) -> None:
        lacks: dict[str, int] = {}
        for job, found in self.jobs.items():
            has = sum(holder == job for holder in listed.values())
            if found.claim is not None and found.running and has < found.claim.count:
                lacks[job] = found.claim.count - has
        free = {
            name
            for name, each in self.devices.items()
            if each.there and not (each.cordoned or each.doubtful) and name not in listed
        }
        for job, lack in lacks.items():
            mine = {name for name in free if self._asks_for(job, name)}
            # What is free may be kept for another one that lacks several.
            others = [other for other in lacks if other != job and lacks[other] > 1]
            kept = {name for name in mine if any(self._asks_for(other, name) for other in others)}
            assert len(mine - kept) < lack, f"{job} lacks {lack}, and {sorted(mine - kept)} are free"
