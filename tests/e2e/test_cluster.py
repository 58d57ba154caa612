"""One hotplugd on each member of a real cluster. All members are on this host, and see its devices."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab.cluster import Cluster
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.patience import patiently
from tests.support.lab.wait import eventually, steadily
from tests.support.phones.containers import once_it_is_free

Consoles = Callable[[int], list[Console]]


@pytest.fixture(scope="module")
def cluster(root: None, udevd: None) -> Iterator[Cluster]:
    with Cluster() as made:
        yield made


@pytest.fixture
def hosts(cluster: Cluster, plugs: ExitStack) -> Iterator[Callable[[str], list[Daemon]]]:
    """Starts a daemon on each member, with the same rules."""
    with ExitStack() as undo:

        def start(rules: str) -> list[Daemon]:
            return [undo.enter_context(Daemon(each.socket, rules)) for each in cluster.members]

        yield start
    for container in cluster.members[0].containers():
        container.delete()


def rules(**to: Console) -> str:
    """One rule for each container: which console it gets."""
    return "rules:\n" + "".join(
        f"  - {{name: for-{name}, match: {{subsystem: vc, kernel: {Path(console.node).name}}}, "
        f"attach: {{to: {name}}}}}\n"
        for name, console in to.items()
    )


def ours(container: Container) -> list[dict[str, str]]:
    return [each for name, each in container.devices.items() if name.startswith("hp-")]


def members(container: Container) -> list[str]:
    """On which members the container's entries were made."""
    return [json.loads(each["user.hotplugd"])["member"] for each in ours(container)]


def everywhere(daemon: Daemon) -> dict[str, Any]:
    done = daemon.ask("status", "--cluster", "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    found["code"] = done.returncode
    return found


def test_each_looks_after_the_instances_on_its_own_host(
    cluster: Cluster, hosts: Callable[[str], list[Daemon]], consoles: Consoles
) -> None:
    containers = [cluster.launch(f"c{number}", number) for number in range(3)]
    plugged = consoles(3)
    daemons = hosts(rules(c0=plugged[0], c1=plugged[1], c2=plugged[2]))
    for console in plugged:
        console.plug()
    for number, container in enumerate(containers):
        eventually(lambda: members(container) == [cluster.name(number)])  # noqa: B023
    assert [each.status()["problems"] for each in daemons] == [[], [], []]
    assert [len(each.status()["attachments"]) for each in daemons] == [1, 1, 1]  # type: ignore[arg-type]
    shown = everywhere(daemons[1])
    assert [each["name"] for each in shown["members"]] == ["m1", "m2", "m3"]
    assert [(each["member"], each["instance"], each["device"]) for each in shown["attachments"]] == [
        (cluster.name(number), f"c{number}", plugged[number].node) for number in range(3)
    ]
    said = daemons[0].ask("explain", plugged[2].node).stdout
    assert "c2 is on the cluster member m3, and the device is here" in said
    text = daemons[2].ask("status", "--cluster").stdout
    assert "3 attached on 3 members" in text
    plugged[1].unplug()
    eventually(lambda: not ours(containers[1]))


def test_one_that_moves_loses_the_old_hosts_device_and_gets_the_new_ones(
    cluster: Cluster, hosts: Callable[[str], list[Daemon]], consoles: Consoles
) -> None:
    container = cluster.launch("c0", 0)
    (console,) = consoles(1)
    hosts(rules(c0=console))
    console.plug()
    eventually(lambda: members(container) == ["m1"])
    once_it_is_free(container.stop)
    once_it_is_free(lambda: cluster.move(container, 1))
    eventually(lambda: members(container) == ["m2"])
    once_it_is_free(container.start)
    eventually(lambda: len(ours(container)) == 1 and members(container) == ["m2"])
    steadily(lambda: members(container) == ["m2"], 2)


def test_a_member_that_is_away_has_not_lost_its_devices(
    cluster: Cluster, hosts: Callable[[str], list[Daemon]], consoles: Consoles
) -> None:
    near, far = cluster.launch("c0", 0), cluster.launch("c2", 2)
    plugged = consoles(2)
    daemons = hosts(rules(c0=plugged[0], c2=plugged[1]))
    for console in plugged:
        console.plug()
    eventually(lambda: members(near) == ["m1"] and members(far) == ["m3"])
    cluster.offline_after(11)
    cluster.members[2].stop()
    eventually(lambda: cluster.states()["m3"] == "Offline", 60, pause=0.2)
    shown = everywhere(daemons[0])
    assert shown["code"] == 1
    assert [each["instance"] for each in shown["attachments"]] == ["c0"]
    assert [each["unknown"] for each in shown["members"]] == [[], [], ["default/c2"]]
    assert "m3 is offline" in daemons[0].ask("status", "--cluster").stdout
    # What happens meanwhile is done where somebody can.
    plugged[0].unplug()
    eventually(lambda: not ours(near))
    assert daemons[0].status()["problems"] == []
    cluster.members[2].start()
    eventually(lambda: cluster.states()["m3"] == "Online", 60, pause=0.2)
    # Members say that it is online before they speak to it again.
    assert patiently(lambda: members(far)) == ["m3"]
    plugged[1].unplug()
    eventually(lambda: not ours(far), 60)
