"""A tenant with a restricted certificate, who may do anything to instances of theirs, beside others'."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from hotplugd.model.entry import name_for, slot_of
from hotplugd.model.values import Entry
from tests.support.lab.api import ServerError
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console, Veth
from tests.support.lab.server import Server
from tests.support.lab.tenant import RESTRICTED, Tenant, project, tenant
from tests.support.lab.wait import eventually, steadily
from tests.support.phones.containers import once_it_is_free

_NAME = "hp-00000000000000ff"
_NODE = {"type": "unix-char", "source": "/dev/null", "path": "/dev/x", "required": "false"}
_LARGE = 6 << 20


@dataclass(frozen=True, slots=True)
class Land:
    """A server with two projects. The victim is a container of one, and evil one of the other, as the tenant
    has it, who may see and change nothing else.
    """

    server: Server
    victim: Container
    evil: Container
    tenant: Tenant


@pytest.fixture(scope="module", params=[RESTRICTED, {}], ids=["restricted", "plain"])
def land(
    request: pytest.FixtureRequest, root: None, udevd: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Land]:
    with Server() as server:
        project(server, "lab")
        project(server, "evil", **request.param)
        project(server, "evil2", **request.param)
        api = tenant(server, tmp_path_factory.mktemp("tenant"), ["evil", "evil2"])
        victim = server.launch("c1", project="lab")
        server.launch("c1", project="evil")
        yield Land(server, victim, Container(api, "c1", "evil"), api)


@pytest.fixture
def world(land: Land, console: Console, veth: Veth) -> Iterator[tuple[Land, Daemon]]:
    """With a daemon whose rules are about the victim alone. Afterwards evil has nothing."""
    kernel = Path(console.node).name
    to = "attach: {to: c1, project: lab}"
    rules = "rules:\n" + "".join(
        f"  - {{name: {what}, match: {{subsystem: {what}, kernel: {name}}}, {to}}}\n"
        for what, name in (("vc", kernel), ("net", veth.name))
    )
    with ExitStack() as undo:
        running = undo.enter_context(Daemon(land.server.socket, rules))
        yield land, running
        running.status()
        assert "defect" not in running.log()
        once_it_is_free(lambda: land.evil.patch({"config": {"user.x": ""}}))
        for name in land.evil.devices:
            once_it_is_free(partial(remove, land.evil, name))
        console.unplug()
        eventually(lambda: land.victim.look(console.node) is None)


def problems(running: Daemon) -> list[str]:
    return [each["message"] for each in cast("list[dict[str, str]]", running.status()["problems"])]


def said(running: Daemon, *words: str) -> Callable[[], bool]:
    """Whether one problem has all of these in it."""
    return lambda: any(all(word in each for word in words) for each in problems(running))


def put(land: Land, name: str, config: dict[str, str]) -> None:
    once_it_is_free(lambda: land.evil.patch({"devices": {name: config}}))


def empty(container: Container) -> None:
    """Take all of its entries out."""
    before = container.config
    kept = ("architecture", "config", "description", "ephemeral", "profiles")
    url = f"/1.0/instances/{container.name}?project={container.project}"
    container.api.request("PUT", url, {**{key: before[key] for key in kept}, "devices": {}})


def remove(container: Container, name: str) -> None:
    container.remove_device(name)


def lacks(container: Container, name: str, node: str) -> bool:
    return name not in container.devices and container.look(node) is None


def entry_of(land: Land) -> tuple[str, dict[str, str]]:
    """The victim's entry, which the tenant cannot see and may guess."""
    eventually(lambda: land.victim.devices)
    ((name, config),) = land.victim.devices.items()
    return name, config


def attached(land: Land, console: Console) -> tuple[str, dict[str, str]]:
    console.plug()
    eventually(lambda: land.victim.look(console.node))
    return entry_of(land)


def test_the_tenant_may_do_nothing_to_others(land: Land) -> None:
    for method, url in (
        ("GET", "/1.0/instances?all-projects=true"),
        ("GET", "/1.0/instances/c1?project=lab"),
        ("PATCH", "/1.0/instances/c1?project=lab"),
        ("POST", "/1.0/instances?project=default"),
    ):
        with pytest.raises(ServerError, match=r"403|404"):
            land.tenant.request(method, url, {})


