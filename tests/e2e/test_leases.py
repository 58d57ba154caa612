"""Leases on a real server: absent devices, what ends a lease, and what the instance's configuration says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from hotplugd.model.claim_texts import CLAIM, LEASES
from tests.conftest import StartDaemon
from tests.e2e.test_pools import Launch, claiming, had, pool, rules, unmet
from tests.support.lab.container import Container
from tests.support.lab.kernel import Console
from tests.support.lab.patience import patiently
from tests.support.lab.wait import eventually, steadily

pytestmark = pytest.mark.pools

Consoles = Callable[[int], list[Console]]
KEEP = ", keep: 5m"


def view(container: Container) -> list[dict[str, str]]:
    """What `lxc config get` says of the leases."""
    return cast("list[dict[str, str]]", json.loads(container.own_config.get(LEASES, "[]")))


def inside_view(container: Container) -> str:
    """What root inside is told by the server's guest API, which knows whoever asks by the namespaces."""
    name = "incus" if container.run("test", "-e", "/dev/incus/sock").code == 0 else "lxd"
    asking = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
        "s.sendall(sys.argv[2].encode()); print(s.makefile().read())"
    )
    asked = f"GET /1.0/config/{LEASES} HTTP/1.0\r\nHost: x\r\n\r\n"
    within = ["nsenter", "-t", str(container.pid), "-U", "-p", "-S", "0", "-G", "0", "/usr/bin/python3", "-c"]
    command = [*within, asking, f"/proc/{container.pid}/root/dev/{name}/sock", asked]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd="/")
    return done.stdout.partition("\n\n")[2]


def test_an_instance_says_what_it_has_inside_and_outside(
    launch: Launch, consoles: Consoles, daemon: StartDaemon
) -> None:
    (phone,) = consoles(1)
    phone.plug()
    farm = daemon(rules([phone]))
    job = launch(config=claiming())
    eventually(lambda: had(job, [phone]) == [phone.number])
    # Incus 6.0 makes the node before it answers by the new configuration.
    (said,) = eventually(lambda: view(job))
    assert (said["pool"], said["claim"], said["path"]) == ("farm", "phone", phone.node)
    assert json.loads(inside_view(job)) == [said]
    # What somebody else writes there is put right.
    job.patch({"config": {LEASES: "mine"}})
    eventually(lambda: job.own_config.get(LEASES, "") == json.dumps([said]))
    # A copy says nothing, nor does the instance once its claim is withdrawn.
    copy = job.copy(f"{job.name}-copy")
    eventually(lambda: LEASES not in copy.own_config)
    job.patch({"config": {f"{CLAIM}phone": "none"}})
    eventually(lambda: LEASES not in job.own_config)
    assert had(job, [phone]) == []
    assert farm.is_fine()


def test_detach_all_takes_it_away(launch: Launch, consoles: Consoles, daemon: StartDaemon) -> None:
    (phone,) = consoles(1)
    phone.plug()
    farm = daemon(rules([phone]))
    job = launch(config=claiming())
    eventually(lambda: len(view(job)) == 1)
    farm.stop()
    assert farm.ask("detach", "--all").returncode == 0
    assert LEASES not in job.own_config


def test_lost_state_ends_the_leases_of_absent_phones_alone(
    launch: Launch, consoles: Consoles, daemon: StartDaemon
) -> None:
    (phone,) = consoles(1)
    phone.plug()
    farm = daemon(rules([phone], KEEP))
    holder = launch(config=claiming())
    eventually(lambda: had(holder, [phone]) == [phone.number])
    other = launch(config=claiming())
    phone.unplug()
    eventually(lambda: not any(name.startswith("hp-") for name in holder.devices))
    farm.kill()
    farm.start()
    phone.plug()
    eventually(lambda: had(holder, [phone]) == [phone.number])
    assert had(other, [phone]) == []
    eventually(lambda: json.loads(farm.state.read_text())["leases"]["away"] == [])
    old = farm.state.read_text()
    for spoil in (Path.unlink, lambda path: path.write_text("{"), lambda path: path.write_text(old)):
        phone.unplug()
        eventually(lambda: not any(name.startswith("hp-") for name in holder.devices))
        eventually(lambda: not any(name.startswith("hp-") for name in other.devices))
        farm.stop()
        spoil(farm.state)
        farm.start()
        phone.plug()
        eventually(lambda: len([*had(holder, [phone]), *had(other, [phone])]) == 1)
        steadily(lambda: len([*had(holder, [phone]), *had(other, [phone])]) == 1, 0.3)


