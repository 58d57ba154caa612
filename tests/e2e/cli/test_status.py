"""`hotplugd status`: how the running daemon says that things are."""

from __future__ import annotations

import json
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conftest import StartDaemon
from tests.e2e.cli.conftest import Configure
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.server import Server, software
from tests.support.lab.usb import Phone, Usb
from tests.support.lab.wait import eventually


def rules(console: Console, to: object) -> str:
    return (
        f"rules:\n  - name: screen\n    match: {{subsystem: vc, kernel: vcsa{console.number}}}\n"
        f"    attach: {{to: {to}, path: /dev/screen}}\n"
    )


def status(running: Daemon) -> tuple[int, dict[str, Any]]:
    done = running.ask("status", "--json")
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_all_is_well(container: Container, console: Console, daemon: StartDaemon, server: Server) -> None:
    console.plug()
    running = daemon(rules(console, container))
    code, document = status(running)
    assert code == 0
    devices = document.pop("devices")
    (attachment,) = document.pop("attachments")
    version = document["server"].pop("version")
    assert document.pop("cursor")
    # Those that the host has.
    document.pop("unmatched")
    assert document == {
        "ready": True,
        "server": {"address": str(server.socket), "software": software(), "connected": True},
        "rules": 1, "pending": [], "holds": [], "claims": [], "overrides": [], "problems": [],
        "unleased": [], "failed_reloads": 0, "lost_events": 0,
    }  # fmt: skip
    assert devices > 1
    assert version == server.api.get("/1.0")["environment"]["server_version"]  # type: ignore[index]
    since = datetime.fromisoformat(attachment.pop("since"))
    assert timedelta() <= datetime.now(UTC) - since < timedelta(minutes=5)
    assert attachment == {
        "device": console.node, "identity": f"kernel:vcsa{console.number}", "rule": "screen",
        "project": "default", "instance": container.name, "path": "/dev/screen", "verified": True,
        "location": "", "by_hand": False,
        "serial": "", "model": "", "port": "", "link": "", "mode": "", "owner": "", "pool": "", "claim": "",
    }  # fmt: skip


def test_an_attachment_in_what_does_not_run_is_not_verified(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    running = daemon(rules(console, container))
    container.stop()

    def unseen() -> bool:
        code, document = status(running)
        return code == 0 and [each["verified"] for each in document["attachments"]] == [None]

    eventually(unseen)
    assert running.ask("status").stdout.splitlines()[1].endswith(" unknown")


def test_problems_come_first_and_are_its_exit_code(
    container: Container, console: Console, daemon: StartDaemon, usb: Usb
) -> None:
    good, lost = usb.plug(Phone(serial="1A"), "1"), usb.plug(Phone(serial="2B"), "2")
    running = daemon(
        "rules:\n"
        f"  - {{name: good, match: {{serial: 1A}}, attach: {{to: {container}}}}}\n"
        "  - {name: lost, match: {serial: 2B}, attach: {to: nobody}}\n",
        usb.environment,
    )
    code, document = status(running)
    message = "there is no instance 'nobody' in project 'default'"
    (told,) = document["problems"]
    assert (code, told) == (
        1,
        {
            "device": lost.node, "rule": "lost", "message": message,
            "serial": "2B", "model": told["model"], "port": f"{usb.bus}-2", "location": "",
            "instance": "", "claim": "", "pool": "", "place": "",
        },
    )  # fmt: skip
    done = running.ask("status")
    assert (done.returncode, done.stderr) == (1, "")
    problem, head, attached, summary = done.stdout.splitlines()
    assert re.fullmatch(
        rf"problem: {lost.node} \(serial 2B, .*port {usb.bus}-2\), rule lost: {message}", problem
    )
    assert head.split()[:6] == ["DEVICE", "SERIAL", "MODEL", "PORT", "RULE", "INSTANCE"]
    assert attached.split()[:2] == [good.node, "1A"]
    assert f"{usb.bus}-1" in attached.split()
    assert attached.endswith(" yes")
    assert summary.startswith("ready; 1 attached, 0 pending, 1 problem")


def test_what_failed_and_is_to_be_tried_again_is_pending(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    # A folder in its place with something in it: the server cannot make the node.
    container.run("mkdir", "-p", "/dev/screen/full")
    console.plug()
    running = daemon(rules(console, container))
    code, document = eventually(lambda: found if (found := status(running))[1]["pending"] else None) or (
        0,
        {},
    )
    assert code == 1
    ((pending,), (problem,)) = document["pending"], document["problems"]
    assert (pending["action"], pending["instance"], pending["device"]) == (
        "add", container.name, console.node,
    )  # fmt: skip
    assert set(pending) == {
        "action", "project", "instance", "device", "identity", "rule", "entry", "why",
        "serial", "model", "port", "location",
    }  # fmt: skip
    assert (problem["device"], problem["rule"]) == (console.node, "screen")


class TestNotRunning:
    def test_it_says_so_with_an_exit_code_of_its_own(self, console: Console, configure: Configure) -> None:
        made = configure(rules(console, "c1"))
        done = made.ask("status", "--json")
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith(f"hotplugd: hotplugd is not running (nobody answers on {made.control})")
        assert "`systemctl status hotplugd`" in done.stderr

    def test_also_after_a_crash(self, console: Console, daemon: StartDaemon) -> None:
        running = daemon(rules(console, "c1"))
        running.kill()
        assert running.control.is_socket()
        assert running.ask("status").returncode == 3

    def test_one_that_hangs_up_is_another_matter(self, configure: Configure, console: Console) -> None:
        made = configure(rules(console, "c1"))
        with socket.socket(socket.AF_UNIX) as other, ThreadPoolExecutor(1) as pool:
            other.bind(str(made.control))
            other.listen()
            asked = pool.submit(made.ask, "status")
            other.accept()[0].close()
            done = asked.result(20)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"hotplugd on {made.control} did not answer" in done.stderr

    def test_a_bad_configuration_is_told(self, configure: Configure, console: Console) -> None:
        made = configure(rules(console, "c1"))
        made.config.write_text(f"control: {made.control}\nserver: here\n")
        done = made.ask("status")
        assert (done.returncode, done.stdout) == (3, "")
        assert f"it cannot start: 1 error in its files, the first {made.config}:2:9: " in done.stderr