def test_the_victims_own_entry_in_evil(world: tuple[Land, Daemon], console: Console) -> None:
    land, _ = world
    name, config = attached(land, console)
    for marks in (config["user.hotplugd"], json.dumps({"version": "2", "instance": "evil/c1"})):
        put(land, name, {**config, "user.hotplugd": marks})
        eventually(lambda: name not in land.evil.devices)
        eventually(lambda: land.evil.look(console.node) is None)
        steadily(lambda: land.victim.look(console.node) is not None, 0.3)
        assert land.victim.devices == {name: config}


def test_forged_entries_for_what_is_not_there_yet(world: tuple[Land, Daemon], console: Console) -> None:
    land, _ = world
    _, config = attached(land, console)
    slot = slot_of(Entry("", config))
    start, _, number = slot.rpartition("-")
    console.unplug()
    eventually(lambda: land.victim.devices == {})
    coming = [f"{start}-{int(number.removeprefix('i')) + more}" for more in range(1, 200)]
    marks = json.dumps({"version": "2", "instance": "evil/c1"})
    entries = {
        name_for(each): {
            **_NODE, "source": f"/dev/hotplugd/{each}", "path": f"/dev/x{each}", "user.hotplugd": marks,
        }
        for each in coming
    }  # fmt: skip
    once_it_is_free(lambda: land.evil.patch({"devices": entries}))
    console.plug()
    eventually(lambda: land.victim.look(console.node))
    eventually(lambda: land.evil.devices == {})
    eventually(lambda: not [each for each in land.evil.nodes() if each.startswith("/dev/x")])
    assert land.victim.look(console.node)


def test_an_entry_that_names_the_victims_link(world: tuple[Land, Daemon], console: Console) -> None:
    land, running = world
    _, config = attached(land, console)
    put(land, "theirs", {**_NODE, "source": config["source"]})
    eventually(said(running, "it is in lab/c1, and evil/c1 has it too, by its entry 'theirs'"))
    assert land.victim.look(console.node)
    console.unplug()
    eventually(lambda: land.victim.look(console.node) is None)
    # While the server watches the link it stays: it would hang where the link went as evil stops.
    steadily(lambda: os.path.islink(config["source"]), 0.5)
    once_it_is_free(land.evil.stop)
    eventually(lambda: not os.path.islink(config["source"]))
    land.evil.remove_device("theirs")
    once_it_is_free(land.evil.start)
    console.plug()
    eventually(lambda: land.victim.look(console.node))


@pytest.mark.parametrize("way", ["/dev/fd/../root{}", "/dev/../proc/self/root{}", "/dev/shm/../..{}"])
def test_an_entry_by_a_way_that_nobody_can_look_up(
    world: tuple[Land, Daemon], console: Console, way: str
) -> None:
    land, running = world
    attached(land, console)
    # What is required the server does not watch: it watches below /dev alone, and refuses other ways there.
    put(land, "theirs", {"type": "unix-char", "source": way.format(console.node), "path": "/dev/way"})
    assert land.evil.look("/dev/way") == land.victim.look(console.node)
    eventually(said(running, "evil/c1 has an entry 'theirs'", "which may lead to any device"))
    assert land.victim.look(console.node)
    land.evil.remove_device("theirs")
    eventually(lambda: problems(running) == [])


def test_the_number_of_the_victims_device(world: tuple[Land, Daemon], console: Console) -> None:
    land, running = world
    attached(land, console)
    there = land.victim.look(console.node)
    assert there is not None
    number = {"major": str(there.major), "minor": str(there.minor)}
    put(land, "theirs", {"type": "unix-char", "path": "/dev/number", **number})
    eventually(said(running, "it is in lab/c1, and evil/c1 has it too, by its entry 'theirs'"))
    land.evil.remove_device("theirs")
    eventually(lambda: problems(running) == [])


def test_an_entry_for_an_interface_that_is_the_victims(world: tuple[Land, Daemon], veth: Veth) -> None:
    land, running = world
    veth.plug()
    eventually(lambda: land.victim.devices)
    ((name, config),) = land.victim.devices.items()
    theirs = {"type": "nic", "nictype": "physical", "parent": veth.name, "name": "eth9"}
    for entry, more in (("theirs", {}), (name, {"user.hotplugd": config["user.hotplugd"]})):
        # The server refuses what is not on the host, and a project may refuse such entries at all.
        with suppress(ServerError):
            put(land, entry, {**theirs, **more})
    steadily(lambda: land.victim.devices == {name: config}, 0.5)
    running.kill()
    running.start()
    steadily(lambda: land.victim.devices == {name: config}, 0.5)
    assert veth.name in land.victim.run("ls", "/sys/class/net").output
    running.write_rules("rules: []\n")
    running.reload()
    eventually(lambda: land.victim.devices == {})


