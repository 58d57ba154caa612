"""The program that opens the roots of containers: of whom, and of whom not."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from hotplugd.aio.threads import Threads
from hotplugd.container import roots_helper
from hotplugd.container.opener import Opener
from hotplugd.container.root import Lost, Root, process_folder
from tests.lab.daemon import command
from tests.lab.uevents import socket_unit
from tests.lab.wait import eventually

Ask = Callable[[bytes, Sequence[int]], "tuple[str, list[int]]"]
# A program as its unit confines it, and a process that may look into nobody's.
CONFINE = (sys.executable, "-m", "tests.lab.confine")


@pytest.fixture(params=["the same /proc", "another /proc"])
def ask(root: None, project: Path, request: pytest.FixtureRequest) -> Iterator[Ask]:
    """Asks one program, which then ends well; what it gives is closed."""
    # As systemd gives a unit one of its own.
    own = "true" if request.param == "the same /proc" else "mount -t proc proc /proc"
    words = [
        "unshare",
        "--mount",
        "sh",
        "-ec",
        f'{own}; exec "$@"',
        "sh",
        *CONFINE,
        str(project / "systemd/hotplugd-roots@.service"),
        *command(),
        "roots",
    ]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, ExitStack() as undo, subprocess.Popen(words, stdin=theirs.fileno()) as process:
        theirs.close()
        ours.settimeout(20)

        def one(message: bytes, beside: Sequence[int]) -> tuple[str, list[int]]:
            socket.send_fds(ours, [message], beside)
            answer, found, *_ = socket.recv_fds(ours, roots_helper.ANSWER_MOST, 4)
            for each in found:
                undo.callback(os.close, each)
            return answer.decode(), found

        yield one
        ours.close()
        assert process.wait(20) == 0


@pytest.fixture
def init(root: None, tmp_path: Path) -> Iterator[int]:
    """The init of what is like a privileged container: in the host's own user namespace."""
    files = f"mount -t tmpfs root '{tmp_path}' && cp /bin/busybox '{tmp_path}'"
    script = f"{files} && exec chroot '{tmp_path}' /busybox sleep 600"
    yield from _init(script)


@pytest.fixture
def sandbox(root: None) -> Iterator[int]:
    """The init of what shares the host's files."""
    yield from _init("exec sleep 600")


def _init(script: str) -> Iterator[int]:
    words = ["unshare", "--pid", "--net", "--mount", "--fork", "--kill-child", "sh", "-c", script]
    with subprocess.Popen(words) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        pid = int(eventually(lambda: children.read_text().split())[0])
        eventually(lambda: "sleep" in Path(f"/proc/{pid}/cmdline").read_text().split("\0")[-3:])
        yield pid
        process.kill()


@pytest.fixture
def folders() -> Iterator[Callable[[int], int]]:
    """Opens folders of processes."""
    with ExitStack() as undo:

        def of(pid: int) -> int:
            found = process_folder(pid)
            undo.callback(os.close, found)
            return found

        yield of


def test_it_opens_what_is_of_a_containers_init(ask: Ask, init: int, folders: Callable[[int], int]) -> None:
    (answer, (found,)) = ask(roots_helper.ROOT, [folders(init)])
    assert answer == "done"
    assert os.path.samestat(os.fstat(found), os.stat(f"/proc/{init}/root"))
    (answer, (found,)) = ask(roots_helper.NETWORK, [folders(init)])
    assert answer == "done"
    assert os.path.samestat(os.fstat(found), os.stat(f"/proc/{init}/ns/net"))


def test_and_of_nobody_else(ask: Ask, folders: Callable[[int], int]) -> None:
    for what in (roots_helper.ROOT, roots_helper.NETWORK):
        for pid in (1, os.getpid()):
            assert ask(what, [folders(pid)]) == ("not the init of a container", [])


def test_what_is_no_request(ask: Ask, init: int, folders: Callable[[int], int]) -> None:
    here = folders(init)
    for message in (
        b"cwd",
        b"root/etc",
        b"nodes",
        b"nodes /etc",
        b"nodes /sys",
        b"nodes ../..",
        b"x" * 999,
    ):
        assert ask(message, [here]) == ("not a request", [])
    for beside in ([], [here, here]):
        assert ask(roots_helper.ROOT, beside) == ("not a request", [])
    with ExitStack() as undo:
        for path in ("/", "/etc", "/proc/self/fd", "/proc/self/status", "/dev/null"):
            other = os.open(path, os.O_PATH)
            undo.callback(os.close, other)
            answer, found = ask(roots_helper.ROOT, [other])
            assert (answer == "done", found) == (False, [])
    assert ask(roots_helper.ROOT, [here])[0] == "done"


