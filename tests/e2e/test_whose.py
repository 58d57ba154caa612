"""Whose an interface is: seen in the instances, and not read from their entries."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from hotplugd.model.entry import name_for
from tests.conftest import StartDaemon
from tests.e2e.test_interfaces import (
    done,
    interfaces,
    mac,
    nothing,
    ours,
    rules,
    starts,
    take,
    verified,
)
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Veth
from tests.support.lab.wait import eventually, steadily


@pytest.fixture
def veths(root: None, udevd: None) -> Iterator[Callable[[], Veth]]:
    """Makes interfaces that are plugged in."""
    with ExitStack() as undo:
        yield lambda: undo.enter_context(Veth())


def number(veth: Veth) -> int:
    return Path(veth.syspath).stat().st_ino


def inside(container: Container, name: str) -> int:
    return int(container.run("stat", "-L", "-c", "%i", f"/sys/class/net/{name}").output)


def messages(running: Daemon) -> str:
    return " ".join(
        str(each["message"]) for each in cast("list[dict[str, str]]", running.status()["problems"])
    )


def _is_verified(running: Daemon) -> bool:
    return verified(running) == [True]


def marks(entry: dict[str, str]) -> dict[str, str]:
    return cast("dict[str, str]", json.loads(entry["user.hotplugd"]))


def test_its_folder_keeps_its_number_in_a_container_and_back(
    container: Container, veth: Veth, daemon: StartDaemon
) -> None:
    veth.plug()
    before = number(veth)
    running = daemon(rules(veth, to=str(container), more=", name: lan0"))
    eventually(lambda: verified(running) == [True])
    assert inside(container, "lan0") == before
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    (entry,) = ours(container).values()
    assert marks(entry)["slot"] == f"n-{boot}-{before}-{before}"
    container.stop()
    eventually(lambda: veth.on_host)
    assert number(veth) == before


def test_who_may_edit_one_instance_takes_no_interface_from_another(
    containers: tuple[Container, Container], veths: Callable[[], Veth], daemon: StartDaemon
) -> None:
    victim, other = containers
    lan, own = veths(), veths()
    running = daemon(rules(lan, to=str(victim)))
    eventually(lambda: verified(running) == [True])
    running.kill()
    ((name, entry),) = ours(victim).items()
    forged = marks(entry) | {"instance": f"default/{other}"}
    forged["seen"] = json.dumps(
        json.loads(forged["seen"])
        | {"syspath": "/sys/devices/virtual/net/x", "attrs": {}, "kernel": own.name}
    )
    theirs = {"type": "nic", "nictype": "physical", "parent": own.name, "name": own.name}
    other.patch({"devices": {name: {**theirs, "user.hotplugd": json.dumps(forged)}}})
    for _ in range(3):
        again = daemon(rules(lan, to=str(victim)))
        assert eventually(partial(_is_verified, again))
        steadily(lambda: lan.name in interfaces(victim), 1)
        assert not [each for each in again.changes() if each["instance"] == str(victim)]
        again.kill()
    assert mac(victim, lan.name) == lan.mac


def test_an_entry_of_an_earlier_version_stays_as_it_is(
    container: Container, veth: Veth, daemon: StartDaemon
) -> None:
    veth.plug()
    slot = f"n-{veth.mac.replace(':', '')}-{number(veth)}"
    first = daemon(rules(veth, to=str(container), more=", name: lan0"))
    eventually(lambda: verified(first) == [True])
    first.kill()
    ((name, entry),) = ours(container).items()
    container.remove_device(name)
    eventually(lambda: veth.on_host)
    # As the one before wrote it down.
    old = {**entry, "user.hotplugd": json.dumps(marks(entry) | {"slot": slot, "device": f"mac:{veth.mac}"})}
    container.patch({"devices": {name_for(slot): old}})
    assert "lan0" in interfaces(container)
    before = container.devices
    running = daemon(rules(veth, to=str(container), more=", name: lan0"))
    eventually(lambda: verified(running) == [True])
    assert "nothing to change" in running.ask("plan").stdout
    container.stop()
    eventually(lambda: verified(running) == [None])
    eventually(lambda: starts(container))
    eventually(lambda: verified(running) == [True])
    assert container.devices == before
    assert not done(running)
    assert not messages(running)
    take(running, nothing(veth))
    eventually(lambda: veth.on_host and not ours(container))


def test_of_two_for_one_name_inside_the_second_is_a_problem(
    container: Container, veths: Callable[[], Veth], daemon: StartDaemon
) -> None:
    one, two = veths(), veths()
    both = f"['{one.mac}', '{two.mac}']"
    running = daemon(
        "rules:\n"
        f"  - name: port\n    match: {{subsystem: net, mac: {both}}}\n"
        f"    attach: {{to: {container}, name: lan0}}\n"
    )
    eventually(lambda: verified(running) == [True])
    assert [one.on_host, two.on_host].count(True) == 1
    first = one.name if two.on_host else two.name
    assert f"lan0 in {container} is taken by {first} (rule 'port')" in messages(running)


@pytest.fixture
def unfit(veth: Veth) -> Iterator[Veth]:
    """An interface that can be moved, and that the kernel does not bring up: somebody has its UDP port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        kind = ["type", "vxlan", "id", "7", "dstport", str(taken.getsockname()[1])]
        subprocess.run(["ip", "link", "add", "name", veth.name, "address", veth.mac, *kind], check=True)
        yield veth
        # The server may have left it under another name.
        for each in Path("/sys/class/net").iterdir():
            if (each / "address").read_text().strip() == veth.mac:
                subprocess.run(["ip", "link", "del", each.name], check=True)


def test_an_entry_with_which_its_container_does_not_start_is_out_until_it_runs(
    unfit: Veth, container: Container, daemon: StartDaemon
) -> None:
    running = daemon(rules(unfit, to=str(container)))
    eventually(lambda: verified(running) == [True])
    container.stop()
    eventually(lambda: verified(running) == [None])
    assert not starts(container)
    eventually(lambda: "could not be started with its entry 'hp-" in messages(running))
    eventually(lambda: not ours(container))
    eventually(lambda: starts(container))
    eventually(lambda: verified(running) == [True])
    eventually(lambda: not messages(running))
