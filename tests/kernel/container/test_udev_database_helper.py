"""The program that keeps udev's records in containers: what it does, and what may be planted for it."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from hotplugd.aio.helper import words
from hotplugd.container import udev_database_helper
from hotplugd.container.udev_database_helper import KEEP, LIMITS
from tests.support.lab.container import HOSTS_NETWORK, Container
from tests.support.lab.daemon import command
from tests.support.lab.fuse import hanging, hanging_root
from tests.support.lab.roots import root_of
from tests.support.lab.wait import eventually

PAD = "V:1\nI:7\nG:seat\nG:uaccess\nE:ID_INPUT=1\nE:HOTPLUGD_RECORD=1\n"
ABOVE = "V:1\nI:6\nG:seat\nE:ID_INPUT=1\nE:HOTPLUGD_RECORD=1\n"
BOTH = {"c13:64": PAD, "+input:input5": ABOVE}
PRIVILEGED = {"security.privileged": "true"}


class Program:
    """One program, asked about one container."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def keep(self, container: Container, records: object, root: int | None = None) -> str:
        """Its answer. root: another than the container's."""
        return self.keep_of(container.pid, records, root)

    def keep_of(self, init: int, records: object, root: int | None = None) -> str:
        """Its answer about the container with this init."""
        with closing(root_of(init)) as held, ExitStack() as opened:
            own, process = held.duplicate()
            wanted = os.memfd_create("records")
            os.pwrite(wanted, json.dumps(records).encode(), 0)
            for each in (own, process, wanted):
                opened.callback(os.close, each)
            return self.ask(KEEP, [process, own if root is None else root, wanted])

    def ask(self, message: bytes, beside: list[int]) -> str:
        socket.send_fds(self._channel, [message], beside)
        return self._channel.recv(LIMITS.answer).decode()


@pytest.fixture(params=["alone", "as the unit confines it"])
def program(root: None, request: pytest.FixtureRequest, project: Path) -> Iterator[Program]:
    """One program with its two capabilities, which then ends well."""
    alone = words(udev_database_helper.__name__)
    line = ["setpriv", "--bounding-set=-all,+setuid,+setgid", "--no-new-privs", *alone]
    if request.param != "alone":
        unit = project / "systemd/hotplugd-udevdb@.service"
        line = [sys.executable, "-m", "tests.support.lab.confine", str(unit), *command(), "udevdb"]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, subprocess.Popen(line, stdin=theirs.fileno()) as process:
        theirs.close()
        ours.settimeout(20)
        made = Program(ours)
        assert made.ask(b"x", []) == "not a request"  # by then it has started
        yield made
        ours.close()
        assert process.wait(20) == 0


def inside(container: Container, path: str) -> Path:
    return Path(f"/proc/{container.pid}/root{path}")


def found(container: Container) -> dict[str, str]:
    """What is in /run/udev, by path below it: the text of files."""
    top = inside(container, "/run/udev")
    return {
        str(each.relative_to(top)): each.read_text()
        for each in sorted(top.rglob("*"))
        if each.is_file() and not each.is_symlink()
    }


def shell(container: Container, line: str) -> None:
    done = container.run("sh", "-ec", line)
    assert done.code == 0, done.output


@pytest.mark.parametrize("config", [{}, PRIVILEGED], ids=["unprivileged", "privileged"])
@pytest.mark.parametrize("run", ["a folder of the root", "in memory"])
def test_records_and_their_tags_come_and_go_and_are_the_containers_roots(
    launch: Callable[..., Container], program: Program, config: Mapping[str, str], run: str
) -> None:
    container = launch(config=config)
    if run == "in memory":
        shell(container, "mount -t tmpfs none /run")
    assert program.keep(container, BOTH) == "done"
    assert found(container) == {
        "control": "",
        "data/+input:input5": ABOVE,
        "data/c13:64": PAD,
        "tags/seat/+input:input5": "",
        "tags/seat/c13:64": "",
        "tags/uaccess/c13:64": "",
    }
    owners = container.run("stat", "-c", "%u:%g %a", "/run/udev/data/c13:64", "/run/udev/tags/seat").output
    assert owners.split("\n")[:2] == ["0:0 644", "0:0 755"]
    before = inside(container, "/run/udev/data/c13:64").stat()
    assert program.keep(container, BOTH) == "done"
    assert inside(container, "/run/udev/data/c13:64").stat().st_ino == before.st_ino
    changed = PAD.replace("ID_INPUT=1", "ID_INPUT=0").replace("G:seat\n", "G:other\n")
    assert program.keep(container, {"c13:64": changed}) == "done"
    names = ("control", "data/c13:64", "tags/other/c13:64", "tags/uaccess/c13:64")
    assert found(container) == {**dict.fromkeys(names, ""), "data/c13:64": changed}
    assert program.keep(container, {}) == "done"
    assert found(container) == {"control": ""}


