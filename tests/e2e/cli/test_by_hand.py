"""`hotplugd attach`, `detach` and `undo` by hand, with a real daemon, server and devices."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartDaemon
from tests.e2e.cli.conftest import Configure
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console, Zram
from tests.support.lab.udevd import settle
from tests.support.lab.wait import eventually

_NONE = "rules: []\n"


def rules(console: Console, to: object, more: str = "") -> str:
    return (
        f"rules:\n  - {{name: screen, match: {{subsystem: vc, kernel: vcsa{console.number}}}, "
        f"attach: {{to: {to}{more}}}}}\n"
    )


def asked(running: Daemon, *words: object, code: int = 0) -> dict[str, Any]:
    done = running.ask(*map(str, words), "--json")
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def events(running: Daemon, *names: str) -> list[dict[str, Any]]:
    every = [json.loads(line) for line in running.log().splitlines() if line.startswith("{")]
    return [each for each in every if each["event"] in names]


def told(running: Daemon) -> dict[str, Any]:
    """What `hotplugd status --json` answers."""
    found: dict[str, Any] = dict(running.status())
    return found


def has(container: Container, console: Console) -> bool:
    return container.look(console.node) is not None


def test_a_device_stays_out_until_it_is_given_back(
    containers: tuple[Container, Container], console: Console, daemon: StartDaemon
) -> None:
    one, two = containers
    console.plug()
    running = daemon(rules(console, one))
    eventually(lambda: has(one, console))
    answer = asked(running, "detach", console.node)
    assert (answer["taken"], answer["done"], has(one, console)) == (True, True, False)
    assert f"taken out of {one}, and stays out until `hotplugd undo kernel:vcsa" in answer["message"]
    # Over a replug, a restart, a crash and rules that are edited meanwhile.
    console.unplug()
    console.plug()
    running.stop()
    running.start()
    running.kill()
    running.start()
    running.write_rules(rules(console, two))
    assert running.ask("reload").returncode == 0
    status = told(running)
    assert (status["attachments"], status["pending"], status["problems"]) == ([], [], [])
    (override,) = status["overrides"]
    assert (override["decision"], override["device"], override["present"], override["uid"]) == (
        "detach", console.node, True, 0,
    )  # fmt: skip
    assert not has(one, console)
    assert not has(two, console)
    document = json.loads(running.ask("explain", console.node, "--json").stdout)
    assert (document["rule"], document["wants"], document["changes"]) == ("screen", [], [])
    assert document["override"]["decision"] == "detach"
    assert "by hand: detached at " in running.ask("explain", console.node).stdout
    assert running.ask("plan").stdout == "nothing to change\n"
    (line,) = [each for each in running.ask("devices", "--all").stdout.splitlines() if console.node in each]
    assert "detached by hand" in line
    answer = asked(running, "undo", console.node)
    assert answer["message"].endswith(f": {console.node} is in {two}")
    assert has(two, console)
    assert told(running)["overrides"] == []


def test_a_device_goes_where_somebody_puts_it_and_as_its_rule_says(
    containers: tuple[Container, Container], console: Console, daemon: StartDaemon
) -> None:
    one, two = containers
    console.plug()
    running = daemon(rules(console, one, ", mode: '0600', link: /dev/screen"))
    eventually(lambda: has(one, console))
    answer = asked(running, "attach", console.node, two)
    assert answer["message"].endswith(f"is attached to {two} as {console.node}, and seen inside")
    assert not has(one, console)
    node = two.look(console.node)
    assert node is not None
    assert node.mode & 0o777 == 0o600
    eventually(lambda: Path(f"/proc/{two.pid}/root/dev/screen").is_symlink())
    (attachment,) = told(running)["attachments"]
    assert (attachment["instance"], attachment["rule"], attachment["by_hand"]) == (str(two), "screen", True)
    shown = running.ask("status").stdout
    assert "screen, by hand" in shown
    assert "attached  " in running.ask("status", "--by-hand").stdout
    console.unplug()
    eventually(lambda: not has(two, console))
    assert "(not there)" in running.ask("status", "--by-hand").stdout
    running.stop()
    running.write_rules(_NONE)
    running.start()
    console.plug()
    eventually(lambda: has(two, console))
    # The server makes the node before it answers.
    eventually(lambda: [each["rule"] for each in told(running)["attachments"]] == ["by hand"])
    answer = asked(running, "attach", console.node, one)
    assert (has(one, console), has(two, console)) == (True, False)
    asked(running, "undo", "--all")
    assert not has(one, console)
    assert running.is_fine()


def test_who_asked_for_what_is_in_the_log(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    running = daemon(_NONE)
    asked(running, "attach", console.node, container)
    asked(running, "detach", console.node)
    asked(running, "undo", console.node)
    asked(running, "undo", console.node, code=1)
    asked(running, "reload")
    running.reload()
    eventually(lambda: len(events(running, "reload.asked")) == 2)
    asks = events(running, "attach.asked", "detach.asked", "undo.asked", "undo.refused", "reload.asked")
    assert [(each["event"], each["by"].partition(" (")[0]) for each in asks] == [
        ("attach.asked", "uid 0"),
        ("detach.asked", "uid 0"),
        ("undo.asked", "uid 0"),
        ("undo.refused", "uid 0"),
        ("reload.asked", "uid 0"),
        ("reload.asked", "SIGHUP"),
    ]
    assert (asks[0]["device"], asks[0]["instance"], asks[0]["user"]) == (
        console.node, str(container), "root",
    )  # fmt: skip
    causes = {each["event"]: each["cause"] for each in events(running, "device.add", "device.remove")}
    assert causes == {"device.add": "asked", "device.remove": "asked"}
    assert "was detached by hand" in events(running, "device.remove")[0]["why"]
    history = running.ask("history", console.node).stdout
    assert "attach.asked" in history
    assert "by uid 0 (root)" in history


def test_undo_waits_until_the_device_is_where_the_rules_say(
    containers: tuple[Container, Container], console: Console, daemon: StartDaemon
) -> None:
    one, two = containers
    console.plug()
    running = daemon(rules(console, one))
    eventually(lambda: has(one, console))
    asked(running, "attach", console.node, two)
    answer = asked(running, "undo", console.node)
    assert (answer["done"], has(one, console), has(two, console)) == (True, True, False)
    asked(running, "attach", console.node, two)
    running.write_rules(rules(console, "nobody"))
    running.reload()
    answer = asked(running, "undo", console.node, code=1)
    assert (answer["taken"], answer["done"], has(two, console)) == (True, False, False)
    assert f"{console.node} is not in nobody yet: there is no instance 'nobody'" in answer["message"]


def test_what_cannot_be_is_refused_and_not_kept(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    running = daemon(_NONE)
    for words, reason in (
        ((console.node, "nobody"), "there is no instance 'nobody' in project 'default'"),
        ((console.node, container, "--project", "lab"), "in project 'lab'"),
        ((console.node, "no_name"), "'no_name' is no legal instance name"),
        (("/dev/null0", container), "no device /dev/null0 is plugged in"),
    ):
        answer = asked(running, "attach", *words, code=1)
        assert (answer["taken"], answer["done"], answer["overrides"]) == (False, False, [])
        assert reason in answer["message"]
    assert told(running)["overrides"] == []
    assert not running.state.exists()
    assert container.devices == {}


@pytest.mark.parametrize("force", [False, True])
def test_a_disk_that_is_mounted_is_refused_whatever_the_rule_forces(
    container: Container, zram: Zram, tmp_path: Path, daemon: StartDaemon, *, force: bool
) -> None:
    zram.plug()
    settle()
    Path(zram.syspath, "disksize").write_text("16M")
    subprocess.run(["busybox", "mke2fs", "-b", "4096", zram.node], check=True, capture_output=True)
    settle()
    other = f"rules:\n  - {{name: disk, match: {{subsystem: block, kernel: {zram.node[5:]}}}, "
    running = daemon(f"{other}attach: {{to: nobody, force: true}}}}\n" if force else _NONE)
    subprocess.run(["mount", zram.node, tmp_path], check=True)
    try:
        answer = asked(running, "attach", zram.node, container, code=1)
        assert f"is mounted on {tmp_path}" in answer["message"]
        assert answer["message"].endswith("nobody can attach it by hand")
        assert told(running)["overrides"] == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    eventually(lambda: asked(running, "attach", zram.node, container)["done"])


def test_a_stopped_instance_has_it_once_it_runs(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    container.stop()
    running = daemon(_NONE)
    answer = asked(running, "attach", console.node, container)
    assert answer["message"].endswith("and is there once that runs")
    container.start()
    eventually(lambda: has(container, console))


def test_what_another_entry_has_is_left_alone(
    containers: tuple[Container, Container], console: Console, daemon: StartDaemon
) -> None:
    one, two = containers
    console.plug()
    one.patch({"devices": {"own": {"type": "unix-char", "source": console.node, "path": console.node}}})
    running = daemon(_NONE)
    eventually(lambda: "belongs to" in asked(running, "attach", console.node, two, code=1)["message"])
    assert two.devices == {}


def test_without_a_daemon_the_commands_say_what_to_do(console: Console, configure: Configure) -> None:
    stopped = configure(_NONE)
    for words in (("attach", console.node, "box"), ("detach", console.node), ("undo", console.node)):
        done = stopped.ask(*words)
        assert (done.returncode, done.stdout) == (3, "")
        assert "hotplugd is not running" in done.stderr
        assert "start it and repeat this command" in done.stderr
    assert not stopped.state.exists()


@pytest.mark.parametrize("how", ["lost", "broken", "old"])
def test_a_state_file_that_is_lost_broken_or_old_costs_the_decisions_alone(
    containers: tuple[Container, Container], consoles: Callable[[int], list[Console]],
    daemon: StartDaemon, how: str,
) -> None:  # fmt: skip
    one, two = containers
    first, second = consoles(2)
    for each in (first, second):
        each.plug()
    running = daemon(rules(first, one) + rules(second, one).replace("screen", "other").partition("\n")[2])
    eventually(lambda: has(one, first) and has(one, second))
    asked(running, "attach", first.node, two)
    before = running.state.read_bytes()
    asked(running, "detach", second.node)
    running.stop()
    if how == "lost":
        running.state.unlink()
    else:
        running.state.write_bytes(before if how == "old" else before[:-30])
    running.start()
    eventually(lambda: has(one, second))
    eventually(lambda: has(two if how == "old" else one, first))
    assert has(one if how == "old" else two, first) is False
    if how != "broken":
        assert running.is_fine()
        return
    (problem,) = told(running)["problems"]
    assert "the state file was broken, and is called " in problem["message"]
    (aside,) = running.state.parent.glob("*.broken-*")
    assert aside.read_bytes() == before[:-30]
    asked(running, "detach", second.node)
    aside.unlink()
    running.reload()
    assert running.is_fine()
    assert not has(one, second)


def test_a_file_that_another_wrote_is_not_overwritten_and_a_reload_takes_it(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    running = daemon(_NONE)
    asked(running, "attach", console.node, container)
    before = running.state.read_bytes()
    asked(running, "undo", console.node)
    running.state.write_bytes(before)
    assert "another program has written" in asked(running, "detach", console.node, code=1)["message"]
    asked(running, "reload")
    eventually(lambda: has(container, console))
    running.state.unlink()
    asked(running, "reload")
    eventually(lambda: not has(container, console))
