"""What systemd makes of our unit, drop-in and catalog, and what the daemon makes of its confinement."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from functools import partial
from operator import attrgetter
from pathlib import Path

import pytest

from hotplugd.app.systemd import MESSAGE_IDS
from tests.support.lab import confine
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon, command
from tests.support.lab.handle import Handle
from tests.support.lab.inside import Seen
from tests.support.lab.kernel import Console
from tests.support.lab.server import Server
from tests.support.lab.uevents import listening, socket_unit
from tests.support.lab.wait import eventually

_UNITS = Path("/lib/systemd/system")
_PROGRAMS = ("inject", "roots", "seal", "udevdb", "udevrules", "usb")
_SERVICES = (
    "hotplugd.service",
    "hotplugd-serve.service",
    "hotplugd-hooks.service",
    *(f"hotplugd-{each}@.service" for each in _PROGRAMS),
)
_SOCKETS = tuple(f"hotplugd-{each}.socket" for each in _PROGRAMS)
_NAMES = (*_SERVICES, *_SOCKETS)


@pytest.fixture
def units(tmp_path: Path, project: Path) -> Path:
    """A root folder with systemd's own units and ours, installed as its documentation says."""
    shutil.copytree(_UNITS, tmp_path / "usr/lib/systemd/system", symlinks=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    for program in ("usr/bin/hotplugd", "bin/kill"):
        path = tmp_path / program
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", path)
    ours = tmp_path / "etc/systemd/system"
    ours.mkdir(parents=True)
    for name in _NAMES:
        shutil.copy(project / "systemd" / name, ours)
    return tmp_path


def _analyze(*words: str) -> subprocess.CompletedProcess[str]:
    assert shutil.which("systemd-analyze"), "expected systemd-analyze; on Debian: apt-get install systemd"
    environment = {**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, check=False, env=environment
    )


_OURS = tuple(each.replace("@", "@1") for each in _NAMES)


def _verify(root: Path) -> str:
    done = _analyze(f"--root={root}", "--man=no", "verify", *_OURS)
    return done.stderr + done.stdout


def test_systemd_has_nothing_to_say_about_the_units(units: Path) -> None:
    assert _verify(units) == ""


def test_nor_about_the_drop_in(units: Path, project: Path) -> None:
    folder = units / "etc/systemd/system/hotplugd.service.d"
    folder.mkdir()
    shutil.copy(project / "systemd/https.conf", folder)
    assert _verify(units) == ""


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("hotplugd.service", "WatchdogSec"),
        ("hotplugd-inject.socket", "SocketMode"),
        ("hotplugd-inject@.service", "StandardInput"),
    ],
)
def test_it_would_say_something_about_a_mistake(units: Path, name: str, line: str) -> None:
    unit = units / "etc/systemd/system" / name
    unit.write_text(unit.read_text().replace(f"{line}=", f"{line[1:]}="))
    assert line[1:] in _verify(units)


def test_they_are_all_there_are(project: Path) -> None:
    found = {path.name for path in (project / "systemd").iterdir()}
    assert found == {*_NAMES, "hotplugd.catalog", "https.conf", "sysusers.d"}


@pytest.mark.parametrize("name", _SOCKETS)
def test_the_sockets_are_roots_alone_and_take_four_connections(project: Path, name: str) -> None:
    lines = (project / "systemd" / name).read_text().splitlines()
    assert {"SocketMode=0600", "Accept=yes", "MaxConnections=4"} <= set(lines)
    assert not [each for each in lines if each.startswith(("SocketUser=", "SocketGroup="))]


@pytest.mark.parametrize("name", _SERVICES)
def test_none_may_reach_into_other_processes(project: Path, name: str) -> None:
    filters = re.findall(r"(?m)^SystemCallFilter=(.*)$", (project / "systemd" / name).read_text())
    allowed = confine.allowed(filters)
    assert {"read", "openat", "sendmsg"} <= allowed
    assert not allowed & {
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "process_madvise",
        "kcmp",
        "pidfd_getfd",
        "perf_event_open",
        "mount",
        "setuid",
        "open_by_handle_at",
    }


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("name", _PROGRAMS)
def test_nor_the_daemon_into_its_own_programs(project: Path, name: str) -> None:
    reach = "import sys; open(f'/proc/{sys.argv[1]}/mem', 'r+b').close()"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    confined = [sys.executable, "-m", "tests.support.lab.confine"]
    unit = project / f"systemd/hotplugd-{name}@.service"
    words = [*confined, str(unit), *command(), name]
    with ours, theirs, subprocess.Popen(words, stdin=theirs.fileno()) as process:
        status = Path(f"/proc/{process.pid}/cmdline")
        # There is none for a moment, as it becomes the next program.
        eventually(lambda: (words := status.read_bytes()) and b"confine" not in words)
        broken = [*confined, str(project / "systemd/hotplugd.service"), sys.executable, "-c", reach]
        done = subprocess.run(
            [*broken, str(process.pid)], capture_output=True, text=True, check=False, timeout=60
        )
        # One that is not confined may.
        subprocess.run([sys.executable, "-c", reach, str(process.pid)], check=True, timeout=60)
        process.kill()
    assert "PermissionError" in done.stderr