def test_copies_snapshots_and_what_stops_have_none_of_the_leases(
    launch: Launch, consoles: Consoles, daemon: StartDaemon
) -> None:
    (phone,) = consoles(1)
    phone.plug()
    farm = daemon(rules([phone], KEEP))
    first = launch(config=claiming())
    eventually(lambda: had(first, [phone]) == [phone.number])
    first.snapshot("before")
    patiently(first.stop)
    eventually(lambda: [each["state"] for each in pool(farm, "devices")] == ["free"])
    second = launch(config=claiming())
    eventually(lambda: had(second, [phone]) == [phone.number])
    # The snapshot has an entry and says that it has a lease, and both were the original's.
    patiently(lambda: first.restore("before"))
    eventually(lambda: not any(name.startswith("hp-") for name in first.devices))
    eventually(lambda: LEASES not in first.own_config)
    assert had(second, [phone]) == [phone.number]
    second.delete()
    eventually(lambda: [each["state"] for each in pool(farm, "devices")] == ["free"])


def test_keep_stopped_gives_the_phone_from_the_next_start_on(
    launch: Launch, consoles: Consoles, daemon: StartDaemon
) -> None:
    (phone,) = consoles(1)
    phone.plug()
    daemon(rules([phone], ", keep_stopped: true"))
    first = launch(config=claiming())
    eventually(lambda: had(first, [phone]) == [phone.number])
    patiently(first.stop)
    second = launch(config=claiming())
    steadily(lambda: len(view(first)) == 1, 0.5)
    first.start()
    eventually(lambda: had(first, [phone]) == [phone.number])
    assert had(second, [phone]) == []


def test_what_people_ask_for_is_done_and_told(
    launch: Launch, consoles: Consoles, daemon: StartDaemon
) -> None:
    (phone,) = consoles(1)
    phone.plug()
    farm = daemon(rules([phone]))
    first = launch(config=claiming())
    eventually(lambda: had(first, [phone]) == [phone.number])
    second = launch(config=claiming())
    eventually(lambda: [who for who, _, _ in unmet(farm)] == [str(second)])
    done = farm.ask("lease", "release", phone.node)
    assert (done.returncode, done.stdout.strip()) == (
        0,
        f"{phone.node} is leased to {first.name} no more; {second.name} has the lease now",
    )
    assert (had(first, [phone]), had(second, [phone])) == ([], [phone.number])
    assert farm.ask("lease", "move", phone.node, first.name).returncode == 0
    assert (had(first, [phone]), had(second, [phone])) == ([phone.number], [])
    asked = farm.ask("drain", phone.node)
    assert asked.returncode == 1
    assert "ends 1 lease; repeat with --yes" in asked.stderr
    assert farm.ask("drain", phone.node, "--yes", "--reason", "new cable").returncode == 0
    assert [*had(first, [phone]), *had(second, [phone])] == []
    assert "lease.over" in farm.ask("history", phone.node).stdout
    farm.stop()
    farm.start()
    eventually(lambda: [each["state"] for each in pool(farm, "devices")] == ["cordoned"])
    assert "is cordoned since" in farm.ask("pool").stdout
    assert farm.ask("uncordon", phone.node).returncode == 0
    eventually(lambda: len([*had(first, [phone]), *had(second, [phone])]) == 1)
