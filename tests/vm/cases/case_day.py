"""A farm's day, in the middle of which the host is switched off and on: `SEED=7 python -m tests.vm day`.

Its model is tests/farm/model.py.
"""

from __future__ import annotations

import pickle
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import pytest

from tests.farm.day import Day, begin
from tests.farm.diary import State
from tests.support.lab.commands import Commands
from tests.support.lab.daemon import Daemon
from tests.support.lab.server import Server
from tests.support.phones import Hub
from tests.vm.cases.conftest import RESULTS
from tests.vm.farm import KEY, RULES, Phones, Size, new_model

_FOLDER: Final = Path("/srv/day")
_NIGHT: Final = _FOLDER / "night"
_STATE: Final = _FOLDER / "state.json"
_SIZES: Final = {"whole": Size(hubs=4, phones=6, jobs=8, events=200), "short": Size(2, 4, 3, 25)}
# How much of the day there is before the host is switched off.
_BEFORE: Final = 0.6
_WITHOUT: Final = frozenset[str]()
# In seconds: an emulated machine on a busy one.
_START: Final = 180.0


@dataclass(frozen=True, slots=True)
class Night:
    """What is known in the next boot: the day, how long phones took to adb, and how long the day took."""

    state: State
    took: list[float]
    seconds: float


@pytest.mark.first_boot
@pytest.mark.timeout(3400)
def test_until_the_power_goes(
    request: pytest.FixtureRequest, hub: Hub, commands: Commands, udevd: None
) -> None:
    size = _SIZES[request.config.getoption("day")]
    _FOLDER.mkdir(parents=True)
    server = Server(_FOLDER)
    server.data.mkdir()
    server.start(_START)
    server.initialise()
    state = begin(new_model(size), int(request.config.getoption("seed")), size.jobs)
    state.diary.file = RESULTS / "diary.txt"
    begun = time.monotonic()
    with _kept_log(server, Daemon(server.socket, RULES, commands=commands)) as daemon:
        _make_key()
        lab = Phones(server, daemon, hub, state.model, size)
        lab.spawn()
        with lab.watched():
            Day(lab, state, _WITHOUT).run(round(size.events * _BEFORE))
        state.diary.say("the host is switched off")
        _NIGHT.write_bytes(pickle.dumps(Night(state, lab.arrivals.took, time.monotonic() - begun)))
        # All at once: nobody puts anything in order.
        daemon.kill()
        _STATE.write_bytes(daemon.state.read_bytes())
        server.kill()


@pytest.mark.second_boot
@pytest.mark.timeout(3400)
def test_after_the_power_is_back(
    request: pytest.FixtureRequest, hub: Hub, commands: Commands, udevd: None
) -> None:
    night: Night = pickle.loads(_NIGHT.read_bytes())
    state, size = night.state, _SIZES[request.config.getoption("day")]
    begun = time.monotonic()
    server = Server(_FOLDER)
    made = Daemon(server.socket, RULES, commands=commands)
    made.state.parent.mkdir()
    made.state.write_bytes(_STATE.read_bytes())
    _make_key()
    with _kept_log(server, made) as daemon:
        lab = Phones(server, daemon, hub, state.model, size)
        state.diary.say("the host is switched on")
        for name, device in state.model.devices.items():
            if device.there:
                # The kernel counts those of each bus anew.
                lab.plug(name, device.sight)
                state.model.enumerated(name, device.sight)
        # Both start with the host; the daemon finds its server when that is there.
        lab.spawn()
        server.start(lab.deadline)
        lab.came_back(job for job, each in state.model.jobs.items() if each.running)
        for job, each in state.model.jobs.items():
            if each.running:
                state.model.stopped(job)
                state.model.started(job)
        with lab.watched():
            day = Day(lab, state, _WITHOUT)
            # All is as it was before anything else happens.
            day.run(state.events)
            day.run(size.events)
            day.end()
        lab.see_nothing_left()
        seconds = night.seconds + time.monotonic() - begun
    server.close()
    assert all(state.diary.done.values()), state.diary.done
    _tell(state, [*night.took, *lab.arrivals.took], seconds)


@contextmanager
def _kept_log(server: Server, daemon: Daemon) -> Iterator[Daemon]:
    try:
        yield daemon
    finally:
        (RESULTS / "hotplugd.txt").write_text(daemon.log())
        (RESULTS / "server.txt").write_text(server.tail(100_000))
        daemon.close()


def _make_key() -> None:
    KEY.parent.mkdir(parents=True, exist_ok=True)
    if not KEY.exists():
        subprocess.run(["/usr/bin/adb", "keygen", KEY], check=True, capture_output=True)


def _tell(state: State, took: list[float], seconds: float) -> None:
    """What the day was like, in a file and on the console."""
    rest = state.diary.rests
    late = quantiles(took, n=20, method="inclusive")[-1] if len(took) > 1 else max(took, default=0.0)
    adb = (
        f"plug to adb, {len(took)} times: median {median(took):.1f} s, p95 {late:.1f} s, "
        f"worst {max(took):.1f} s"
        if took
        else "plug to adb: not measured, since all that somebody had were in another mode, or not authorised"
    )
    text = (
        f"a day of {state.events} events, seed {state.diary.seed}, {len(state.model.devices)} phones and "
        f"{state.most} containers: {seconds:.0f} s\n"
        f"{adb}\n"
        f"until all was right, {len(rest)} times: median {median(rest):.1f} s, worst {max(rest):.1f} s\n"
    )
    (RESULTS / "day.txt").write_text("\n".join((text, *state.diary.lines)))
    Path("/dev/ttyS1").write_text(f"\n{text}")
