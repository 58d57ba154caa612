"""The host's software is told, by the real udevd, to leave alone what rules take."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Loop, Veth, Zram
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually

_RULES = Path("/run/udev/rules.d")


def properties(syspath: str) -> dict[str, str]:
    done = subprocess.run(
        ["udevadm", "info", "--query=property", syspath], capture_output=True, text=True, check=False
    )
    return dict(line.partition("=")[::2] for line in done.stdout.splitlines())


@pytest.fixture
def lent() -> Iterator[list[Path]]:
    """Files that udevd reads for the time of a test."""
    files: list[Path] = []
    yield files
    for each in files:
        each.unlink(missing_ok=True)
    subprocess.run(["udevadm", "control", "--reload"], check=True)


def lend(running: Daemon, container: Container, lent: list[Path]) -> None:
    """Give udevd what the daemon has written."""
    for made in sorted((running.folder / "udev").iterdir()):
        _RULES.mkdir(parents=True, exist_ok=True)
        lent.append(_RULES / made.name.replace("-leave", f"-leave-{container}"))
        lent[-1].write_text(made.read_text())
    assert len(lent) == 2
    subprocess.run(["udevadm", "control", "--reload"], check=True)


@pytest.mark.alone
def test_udevd_says_it_of_what_is_taken_and_of_nothing_else(
    container: Container, zram: Zram, veth: Veth, daemon: StartDaemon, lent: list[Path]
) -> None:
    running = daemon(
        "rules:\n"
        f"  - {{name: nic, match: {{subsystem: net, mac: '{veth.mac}'}}, attach: {{to: {container}}}}}\n"
        f"  - {{name: disk, match: {{subsystem: block, kernel: nothing}}, attach: {{to: {container}}}}}\n"
    )
    lend(running, container, lent)
    running.stop()
    veth.plug()
    zram.plug()
    eventually(lambda: "USEC_INITIALIZED" in properties(zram.syspath))
    eventually(lambda: properties(veth.syspath).get("NM_UNMANAGED") == "1")
    assert properties(veth.syspath)["UDISKS_IGNORE"] == "1"
    assert properties(veth.syspath)["ID_NET_MANAGED_BY"] == "hotplugd"
    assert "UDISKS_IGNORE" not in properties(zram.syspath)


@pytest.mark.alone
def test_udevd_says_it_of_what_goes_along(
    container: Container, tmp_path: Path, plugs: ExitStack, daemon: StartDaemon, lent: list[Path]
) -> None:
    running = daemon(
        "rules:\n"
        "  - name: disk\n"
        f"    match: {{subsystem: block, kernel: 'loop*', devtype: disk, attr: {{size: '{Loop.SECTORS}'}}}}\n"
        f"    attach: {{to: {container}, with: partition}}\n"
    )
    lend(running, container, lent)
    running.stop()
    disk = Loop(tmp_path)
    plugs.callback(disk.close)
    disk.plug()
    eventually(lambda: properties(disk.syspath).get("UDISKS_IGNORE") == "1")
    disk.divide()
    eventually(lambda: properties(disk.partition).get("UDISKS_IGNORE") == "1")


def test_new_rules_are_written_when_they_are_read(
    container: Container, veth: Veth, daemon: StartDaemon
) -> None:
    first = f"{{name: nic, match: {{subsystem: net, mac: '{veth.mac}'}}, attach: {{to: {container}}}}}"
    running = daemon(f"rules:\n  - {first}\n")
    path = running.folder / "udev" / "90-hotplugd-leave.rules"
    assert veth.mac in path.read_text()
    running.write_rules("rules:\n  - {name: nic, match: {subsystem: net, kernel: none}, ignore: true}\n")
    running.reload()
    eventually(lambda: veth.mac not in path.read_text())
    assert path.stat().st_mode & 0o777 == 0o644


def test_rules_that_could_not_be_written_are_written_once_they_can_be(
    server: Server, container: Container, veth: Veth
) -> None:
    rule = f"{{name: nic, match: {{subsystem: net, mac: '{veth.mac}'}}, attach: {{to: {container}}}}}"
    running = Daemon(server.socket, f"rules:\n  - {rule}\n")
    place = running.folder / "udev"
    place.touch()
    with running:
        eventually(lambda: "leave-alone.problem" in running.log())
        place.unlink()
        eventually(lambda: "leave-alone.written" in running.log())
        assert veth.mac in (place / "90-hotplugd-leave.rules").read_text()
        assert running.log().count("leave-alone.problem") == 1