def test_what_is_not_ours_stays_and_what_somebody_took_away_is_put_back(
    container: Container, program: Program
) -> None:
    shell(container, "mkdir -p /run/udev/data /run/udev/tags/seat; echo E:A=1 > /run/udev/data/b8:0")
    shell(container, "touch /run/udev/control /run/udev/tags/seat/b8:0")
    assert program.keep(container, BOTH) == "done"
    shell(container, "rm /run/udev/data/c13:64 /run/udev/tags/uaccess/c13:64")
    shell(container, "echo E:X=1 > '/run/udev/data/+input:input5'")
    shell(container, "echo E:X=1 > '/run/udev/data/+input:input5'")
    assert program.keep(container, BOTH) == "done"
    assert found(container)["data/c13:64"] == PAD
    assert found(container)["data/+input:input5"] == ABOVE
    assert program.keep(container, {}) == "done"
    assert found(container) == {"control": "", "data/b8:0": "E:A=1\n", "tags/seat/b8:0": ""}


def test_without_anything_to_keep_nothing_is_made(container: Container, program: Program) -> None:
    assert program.keep(container, {}) == "done"
    assert not inside(container, "/run/udev").exists()


# What somebody inside does before, and what is said; nothing where all is done all the same.
RECORDS = "mkdir -p /run/udev/data; cd /run/udev/data; "
PLANTED = {
    "a link for /run": ("rm -r /run; ln -s /tmp /run", "/run in there is no folder"),
    "a file for /run": ("rm -r /run; touch /run", "/run in there is no folder"),
    "no /run": ("rm -r /run", "/run in there is no folder"),
    "a link for /run/udev": ("ln -s {outside} /run/udev", "udev in there is no folder"),
    "a link for the records": ("mkdir /run/udev; ln -s {outside} /run/udev/data", "data in there is no"),
    "a link for a tag": ("mkdir -p /run/udev/tags; ln -s {outside} /run/udev/tags/seat", "seat in there is"),
    "a link for a record": (RECORDS + "ln -s {outside}/x c13:64", ""),
    "a link for the control file": ("mkdir /run/udev; ln -s {outside}/x /run/udev/control", ""),
    "a pipe for a record": (RECORDS + "mkfifo c13:64", ""),
    "a pipe that is no record": (RECORDS + "mkfifo c1:1", ""),
    "a folder for a record": (RECORDS + "mkdir c13:64", "Is a directory"),
    "a file for the records": ("mkdir /run/udev; touch /run/udev/data", "data in there is no folder"),
    "another's folder": (RECORDS + "chown -R 5:5 /run/udev", "Permission denied"),
    "another's record": (RECORDS + "touch c13:64; chown 5 c13:64", ""),
    "a record that nobody may read": (RECORDS + "touch c13:64; chmod 0 c13:64", ""),
    "a mount on the records": (RECORDS + "mount -t tmpfs none /run/udev/data", "mounted on data"),
    "no room": ("mount -t tmpfs -o size=4k none /run; head -c 4096 /dev/zero > /run/x", "No space left"),
    "no inodes": ("mount -t tmpfs -o nr_inodes=4 none /run", "No space left"),
    "too many files": (RECORDS + "for i in $(seq 5000); do : > c1:$i; done", ""),
}  # fmt: skip