def test_the_daemon_may_write_nothing_for_udevd(project: Path) -> None:
    text = (project / "systemd/hotplugd.service").read_text()
    assert "ProtectSystem=strict" in text
    assert not re.search(r"(?m)^(ReadWritePaths|BindPaths)=", text)


@pytest.mark.parametrize("name", _SERVICES)
def test_the_units_are_hardened(project: Path, name: str) -> None:
    done = _analyze("security", "--offline=true", "--threshold=30", str(project / "systemd" / name))
    found = re.search(r"Overall exposure level for \S+.service: (\d+\.\d)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= 3.0, done.stdout
    assert done.returncode == 0


def test_the_catalog_explains_every_message(tmp_path: Path, project: Path) -> None:
    catalog = project / "systemd/hotplugd.catalog"
    assert set(re.findall(r"^-- ([0-9a-f]{32})$", catalog.read_text(), re.MULTILINE)) == {
        *MESSAGE_IDS.values()
    }
    folder = tmp_path / "usr/lib/systemd/catalog"
    folder.mkdir(parents=True)
    shutil.copy(catalog, folder)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    done = subprocess.run(
        ["journalctl", f"--root={tmp_path}", "--update-catalog"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "var/lib/systemd/catalog/database").stat().st_size > 0


def test_the_daemon_needs_no_more_than_the_unit_grants(
    server: Server, container: Container, console: Console, project: Path, tmp_path: Path
) -> None:
    rules = f"""
rules:
  - name: console
    match: {{subsystem: vc, kernel: "vcsa{console.number}"}}
    attach: {{to: {container.name}, group: dialout, mode: "0660", udev: true}}
"""
    confined = (sys.executable, "-m", "tests.support.lab.confine")
    inject = (*confined, str(project / "systemd/hotplugd-inject@.service"), *command(), "inject")
    unit = (*confined, str(project / "systemd/hotplugd.service"))
    sealing = str(project / "systemd/hotplugd-seal@.service")
    seal = (*confined, sealing, *command(), "seal", str(server.data))
    keeping = (*confined, str(project / "systemd/hotplugd-udevdb@.service"), *command(), "udevdb")
    with (
        socket_unit(tmp_path / "udevdb", *keeping) as keepers,
        socket_unit(tmp_path / "inject", *inject) as programs,
        socket_unit(tmp_path / "seal", *seal) as sealers,
        listening(container.pid) as ear,
        Daemon(
            server.socket,
            rules,
            within=unit,
            inject=tmp_path / "inject",
            seal=tmp_path / "seal",
            udevdb=tmp_path / "udevdb",
        ) as daemon,
    ):
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        assert re.search(r"^CapEff:\s+0000000000000004$", status, re.MULTILINE)
        assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
        record = Path(f"/proc/{container.pid}/root/run/udev/data/c7:{128 + console.number}")
        wanted = Seen("char", 7, 128 + console.number, 0o660, 0, 20)
        for _ in range(3):
            console.plug()
            eventually(lambda: container.look(console.node) == wanted)
            eventually(lambda: ear.actions(console.node)[-1:] == ["add libudev"])
            assert record.exists()
            handle = Handle(container, console.node)
            console.unplug()
            eventually(partial(attrgetter("sealed"), handle))
            handle.close()
            eventually(lambda: container.look(console.node) is None and not record.exists())
            eventually(lambda: ear.actions(console.node)[-1:] == ["remove libudev"])
        heard = ["add kernel", "add libudev", "remove kernel", "remove libudev"]
        assert ear.actions(console.node) == heard * 3
        (program,) = programs
        status = Path(f"/proc/{program.pid}/status").read_text()
        assert re.search(r"^CapEff:\s+0000000000201080$", status, re.MULTILINE)
        assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
        (sealer,) = sealers
        status = Path(f"/proc/{sealer.pid}/status").read_text()
        assert re.search(r"^CapEff:\s+0000000000000001$", status, re.MULTILINE)
        assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
        (keeper,) = keepers
        status = Path(f"/proc/{keeper.pid}/status").read_text()
        assert re.search(r"^CapEff:\s+00000000000000c0$", status, re.MULTILINE)
        assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
        daemon.reload()
        assert not daemon.status()["problems"]
        assert daemon.stop() == 0
        assert "not permitted" not in daemon.log()


def test_without_the_socket_the_confined_daemon_says_what_is_missing(
    server: Server, container: Container, console: Console, project: Path
) -> None:
    rules = f"""
rules:
  - name: console
    match: {{subsystem: vc, kernel: "vcsa{console.number}"}}
    attach: {{to: {container.name}}}
"""
    unit = (sys.executable, "-m", "tests.support.lab.confine", str(project / "systemd/hotplugd.service"))
    with Daemon(server.socket, rules, within=unit) as daemon:
        console.plug()
        eventually(lambda: container.look(console.node))
        said = "Operation not permitted; under systemd, hotplugd-inject.socket has to be there"
        eventually(lambda: said in str(daemon.status()["problems"]))
        assert daemon.log().count("device.untold") == 1
