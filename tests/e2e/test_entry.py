"""What an entry holds is written once: what changes while its device is attached changes elsewhere."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from hotplugd.host.journals import Links
from hotplugd.host.list_once import listed
from hotplugd.host.sysfs import boot
from hotplugd.model.entry import MARKS, SLOTS, name_for, slot_links, slot_made, slot_named, slot_node
from hotplugd.model.values import Devnum, InstanceName
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.proxy import Proxy
from tests.support.lab.server import Server
from tests.support.lab.udevd import ruled_by, settle, trigger
from tests.support.lab.wait import eventually
from tests.support.phones.containers import once_it_is_free

VERSION_1 = Path(__file__).parents[1] / "support" / "lab" / "version1.rules"
CHANGES = "(PATCH|PUT) "


def rules(container: Container, console: Console, more: str) -> str:
    match = f"{{subsystem: vc, kernel: vcsa{console.number}}}"
    return f"rules: [{{name: one, match: {match}, attach: {{to: {container}, {more}}}}}]\n"


def number(console: Console) -> Devnum:
    return Devnum("char", 7, 128 + console.number)


def slot(console: Console) -> str:
    """The one that a daemon that starts now finds."""
    return next(each.slot for each in listed(frozenset())[0] if each.node == console.node)


def node(container: Container, console: Console) -> str:
    """Which node is inside, if the console's is: another one once it was put in again."""
    seen = container.look(console.node)
    if seen is None or seen.number != f"c 7:{128 + console.number}":
        return ""
    return container.run("stat", "-c", "%i", console.node).output


def links(container: Container, console: Console, *among: str) -> list[str]:
    return [each for each in among if container.run("readlink", each).output.strip() == console.node]


def left(of: str) -> list[str]:
    """What is left of a slot."""
    return [each for each in (*slot_links(of), slot_node(of), slot_made(of)) if os.path.lexists(each)]


def noted(server: Path) -> list[InstanceName]:
    """The instances of which links are noted."""
    notes = Links(str(server))
    notes.read()
    return notes.names()


def verified(daemon: Daemon) -> list[object]:
    attachments = cast("list[dict[str, object]]", daemon.status()["attachments"])
    return [each["verified"] for each in attachments]


@contextmanager
def watched(server: Server, text: str) -> Iterator[tuple[Daemon, Proxy]]:
    """A daemon, and what it asks of the server."""
    with Proxy(server.data / "proxy", server.socket) as proxy, Daemon(proxy.socket, text) as running:
        yield running, proxy


def reloaded(daemon: Daemon) -> None:
    daemon.reload()


def started_again(daemon: Daemon) -> None:
    daemon.stop()
    daemon.start()


def killed(daemon: Daemon) -> None:
    daemon.kill()
    daemon.start()


def killed_once_told(daemon: Daemon) -> None:
    daemon.reload()
    killed(daemon)


HOW: dict[str, Callable[[Daemon], None]] = {
    "reload": reloaded,
    "restart": started_again,
    "crash": killed,
    "crash while at it": killed_once_told,
}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_other_links_are_made_and_the_device_stays(
    server: Server, container: Container, console: Console, how: Callable[[Daemon], None]
) -> None:
    ours = ("/dev/first", "/dev/by-id/x.1", "/dev/second")
    with watched(server, rules(container, console, f"link: [{ours[0]}, {ours[1]}]")) as (
        one,
        proxy,
    ):
        console.plug()
        eventually(lambda: links(container, console, *ours) == [*ours[:2]])
        inside, entries, since = node(container, console), container.devices, time.monotonic()
        one.write_rules(rules(container, console, f"link: [{ours[1]}, {ours[2]}]"))
        how(one)
        eventually(lambda: links(container, console, *ours) == [*ours[1:]])
        status = one.status()
        assert (status["pending"], status["problems"]) == ([], [])
        assert (container.devices, node(container, console)) == (entries, inside)
        assert proxy.count(CHANGES, since) == 0
        console.unplug()
        eventually(lambda: not links(container, console, *ours) and not container.devices)
        eventually(lambda: noted(proxy.socket) == [])
        assert container.run("ls", *ours).code != 0


def test_what_the_server_goes_by_is_changed_at_once_and_put_back_when_lost(
    server: Server, container: Container, console: Console
) -> None:
    with watched(server, rules(container, console, "mode: '0600'")) as (running, _):
        console.plug()
        eventually(lambda: node(container, console))
        for more, path, mode in (
            ("mode: '0640'", console.node, "640"),
            ("mode: '0640', path: /dev/other", "/dev/other", "640"),
            ("mode: '0640', uid: 7, gid: 8", console.node, "640"),
        ):
            running.write_rules(rules(container, console, more))
            running.reload()
            eventually(lambda: container.run("stat", "-c", "%a", path).output.strip() == mode)  # noqa: B023
        eventually(lambda: container.run("stat", "-c", "%u:%g", console.node).output.strip() == "7:8")
        assert container.run("umount", console.node).code == 0
        eventually(lambda: container.run("stat", "-c", "%u:%g", console.node).output.strip() == "7:8")
        eventually(lambda: not running.status()["pending"])


def test_an_entry_from_before_a_boot_names_no_device_of_this_one(
    server: Server, container: Container, console: Console
) -> None:
    console.plug()
    settle()
    now = slot(console)
    before = now.replace(boot(), "00000000")
    assert re.fullmatch(rf"c-7-{128 + console.number}-{boot()}-\d+", now)
    once_it_is_free(container.stop)
    container.patch({"devices": {name_for(before): entry(container, console, before)}})
    once_it_is_free(container.start)
    assert not node(container, console)
    text = rules(container, console, "path: /dev/other")
    with watched(server, text):
        eventually(lambda: set(container.devices) == {name_for(now)})
        eventually(lambda: container.look("/dev/other"))
        assert not node(container, console)


