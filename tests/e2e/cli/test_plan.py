"""`hotplugd plan`: each kind of change, really caused, and none of them made."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.cli.conftest import Configure
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.faults import Refuse
from tests.support.lab.kernel import Console
from tests.support.lab.proxy import Fault, Proxy
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually

_SLOTS = Path("/dev/hotplugd")
Changes = list[dict[str, str]]
LookOnly = Callable[[Daemon], tuple[Changes, Changes]]


def rule(console: Console, to: object, more: str = "", name: str = "screen") -> str:
    return (
        f"rules:\n  - name: {name}\n    match: {{subsystem: vc, kernel: vcsa{console.number}}}\n"
        f"    attach: {{to: {to}{more}}}\n"
    )


def links(console: Console) -> dict[str, str]:
    """The console's links below /dev/hotplugd; those of other tests come and go."""
    mine = [
        each
        for each in (os.listdir(_SLOTS) if _SLOTS.exists() else [])
        if f"-7-{128 + console.number}-" in each
    ]
    return {each: os.readlink(_SLOTS / each) for each in mine if (_SLOTS / each).is_symlink()}


def planned(made: Daemon) -> tuple[Changes, Changes]:
    """The changes and the problems of `plan --json`."""
    done = made.ask("plan", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert list(document) == ["changes", "holds", "claims", "problems", "unmatched", "unleased", "by"]
    assert document["holds"] == []
    return document["changes"], document["problems"]


@pytest.fixture
def look_only(container: Container, console: Console) -> LookOnly:
    """`planned`, which must change neither the instance, nor what is inside, nor the links."""

    def see(made: Daemon) -> tuple[Changes, Changes]:
        def state() -> object:
            return container.config, container.nodes(), links(console)

        before = state()
        found = planned(made)
        assert state() == before
        return found

    return see


@pytest.fixture
def attached(container: Container, console: Console, configure: Configure) -> Daemon:
    """What runs has one console attached, and nothing is to be done."""
    console.plug()
    made = configure(rule(console, container))
    done = made.ask("run", "--once")
    assert done.returncode == 0, done.stderr
    return made


def entry(container: Container) -> str:
    (name,) = (each for each in container.devices if each.startswith("hp-"))
    return name


class TestChanges:
    def test_what_is_not_there_is_added_and_then_nothing_is_left_to_do(
        self,
        container: Container,
        console: Console,
        configure: Configure,
        look_only: LookOnly,
    ) -> None:
        console.plug()
        made = configure(rule(console, container))
        ((change,), problems) = look_only(made)
        made.ask("run", "--once")
        assert made.ask("plan").stdout == "nothing to change\n"
        assert change == {
            "serial": "", "model": "", "port": "",
            "action": "add", "project": "default", "instance": container.name, "device": console.node,
            "identity": f"kernel:vcsa{console.number}", "rule": "screen", "entry": entry(container),
            "why": "it is not attached", "location": "",
        }  # fmt: skip
        assert problems == []

    def test_an_entry_that_differs_is_updated(
        self,
        container: Container,
        console: Console,
        attached: Daemon,
        look_only: LookOnly,
    ) -> None:
        attached.write_rules(rule(console, container, ", mode: '0604'"))
        ((change,), _) = look_only(attached)
        assert (change["action"], change["entry"]) == ("update", entry(container))
        assert change["why"] == "its entry differs in mode"

    def test_a_node_that_somebody_took_out_is_repaired(
        self,
        container: Container,
        console: Console,
        attached: Daemon,
        look_only: LookOnly,
    ) -> None:
        assert container.run("umount", console.node).code == 0
        ((change,), _) = look_only(attached)
        assert (change["action"], change["entry"]) == ("repair", entry(container))
        assert change["why"].startswith(f"node {console.node} is missing inside")

    def test_what_no_rule_wants_any_more_is_removed(
        self,
        container: Container,
        console: Console,
        attached: Daemon,
        look_only: LookOnly,
    ) -> None:
        attached.write_rules(rule(console, "another-one"))
        ((change,), (problem,)) = look_only(attached)
        assert (change["action"], change["entry"]) == ("remove", entry(container))
        assert (change["instance"], change["rule"]) == (container.name, "screen")
        assert change["why"].startswith("no rule puts its device here")
        assert "no instance 'another-one'" in problem["message"]

    def test_what_was_copied_into_another_instance_is_removed_there(
        self, container: Container, attached: Daemon
    ) -> None:
        copy = container.copy(f"{container.name}-copy")
        ((change,), _) = planned(attached)
        assert (change["action"], change["instance"]) == ("remove", copy.name)
        assert f"it was made for default/{container.name}" in change["why"]


@pytest.mark.parametrize("words", [["explain"], ["status", "--cluster"]])
def test_others_that_only_look_change_nothing_either(
    container: Container, console: Console, configure: Configure, words: list[str]
) -> None:
    console.plug()
    made = configure(rule(console, container))
    before = container.config, container.nodes(), links(console)
    done = made.ask(*words, *([console.node] if words == ["explain"] else []))
    assert (done.returncode, done.stderr) == (0, "")
    assert (container.config, container.nodes(), links(console)) == before
    (change,), _ = planned(made)
    assert change["action"] == "add"


def test_problems_are_told_with_the_device_and_the_rule(console: Console, configure: Configure) -> None:
    console.plug()
    made = configure(rule(console, "nobody", name="lost"))
    _, problems = planned(made)
    message = "there is no instance 'nobody' in project 'default'"
    unnamed = dict.fromkeys(("serial", "model", "port", "location", "instance", "claim", "pool", "place"), "")
    assert problems == [{**unnamed, "device": console.node, "rule": "lost", "message": message}]
    assert made.ask("plan").stdout.splitlines() == [
        f"problem: {console.node}, rule lost: {message}",
        "nothing to change",
    ]


def test_the_table_has_a_line_for_each_change(
    container: Container, consoles: Callable[[int], list[Console]], configure: Configure
) -> None:
    some = consoles(2)
    for each in some:
        each.plug()
    kernels = "|".join(f"vcsa{each.number}" for each in some)
    made = configure(
        f"rules: [{{name: both, match: {{subsystem: vc, kernel: '{kernels}'}}, attach: {{to: {container}}}}}]"
    )
    done = made.ask("plan")
    assert (done.returncode, done.stderr) == (0, "")
    head, *lines = done.stdout.splitlines()
    assert head.lower().split()[:7] == ["action", "instance", "device", "serial", "model", "port", "rule"]
    assert sorted(line.split()[:4] for line in lines) == sorted(
        ["add", container.name, each.node, "both"] for each in some
    )


def said(running: Daemon, words: list[str]) -> str:
    """The line about what is held back, which is not there while it is tried."""
    lines = running.ask(*words).stdout.splitlines()
    return next((line for line in lines if "is held until" in line), "")


def test_what_the_daemon_holds_back_is_told_with_until_when_and_why(
    server: Server, container: Container, console: Console
) -> None:
    with (
        Proxy(server.data / "proxy", server.socket) as proxy,
        proxy.fault(Fault(Refuse(400, "none of these today"), f"PATCH /1.0/instances/{container}")),
        Daemon(proxy.socket, rule(console, container)) as running,
    ):
        console.plug()
        for words in (["plan"], ["explain", console.node], ["status"]):

            def held(words: list[str] = words) -> list[dict[str, str]]:
                holds: list[dict[str, str]] = json.loads(running.ask(*words, "--json").stdout)["holds"]
                # Each time that it is tried it is held for longer.
                return [each for each in holds if datetime.fromisoformat(each["until"]) > datetime.now(UTC)]

            (one,) = eventually(held)
            assert (one["device"], one["rule"]) == (console.node, "screen")
            assert (one["project"], one["instance"]) == (container.project, container.name)
            assert (one["place"], one["event"]) == ("", "")
            assert one["why"] == f"cannot add in {container}: none of these today"
            until = datetime.fromisoformat(one["until"]) - datetime.now(UTC)
            assert timedelta(seconds=-10) < until < timedelta(seconds=61)
            line = eventually(partial(said, running, words))
            assert re.match(rf"{console.node} in {container} is held until \d\d:\d\d:\d\d [+-]\d{{4}}", line)
            # `status` has said it above.
            assert line.endswith(f", because {one['why']}") is (words != ["status"])


def test_bad_rules_are_told_in_place_of_a_plan(console: Console, configure: Configure) -> None:
    made = configure("rules: [{name: x, match: {serail: 1}, ignore: true}]")
    done = made.ask("plan", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert "50-test.yaml:1:27: error: unknown key 'serail'" in done.stderr


def test_a_server_that_is_away_is_told(console: Console, configure: Configure) -> None:
    made = configure(rule(console, "c1"))
    made.config.write_text(f"server: {made.folder}/none.socket\nrules: {made.rules}\n")
    done = made.ask("plan", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"hotplugd: LXD or Incus is not running: there is no socket {made.folder}/none.socket\n"
    )
