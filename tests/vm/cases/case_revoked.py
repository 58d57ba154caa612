"""A device of a pool goes from one container to another: who had it open in the first one has it no more."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.handle import Opened
from tests.support.lab.wait import eventually
from tests.support.phones import Cable, Hub, Phone
from tests.support.phones.containers import DEADLINE, adb_devices, arrives, leaves, node_of, tty_number

Launch = Callable[..., Container]

CLAIM = "user.hotplugd.claim.it"
PHONES = """
pools: {phones: {instances: "c*"}}
rules:
  - {name: phones, match: {vendor_id: 18d1}, attach: {pool: phones}}
"""
CONSOLES = """
pools: {phones: {instances: "c*"}}
rules:
  - {name: consoles, match: {subsystem: tty, id: "0403:6001"}, attach: {pool: phones, path: /dev/ttyConsole}}
"""


def claims(container: Container, text: str) -> None:
    container.patch({"config": {CLAIM: text}})


def waits(daemon: Daemon, container: Container) -> bool:
    (pool,) = json.loads(daemon.ask("pool", "--json").stdout)["pools"]
    return any(each["instance"] == container.name and each["state"] == "waiting" for each in pool["claims"])


def leases(daemon: Daemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(daemon.ask("lease", "list", "--json").stdout)["leases"]
    return found


def has_open(name: str, node: str) -> list[int]:
    """The processes of a container that have a device open, with descriptors that were revoked."""
    number, found = os.stat(node).st_rdev, list[int]()
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"/lxc.payload.{name}" in (each / "cgroup").read_text():
                opened = [file.stat() for file in (each / "fd").iterdir() if file.exists()]
                if any(stat.S_ISCHR(file.st_mode) and file.st_rdev == number for file in opened):
                    found.append(int(each.name))
    return found


def told(daemon: Daemon, name: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in daemon.log().splitlines() if line.startswith("{")]
    return [each for each in events if each["event"] == name]


def test_a_phone_is_revoked_before_the_next_instance_has_it(
    hub: Hub, launch: Launch, daemon: StartDaemon
) -> None:
    one, two = launch("c1"), launch("c2")
    running = daemon(PHONES)
    claims(one, "phones")
    port = hub.plug(Phone("AAA1"))
    node = arrives(one, port)
    claims(two, "phones")
    eventually(lambda: adb_devices(one) == {"AAA1": "device"}, DEADLINE, pause=0.2)
    eventually(lambda: waits(running, two), DEADLINE, pause=0.1)
    # adb's server in the first container has it open, too.
    with Opened(one, node) as opened:
        assert opened.read() == "done"
        claims(one, "none")

        seen: list[tuple[bool, str]] = []

        def came() -> bool:
            # Whether it is there is looked at first: what is read after that is no older.
            there = two.look(node) is not None
            seen.append((there, opened.read()))
            return there

        eventually(came, DEADLINE, pause=0.0)
        assert (True, "done") not in seen, "both had it"
        assert seen[-1] == (True, "ENODEV")
        assert opened.read_in_child() == "ENODEV"
        assert one.look(node) is None
    eventually(lambda: adb_devices(two) == {"AAA1": "device"}, DEADLINE, pause=0.2)
    # The adb server of the first one runs on, and has let go of it: nothing is left to be done about it.
    eventually(lambda: not has_open("c1", node), DEADLINE, pause=0.2)
    assert has_open("c2", node)
    assert adb_devices(one) == {}
    # It is the same device under the same number, and was not taken for another one.
    assert node_of(port) == node
    assert (len(told(running, "device.revoked")), told(running, "device.gone")) == (1, [])
    assert [each["instance"] for each in leases(running)] == ["c2"]
    assert running.is_fine()


def test_a_console_waits_for_being_closed(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    one, two = launch("c1"), launch("c2")
    running = daemon(CONSOLES)
    claims(one, "phones")
    hub.plug(Cable())
    eventually(lambda: one.look("/dev/ttyConsole"), DEADLINE, pause=0.05)
    claims(two, "phones")
    with Opened(one, "/dev/ttyConsole") as opened:
        claims(one, "none")
        name = Path(f"/proc/{opened.pid}/comm").read_text().strip()
        who = f"{name} (process {opened.pid} in c1)"
        eventually(
            lambda: any(who in each["reason"] for each in leases(running) if each["state"] == "releasing"),
            DEADLINE,
            pause=0.2,
        )
        eventually(lambda: who in str(running.status()["problems"]), DEADLINE, pause=0.5)
        assert two.look("/dev/ttyConsole") is None
    eventually(lambda: two.look("/dev/ttyConsole"), DEADLINE, pause=0.1)
    assert running.is_fine()


def test_a_reset_and_a_port_that_is_switched_by_hand(hub: Hub, launch: Launch, daemon: StartDaemon) -> None:
    one = launch("c1")
    running = daemon("rules:\n  - {name: phones, match: {vendor_id: 18d1}, attach: {to: c1}}\n")
    port = hub.plug(phone := Phone("AAA1"))
    other = hub.plug(Cable())
    node = arrives(one, port)
    tty_number(other)
    done = running.ask("reset", node)
    assert (done.returncode, "was reset; c1 has it" in done.stdout) == (0, True), done.stdout + done.stderr
    assert one.look(node) is not None
    # No rule is for the cable.
    for words in (("reset", other), ("port", "off", other)):
        refused = running.ask(*words)
        assert (refused.returncode, "--yes" in refused.stderr) == (1, True), refused.stderr
    assert running.ask("port", "off", "1-99").returncode == 1
    off = running.ask("port", "off", port)
    assert (off.returncode, off.stderr) == (0, "")
    leaves(one, node)
    assert [each["action"] for each in told(running, "port.asked")] == ["off"]
    assert told(running, "port.asked")[0]["uid"] == 0
    on = running.ask("port", "on", port)
    assert (on.returncode, on.stderr) == (0, "")
    # This controller forgets what was plugged in while the power was off.
    hub.unplug(phone)
    assert hub.plug(phone) == port
    arrives(one, port)