def test_while_no_daemon_runs_udevd_ends_the_links(
    server: Server, container: Container, console: Console
) -> None:
    with watched(server, rules(container, console, "mode: '0600'")) as (running, _):
        console.plug()
        eventually(lambda: node(container, console))
        now = slot(console)
        assert len(left(now)) == 4
        running.kill()
        console.unplug()
        eventually(lambda: not left(now))


def entry(
    container: Container, console: Console, of: str, more: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """An entry as version 1 wrote it, or as these marks say."""
    marks = {
        "version": "1",
        "instance": f"default/{container}",
        "device": f"kernel:vcsa{console.number}",
        "node": console.node,
        "rule": "before",
        "links": "/dev/first /dev/by-id/x.1",
        "since": "2026-11-26T23:43:29.708+00:00",
    }
    return {
        "type": "unix-char",
        "source": slot_links(of)[0],
        "path": console.node,
        "mode": "0600",
        "required": "false",
        MARKS: json.dumps(marks if more is None else {**marks, **more}),
    }


def attach(container: Container, console: Console, of: str, more: Mapping[str, Any] | None = None) -> None:
    """What another version did."""
    Path(SLOTS).mkdir(exist_ok=True)
    for link in slot_links(of):
        Path(link).symlink_to(console.node)
    Path(slot_made(of)).touch()
    container.patch({"devices": {name_for(of): entry(container, console, of, more)}})
    for link in ("/dev/first", "/dev/by-id/x.1"):
        container.run("sh", "-c", f"mkdir -p /dev/by-id; ln -s {console.node} {link}")


@pytest.fixture
def upgraded(container: Container, console: Console) -> str:
    """What version 1 has attached before both our udev rule and the daemon became today's: its slot."""
    with ruled_by(VERSION_1):
        console.plug()
        settle()
        of = slot(console)
        assert re.fullmatch(rf"c-7-{128 + console.number}-\d+", of)
        attach(container, console, of)
    trigger("--action=change", console.syspath)
    return of


@pytest.mark.alone
def test_an_upgrade_rewrites_nothing_and_detaches_nothing(
    server: Server, container: Container, console: Console, upgraded: str
) -> None:
    ours = ("/dev/first", "/dev/by-id/x.1", "/dev/second")
    inside, entries = node(container, console), container.devices
    text = rules(container, console, "mode: '0600', link: [/dev/by-id/x.1, /dev/second]")
    with watched(server, text) as (running, proxy):
        eventually(lambda: links(container, console, *ours) == [*ours[1:]])
        killed(running)
        eventually(lambda: verified(running) == [True])
        assert running.status()["problems"] == []
        assert (container.devices, node(container, console)) == (entries, inside)
        assert proxy.count(CHANGES) == 0
        console.unplug()
        eventually(lambda: not links(container, console, *ours) and not container.devices)
        eventually(lambda: not left(upgraded))
        assert container.run("ls", *ours).code != 0
        console.plug()
        eventually(lambda: node(container, console))
        assert slot(console) == slot_named(slot(console), number(console), boot()) != upgraded
        assert set(container.devices) == {name_for(slot(console))}


@pytest.mark.alone
def test_without_the_udev_rule_it_does_neither(
    server: Server, container: Container, console: Console
) -> None:
    with ruled_by(Path("/dev/null")):
        console.plug()
        settle()
        now = slot(console)
        assert now.startswith(f"c-7-{128 + console.number}-{boot()}-i")
        upgraded = now.replace(f"{boot()}-", "")
        attach(container, console, upgraded)
        entries = container.devices
        with watched(server, rules(container, console, "mode: '0600'")) as (running, proxy):
            eventually(lambda: not links(container, console, "/dev/first", "/dev/by-id/x.1"))
            assert verified(running) == [True]
            assert (container.devices, proxy.count(CHANGES)) == (entries, 0)
            console.unplug()
            eventually(lambda: not container.devices)
            eventually(lambda: not left(upgraded))
            console.plug()
            eventually(lambda: node(container, console))
            started_again(running)
            assert set(container.devices) == {name_for(slot(console))}


@pytest.mark.alone
def test_what_version_1_attached_goes_while_no_daemon_runs(
    server: Server, container: Container, console: Console, upgraded: str
) -> None:
    console.unplug()
    eventually(lambda: not left(upgraded))
    with watched(server, rules(container, console, "link: /dev/second")):
        eventually(lambda: not container.devices)
        eventually(lambda: container.run("readlink", "/dev/first").code != 0)


@pytest.mark.alone
def test_what_a_later_version_attached_stays_as_it_is_until_it_has_to_go(
    server: Server, container: Container, console: Console
) -> None:
    console.plug()
    settle()
    of = slot(console)
    attach(container, console, of, {"version": "3", "lease": "x", "more": [1, {"of": "it"}]})
    entries = container.devices
    with watched(server, rules(container, console, "mode: '0600', link: /dev/second")) as (
        running,
        proxy,
    ):
        eventually(lambda: links(container, console, "/dev/second"))
        assert (container.devices, proxy.count(CHANGES)) == (entries, 0)
        running.write_rules(rules(container, console, "mode: '0640'"))
        running.reload()
        eventually(lambda: container.run("stat", "-c", "%a", console.node).output.strip() == "640")
        marks = json.loads(container.devices[name_for(of)][MARKS])
        assert (marks["version"], marks["rule"]) == ("2", "one")
        assert "lease" not in marks
        console.unplug()
        eventually(lambda: not container.devices)
