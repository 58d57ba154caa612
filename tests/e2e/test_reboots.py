"""An instance that reboots from inside: the server starts it again by a hook, and lists no operation."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress

import pytest

from hotplugd.reconcile.restarts import RESTART
from tests.conftest import StartDaemon
from tests.e2e.test_leases import Consoles
from tests.e2e.test_pools import Launch, claiming, had, rules, unmet
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.gate import Gate, made
from tests.support.lab.kernel import Console
from tests.support.lab.patience import patiently
from tests.support.lab.server import software
from tests.support.lab.wait import NotInTime, eventually, steadily

pytestmark = pytest.mark.pools

# A busy machine starts a container in some seconds, and the server answers after five while hooks run.
LONG = 40.0


@pytest.fixture
def gate() -> Iterator[Gate]:
    with made() as one:
        yield one


def reboot(container: Container) -> None:
    """Have it reboot, by what an init does at last."""
    container.run("sh", "-c", "(reboot -f) >/dev/null 2>&1 &")


def power_off(container: Container) -> None:
    container.run("sh", "-c", "(poweroff -f) >/dev/null 2>&1 &")


def crash(container: Container) -> None:
    os.kill(container.pid, signal.SIGKILL)


def stop(container: Container) -> None:
    container.stop()


def shut_down(container: Container) -> None:
    """As `lxc stop` does: its init is asked to end."""
    body = {"action": "stop", "force": False, "timeout": 30}
    container.api.request("PUT", f"/1.0/instances/{container.name}/state", body)


def once_up(container: Container, phone: Console, number: int) -> None:
    """It runs again, and has the phone."""

    def has() -> bool:
        container.forget_pid()
        return container.config["status"] == "Running" and had(container, [phone]) == [number]

    eventually(has, LONG)


def events(farm: Daemon, name: str) -> list[dict[str, str]]:
    """The events of this name that it has logged."""
    lines = [json.loads(line) for line in farm.log().splitlines() if line.startswith("{")]
    return [each for each in lines if each["event"] == name]


def is_heard_of(farm: Daemon) -> bool:
    """Whether hotplugd knows that an instance does not run, or that the server cannot tell.

    While a hook holds the start up the server says the latter: one that asks late hears nothing else.
    """
    return bool(events(farm, "instance.stopped")) or "cannot tell" in str(farm.status()["problems"])


def over(farm: Daemon) -> list[str]:
    """Why leases ended."""
    return [each["why"] for each in events(farm, "lease.over")]


def restart(container: Container) -> None:
    """Have the server restart it."""
    patiently(container.restart)


@pytest.mark.parametrize("waits", [False, True], ids=["alone", "another waits"])
@pytest.mark.parametrize(("does", "hook"), [(reboot, "pre-start"), (reboot, "mount"), (restart, "mount")])
def test_it_keeps_its_lease(
    launch: Launch,
    consoles: Consoles,
    daemon: StartDaemon,
    gate: Gate,
    does: Callable[[Container], None],
    hook: str,
    waits: bool,
) -> None:
    (phone,) = consoles(1)
    phone.plug()
    farm = daemon(rules([phone]))
    job = launch(config={**claiming(), **gate.config(hook)})
    eventually(lambda: had(job, [phone]) == [phone.number])
    other = launch(config=claiming()) if waits else None
    if other is not None:
        eventually(lambda: [each[:2] for each in unmet(farm)] == [(other.name, "waiting")])
    eventually(farm.is_fine)
    changes = len(farm.changes())
    with ThreadPoolExecutor(1) as server:
        with gate.shut():
            done = server.submit(does, job)
            eventually(lambda: gate.is_met, LONG)
            # Of a restart by the server LXD may tell nothing until it is over: it runs until then, it seems.
            with suppress(NotInTime) if does is restart else nullcontext():
                eventually(lambda: is_heard_of(farm), 6.0 if does is restart else LONG)
            # An update would have gone after a second.
            steadily(lambda: (over(farm), len(farm.changes())) == ([], changes), 3.0)
        done.result()
    once_up(job, phone, phone.number)
    eventually(farm.is_fine)
    assert (over(farm), len(farm.changes())) == ([], changes)
    assert other is None or had(other, [phone]) == []


def test_a_plain_device_that_goes_meanwhile_goes_afterwards(
    launch: Launch, consoles: Consoles, daemon: StartDaemon, gate: Gate
) -> None:
    stays, goes = consoles(2)
    for each in (stays, goes):
        each.plug()
    job = launch(config=gate.config())
    names = "|".join(f"vcsa{each.number}" for each in (stays, goes))
    farm = daemon(
        f"rules: [{{name: c, match: {{subsystem: vc, kernel: '{names}'}}, attach: {{to: {job.name}}}}}]"
    )
    eventually(lambda: had(job, [stays, goes]) == [stays.number, goes.number])
    eventually(farm.is_fine)
    with gate.shut():
        reboot(job)
        eventually(lambda: gate.is_met, LONG)
        eventually(lambda: is_heard_of(farm), LONG)
        goes.unplug()
        steadily(lambda: len([name for name in job.devices if name.startswith("hp-")]) == 2, 3.0)
    once_up(job, stays, stays.number)
    eventually(lambda: len([name for name in job.devices if name.startswith("hp-")]) == 1, LONG)
    eventually(farm.is_fine)
    assert had(job, [goes]) == []


def test_a_daemon_that_starts_meanwhile_leaves_it_its_lease(
    launch: Launch, consoles: Consoles, daemon: StartDaemon, gate: Gate
) -> None:
    (phone,) = consoles(1)
    phone.plug()
    farm = daemon(rules([phone]))
    job = launch(config={**claiming(), **gate.config()})
    eventually(lambda: had(job, [phone]) == [phone.number])
    launch(config=claiming())
    eventually(farm.is_fine)
    changes = len(farm.changes())
    farm.kill()
    with gate.shut():
        reboot(job)
        eventually(lambda: gate.is_met, LONG)
        farm.start(LONG)
        steadily(lambda: (over(farm), len(farm.changes())) == ([], changes), 3.0)
    once_up(job, phone, phone.number)
    eventually(farm.is_fine)
    assert over(farm) == []


@pytest.mark.parametrize("ends", [stop, shut_down, power_off, crash])
def test_a_stop_ends_its_lease(
    launch: Launch, consoles: Consoles, daemon: StartDaemon, ends: Callable[[Container], None]
) -> None:
    (phone,) = consoles(1)
    phone.plug()
    farm = daemon(rules([phone]))
    job, other = launch(config=claiming()), launch(config=claiming())
    eventually(lambda: had(job, [phone]) == [phone.number])
    eventually(farm.is_fine)
    ends(job)
    # LXD tells of a poweroff and of a crash as it does of a reboot.
    is_told = ends in (stop, shut_down) or software() == "incus"
    if not is_told:
        eventually(lambda: events(farm, "instance.stopped"), LONG)
        steadily(lambda: over(farm) == [], 2.0)
    eventually(lambda: had(other, [phone]) == [phone.number], 20 if is_told else RESTART + 20)
    assert over(farm) == [f"{job.name} is stopped"]
