"""The model of a farm's day against a farm of a few lines, which does as it should or in one way not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.farm.day import Day, begin
from tests.farm.model import Claim, Device, Model, Seen

STICKY = "sticky"


class Farm:
    """A world that is all in memory. It keeps its own books, and serves claims in the order of their jobs."""

    hubs = (("a", "b"), ("c", "d", "e", "f"))
    modes = ("fastboot", "good")

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.sights: dict[str, str] = {}
        self.jobs: dict[str, tuple[Claim | None, bool]] = {}
        self.leases: dict[str, str] = {}
        self.cordoned: set[str] = set()
        self.snapshots: dict[str, Claim | None] = {}

    def plug(self, device: str, sight: str) -> None:
        self.sights[device] = sight
        self._serve()

    def pull(self, device: str) -> None:
        del self.sights[device]
        if pool_of(device) != STICKY or self.fault == "forgets":
            self.leases.pop(device, None)
        self._serve()

    def switch(self, device: str, sight: str) -> None:
        if sight == "authorised":
            self.sights[device] = "good"
        else:
            self.pull(device)
            self.plug(device, sight)

    def flap(self, device: str) -> None:
        self.leases.pop(device, None)

    def create(self, job: str, claim: Claim | None) -> None:
        self.jobs[job] = claim, True
        self._serve()

    def delete(self, job: str) -> None:
        del self.jobs[job]
        self._end(job)

    def stop(self, job: str) -> None:
        self.jobs[job] = self.jobs[job][0], False
        if (claim := self.jobs[job][0]) is None or claim.pool != STICKY:
            self._end(job)

    def start(self, job: str) -> None:
        self.jobs[job] = self.jobs[job][0], True
        self._serve()

    def restart(self, job: str) -> None:
        self.stop(job)
        self.start(job)

    def copy(self, job: str, name: str) -> None:
        self.jobs[name] = self.jobs[job][0], False
        if job in self.snapshots:
            self.snapshots[name] = self.snapshots[job]

    def snapshot(self, job: str) -> None:
        self.snapshots[job] = self.jobs[job][0]

    def restore(self, job: str) -> None:
        self.stop(job)
        self.claim(job, self.snapshots[job])
        self.start(job)

    def claim(self, job: str, claim: Claim | None) -> None:
        self.jobs[job] = claim, self.jobs[job][1]
        has = [name for name, holder in sorted(self.leases.items()) if holder == job]
        fit = [name for name in has if fits(claim, name)][: claim.count if claim else 0]
        for name in {*has} - {*fit}:
            del self.leases[name]
        self._serve()

    def edit(self, job: str, pick: int) -> bool:
        return True

    def ask(self, words: Sequence[str], device: str, job: str = "") -> bool:
        if words[-1] == "move" or (words[-1] == "release" and device not in self.leases):
            return False
        if words[0] == "drain":
            self.cordoned.add(device)
        if words[0] == "uncordon":
            self.cordoned.discard(device)
        else:
            self.leases.pop(device, None)
        self._serve()
        return True

    def kill_daemon(self) -> None:
        if self.fault == "crashes":
            self.leases.clear()
            self.jobs = dict(reversed(self.jobs.items()))
            self._serve()

    def restart_server(self, *, by_force: bool) -> None: ...

    def rest(self, right: Callable[[Seen], None]) -> Seen:
        inside: dict[str, dict[str, str]] = {job: {} for job, (_, running) in self.jobs.items() if running}
        for name, job in self.leases.items():
            if name in self.sights and job in inside:
                inside[job][name] = self.sights[name]
                if self.fault == "doubles":
                    inside = {each: {name: self.sights[name]} for each in inside}
        if self.fault == "hides":
            inside = {job: {} for job in inside}
        seen = Seen(inside, dict(self.leases))
        right(seen)
        return seen

    def _end(self, job: str) -> None:
        self.leases = {name: holder for name, holder in self.leases.items() if holder != job}
        self._serve()

    def _serve(self) -> None:
        if self.fault == "idles":
            return
        for job, (claim, running) in self.jobs.items():
            if claim is None or not running:
                continue
            lack = claim.count - sum(holder == job for holder in self.leases.values())
            free = [
                name
                for name, sight in sorted(self.sights.items())
                if sight == "good" and fits(claim, name)
                if name not in self.leases and (name not in self.cordoned or self.fault == "gives")
            ]
            if lack <= len(free) or self.fault == "halves":
                self.leases |= dict.fromkeys(free[: lack + (self.fault == "wastes")], job)


def pool_of(name: str) -> str:
    return "loose" if name == "f" else STICKY


def fits(claim: Claim | None, name: str) -> bool:
    return claim is not None and claim.pool == pool_of(name) and (not claim.only or name in claim.only)


def live(seed: int, fault: str = "", events: int = 400) -> list[str]:
    devices = {name: Device(pool_of(name), sight="good") for name in "abcdef"}
    devices["e"].sight = "unauthorized"
    day = Day(Farm(fault), begin(Model(frozenset({STICKY}), "good", devices), seed, 5), frozenset())
    day.run(events)
    day.end()
    assert all(day.diary.done.values()), day.diary.done
    return [line[9:].partition(" after ")[0] for line in day.diary.lines]


@pytest.mark.parametrize("seed", range(8))
def test_days_without_a_fault(seed: int) -> None:
    assert live(seed) == live(seed)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("forgets", "and listed for"),
        ("crashes", "and listed for"),
        ("doubles", "and in job-"),
        ("hides", "and is in None"),
        ("idles", "are free"),
        ("gives", "is cordoned"),
        ("wastes", "and asks for"),
        ("halves", "alone"),
    ],
)
def test_each_fault_is_found(fault: str, said: str) -> None:
    with pytest.raises(AssertionError) as failure:
        live(1, fault)
    assert said in str(failure.value)
    assert "seed 1; the events so far:" in failure.value.__notes__[0]


@pytest.mark.parametrize("goes_on", ["a", "b"])
def test_of_too_many_leases_one_goes_on_whether_its_device_is_there_or_not(goes_on: str) -> None:
    model = Model(frozenset({STICKY}), "good", {name: Device(STICKY, sight="good") for name in "ab"})
    for name in "ab":
        model.plugged(name)
    model.created("job-1", Claim(STICKY, 2))
    model.adopt(Seen({}, {"a": "job-1", "b": "job-1"}))
    model.pulled("a")
    model.stopped("job-1")
    model.adopt(Seen({}, {"a": "job-1", "b": "job-1"}))
    model.claims("job-1", Claim(STICKY))
    model.judge(Seen({}, {goes_on: "job-1"}))
    model.ended(goes_on)
    with pytest.raises(AssertionError, match="job-1 has got"):
        model.judge(Seen({}, {goes_on: "job-1"}))