def test_who_is_called_as_the_victim_and_copies_and_renames(
    world: tuple[Land, Daemon], console: Console
) -> None:
    land, _ = world
    name, config = attached(land, console)
    once_it_is_free(land.evil.stop)
    put(land, name, config)
    copies = [land.evil.copy(f"c2-{number}") for number in range(3)]
    for copy in copies:
        once_it_is_free(copy.start)
    once_it_is_free(lambda: land.evil.rename("c3"))
    once_it_is_free(land.evil.start)
    for each in (*copies, land.evil):
        eventually(partial(lacks, each, name, console.node))
    once_it_is_free(land.evil.stop)
    once_it_is_free(lambda: land.evil.rename("c1"))
    once_it_is_free(land.evil.start)
    for copy in copies:
        copy.delete()
    assert land.victim.look(console.node)
    assert land.victim.devices == {name: config}


HUGE = {
    "a value": {"config": {"user.x": "x" * _LARGE}},
    "marks that are lists": {
        "devices": {_NAME: {"type": "none", "user.hotplugd": f"[{'[],' * (_LARGE // 3)}[]]"}}
    },
    "many entries": {"devices": {f"d{number}": {"type": "none"} for number in range(3000)}},
    "many that say to be ours": {
        "devices": {
            f"hp-{number:016x}": {"type": "none", "user.hotplugd": '{"version":"2","instance":"evil/c1"}'}
            for number in range(1000)
        }
    },
}  # fmt: skip


@pytest.mark.parametrize("huge", HUGE.values(), ids=HUGE)
def test_whatever_evil_is_like_the_victim_gets_its_device(
    world: tuple[Land, Daemon], console: Console, huge: dict[str, object]
) -> None:
    land, running = world
    once_it_is_free(lambda: land.evil.patch(huge))
    attached(land, console)
    # As the server lists it, too.
    running.kill()
    running.start()
    console.unplug()
    eventually(lambda: land.victim.look(console.node) is None)
    attached(land, console)
    if huge is not HUGE["a value"]:
        once_it_is_free(partial(empty, land.evil))


def test_storms_of_starts_and_edits(world: tuple[Land, Daemon], console: Console) -> None:
    land, running = world
    names = [f"s{number}" for number in range(4)]
    for name in names:
        land.server.launch(name, project="evil", start=False)
    ends = False

    def storm(name: str) -> int:
        done, each = 0, Container(land.tenant, name, "evil")
        edit = partial(each.patch, {"config": {"user.x": name}})
        while not ends:
            for act in (each.start, edit, each.stop):
                with suppress(ServerError):
                    act()
                    done += 1
        return done

    with ThreadPoolExecutor(4) as pool:
        storms = [pool.submit(storm, name) for name in names]
        try:
            for _ in range(5):
                attached(land, console)
                console.unplug()
                eventually(lambda: land.victim.look(console.node) is None)
        finally:
            ends = True
        assert sum(each.result() for each in storms) > 2 * len(names)
    for name in names:
        Container(land.server.api, name, "evil").delete()
    eventually(lambda: problems(running) == [])


@pytest.mark.pools
def test_a_lease_of_an_absent_device_over_a_restart(land: Land, console: Console) -> None:
    kernel = Path(console.node).name
    rules = (
        "pools: {farm: {project: lab, instances: c1, per_instance: 1, keep: 5m}}\n"
        f"rules: [{{name: vc, match: {{subsystem: vc, kernel: {kernel}}}, attach: {{pool: farm}}}}]\n"
    )
    with Daemon(land.server.socket, rules) as running:
        name, config = attached(land, console)
        console.unplug()
        eventually(lambda: land.victim.devices == {})
        running.stop()
        marks = {**json.loads(config["user.hotplugd"]), "instance": "evil/c1"}
        put(land, name, {**config, "user.hotplugd": json.dumps(marks)})
        running.start()
        eventually(lambda: land.evil.devices == {})
        (pool,) = json.loads(running.ask("pool", "--json").stdout)["pools"]
        held = [(each["state"], each["project"], each["present"]) for each in pool["devices"]]
        assert held == [("leased", "lab", False)]
        console.plug()
        eventually(lambda: land.victim.look(console.node))
        console.unplug()
        eventually(lambda: land.victim.devices == {})
