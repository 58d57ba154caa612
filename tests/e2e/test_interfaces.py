"""Network interfaces: they leave the host for the instance, and come back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.api import ServerError
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Veth
from tests.support.lab.wait import eventually, steadily


def rules(veth: Veth, *, to: str, more: str = "") -> str:
    """One rule that knows the interface by its address."""
    return (
        "rules:\n"
        f"  - name: port\n    match: {{subsystem: net, mac: '{veth.mac}'}}\n"
        f"    attach: {{to: {to}{more}}}\n"
    )


def interfaces(container: Container) -> set[str]:
    return set(container.run("ls", "/sys/class/net").output.split())


def mac(container: Container, name: str) -> str:
    return container.run("cat", f"/sys/class/net/{name}/address").output.strip()


def ours(container: Container) -> dict[str, dict[str, str]]:
    return {name: each for name, each in container.devices.items() if name.startswith("hp-")}


def done(running: Daemon) -> list[str]:
    """What the daemon says it did."""
    events = [str(json.loads(line)["event"]) for line in running.log().splitlines()]
    return [each for each in events if each in ACTIONS]


ACTIONS = ("device.add", "device.remove", "device.update", "device.repair")


def take(running: Daemon, text: str) -> None:
    """Have the daemon take these rules."""
    running.write_rules(text)
    running.reload()


def nothing(veth: Veth) -> str:
    return f"rules:\n  - {{name: off, match: {{subsystem: net, mac: '{veth.mac}'}}, ignore: true}}\n"


def problems(running: Daemon) -> list[str]:
    return [each["message"] for each in cast("list[dict[str, str]]", running.status()["problems"])]


def verified(running: Daemon) -> list[object]:
    attachments = cast("list[dict[str, object]]", running.status()["attachments"])
    return [each["verified"] for each in attachments]


def starts(container: Container) -> bool:
    """The server refuses while an update of ours is under way."""
    with suppress(ServerError):
        container.start()
        return True
    return False


def test_an_interface_goes_in_under_its_name_and_comes_back_under_the_old_one(
    container: Container, veth: Veth, daemon: StartDaemon
) -> None:
    running = daemon(rules(veth, to=str(container), more=", name: lan0"))
    veth.plug()
    eventually(lambda: "lan0" in interfaces(container))
    assert mac(container, "lan0") == veth.mac
    eventually(lambda: verified(running) == [True])
    take(running, nothing(veth))
    eventually(lambda: veth.on_host)
    assert "lan0" not in interfaces(container)
    eventually(lambda: not ours(container))


def test_once_inside_nothing_is_asked_of_the_server_any_more(
    container: Container, veth: Veth, daemon: StartDaemon
) -> None:
    running = daemon(rules(veth, to=str(container)))
    veth.plug()
    eventually(lambda: veth.name in interfaces(container))
    eventually(lambda: verified(running) == [True])
    before = container.config
    steadily(lambda: done(running) == ["device.add"] and veth.name in interfaces(container), 3)
    assert container.config == before
    assert not running.status()["problems"]


def test_a_daemon_that_starts_finds_what_is_inside_already(
    container: Container, veth: Veth, daemon: StartDaemon
) -> None:
    veth.plug()
    first = daemon(rules(veth, to=str(container)))
    eventually(lambda: verified(first) == [True])
    first.kill()
    second = daemon(rules(veth, to=str(container)))
    eventually(lambda: verified(second) == [True])
    steadily(lambda: not done(second), 1)
    take(second, nothing(veth))
    eventually(lambda: veth.on_host)


def test_it_is_there_again_after_a_restart_and_on_the_host_in_between(
    container: Container, veth: Veth, daemon: StartDaemon
) -> None:
    running = daemon(rules(veth, to=str(container), more=", name: lan0"))
    veth.plug()
    eventually(lambda: verified(running) == [True])
    container.stop()
    assert veth.on_host
    eventually(lambda: verified(running) == [None])
    assert list(ours(container))
    container.start()
    assert "lan0" in interfaces(container)
    eventually(lambda: verified(running) == [True])
    container.restart()
    assert "lan0" in interfaces(container)
    eventually(lambda: verified(running) == [True])
    assert done(running) == ["device.add"]


def test_another_rule_takes_it_from_one_instance_to_the_other(
    containers: tuple[Container, Container], veth: Veth, daemon: StartDaemon
) -> None:
    one, other = containers
    veth.plug()
    running = daemon(rules(veth, to=str(one)))
    eventually(lambda: veth.name in interfaces(one))
    take(running, rules(veth, to=str(other)))
    eventually(lambda: veth.name in interfaces(other))
    assert veth.name not in interfaces(one)
    eventually(lambda: not ours(one))
    eventually(lambda: verified(running) == [True])


def _log(running: Daemon) -> list[str]:
    """What is told, but for udev's rules, which are written whenever a busy machine comes to it."""
    return [line for line in running.log().splitlines() if '"leave-alone.written"' not in line]


