"""The unit as shipped, under a real systemd: installed as the documentation says, reloaded, hung, stopped."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from operator import attrgetter
from pathlib import Path
from signal import Signals
from typing import cast

import pytest

from tests.support.lab.api import Json
from tests.support.lab.container import Container
from tests.support.lab.handle import Handle
from tests.support.lab.inside import Seen
from tests.support.lab.kernel import Console, Zram
from tests.support.lab.server import Manager, software
from tests.support.lab.uevents import listening
from tests.support.lab.wait import eventually
from tests.support.phones import Hub, Phone
from tests.support.phones.containers import node_of
from tests.support.phones.hub import syspath

PROJECT = Path(__file__).parents[3]
SOCKET = Path(f"/var/lib/{software()}/unix.socket")
RULES = Path("/etc/hotplugd/rules.d/50-test.yaml")
BOX = "box"
# One console by number, and the first login terminal's, which is there from the first moment of each boot.
RULE = """
rules:
  - name: console
    match: {{subsystem: vc, kernel: {kernel}}}
    attach: {{to: box}}
  - name: first
    match: {{subsystem: vc, kernel: vcsa1}}
    attach: {{to: box}}
"""


@pytest.fixture(scope="module")
def box() -> Container:
    return Container(Manager(SOCKET).api, BOX)


@pytest.fixture
def console() -> Iterator[Console]:
    one = Console()
    yield one
    one.close()


def run(*words: str) -> str:
    """A program that must succeed; its output."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def of_unit(name: str) -> str:
    return run("systemctl", "show", "hotplugd", "--property", name, "--value").strip()


