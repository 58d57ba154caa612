"""`hotplugd run`: how it begins, how it ends, and what it says then."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import Signals

import pytest

from tests.conftest import StartDaemon
from tests.e2e.cli.conftest import Configure
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon, command
from tests.support.lab.kernel import Console
from tests.support.lab.nobody import as_nobody
from tests.support.lab.usb import Phone, Plugged, Usb
from tests.support.lab.wait import eventually, steadily

_BAD = "rules:\n  - {name: bad, match: {serail: 1}, attach: {to: c1, mode: '999'}}\n"


def rules(console: Console, to: object) -> str:
    return (
        f"rules:\n  - name: screen\n    match: {{subsystem: vc, kernel: vcsa{console.number}}}\n"
        f"    attach: {{to: {to}}}\n"
    )


def events(log: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.splitlines()]


def named(log: str, name: str) -> list[dict[str, object]]:
    return [each for each in events(log) if each["event"] == name]


def there(container: Container, console: Console) -> bool:
    seen = container.look(console.node)
    return seen is not None and seen.number == f"c 7:{128 + console.number}"


class TestBadSettings:
    @pytest.mark.parametrize("words", [[], ["--once"], ["--dry-run"]])
    def test_bad_rules_are_all_shown_and_nothing_begins(self, configure: Configure, words: list[str]) -> None:
        made = configure({"10-a.yaml": _BAD, "20-b.yaml": "rules: [{name: x\n"})
        done = made.ask("run", *words)
        assert (done.returncode, done.stdout) == (78, "")
        assert [each["place"] for each in events(done.stderr)] == [
            f"{made.rules}/{place}" for place in ("10-a.yaml:2:25", "10-a.yaml:2:60", "20-b.yaml:1:17")
        ]
        assert {each["event"] for each in events(done.stderr)} == {"config.error"}

    def test_for_people_they_are_shown_with_their_lines(self, configure: Configure) -> None:
        done = configure(_BAD).ask("run", "--log-format", "console")
        assert (done.returncode, done.stdout) == (78, "")
        assert re.search(r":2:25: error: .*\n.*serail", done.stderr)

    def test_a_bad_configuration_is_shown(self, configure: Configure) -> None:
        made = configure("rules: []")
        made.config.write_text("server: lxd\ncontrol: here\n")
        done = made.ask("run")
        assert (done.returncode, done.stdout) == (78, "")
        server, control = events(done.stderr)
        assert (server["place"], server["reason"]) == (f"{made.config}:1:9", "'lxd' is no server")
        assert (control["place"], control["reason"]) == (
            f"{made.config}:2:10", "'here' is not an absolute path",
        )  # fmt: skip

    def test_a_configuration_that_is_named_must_be_there(self, configure: Configure) -> None:
        made = configure("rules: []")
        made.config.unlink()
        done = made.ask("run")
        assert done.returncode == 78
        (missing,) = events(done.stderr)
        assert missing["reason"] == "cannot be read: No such file or directory"


class TestOnce:
    def test_it_converges_and_ends(
        self, container: Container, console: Console, configure: Configure
    ) -> None:
        console.plug()
        made = configure(rules(console, container))
        done = made.ask("run", "--once")
        assert (done.returncode, done.stdout) == (0, "")
        assert there(container, console)
        (added,) = named(done.stderr, "device.add")
        assert (added["device"], added["instance"]) == (console.node, container.name)
        again = made.ask("run", "--once")
        assert again.returncode == 0
        assert named(again.stderr, "device.add") == []

    def test_what_cannot_be_is_told_and_its_exit_code(self, console: Console, configure: Configure) -> None:
        console.plug()
        done = configure(rules(console, "nobody")).ask("run", "--once")
        assert done.returncode == 1
        (problem,) = named(done.stderr, "device.problem")
        assert (problem["device"], problem["rule"]) == (console.node, "screen")
        assert problem["reason"] == "there is no instance 'nobody' in project 'default'"

    @pytest.mark.parametrize("words", [["--once"], ["--once", "--dry-run"]])
    def test_a_server_that_is_away_is_all_that_is_told(
        self, console: Console, configure: Configure, words: list[str]
    ) -> None:
        console.plug()
        made = configure(rules(console, "c1"))
        made.config.write_text(f"server: {made.folder}/none\nrules: {made.rules}\n")
        done = made.ask("run", *words)
        assert done.returncode == 1
        assert named(done.stderr, "device.problem") == []
        assert [each["reason"] for each in named(done.stderr, "instance.problem")] == [
            f"LXD or Incus is not running: there is no socket {made.folder}/none"
        ]

    def test_a_machine_without_a_server_is_told_where_it_was_looked_for(
        self, console: Console, configure: Configure
    ) -> None:
        made = configure(rules(console, "c1"), {**os.environ, "LXD_DIR": "/nowhere", "INCUS_DIR": "/neither"})
        made.config.write_text(f"rules: {made.rules}\n")
        done = made.ask("run", "--once")
        assert (done.returncode, done.stdout) == (1, "")
        (failed,) = events(done.stderr)
        assert str(failed["reason"]).startswith(
            "no LXD or Incus found: looked for /nowhere/unix.socket, /neither/unix.socket; "
        )


class TestDryRun:
    @pytest.fixture
    def phone(self, usb: Usb) -> Plugged:
        return usb.plug(Phone(serial="1A"), "4")

    def test_once_it_says_what_it_would_do_and_does_nothing(
        self, container: Container, usb: Usb, phone: Plugged, configure: Configure
    ) -> None:
        text = f"rules: [{{name: phone, match: {{serial: 1A}}, attach: {{to: {container}}}}}]"
        made = configure(text, usb.environment)
        before = container.config, container.nodes()
        done = made.ask("run", "--once", "--dry-run")
        assert (done.returncode, done.stdout) == (0, "")
        (would,) = named(done.stderr, "dry-run")
        assert (would["action"], would["device"]) == ("add", phone.node)
        assert (would["instance"], would["rule"]) == (container.name, "phone")
        assert (container.config, container.nodes()) == before
        assert not list(Path("/dev/hotplugd").glob(f"c-{phone.major}-{phone.minor}-*"))

    def test_it_listens_beside_a_daemon_and_says_what_it_would_do(
        self, container: Container, console: Console, daemon: StartDaemon
    ) -> None:
        running = daemon(rules(console, "nobody"))
        trial = Daemon(Path(_server_of(running)), rules(console, container))
        try:
            with _run(trial, "--dry-run") as process:
                eventually(lambda: "ready" in trial.log())
                assert not trial.control.exists()
                console.plug()
                eventually(lambda: "dry-run" in trial.log())
                steadily(lambda: container.look(console.node) is None, 0.2)
                process.send_signal(Signals.SIGTERM)
                assert process.wait(5) == 0
            (would,) = named(trial.log(), "dry-run")
            assert (would["action"], would["device"]) == ("add", console.node)
        finally:
            trial.close()
        assert not [each for each in container.devices if each.startswith("hp-")]


def _server_of(running: Daemon) -> str:
    return running.config.read_text().splitlines()[0].removeprefix("server: ")


@contextmanager
def _run(made: Daemon, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon with options, its log where the lab has it."""
    with (
        made.stderr.open("wb") as stderr,
        subprocess.Popen(
            [*command(), "run", "--config", str(made.config), *words], stderr=stderr, start_new_session=True
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


class TestTwo:
    @pytest.mark.parametrize("words", [["run"], ["run", "--once"]])
    def test_the_second_says_so_and_ends_soon(
        self, console: Console, daemon: StartDaemon, configure: Configure, words: list[str]
    ) -> None:
        first = daemon(rules(console, "c1"))
        second = configure(rules(console, "c1"))
        start = time.monotonic()
        done = second.ask(*words)
        assert time.monotonic() - start < 15
        assert (done.returncode, done.stdout) == (1, "")
        assert events(done.stderr)[-1]["reason"] == (
            f"another hotplugd on this host looks after {_server_of(first)} already; "
            "`hotplugd status` speaks to it"
        )
        assert first.status()["ready"]
        assert not second.control.exists()

    def test_what_is_in_the_way_of_the_control_socket_is_told(
        self, console: Console, configure: Configure
    ) -> None:
        made = configure(rules(console, "c1"))
        made.control.write_text("precious")
        done = made.ask("run")
        assert done.returncode == 1
        assert events(done.stderr)[-1]["reason"] == (
            f"{made.control} is in the way of the control socket, and no socket; remove it"
        )
        assert made.control.read_text() == "precious"


@pytest.mark.usefixtures("root")
class TestNotRoot:
    @pytest.fixture
    def settings(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="hpr-", dir="/tmp") as folder:
            Path(folder).chmod(0o755)
            Path(folder, "rules.yaml").write_text("rules: [{name: x, match: {serial: 1}, ignore: true}]")
            file = Path(folder, "config.yaml")
            file.write_text(f"server: /none\nrules: {folder}/rules.yaml\ncontrol: {folder}/control.sock\n")
            yield file

    @pytest.mark.parametrize(
        "words", [["run"], ["run", "--once"], ["run", "--log-format", "console"], ["detach", "--all"]]
    )
    def test_it_says_that_it_has_to_be(self, settings: Path, words: list[str]) -> None:
        done = as_nobody(*words, "--config", settings)
        assert (done.returncode, done.stdout) == (1, "")
        lines = done.stderr.splitlines()
        if words[0] == "run" and "console" not in words:
            assert all(json.loads(line)["timestamp"] for line in lines)
        assert re.search(r"ermission denied.* root", lines[-1])


class TestEnd:
    def test_sigterm_ends_it_in_time_and_leaves_what_is_attached(
        self, container: Container, console: Console, daemon: StartDaemon
    ) -> None:
        console.plug()
        running = daemon(rules(console, container))
        before = container.devices
        assert there(container, console)
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(running.control))
            assert running.status()["ready"]
            assert running.stop(5.0) == 0
        assert there(container, console)
        assert container.devices == before
        assert not running.control.exists()
        assert [each["event"] for each in events(running.log()) if each["level"] != "info"] == []
        assert events(running.log())[-1]["event"] == "stopping"

    def test_a_silent_client_is_no_defect_where_a_reload_moves_the_control_socket(
        self, console: Console, daemon: StartDaemon
    ) -> None:
        running = daemon(rules(console, "c1"))
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(running.control))
            assert running.status()["ready"]
            text = running.config.read_text().replace(str(running.control), f"{running.folder}/other.sock")
            running.config.write_text(text)
            running.reload()
            running.control = running.folder / "other.sock"
            eventually(running.control.exists)
        assert running.status()["ready"]
        assert running.stop(5.0) == 0
        assert named(running.log(), "defect") == []
