"""What happens to a farm, kind by kind: each to the world, to the model, and into the diary."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from random import Random
from typing import Final

from tests.farm.diary import State
from tests.farm.model import Claim
from tests.farm.world import World

# A device is plugged in no more often than this in so many events, but where it is to flap.
_MOST_PLUGS: Final = 3
_AMONG: Final = 25


class Events:
    """Every kind of event. Each takes a number that chooses, and returns whether it was possible and done."""

    def __init__(self, world: World, state: State) -> None:
        self.state, self.model, self.diary = state, state.model, state.diary
        self._world = world

    def rest(self) -> None:
        """Nothing happens any more: all must become right."""
        raise NotImplementedError

    # --- devices ----------------------------------------------------------------------------------------

    def plug(self, pick: int) -> bool:
        absent = [name for name in self.model.devices if not self.model.devices[name].there]
        if not (chosen := self._calm(absent, pick)):
            return False
        self._plug(chosen)
        return True

    def pull(self, pick: int) -> bool:
        there = self._there()
        if len(there) <= len(self.model.devices) // 2:
            return False
        self._pull(_one_of(there, pick))
        return True

    def power_cycle(self, pick: int) -> bool:
        """All devices of a hub go, and come back in another order."""
        hub = self._world.hubs[pick % len(self._world.hubs)]
        there = [name for name in hub if self.model.devices[name].there]
        if not there or len(there) != sum(self._is_calm(name) for name in there):
            return False
        for name in there:
            self._pull(name)
        Random(pick).shuffle(there)
        for name in there:
            self._plug(name)
        return True

    def switch(self, pick: int) -> bool:
        """It comes back as something else: a mode of a phone."""
        names = [name for name in self._there() if self.model.devices[name].sight != "unauthorized"]
        if not (name := self._calm(names, pick)):
            return False
        modes = [each for each in self._world.modes if each != self.model.devices[name].sight]
        sight = modes[pick // 7 % len(modes)]
        self.diary.say(f"switch {name} to {sight}")
        self._noted(name)
        self._world.switch(name, sight)
        self.model.enumerated(name, sight)
        return True

    def authorise(self, pick: int) -> bool:
        """Somebody allows the key on the phone's screen; a phone that is absent is plugged in for that."""
        names = [name for name in self.model.devices if self.model.devices[name].sight == "unauthorized"]
        if not names:
            return False
        name = _one_of(names, pick)
        if not self.model.devices[name].there:
            if not self._is_calm(name):
                return False
            self._plug(name)
        self.diary.say(f"authorise {name}")
        self.model.devices[name].sight = self.model.good
        self._world.switch(name, "authorised")
        return True

    def flap(self, pick: int) -> bool:
        """It comes and goes until it is quarantined; then somebody has another cable."""
        names = [name for name in self._there() if not self.model.devices[name].cordoned]
        if not (name := self._calm(names, pick)):
            return False
        self.diary.say(f"flap {name}")
        for _ in range(_MOST_PLUGS):
            self._noted(name)
        self._world.flap(name)
        self.model.pulled(name)
        self.model.plugged(name)
        self.model.ended(name)
        return self._ask(("uncordon",), name)

    # --- instances --------------------------------------------------------------------------------------

    def create(self, pick: int) -> bool:
        if len(self.model.jobs) >= self.state.most:
            return False
        job, claim = self._new(), self._some_claim(pick)
        self.diary.say(f"create {job}: {_words(claim)}")
        self._world.create(job, claim)
        self.model.created(job, claim)
        return True

    def delete(self, pick: int) -> bool:
        if len(self.model.jobs) <= self.state.most // 2:
            return False
        job = _one_of(self.model.jobs, pick)
        self.diary.say(f"delete {job}")
        self._world.delete(job)
        self.model.deleted(job)
        self.state.snapshots.pop(job, None)
        return True

    def stop_or_start(self, pick: int) -> bool:
        stopped = [job for job, each in self.model.jobs.items() if not each.running]
        if stopped:
            self.diary.say(f"start {stopped[0]}")
            self._world.start(stopped[0])
            self.model.started(stopped[0])
        elif self.model.jobs:
            job = _one_of(self.model.jobs, pick)
            self.diary.say(f"stop {job}")
            self._world.stop(job)
            self.model.stopped(job)
        return bool(self.model.jobs)

    def restart(self, pick: int) -> bool:
        if not (running := self._running()):
            return False
        job = _one_of(running, pick)
        self.diary.say(f"restart {job}")
        self._world.restart(job)
        self.model.stopped(job)
        self.model.started(job)
        return True

    def copy(self, pick: int) -> bool:
        if not self.model.jobs or len(self.model.jobs) >= self.state.most:
            return False
        job, name = _one_of(self.model.jobs, pick), self._new()
        self.diary.say(f"copy {job} to {name}, and start it")
        self._world.copy(job, name)
        self.model.created(name, self.model.jobs[job].claim, running=False)
        if job in self.state.snapshots:
            self.state.snapshots[name] = self.state.snapshots[job]
        self._world.start(name)
        self.model.started(name)
        return True

    def snapshot(self, pick: int) -> bool:
        fresh = [job for job in self.model.jobs if job not in self.state.snapshots]
        if not fresh:
            return False
        job = _one_of(fresh, pick)
        self.diary.say(f"snapshot {job}")
        self._world.snapshot(job)
        self.state.snapshots[job] = self.model.jobs[job].claim
        return True

    def restore(self, pick: int) -> bool:
        """Its claim, entries and leases are those of the snapshot again, as far as the server goes."""
        known = [job for job in self.model.jobs if job in self.state.snapshots]
        if not known:
            return False
        job = _one_of(known, pick)
        self.diary.say(f"restore {job}")
        self._world.restore(job)
        self.model.stopped(job)
        self.model.claims(job, self.state.snapshots[job])
        self.model.started(job)
        return True

    def claim(self, pick: int) -> bool:
        """Another claim, by the name of the one before."""
        if not self.model.jobs:
            return False
        idle = [job for job, each in self.model.jobs.items() if each.claim is None]
        job, claim = _one_of(idle or self.model.jobs, pick), self._some_claim(pick // 3)
        self.diary.say(f"{job} claims {_words(claim)}")
        self._world.claim(job, claim)
        self.model.claims(job, claim)
        return True

    def withdraw(self, pick: int) -> bool:
        if not self.model.jobs:
            return False
        job = _one_of(self.model.jobs, pick)
        self.diary.say(f"{job} claims nothing")
        self._world.claim(job, None)
        self.model.claims(job, None)
        return True

    def edit(self, pick: int) -> bool:
        """Somebody edits what hotplugd wrote, at rest: before that is put right it is the only record."""
        self.rest()
        running = self._running()
        first = pick % (len(running) or 1)
        for job in running[first:] + running[:first]:
            if self._world.edit(job, pick):
                self.diary.say(f"edited {job}")
                self.rest()
                return True
        return False

    # --- people, and crashes ----------------------------------------------------------------------------

    def release(self, pick: int) -> bool:
        name = _one_of(self.model.devices, pick)
        if self._ask(("lease", "release"), name):
            self.model.ended(name)
        return True

    def move(self, pick: int) -> bool:
        if not (running := self._running()):
            return False
        name, job = _one_of(self.model.devices, pick), _one_of(running, pick // 11)
        if self._ask(("lease", "move"), name, job):
            self.model.moved(name, job)
        return True

    def drain(self, pick: int) -> bool:
        if len(self._cordoned()) > 1:
            return False
        name = _one_of(self._there(), pick)
        assert self._ask(("drain", "--yes"), name), f"{name} cannot be drained"
        self.model.devices[name].cordoned = True
        self.model.ended(name)
        return True

    def uncordon(self, pick: int) -> bool:
        if not (cordoned := self._cordoned()):
            return False
        name = _one_of(cordoned, pick)
        assert self._ask(("uncordon",), name), f"{name} cannot be uncordoned"
        self.model.devices[name].cordoned = False
        return True

    def kill(self, _: int) -> bool:
        self.diary.say("kill hotplugd, and start it")
        self._world.kill_daemon()
        return True

    def restart_server(self, _: int) -> bool:
        self.diary.say("restart the server")
        self._world.restart_server(by_force=False)
        return True

    def kill_server(self, _: int) -> bool:
        self.diary.say("kill the server, and start it")
        self._world.restart_server(by_force=True)
        return True

    # --- within -----------------------------------------------------------------------------------------

    def _plug(self, name: str) -> None:
        self.diary.say(f"plug {name}")
        self._noted(name)
        self._world.plug(name, self.model.devices[name].sight)
        self.model.plugged(name)

    def _pull(self, name: str) -> None:
        self.diary.say(f"pull {name}")
        self._world.pull(name)
        self.model.pulled(name)

    def _ask(self, words: Sequence[str], name: str, job: str = "") -> bool:
        done = self._world.ask(words, name, job)
        self.diary.say(f"{' '.join(words)} {name} {job}: {'done' if done else 'refused'}")
        return done

    def _new(self) -> str:
        self.state.jobs += 1
        return f"job-{self.state.jobs}"

    def _some_claim(self, pick: int) -> Claim:
        pool = self.model.devices[_one_of(self.model.devices, pick)].pool
        own = [name for name in self.model.devices if self.model.devices[name].pool == pool]
        kind = pick // 5 % 5
        only = {_one_of(own, pick // 31), _one_of(own, pick // 37)} if kind == 4 else ()
        return Claim(pool, 2 if kind == 3 else 1, frozenset(only))

    def _there(self) -> list[str]:
        return [name for name, each in self.model.devices.items() if each.there]

    def _cordoned(self) -> list[str]:
        return [name for name, each in self.model.devices.items() if each.cordoned]

    def _running(self) -> list[str]:
        return [job for job, each in self.model.jobs.items() if each.running]

    def _noted(self, name: str) -> None:
        self.state.plugs.setdefault(name, []).append(self.state.events)

    def _is_calm(self, name: str) -> bool:
        lately = [each for each in self.state.plugs.get(name, ()) if each > self.state.events - _AMONG]
        return len(lately) < _MOST_PLUGS

    def _calm(self, names: Sequence[str], pick: int) -> str:
        """One of the devices that were not plugged in too often lately; empty where there is none."""
        calm = [name for name in names if self._is_calm(name)]
        return _one_of(calm, pick) if calm else ""


def _one_of(names: Collection[str], pick: int) -> str:
    return list(names)[pick % len(names)]


def _words(claim: Claim | None) -> str:
    if claim is None:
        return "nothing"
    only = f" of {', '.join(sorted(claim.only))}" if claim.only else ""
    return f"{claim.count} of pool {claim.pool}{only}"