def test_one_that_is_pulled_while_it_is_inside_is_a_problem_with_a_remedy_and_not_tried_for_ever(
    container: Container, veth: Veth, daemon: StartDaemon
) -> None:
    running = daemon(rules(veth, to=str(container)))
    veth.plug()
    eventually(lambda: verified(running) == [True])
    veth.unplug()
    take(running, nothing(veth))
    eventually(lambda: f"stop {container} by force" in str(running.status()["problems"]))
    # It is written down a moment after it is known.
    eventually(lambda: f"stop {container} by force" in running.log())
    said = _log(running)
    steadily(lambda: _log(running) == said, 3)
    container.stop()
    eventually(lambda: not ours(container))
    eventually(lambda: starts(container))
    eventually(lambda: not problems(running))


def test_a_list_of_instances_is_refused_for_what_can_be_in_one_alone(
    containers: tuple[Container, Container], veth: Veth, daemon: StartDaemon
) -> None:
    veth.plug()
    both = f"[{containers[0]}, {containers[1]}]"
    running = daemon(rules(veth, to=both).replace("subsystem: net", "subsystem: 'ne?'"))
    assert "one instance at a time" in str(running.status()["problems"])
    assert veth.on_host


def test_it_waits_for_the_instance_and_follows_a_rename_on_the_host(
    launch: Callable[..., Container], veth: Veth, daemon: StartDaemon
) -> None:
    veth.plug()
    stopped = launch(start=False)
    running = daemon(rules(veth, to=str(stopped), more=", name: lan0"))
    # Once the request is answered: until then the server refuses others.
    eventually(lambda: verified(running) == [None])
    assert len(ours(stopped)) == 1
    assert veth.on_host
    stopped.start()
    assert "lan0" in interfaces(stopped)
    eventually(lambda: verified(running) == [True])


def test_explain_knows_what_is_inside(container: Container, veth: Veth, daemon: StartDaemon) -> None:
    running = daemon(rules(veth, to=str(container), more=", name: lan0"))
    veth.plug()
    eventually(lambda: verified(running) == [True])
    answer = running.ask("explain", veth.name)
    assert f"attached to default/{container}, seen inside" in answer.stdout, answer.stdout + answer.stderr
    assert "nothing to change" in running.ask("plan").stdout


def test_a_name_that_something_inside_has_is_a_problem_and_the_interface_stays_on_the_host(
    container: Container, veth: Veth, daemon: StartDaemon
) -> None:
    # The server chooses the name of this one.
    container.patch({"devices": {"theirs": {"type": "nic", "nictype": "p2p"}}})
    (taken,) = interfaces(container) - {"lo"}
    veth.plug()
    running = daemon(rules(veth, to=str(container), more=f", name: {taken}"))
    said = f"{taken} in {container} is an interface that is there already"
    eventually(lambda: [said in each for each in problems(running)] == [True])
    assert veth.on_host
    assert not ours(container)
    assert "device.failed" not in running.log()
    container.remove_device("theirs")
    eventually(lambda: taken in interfaces(container), 20.0)
    assert mac(container, taken) == veth.mac
    eventually(lambda: not problems(running))


def test_one_that_the_host_uses_is_kept_and_explain_says_why(
    container: Container, veth: Veth, daemon: StartDaemon
) -> None:
    veth.plug()
    subprocess.run(["ip", "link", "set", veth.name, "up"], check=True)
    subprocess.run(["ip", "route", "add", "default", "dev", veth.name, "metric", "9999"], check=True)
    running = daemon(rules(veth, to=str(container)))
    why = "the host uses it: it has the default route; `force: true` in the rule attaches it all the same"
    assert why in running.ask("explain", veth.name).stdout
    assert veth.on_host
    take(running, rules(veth, to=str(container), more=", force: true"))
    eventually(lambda: veth.name in interfaces(container))


def test_one_that_another_instance_waits_for_goes_where_the_rule_says_and_that_is_said(
    containers: tuple[Container, Container], veth: Veth, daemon: StartDaemon
) -> None:
    one, other = containers
    veth.plug()
    theirs = {"type": "nic", "nictype": "physical", "parent": veth.name, "name": "theirs"}
    one.patch({"devices": {"theirs": theirs}})
    one.stop()
    running = daemon(rules(veth, to=str(other)))
    eventually(lambda: veth.name in interfaces(other))
    said = f"{one}, which does not run, cannot start while it is in {other}"
    eventually(lambda: [said in each for each in problems(running)] == [True])
    assert said in running.ask("explain", veth.name).stdout
    with pytest.raises(ServerError, match="Parent device"):
        one.start()
    one.remove_device("theirs")
    eventually(lambda: not problems(running))
    eventually(lambda: starts(one))


def test_a_restart_of_who_has_one_does_not_lose_it(
    containers: tuple[Container, Container], veth: Veth, daemon: StartDaemon
) -> None:
    one, other = containers
    veth.plug()
    one.patch(
        {"devices": {"theirs": {"type": "nic", "nictype": "physical", "parent": veth.name, "name": "nic7"}}}
    )
    running = daemon(rules(veth, to=str(other)))
    one.stop()
    eventually(lambda: veth.on_host)
    said = f"it belongs to {one} by its entry 'theirs', which is not ours"
    eventually(lambda: [said in each for each in problems(running)] == [True])
    steadily(lambda: veth.on_host, 1.0)
    assert starts(one)
    assert "nic7" in interfaces(one)