def test_a_server_has_its_nodes_in_known_places_alone(
    ask: Ask, sandbox: int, folders: Callable[[int], int]
) -> None:
    place = next(each for each in roots_helper.SERVERS)
    script = f"mount -t tmpfs none /var/lib && mkdir -p {place}/devices/box"
    subprocess.run(["nsenter", f"--target={sandbox}", "--mount", "sh", "-ec", script], check=True)
    answer, (found,) = ask(roots_helper.NODES + place.encode(), [folders(sandbox)])
    assert answer == "done"
    assert os.listdir(f"/proc/self/fd/{found}") == ["box"]
    answer, none = ask(roots_helper.NODES + b"/var/lib/incus", [folders(sandbox)])
    assert ("No such file" in answer, none) == (True, [])


# Given a file, and the way to it from a descriptor: what comes of writing to it by either.
_WRITE = """
import errno, os, sys
for path, folder in ((sys.argv[1], None), (sys.argv[2], int(sys.argv[3]))):
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, dir_fd=folder))
    except OSError as error:
        print(errno.errorcode[error.errno])
    else:
        print("done")
"""


def test_from_a_servers_folder_the_way_up_leads_to_its_files_as_it_has_them(
    ask: Ask, sandbox: int, folders: Callable[[int], int], project: Path, tmp_path: Path
) -> None:
    place = roots_helper.SERVERS[0]
    script = f"mount -t tmpfs none /var/lib && mkdir -p {place}/devices"
    subprocess.run(["nsenter", f"--target={sandbox}", "--mount", "sh", "-ec", script], check=True)
    _, (found,) = ask(roots_helper.NODES + place.encode(), [folders(sandbox)])
    ups = "/".join([".."] * len(Path(place, "devices").parts[1:]))
    # As ProtectSystem=strict makes it for the unit.
    alone = f"mount --bind '{tmp_path}' '{tmp_path}' && mount -o remount,bind,ro '{tmp_path}'"
    words = ["unshare", "--mount", "sh", "-ec", f'{alone}; exec "$@"', "sh", *CONFINE]
    words += [str(project / "systemd/hotplugd.service"), sys.executable, "-c", _WRITE]
    file = tmp_path / "file"
    words += [str(file), f"{ups}{file}", str(found)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, pass_fds=[found])
    assert done.stdout.split() == ["EROFS", "done"], done.stderr
    assert file.exists()


_LOOK = """
import asyncio, os, sys
from pathlib import Path
from hotplugd.inside import process_folder
from hotplugd.opener import Opener
from hotplugd.threads import Threads
async def main():
    opener = Opener(Threads(), Path(sys.argv[2]))
    process = process_folder(int(sys.argv[1]))
    try:
        print(os.fstat(await opener.root(process)).st_ino)
        print(os.fstat(await opener.network(process)).st_ino)
    finally:
        opener.close()
asyncio.run(main())
"""


def test_who_may_not_look_itself_has_it_opened(init: int, project: Path, tmp_path: Path) -> None:
    words = [*CONFINE, str(project / "systemd/hotplugd.service"), sys.executable, "-c", _LOOK]
    words += [str(init), str(tmp_path / "roots")]
    denied = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert "under systemd, hotplugd-roots.socket has to be there" in denied.stderr
    program = (*CONFINE, str(project / "systemd/hotplugd-roots@.service"), *command(), "roots")
    with socket_unit(tmp_path / "roots", *program):
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    expected = [os.stat(f"/proc/{init}/{each}").st_ino for each in ("root", "ns/net")]
    assert done.stdout.split() == [str(each) for each in expected], done.stderr


@pytest.mark.usefixtures("root")
def test_who_may_looks_itself(init: int) -> None:
    async def script() -> None:
        opener = Opener(Threads(), Path("/nonexistent"))
        process = process_folder(init)
        for each in (await opener.root(process), await opener.network(process), process):
            os.close(each)
        assert opener._program.running is None
        opener.close()

    asyncio.run(script())


def test_by_hand_it_says_who_starts_it() -> None:
    done = subprocess.run(
        [*command(), "roots"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "standard input is no socket" in done.stderr) == (2, True)


def test_a_sandbox_with_the_hosts_files_is_no_container(
    ask: Ask, sandbox: int, folders: Callable[[int], int]
) -> None:
    for request in (roots_helper.ROOT, roots_helper.NETWORK):
        assert ask(request, [folders(sandbox)]) == ("not the init of a container: its root is the host's", [])
    process = folders(sandbox)
    held = [os.dup(process), os.open("root", os.O_PATH, dir_fd=process)]
    with pytest.raises(Lost, match="its root is the host's"):
        Root(sandbox, *held)