@pytest.mark.parametrize(("before", "said"), PLANTED.values(), ids=PLANTED)
def test_what_is_planted_leads_nowhere_and_holds_nothing_up(
    container: Container, program: Program, tmp_path: Path, before: str, said: str
) -> None:
    tmp_path.chmod(0o777)
    shell(container, before.replace("{outside}", str(tmp_path)))
    start = time.monotonic()
    answer = program.keep(container, BOTH)
    assert said in answer if said else answer == "done"
    assert time.monotonic() - start < 2
    assert list(tmp_path.iterdir()) == []
    data = inside(container, "/run/udev/data")
    if not said:
        assert found(container)["data/c13:64"] == PAD
        assert stat.S_ISREG((data / "c13:64").lstat().st_mode)
    elif data.is_dir():
        assert not [each for each in data.iterdir() if each.name.startswith(".")]


@pytest.mark.parametrize("place", ["/run", "/run/udev", "/run/udev/data", "/run/udev/data/c13:64"])
def test_a_file_system_that_never_answers_is_not_asked(
    container: Container, program: Program, place: str
) -> None:
    shell(container, f"mkdir -p {place}")
    with hanging(container, "user", "mnt", place=place):
        start = time.monotonic()
        assert program.keep(container, BOTH) != "done"
        assert time.monotonic() - start < 2


@pytest.mark.parametrize("kind", ["fuse", "overlay"])
def test_a_root_that_may_never_answer_is_not_asked(program: Program, tmp_path: Path, kind: str) -> None:
    with hanging_root(kind, tmp_path) as init:
        start = time.monotonic()
        assert f"the root in there is a file system of type {kind}" in program.keep_of(init, BOTH)
        assert time.monotonic() - start < 2


# A process that has a socket at this path in a container's network namespace, and another file system.
_LISTENER = """
import os, socket
os.makedirs("/run/udev")
one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
one.bind("/run/udev/control")
print(flush=True)
input()
one.listen()
print(flush=True)
input()
"""


def test_where_a_udevd_listens_its_database_is_left_alone(container: Container, program: Program) -> None:
    assert program.keep(container, BOTH) == "done"
    words = ["nsenter", f"--target={container.pid}", "--net", "unshare", "--mount", "sh", "-ec"]
    line = 'mount -t tmpfs none /run; exec "$@"'
    with subprocess.Popen(
        [*words, line, "sh", sys.executable, "-c", _LISTENER],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        # The socket alone is what a udevd leaves behind that was killed.
        assert program.keep(container, BOTH) == "done"
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        before = found(container)
        assert program.keep(container, {}) == "udevd"
        assert found(container) == before
        process.kill()
    eventually(lambda: program.keep(container, {}) == "done")
    assert found(container) == {"control": ""}


def test_on_the_hosts_network_the_hosts_udevd_listens(
    launch: Callable[..., Container], program: Program
) -> None:
    container = launch(config=HOSTS_NETWORK)
    assert program.keep(container, BOTH) == "udevd"
    assert not inside(container, "/run/udev").exists()


def test_the_root_has_to_be_the_process_own(
    containers: tuple[Container, Container], program: Program
) -> None:
    one, two = containers
    for path in ("/", f"/proc/{two.pid}/root", f"/proc/{one.pid}/root/run"):
        root = os.open(path, os.O_PATH | os.O_DIRECTORY)
        assert program.keep(one, BOTH, root) == "not the root of the container"
        os.close(root)
    ours = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    wanted = os.memfd_create("records")
    os.pwrite(wanted, b"{}", 0)
    assert program.ask(KEEP, [ours, root, wanted]) == "not the init of a container"
    for each in (ours, root, wanted):
        os.close(each)


BROKEN: list[object] = [
    [],
    {"c13:64": 1},
    {"c13:64": "E:A=1\n"},
    {"../x": PAD},
    {"+a:../x": PAD},
    {"c13:64\n": PAD},
    {"control": PAD},
    {"c13:64": PAD + "X:1\n"},
    {"c13:64": PAD + "\n"},
]


@pytest.mark.parametrize("records", BROKEN, ids=repr)
def test_what_is_no_record_is_refused(container: Container, program: Program, records: object) -> None:
    assert program.keep(container, records) == "not a request"
    assert not inside(container, "/run/udev").exists()


def test_more_than_4_mib_is_refused_whole(container: Container, program: Program) -> None:
    records = {f"c13:{number}": f"{PAD}E:A={'x' * 60_000}\n" for number in range(70)}
    assert program.keep(container, records) != "done"
    assert not inside(container, "/run/udev").exists()
