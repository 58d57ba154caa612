"""udev's database inside real containers, as programs there read it: `udev: true`."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.e2e.test_uevents import ADD, REMOVE, SCREEN
from tests.support.lab.container import Container
from tests.support.lab.kernel import Console
from tests.support.lab.udevd import another_rule, trigger
from tests.support.lab.uevents import LIBUDEV, listening
from tests.support.lab.wait import eventually

PRIVILEGED = {"security.privileged": "true"}
RULE = "98-hotplugd-record-test.rules"


def rules(container: Container, console: Console, more: str = ", udev: true") -> str:
    kernel = console.node.removeprefix("/dev/")
    match = f"{{subsystem: vc, kernel: {kernel}}}"
    return f"rules:\n  - {{name: a, match: {match}, attach: {{to: {container}{more}}}}}\n"


def said(console: Console, text: str) -> str:
    """A rule of udev's that says this of the console."""
    kernel = console.node.removeprefix("/dev/")
    return f'SUBSYSTEM=="vc", KERNEL=="{kernel}", ENV{{ID_INPUT_JOYSTICK}}="{text}", TAG+="seat"\n'


def name(console: Console) -> str:
    return f"c7:{128 + console.number}"


def records(container: Container) -> dict[str, str]:
    """By name what is in the container's database, but for what the daemon writes or has just removed."""
    folder = Path(f"/proc/{container.pid}/root/run/udev/data")
    found = {}
    for each in folder.glob("[!.]*") if folder.is_dir() else ():
        with suppress(FileNotFoundError):
            found[each.name] = each.read_text()
    return found


def udevadm(container: Container, *words: str) -> str:
    """What udevadm says by what is in the container's /run/udev; a mount of there cannot be had here."""
    line = 'mount -t tmpfs none /run; cp -r "$0" /run/udev; exec udevadm "$@"'
    words = ("unshare", "--mount", "sh", "-ec", line, f"/proc/{container.pid}/root/run/udev", *words)
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("config", [{}, PRIVILEGED], ids=["unprivileged", "privileged"])
@pytest.mark.alone
def test_libudev_inside_finds_the_device_as_udev_has_it_and_no_other(
    launch: Callable[..., Container], console: Console, daemon: StartDaemon, config: dict[str, str]
) -> None:
    container = launch(config=config)
    with another_rule(RULE, said(console, "1")), listening(container.pid) as ear:
        running = daemon(rules(container, console, f", path: {SCREEN}, udev: true"))
        console.plug()
        eventually(lambda: ear.actions(SCREEN) == ADD)
        heard = ear.of(SCREEN, LIBUDEV)[0].at - time.monotonic() + time.time()
        record = Path(f"/proc/{container.pid}/root/run/udev/data/{name(console)}")
        assert record.stat().st_ctime < heard
        assert records(container).keys() == {name(console)}
        info = udevadm(container, "info", "--query=property", console.syspath).splitlines()
        assert "ID_INPUT_JOYSTICK=1" in info
        assert "TAGS=:seat:" in info
        assert not any(each.startswith("HOTPLUGD_SLOT") for each in info)
        found = udevadm(container, "trigger", "--dry-run", "--verbose", "--tag-match=seat")
        assert found.split() == [console.syspath]
        found = udevadm(
            container, "trigger", "--dry-run", "--verbose", "--initialized-match", console.syspath
        )
        assert console.syspath in found
        console.unplug()
        eventually(lambda: ear.actions(SCREEN) == ADD + REMOVE)
        eventually(lambda: records(container) == {})
        assert udevadm(container, "trigger", "--dry-run", "--verbose", "--tag-match=seat") == ""
        assert running.status()["problems"] == []


@pytest.mark.alone
def test_they_follow_udev_the_container_and_the_daemon(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    with another_rule(RULE, said(console, "1")):
        running = daemon(rules(container, console))
        console.plug()
        eventually(lambda: "E:ID_INPUT_JOYSTICK=1\n" in records(container).get(name(console), ""))
        with another_rule(f"99-{RULE}", said(console, "2")):
            trigger("--action=change", console.syspath)
            eventually(lambda: "E:ID_INPUT_JOYSTICK=2\n" in records(container)[name(console)])
            container.run("sh", "-c", "rm -r /run/udev; mount -t tmpfs none /mnt")
            eventually(lambda: "E:ID_INPUT_JOYSTICK=2\n" in records(container).get(name(console), ""))
            container.stop()
            container.start()
            container.run("rm", "-r", "/run/udev")
            container.restart()
            eventually(lambda: name(console) in records(container))
            running.kill()
            console.unplug()
            assert records(container)
            running.start()
            eventually(lambda: records(container) == {})
        assert running.status()["problems"] == []


def test_a_rule_that_does_not_say_so_leaves_no_trace_and_one_that_ceases_to_neither(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(rules(container, console, ""))
    with listening(container.pid) as ear:
        console.plug()
        eventually(lambda: ear.actions(console.node) == ADD)
        assert records(container) == {}
        running.write_rules(rules(container, console))
        running.reload()
        eventually(lambda: name(console) in records(container))
        changes = len(running.changes())
        running.write_rules(rules(container, console, ""))
        running.reload()
        eventually(lambda: records(container) == {})
        assert len(running.changes()) == changes
        assert ear.actions(console.node) == ADD


def test_detaching_everything_takes_them_away(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    running = daemon(rules(container, console))
    console.plug()
    eventually(lambda: name(console) in records(container))
    running.kill()
    done = running.ask("detach", "--all")
    assert done.returncode == 0, done.stderr
    assert records(container) == {}


def test_what_is_planted_is_said_and_the_device_is_told_of_once_it_is_gone(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    container.run("ln", "-s", "/tmp", "/run/udev")
    running = daemon(rules(container, console))
    with listening(container.pid) as ear:
        console.plug()
        eventually(lambda: "udev in there is no folder" in str(running.status()["problems"]))
        assert container.look(console.node)
        assert ear.actions(console.node) == []
        container.run("rm", "/run/udev")
        eventually(lambda: ear.actions(console.node) == ADD)
        eventually(lambda: running.status()["problems"] == [])
