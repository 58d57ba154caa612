"""A device that comes and goes all the time, and a container that never rests: what is said, who waits."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import cast

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.restless import DISTURBERS
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually, steadily

_FREE = 40


def _rules(places: dict[str, Container]) -> str:
    return "rules:\n" + "".join(
        f"  - {{name: {kernel}, match: {{subsystem: vc, kernel: {kernel}}}, attach: {{to: {to}}}}}\n"
        for kernel, to in places.items()
    )


def _name(console: Console) -> str:
    return f"vcsa{console.number}"


@contextmanager
def _flapping(console: Console) -> Iterator[None]:
    """In a thread, with time for the device to get inside now and then."""
    stop = threading.Event()

    def flap() -> None:
        while not stop.is_set():
            console.plug()
            time.sleep(0.03)
            console.unplug()
            time.sleep(0.01)

    thread = threading.Thread(target=flap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _problems(daemon: Daemon) -> list[str]:
    return [str(each["message"]) for each in cast("list[dict[str, object]]", daemon.status()["problems"])]


def _is_held(daemon: Daemon, console: Console, *words: str) -> bool:
    """Whether a command tells of the hold-off, which is begun anew first: on a busy machine a command may
    take longer than that lasts. Raises AssertionError where it does not.
    """
    console.unplug()
    console.plug()
    holds = json.loads(daemon.ask(*words, "--json").stdout)["holds"]
    until = [datetime.fromisoformat(each["until"]) - datetime.now(UTC) for each in holds]
    assert [timedelta() < each < timedelta(seconds=16) for each in until] == [True], holds
    assert [(each["place"], each["instance"]) for each in holds] == [(console.syspath, "")]
    told = daemon.ask(*words).stdout
    because = f"because kernel:{_name(console)} at {console.syspath} was plugged in"
    assert re.search(rf"is held until \d\d:\d\d:\d\d [+-]\d{{4}}, {re.escape(because)}", told), told
    return True


def _lines(daemon: Daemon, console: Console) -> int:
    return sum(console.node in line for line in daemon.log().splitlines())


def test_a_device_that_flaps_is_held_off_and_said_and_is_there_once_it_is_calm(
    launch: Callable[..., Container], consoles: Callable[[int], list[Console]], daemon: StartDaemon
) -> None:
    bad, good = launch(), launch()
    flapping, honest = consoles(2)
    running = daemon(_rules({_name(flapping): bad, _name(honest): good}))
    with _flapping(flapping):
        eventually(lambda: any("was plugged in" in each for each in _problems(running)))
        said = 0
        for _ in range(6):
            honest.plug()
            eventually(lambda: good.look(honest.node))
            honest.unplug()
            eventually(lambda: good.look(honest.node) is None)
            # What the last plug that counted has caused may be told a moment later.
            said = said or _lines(running, flapping)
        (problem,) = _problems(running)
        assert f"at {flapping.syspath} was plugged in" in problem
        assert "held off until 15 s pass without another plug" in problem
        assert _lines(running, flapping) == said, "something is logged with each flap"
        assert bad.look(flapping.node) is None
    # Seen, asked for, added and seen inside; then gone and taken out.
    assert said <= 6 * _FREE + 5
    eventually(lambda: _is_held(running, flapping, "explain", flapping.node), 60)
    eventually(lambda: _is_held(running, flapping, "plan"), 60)
    eventually(lambda: bad.look(flapping.node), 40)
    eventually(lambda: not _problems(running))
    flapping.unplug()
    eventually(lambda: bad.look(flapping.node) is None, 2)


def test_what_was_held_off_and_is_pulled_leaves_nothing(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(_rules({_name(console): container}))
    with _flapping(console):
        eventually(lambda: _problems(running))
    eventually(lambda: not _problems(running), 40)
    steadily(lambda: container.look(console.node) is None, 1)
    assert not [name for name in container.devices if name.startswith("hp-")]


def test_a_phone_that_is_flashed_and_plugs_by_hand_are_not_held_off(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(_rules({_name(console): container}))
    for _ in range(20):
        console.plug()
        eventually(lambda: container.look(console.node))
        console.unplug()
        eventually(lambda: container.look(console.node) is None)
    assert _problems(running) == []


def test_a_storm_of_mounts_is_said_and_what_is_lost_is_put_back_all_the_same(
    server: Server, container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(_rules({_name(console): container}))
    console.plug()
    eventually(lambda: container.look(console.node))
    with DISTURBERS["storm of mounts in a container"](server, container, console):
        eventually(lambda: any("mounted and unmounted" in each for each in _problems(running)), 40)
        container.run("umount", console.node)
        eventually(lambda: container.look(console.node))
    eventually(lambda: not _problems(running))
    # A machine that is slow has calm moments in between.
    assert 1 <= running.log().count("mounted and unmounted") <= 3
