"""`hotplugd detach --all`: everything of ours goes, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import cast

import pytest

from hotplugd.host.journals import Notes
from hotplugd.model.entry import SLOTS
from tests.conftest import StartDaemon
from tests.e2e.cli.conftest import Configure
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually

_FOREIGN = {"type": "unix-char", "source": "/dev/zero", "path": "/dev/other"}
# The name of one of ours, without our marks.
_ALIKE = "hp-0123456789abcdef"


def rules(console: Console, *to: object) -> str:
    return (
        f"rules:\n  - name: screen\n    match: {{subsystem: vc, kernel: vcsa{console.number}}}\n"
        f"    attach: {{to: [{', '.join(map(str, to))}]}}\n"
    )


@pytest.fixture
def attached(configure: Configure, console: Console) -> Callable[..., Daemon]:
    """Has the console attached to these, and no daemon runs."""

    def attach(*to: object) -> Daemon:
        console.plug()
        made = configure(rules(console, *to))
        done = made.ask("run", "--once")
        assert done.returncode == 0, done.stderr
        return made

    return attach


def test_everything_of_ours_goes_at_once_and_the_rest_stays(
    containers: tuple[Container, Container], console: Console, attached: Callable[..., Daemon]
) -> None:
    one, two = containers
    one.patch({"devices": {"other": _FOREIGN, _ALIKE: {**_FOREIGN, "path": "/dev/alike"}}})
    foreign, config, description = one.devices, one.own_config, one.config["description"]
    made = attached(one, two)
    two.stop()
    done = made.ask("detach", "--all")
    assert (done.returncode, done.stderr) == (0, "")
    head, *lines, summary = done.stdout.splitlines()
    assert head.lower().split() == ["instance", "device", "serial", "model", "port", "rule", "entry"]
    assert sorted(line.split()[0] for line in lines) == sorted([one.name, two.name])
    assert summary == "2 entries taken out"
    assert (one.devices, two.devices) == (foreign, {})
    assert one.look(console.node) is None
    assert set(one.nodes()) >= {"/dev/other", "/dev/alike"}
    assert (one.own_config, one.config["description"]) == (config, description)
    done = made.ask("detach", "--all")
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 entries taken out\n", "")


@pytest.fixture
def fresh() -> None:
    """No server of an earlier test has left its lock, by which one would be taken for a second one, nor its
    notes.
    """
    for each in Path(SLOTS).glob(".*"):
        with each.open("rb") as file, suppress(BlockingIOError):
            flock(file, LOCK_EX | LOCK_NB)
            each.unlink()


@pytest.mark.usefixtures("fresh")
@pytest.mark.alone
def test_nothing_is_left_on_the_host(
    containers: tuple[Container, Container], console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    text = rules(console, *containers).replace("]}", "], share: true, link: /dev/mine}")
    running = daemon(text)
    eventually(lambda: attachments(running) == 2)
    udev = running.folder / "udev"
    eventually(lambda: len(list(udev.iterdir())) == 2)
    running.stop()
    assert list(Path(SLOTS).iterdir())
    assert running.ask("detach", "--all").returncode == 0
    assert not Path(SLOTS).exists() or list(Path(SLOTS).iterdir()) == []
    assert list(udev.iterdir()) == []
    assert running.ask("detach", "--all").returncode == 0
    assert not Path(SLOTS).exists()
    running.start()
    eventually(lambda: attachments(running) == 2)


@pytest.mark.alone
def test_what_another_server_may_need_stays(
    container: Container, console: Console, attached: Callable[..., Daemon]
) -> None:
    other = Path(SLOTS, ".lock-0123456789abcdef")
    other.parent.mkdir(exist_ok=True)
    other.touch()
    kept = Path(SLOTS, "c-1-99-00000000-1")
    kept.symlink_to("/dev/null")
    try:
        made = attached(container)
        slot = entry_slot(container)
        assert Path(SLOTS, slot).is_symlink()
        assert made.ask("detach", "--all").returncode == 0
        assert kept.is_symlink()
        assert other.exists()
        assert [each.name for each in Path(SLOTS).iterdir() if each.name.startswith(slot)] == []
    finally:
        kept.unlink(missing_ok=True)
        other.unlink(missing_ok=True)


def attachments(running: Daemon) -> int:
    """How many devices are attached."""
    return len(cast("list[object]", running.status()["attachments"]))


def entry_slot(container: Container) -> str:
    """The slot that the one entry of ours names."""
    (entry,) = (each for name, each in container.devices.items() if name.startswith("hp-"))
    return entry["source"].rpartition("/")[2].removesuffix(".r")


def test_instances_of_every_project_are_seen_to(
    server: Server, launch: Callable[..., Container], console: Console, configure: Configure
) -> None:
    server.project("detach")
    elsewhere = launch(project="detach")
    console.plug()
    made = configure(rules(console, elsewhere.name).replace("attach: {", "attach: {project: detach, "))
    assert made.ask("run", "--once").returncode == 0
    assert elsewhere.devices
    done = made.ask("detach", "--all")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split()[0] == f"detach/{elsewhere.name}"
    assert elsewhere.devices == {}


def test_what_no_rule_and_no_device_knows_any_more_goes_too(
    container: Container, console: Console, attached: Callable[..., Daemon]
) -> None:
    made = attached(container)
    console.unplug()
    made.write_rules("rules: [{name: none, match: {serial: none}, ignore: true}]")
    assert container.devices
    assert made.ask("detach", "--all").returncode == 0
    assert container.devices == {}


def test_while_the_daemon_runs_it_does_nothing(
    container: Container, console: Console, daemon: StartDaemon
) -> None:
    console.plug()
    running = daemon(rules(console, container))
    before = container.devices
    done = running.ask("detach", "--all")
    assert (done.returncode, done.stdout) == (1, "")
    assert "another hotplugd on this host looks after" in done.stderr
    assert "end it first, or it attaches everything again" in done.stderr
    assert container.devices == before
    assert any(name.startswith("hp-") for name in before)


def test_without_a_device_or_all_it_is_wrong_usage(console: Console, configure: Configure) -> None:
    done = configure(rules(console, "c1")).ask("detach")
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected DEVICE, or --all for everything of ours" in done.stderr


def test_a_server_that_is_away_is_told(console: Console, configure: Configure) -> None:
    made = configure(rules(console, "c1"))
    made.config.write_text(f"server: {made.folder}/none\nrules: {made.rules}\n")
    done = made.ask("detach", "--all")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"hotplugd: LXD or Incus is not running: there is no socket {made.folder}/none\n"


def test_what_was_half_put_in_when_both_ended_goes_too(own_server: Server, console: Console) -> None:
    container = own_server.launch()
    with Daemon(own_server.socket, rules(console, container)) as running:
        for _ in range(4):
            console.plug()
            eventually(lambda: container.look(console.node), pause=0.0003)
            own_server.kill()
            running.kill()
            console.unplug()
            own_server.start()
            done = running.ask("detach", "--all")
            assert (done.returncode, done.stderr) == (0, "")
            assert container.devices == {}
            assert container.look(console.node) is None
            running.start()
    notes = Notes(str(own_server.socket))
    notes.read()
    assert notes.names() == []
