"""What the daemon has in force is what commands go by where the files are broken; reload and health."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.wait import eventually

_BROKEN = "rules:\n  - {name: bad, match: {serail: 1}, ignore: true}\n"


def rules(console: Console, to: object, name: str = "screen", more: str = "") -> str:
    return (
        f"rules:\n  - {{name: {name}, match: {{subsystem: vc, kernel: vcsa{console.number}}}, "
        f"attach: {{to: {to}}}{more}}}\n"
    )


def told(running: Daemon, *words: str) -> tuple[dict[str, Any], str]:
    done = running.ask(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_with_broken_files_all_is_answered_by_what_is_in_force(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    running = daemon(rules(console, container))
    configuration = running.config.read_text()
    for what in ("rules", "configuration"):
        if what == "rules":
            running.write_rules(_BROKEN)
        else:
            running.write_rules(rules(console, "nobody"))
            running.config.write_text(configuration + "most_plugs: many\n")
        document, said = told(running, "explain", console.node)
        assert (document["rule"], document["by"]) == ("screen", "daemon")
        assert [each["instance"] for each in document["attachments"]] == [str(container)]
        assert said.startswith("warning: 1 error in the files, and the running daemon has not taken them")
        document, said = told(running, "plan")
        assert (document["changes"], document["problems"], document["by"]) == ([], [], "daemon")
        assert "this goes by what it has in force" in said
        done = running.ask("devices", "--rule", "screen", "--json")
        (device,) = json.loads(done.stdout)
        assert (device["device"], device["instances"], device["missing"]) == (
            console.node, [str(container)], [],
        )  # fmt: skip
        assert "this goes by what it has in force" in done.stderr
        # On a busy machine udevd may leave a device of somebody else's waiting for seconds, which is told.
        eventually(lambda: running.ask("status").returncode == 0)
    assert "most_plugs" not in running.ask("status").stdout
    assert "the running daemon has not taken them" in running.ask("status").stderr
    running.stop()
    done = running.ask("plan")
    assert (done.returncode, done.stdout) == (1, "")
    assert "'many' is no number" in done.stderr


def test_reload_waits_and_tells_what_changed(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    running = daemon(rules(console, container))
    running.write_rules(_BROKEN)
    done = running.ask("reload")
    assert (done.returncode, done.stdout) == (1, "")
    assert "50-test.yaml:2:25: error: unknown key 'serail'" in done.stderr
    assert "did you mean 'serial'?" in done.stderr
    assert "the old settings stay in force" in done.stderr.splitlines()[-1]
    assert running.ask("health").returncode == 1
    assert running.ask("health").stdout.startswith("degraded: reload failed")
    assert "unknown key 'serail'; `hotplugd check` shows all" in running.ask("status").stdout
    running.write_rules(rules(console, container, "other", ", description: For the lab."))
    done = running.ask("reload")
    assert (done.returncode, done.stdout) == (0, "reloaded, 1 rule; new: other; gone: screen\n")
    assert running.ask("reload").stdout == "reloaded, 1 rule; no rule changed\n"
    done = running.ask("health")
    assert (done.returncode, done.stdout) == (0, "well\n")
    document, _ = told(running, "status", "--rules")
    (rule,) = document["rules"]
    assert (rule["name"], rule["description"], rule["devices"], rule["taken"]) == (
        "other", "For the lab.", 1, 1,
    )  # fmt: skip
    assert rule["file"].endswith("50-test.yaml")
    shown = running.ask("status", "--rules").stdout.splitlines()
    assert shown[0].split()[:1] == ["RULE"]
    assert shown[-1].startswith("0 rules took nothing since ")


def test_a_rule_that_is_off_takes_nothing(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    running = daemon(rules(console, container, more=", enabled: false"))
    document, _ = told(running, "explain", console.node)
    assert (document["rule"], document["attachments"]) == (None, [])
    shown = running.ask("explain", console.node).stdout
    assert "off (`enabled: false`); it would match" in shown
    document, _ = told(running, "status", "--rules")
    assert [(each["enabled"], each["taken"]) for each in document["rules"]] == [(False, 0)]


def test_status_can_be_narrowed(container: Container, console: Console, daemon: StartDaemon) -> None:
    console.plug()
    running = daemon(rules(console, f"[{container}, lost]"))
    eventually(lambda: running.status()["attachments"])
    document, _ = told(running, "status", "--instance", "elsewhere")
    assert (document["attachments"], document["problems"]) == ([], [])
    done = running.ask("status", "--problems")
    assert done.returncode == 1
    assert "no instance 'lost'" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 problem"
    assert str(container) not in done.stdout
    done = running.ask("devices", "--problems")
    assert console.node in done.stdout
    assert "(lost)" in done.stdout


def test_without_a_daemon_reload_and_health_say_so(console: Console, daemon: StartDaemon) -> None:
    running = daemon(rules(console, "c1"))
    running.stop()
    done = running.ask("reload")
    assert (done.returncode, done.stdout) == (3, "")
    assert "hotplugd is not running" in done.stderr
    done = running.ask("health")
    assert done.returncode == 2
    assert done.stdout.startswith("down: hotplugd is not running")
