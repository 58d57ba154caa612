"""`hotplugd hooks` beside a real daemon, as a user without privileges: commands run for real devices."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.nobody import command_of_nobody
from tests.support.lab.wait import NotInTime, eventually

_USER, _GROUP = 65534, 61001
_HOOKS = """
hooks:
  - name: note
    on: [device.add, device.remove]
    match: {{device: {node}}}
    run: [/bin/sh, -c, 'echo "$HOTPLUGD_EVENT $1 $(id -u)"; cat', sh, "{{instance}}"]
  - {{name: sad, on: device.add, run: [/bin/false]}}
"""


@contextmanager
def hooks(running: Daemon, folder: Path) -> Iterator[Path]:
    """Run them. Gives the file with what they print."""
    out = folder / "out"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [*command_of_nobody(_GROUP), "hooks", "--config", str(running.config)],
            stdout=file,
            stderr=file,
            cwd="/",
        )
        try:
            yield out
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()


def problems(running: Daemon) -> list[str]:
    done = running.ask("status", "--json")
    return [each["message"] for each in json.loads(done.stdout or '{"problems": []}')["problems"]]


@pytest.mark.usefixtures("root")
def test_commands_run_for_a_device_that_comes_and_goes(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    match = f"{{subsystem: vc, kernel: vcsa{console.number}}}"
    running = daemon(f"rules: [{{name: screen, match: {match}, attach: {{to: {container}}}}}]")
    running.folder.chmod(0o711)
    running.config.chmod(0o644)
    allowed = f"allow: [{{group: '{_GROUP}', may: [read, hooks]}}]\n"
    running.config.write_text(running.config.read_text() + allowed)
    running.config.with_name("hooks.yaml").write_text(_HOOKS.format(node=console.node))
    assert running.ask("check").returncode == 0
    assert running.ask("reload").returncode == 0
    eventually(lambda: running.ask("status").returncode != 3)
    with tempfile.TemporaryDirectory(prefix="hph-") as name, hooks(running, Path(name)) as out:
        # It has told the daemon that nothing fails when it hears of events.
        eventually(out.exists)
        eventually(lambda: _plugged(console, container, out), 60.0)
        eventually(lambda: any("hook 'sad' failed" in each for each in problems(running)))
        console.unplug()
        eventually(lambda: f"device.remove {container} {_USER}" in out.read_text())
        lines = [each for each in out.read_text().splitlines() if each.startswith("{")]
        assert {json.loads(each)["device"] for each in lines} == {console.node}
    assert not any("sad" in each for each in problems(running))


def _plugged(console: Console, container: Container, out: Path) -> bool:
    """Plug it in, and again until the hooks listen."""
    console.plug()
    eventually(lambda: container.look(console.node))
    with suppress(NotInTime):
        # Not at once again: a device that comes and goes is held off.
        return eventually(lambda: f"device.add {container} {_USER}" in out.read_text(), 5.0)
    console.unplug()
    eventually(lambda: container.look(console.node) is None)
    return False
