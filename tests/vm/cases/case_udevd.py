"""udevd that is dead, stopped, away or started again: said, and nothing is taken out for its sake."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.udevd import process, settle
from tests.support.lab.wait import ended, eventually, steadily
from tests.support.phones import Hub, Phone
from tests.support.phones.containers import DEADLINE, arrives, node_of, usb_nodes

Launch = Callable[..., Container]

RULES = """
rules:
  - name: phones
    match: {vendor_id: 18d1, serial: "R5C*"}
    attach: {to: c1}
"""
CONTROL = Path("/run/udev/control")


def start() -> None:
    subprocess.run(["/lib/systemd/systemd-udevd", "--daemon"], check=True)
    eventually(process)


def kill(number: signal.Signals = signal.SIGKILL) -> None:
    pid = process()
    assert pid is not None
    os.kill(pid, number)
    eventually(lambda: ended(pid))


@pytest.fixture(autouse=True)
def there(udevd: None) -> Iterator[None]:
    """udevd runs before and after, and has processed all."""
    yield
    pid = process()
    if pid is None:
        start()
    else:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    subprocess.run(["udevadm", "trigger", "--action=add", "--settle"], check=True)


def problems(running: Daemon) -> dict[str, str]:
    found = cast("list[dict[str, str]]", running.status()["problems"])
    return {each["device"]: each["message"] for each in found}


def soon(check: Callable[[], object]) -> None:
    eventually(check, DEADLINE, pause=0.1)


def test_one_that_was_killed_is_a_problem_and_so_is_each_device_that_waits_for_it(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    home = launch("c1")
    running = daemon(RULES)
    node = arrives(home, hub.plug(Phone("R5C1")))
    assert problems(running) == {}
    kill()
    assert CONTROL.exists()
    soon(lambda: "udevd is not running" in problems(running).get("", ""))
    assert '"udev.problem"' in running.log()
    waits = node_of(hub.plug(Phone("R5C2")))
    soon(lambda: "udevd is not running" in problems(running).get(waits, ""))
    assert " since 20" in problems(running)[waits]
    assert usb_nodes(home) == {node}
    # Whoever comes later sees the same, and takes nothing out.
    running.kill()
    running.start()
    soon(lambda: problems(running).keys() == {"", waits})
    steadily(lambda: usb_nodes(home) == {node}, 2)
    start()
    subprocess.run(["udevadm", "trigger", "--action=add", waits], check=True)
    soon(lambda: usb_nodes(home) == {node, waits})
    soon(lambda: problems(running) == {})
    assert '"udev.back"' in running.log()


def test_one_that_is_stopped_is_named_at_the_device_that_waits_and_goes_on(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    home = launch("c1")
    running = daemon(RULES)
    pid = process()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    waits = node_of(hub.plug(Phone("R5C2")))
    soon(lambda: f"kill -CONT {pid}" in problems(running).get(waits, ""))
    assert usb_nodes(home) == set()
    os.kill(pid, signal.SIGCONT)
    soon(lambda: usb_nodes(home) == {waits})
    soon(lambda: problems(running) == {})


def test_what_waited_and_went_is_no_problem_any_more(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    launch("c1")
    running = daemon(RULES)
    kill()
    phone = Phone("R5C2")
    waits = node_of(hub.plug(phone))
    soon(lambda: waits in problems(running))
    hub.unplug(phone)
    soon(lambda: problems(running).keys() == {""})


def test_one_that_starts_again_takes_nothing_out_and_is_no_problem(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    home = launch("c1")
    running = daemon(RULES)
    node = arrives(home, hub.plug(Phone("R5C1")))
    for each in (signal.SIGTERM, signal.SIGKILL):
        kill(each)
        start()
        steadily(lambda: usb_nodes(home) == {node} and problems(running) == {}, 4)
    assert '"udev.problem"' not in running.log()
    other = arrives(home, hub.plug(Phone("R5C2")))
    settle()
    assert usb_nodes(home) == {node, other}