def status() -> Json:
    done = subprocess.run(["hotplugd", "status", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return cast("Json", json.loads(done.stdout))


def has(box: Container, path: str) -> Seen | None:
    box.forget_pid()
    return box.look(path)


def capabilities(program: str) -> set[int]:
    """What the running programs of this name may do."""
    units = run("systemctl", "list-units", "--plain", "--no-legend", f"hotplugd-{program}@*").split("\n")
    pids = [
        run("systemctl", "show", each.split()[0], "--property=MainPID", "--value").strip()
        for each in units
        if each
    ]
    found = [Path("/proc", pid, "status").read_text() for pid in pids if pid != "0"]
    return {int(each, 16) for text in found for each in re.findall(r"(?m)^CapEff:\s+(\S+)", text)}


def write_rules(kernel: str) -> None:
    RULES.parent.mkdir(parents=True, exist_ok=True)
    RULES.write_text(RULE.format(kernel=kernel))


@pytest.mark.first_boot
class TestFirstBoot:
    """In this order: what an operator does on the first day."""

    def test_as_the_documentation_installs_it(self, box: Container) -> None:
        server = Manager(SOCKET)
        server.initialise()
        server.launch(BOX, config={"boot.autostart": "true"})
        write_rules("vcsa60")
        text = (PROJECT / "docs" / "how-to" / "install.md").read_text()
        begin = text.index("    sudo install -D -m644 rules/99-hotplugd.rules")
        block = text[begin : text.index("\n\n", text.index("enable --now hotplugd", begin))]
        commands = "\n".join(line.strip() for line in block.splitlines()).replace("sudo ", "")
        Path("/usr/local/bin/hotplugd").symlink_to("/opt/hotplugd/bin/hotplugd")
        subprocess.run(["sh", "-exc", commands], cwd=PROJECT, check=True, timeout=110)
        assert of_unit("ActiveState") == "active"
        assert eventually(lambda: has(box, "/dev/vcsa1"))

    def test_the_unit_is_the_shipped_one_and_its_hardening_holds(self) -> None:
        shipped = (PROJECT / "systemd" / "hotplugd.service").read_text()
        assert Path("/etc/systemd/system/hotplugd.service").read_text() == shipped
        assert of_unit("DropInPaths") == ""
        process = Path("/proc", of_unit("MainPID"), "status").read_text()
        found = dict(re.findall(r"(?m)^(CapBnd|CapEff|NoNewPrivs|Seccomp):\s+(\S+)", process))
        # CAP_DAC_READ_SEARCH is 2.
        allowed = f"{1 << 2:016x}"
        assert found == {"CapBnd": allowed, "CapEff": allowed, "NoNewPrivs": "1", "Seccomp": "2"}

    def test_a_device_comes_and_goes(self, box: Container, console: Console) -> None:
        write_rules(Path(console.syspath).name)
        run("systemctl", "reload", "hotplugd")
        with listening(box.pid) as ear:
            console.plug()
            assert eventually(lambda: has(box, console.node))
            eventually(lambda: ear.actions(console.node) == ["add kernel", "add libudev"])
            console.unplug()
            assert eventually(lambda: has(box, console.node) is None)
            eventually(lambda: ear.actions(console.node)[2:] == ["remove kernel", "remove libudev"])
        assert status()["problems"] == []

    def test_what_goes_is_sealed_by_its_own_unit(self, box: Container, console: Console) -> None:
        write_rules(Path(console.syspath).name)
        run("systemctl", "reload", "hotplugd")
        for _ in range(3):
            console.plug()
            eventually(lambda: has(box, console.node))
            eventually(lambda: len(box.devices) == 2)
            with Handle(box, console.node) as handle:
                assert (handle.sealed, handle.open()) == (False, "done")
                console.unplug()
                console.plug()
                eventually(partial(attrgetter("sealed"), handle))
                assert handle.open() == "EACCES"
            console.unplug()
            eventually(lambda: has(box, console.node) is None)
        assert status()["problems"] == []
        assert capabilities("seal") == {1 << 0}
        # Which nodes the server has is asked of this one.
        assert capabilities("roots") == {1 << 19 | 1 << 2}

    def test_a_unit_of_its_own_revokes_and_switches_ports(self) -> None:
        run("modprobe", "vhci_hcd")
        with (
            Hub() as hub,
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel,
            ExitStack() as undo,
        ):
            port = hub.plug(Phone("AAA1"))
            opened = os.open(node_of(port), os.O_RDWR)
            undo.callback(os.close, opened)
            number = (syspath(port) / "dev").read_text().strip()
            channel.settimeout(60)
            channel.connect("/run/hotplugd-usb.sock")

            def ask(*fields: str) -> str:
                channel.send("\0".join(fields).encode())
                return channel.recv(4096).decode()

            assert ask("reset", port, number) == "done"
            assert len(os.pread(opened, 18, 0)) == 18
            assert ask("revoke", port, number) == "done"
            with pytest.raises(OSError, match="No such device"):
                os.pread(opened, 18, 0)
            bus, _, socket_number = port.partition("-")
            assert ask("port", f"usb{bus}", socket_number, "cycle") == "done"
            assert ask("revoke", f"usb{bus}", "189:0") == "not a request"
            # CAP_BLOCK_SUSPEND is 36.
            assert capabilities("usb") == {1 << 36}
        # It ends with its connection, which counts among the four until then.
        eventually(lambda: capabilities("usb") == set())

    @pytest.mark.parametrize(
        "place", ["/home/disk", "/tmp/disk", "/mnt/disk"]
    )  # the unit hides the first two
    def test_what_the_host_has_mounted_it_sees_from_within_its_unit(self, box: Container, place: str) -> None:
        disk, more = Zram(), RULES.with_name("40-test.yaml")
        disk.plug()
        try:
            run("udevadm", "settle")
            Path(disk.syspath, "disksize").write_text("16M")
            run("busybox", "mke2fs", "-b", "4096", disk.node)
            Path(place).mkdir(parents=True, exist_ok=True)
            run("mount", disk.node, place)
            rule = f"{{subsystem: block, kernel: {disk.name}}}"
            more.write_text(f"rules:\n  - {{name: disk, match: {rule}, attach: {{to: {BOX}}}}}\n")
            run("systemctl", "reload", "hotplugd")
            eventually(lambda: f"{disk.name} is mounted on {place}" in str(status()["problems"]))
            assert has(box, disk.node) is None
            run("umount", place)
            eventually(lambda: has(box, disk.node))
        finally:
            subprocess.run(["umount", place], check=False, capture_output=True)
            more.unlink(missing_ok=True)
            run("systemctl", "reload", "hotplugd")
            eventually(lambda: has(box, disk.node) is None)
            disk.unplug()

    def test_who_has_a_disk_open_it_sees_from_within_its_unit(self, box: Container) -> None:
        disk, more = Zram(), RULES.with_name("40-test.yaml")
        disk.plug()
        run("udevadm", "settle")
        holder = subprocess.Popen(["sh", "-c", f"exec 3<{disk.node}; exec sleep 600"])
        try:
            rule = f"{{subsystem: block, kernel: {disk.name}}}"
            more.write_text(f"rules:\n  - {{name: disk, match: {rule}, attach: {{to: {BOX}}}}}\n")
            run("systemctl", "reload", "hotplugd")
            said = f"{disk.name} is open in sleep (process {holder.pid})"
            eventually(lambda: said in str(status()["problems"]))
            assert has(box, disk.node) is None
            holder.kill()
            holder.wait(10)
            eventually(lambda: has(box, disk.node), 60)
            assert status()["problems"] == []
        finally:
            holder.kill()
            more.unlink(missing_ok=True)
            run("systemctl", "reload", "hotplugd")
            eventually(lambda: has(box, disk.node) is None)
            disk.unplug()

    def test_a_privileged_container_is_looked_into(self, console: Console) -> None:
        write_rules("none")
        more = RULES.with_name("40-test.yaml")
        server = Manager(SOCKET)
        (image,) = server.api.list("/1.0/images?recursion=1")
        server.image = str(image["fingerprint"])
        other = server.launch("guarded", config={"security.privileged": "true"})
        rule = f"{{subsystem: vc, kernel: {Path(console.syspath).name}}}"
        more.write_text(f"rules:\n  - {{name: more, match: {rule}, attach: {{to: guarded}}}}\n")
        try:
            run("systemctl", "reload", "hotplugd")
            console.plug()

            def verified() -> bool:
                found = cast("list[Json]", status()["attachments"])
                return any(each["instance"] == "guarded" and each["verified"] is True for each in found)

            eventually(verified)
            assert status()["problems"] == []
            assert capabilities("roots") == {1 << 19 | 1 << 2}
            console.unplug()
            eventually(lambda: has(other, console.node) is None)
            assert status()["problems"] == []
        finally:
            more.unlink()
            run("systemctl", "reload", "hotplugd")
            other.delete()

    @pytest.mark.parametrize("program", ["inject", "roots", "seal", "udevrules", "usb"])
    def test_the_sockets_of_its_programs_are_roots_alone_and_take_four(self, program: str) -> None:
        path = Path(f"/run/hotplugd-{program}.sock")
        status = path.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, 0o600)
        script = "import socket, sys; socket.socket(socket.AF_UNIX, 5).connect(sys.argv[1])"
        words = ["setpriv", "--reuid=nobody", "--clear-groups", "/usr/bin/python3", "-c", script, str(path)]
        others = subprocess.run(words, capture_output=True, text=True, check=False)
        assert "PermissionError" in others.stderr

        def connections() -> int:
            shown = run(
                "systemctl", "show", f"hotplugd-{program}.socket", "--property=NConnections", "--value"
            )
            return int(shown)

        with ExitStack() as undo:

            def connect() -> socket.socket:
                one = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                one.settimeout(20)
                one.connect(str(path))
                return one

            # One of them may be hotplugd's own.
            before = connections()
            served = [connect() for _ in range(4 - before)]
            eventually(lambda: connections() == 4)
            assert before <= 1
            for _ in range(3):
                assert connect().recv(1) == b""
            for each in served:
                each.setblocking(False)
                with pytest.raises(BlockingIOError):
                    each.recv(1)
        eventually(lambda: connections() == before)

    def test_udevd_is_told_what_to_leave_alone_by_its_own_unit(self) -> None:
        write_rules("vcsa59")
        run("systemctl", "reload", "hotplugd")
        path = Path("/run/udev/rules.d/90-hotplugd-leave.rules")
        eventually(lambda: path.exists() and "vcsa59" in path.read_text())
        assert path.stat().st_mode & 0o7777 == 0o644

    def test_a_reload_with_bad_rules_keeps_the_old_ones(self, box: Container, console: Console) -> None:
        write_rules(Path(console.syspath).name)
        run("systemctl", "reload", "hotplugd")
        good = RULES.read_text()
        try:
            RULES.write_text("rules:\n  - name: broken\n    mach: {}\n")
            run("systemctl", "reload", "hotplugd")
            assert of_unit("ActiveState") == "active"
            eventually(lambda: cast("int", status()["failed_reloads"]) == 1)
            assert any("reload failed" in str(each) for each in cast("list[object]", status()["problems"]))
            console.plug()
            assert eventually(lambda: has(box, console.node))
        finally:
            RULES.write_text(good)
        run("systemctl", "reload", "hotplugd")
        assert status()["problems"] == []

    def test_one_that_hangs_is_killed_and_its_successor_converges(
        self, box: Container, console: Console
    ) -> None:
        write_rules(Path(console.syspath).name)
        run("systemctl", "reload", "hotplugd")
        console.plug()
        assert eventually(lambda: has(box, console.node))
        pid = of_unit("MainPID")
        os.kill(int(pid), Signals.SIGSTOP)
        console.unplug()
        eventually(lambda: of_unit("MainPID") not in (pid, "0"), 100, pause=0.5)
        eventually(lambda: of_unit("ActiveState") == "active", 60, pause=0.5)
        assert "watchdog" in run("journalctl", "--boot", "--unit=hotplugd", "--no-pager").lower()
        eventually(lambda: len(box.devices) == 1)
        console.plug()
        assert eventually(lambda: has(box, console.node))

    def test_to_stop_it_leaves_devices_in_place(self, box: Container) -> None:
        eventually(lambda: len(box.devices) == 1)
        before = box.devices
        run("systemctl", "stop", "hotplugd")
        assert of_unit("Result") == "success"
        assert box.devices == before
        assert has(box, "/dev/vcsa1")
        run("systemctl", "start", "hotplugd")
        assert box.devices == before
        assert status()["problems"] == []


@pytest.mark.second_boot
class TestSecondBoot:
    """The machine was switched off without a word, and starts again."""

    def test_it_runs_after_the_server_and_the_device_is_there(self, box: Container) -> None:
        assert RULES.exists(), "the disk did not survive"
        assert of_unit("ActiveState") == "active"
        assert box.config["name"] == BOX, "the server's database did not survive"
        eventually(lambda: str(box.config["status"]) == "Running", 60)
        assert eventually(lambda: has(box, "/dev/vcsa1"))
        eventually(lambda: status()["problems"] == [])

    def test_it_was_started_after_the_server_socket(self) -> None:
        def since(unit: str) -> int:
            text = run("systemctl", "show", unit, "--property=ActiveEnterTimestampMonotonic", "--value")
            return int(text)

        assert 0 < since(f"{software()}.socket") < since("hotplugd.service")
