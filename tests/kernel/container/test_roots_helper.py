"""The program that opens the roots of containers: of whom, and of whom not."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hotplugd.aio.threads import Threads
from hotplugd.container import roots_helper
from hotplugd.container.opener import Opener
from hotplugd.container.root import Lost, Root, process_folder
from hotplugd.container.server_folders import ALL, sockets_of
from tests.support.lab.daemon import command
from tests.support.lab.fuse import hanging_here
from tests.support.lab.kernel import Zram
from tests.support.lab.udevd import settle
from tests.support.lab.uevents import socket_unit
from tests.support.lab.wait import eventually

Ask = Callable[[bytes, Sequence[int]], "tuple[str, list[int]]"]
# A program as its unit confines it, and a process that may look into nobody's.
CONFINE = (sys.executable, "-m", "tests.support.lab.confine")


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
            answer, found, *_ = socket.recv_fds(ours, roots_helper.LIMITS.answer, 4)
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


_SERVER = """
import os, socket, stat, sys
folder, listens = sys.argv[1:]
for each in ("box", "empty", "many"):
    os.makedirs(f"{folder}/devices/{each}")
def node(path, kind=stat.S_IFCHR):
    os.mknod(path, kind | 0o600, os.makedev(1, 3))
os.chdir(f"{folder}/devices/box")
node("unix.hp--00000000000000a1.dev-x")
node("unix.hp-00000000000000a2.dev-y", stat.S_IFBLK)
node("unix.other.dev-z")
open("unix.hp--00000000000000a3.file", "w").close()
os.symlink("unix.other.dev-z", "unix.hp--00000000000000a4.link")
os.symlink("box", "../link")
node(f"{folder}/secret")
for number in range(2000):
    node(f"../many/unix.hp--{number:016x}.{'x' * 20}")
channel = socket.socket(socket.AF_UNIX)
channel.bind(listens)
channel.listen()
print(flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Server:
    """What is like a server: its process, its folder, where it listens, and a process beside it."""

    pid: int
    folder: str
    listens: str
    other: int


PLACES = [(folder, path) for folder in ALL for path in sockets_of(folder)]


@pytest.fixture
def server(root: None, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server in a mount namespace of its own."""
    folder, listens = getattr(request, "param", PLACES[0])
    # Its own files are where this machine's may have theirs.
    files = "mount -t tmpfs none /var && mount -t tmpfs none /run"
    script = f'{files} && mkdir -p {folder} {os.path.dirname(listens)} && exec "$@"'
    words = ["unshare", "--mount", "sh", "-ec", script, "sh", sys.executable, "-c", _SERVER, folder, listens]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        enter = ["nsenter", f"--target={process.pid}", "--mount", "sleep", "600"]
        with subprocess.Popen(enter) as other:
            eventually(lambda: b"sleep" in Path(f"/proc/{other.pid}/cmdline").read_bytes().split(b"\0")[:1])
            yield Server(process.pid, folder, listens, other.pid)
            other.kill()
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
        b"nodes /var/lib/lxd",
        b"list",
        b"list\0/var/lib/lxd\0box",
        b"list\0/var/lib/lxd\0box\0\0",
        b"root\0",
        b"x" * 1999,
    ):
        assert ask(message, [here]) == ("not a request", [])
    for beside in ([], [here, here]):
        assert ask(roots_helper.ROOT, beside) == ("not a request", [])
    assert ask(roots_helper.DISKS, [here]) == ("not a request", [])
    with ExitStack() as undo:
        for path in ("/", "/etc", "/proc/self/fd", "/proc/self/status", "/dev/null"):
            other = os.open(path, os.O_PATH)
            undo.callback(os.close, other)
            answer, found = ask(roots_helper.ROOT, [other])
            assert (answer == "done", found) == (False, [])
    assert ask(roots_helper.ROOT, [here])[0] == "done"


def fields(*texts: str) -> bytes:
    return b"\0".join(each.encode() for each in texts)


A1, A2 = "unix.hp--00000000000000a1.dev-x", "unix.hp-00000000000000a2.dev-y"


def test_of_a_servers_files_it_lists_the_nodes_of_entries_of_ours(
    ask: Ask, server: Server, folders: Callable[[int], int]
) -> None:
    here = folders(server.pid)
    answer, found = ask(fields("list", server.folder, "box", ""), [here])
    said, *lines = answer.split("\0")
    assert (said, found) == ("done", [])
    names = {name: int(inode) for inode, _, name in (each.partition(" ") for each in lines)}
    # What is no node is refused when it is asked for.
    assert names.keys() == {A1, A2, "unix.hp--00000000000000a3.file", "unix.hp--00000000000000a4.link"}
    assert names[A1] == os.stat(f"/proc/{server.pid}/root{server.folder}/devices/box/{A1}").st_ino
    assert ask(fields("list", server.folder, "empty", ""), [here]) == ("done", [])
    assert ask(fields("list", server.folder, "none", ""), [here]) == ("done", [])
    answer, _ = ask(fields("list", server.folder, "", ""), [here])
    assert {each.split(" ")[-1] for each in answer.split("\0")[1:]} == {"box", "empty", "many", "link"}


def test_and_hands_out_these_nodes_alone(ask: Ask, server: Server, folders: Callable[[int], int]) -> None:
    here, folder = folders(server.pid), server.folder
    for name in (A1, A2):
        answer, (found,) = ask(fields("node", folder, "box", name), [here])
        assert answer == "done"
        seen = os.stat(f"/proc/{server.pid}/root{folder}/devices/box/{name}")
        assert os.path.samestat(os.fstat(found), seen)
        assert fcntl.fcntl(found, fcntl.F_GETFL) & os.O_PATH
    for instance, name, why in (
        ("box", "unix.other.dev-z", "not a node of an entry of ours"),
        ("box", "unix.hp--00000000000000a3.file", "not a device node"),
        ("box", "unix.hp--00000000000000a4.link", "not a device node"),
        ("box", "unix.hp--00000000000000a1./../../../secret", "not a node of an entry of ours"),
        ("box", "..", "not a node of an entry of ours"),
        ("box", "unix.hp--00000000000000a9.none", "[Errno 2] No such file or directory"),
        ("link", A1, "[Errno 20] Not a directory"),
        ("..", A1, "not a request"),
        (".", A1, "not a request"),
        ("", A1, "not a request"),
        ("../devices/box", A1, "not a request"),
    ):
        answer, none = ask(fields("node", folder, instance, name), [here])
        assert (answer.partition(":")[0], none) == (why, [])
    for instance in ("..", "../devices", "box/..", "."):
        assert ask(fields("list", folder, instance, ""), [here]) == ("not a request", [])
    for other in ("/etc", "/var/lib", f"{folder}/", f"{folder}/..", ""):
        assert ask(fields("node", other, "box", A1), [here]) == ("not a request", [])


def test_a_list_that_is_too_long_comes_in_parts(
    ask: Ask, server: Server, folders: Callable[[int], int]
) -> None:
    here, names = folders(server.pid), list[str]()
    for _ in range(9):
        answer, _none = ask(fields("list", server.folder, "many", names[-1] if names else ""), [here])
        said, *lines = answer.split("\0")
        names += [each.split(" ")[1] for each in lines]
        if said == "done":
            break
    assert names == [f"unix.hp--{number:016x}.{'x' * 20}" for number in range(2000)]


@pytest.mark.parametrize("server", PLACES, indirect=True, ids=[path for _, path in PLACES])
def test_who_is_not_that_server_has_nothing(
    ask: Ask, server: Server, sandbox: int, folders: Callable[[int], int]
) -> None:
    request = fields("node", server.folder, "box", A1)
    assert ask(request, [folders(server.pid)])[0] == "done"
    # The same files, and another's socket.
    expected = f"not the server: the process does not listen on {server.folder}/unix.socket"
    for pid in (server.other, os.getpid()):
        answer, none = ask(request, [folders(pid)])
        assert (answer.startswith(expected), none) == (True, [])
    # Another server's folder, which it does not have.
    other = next(each for each in ALL if each != server.folder)
    answer, none = ask(fields("node", other, "box", A1), [folders(server.pid)])
    assert ("not the server" in answer, none) == (True, [])
    # A container's may call a socket what they like.
    assert ask(request, [folders(sandbox)]) == ("not the server: the process is in a container", [])
    assert ask(request, [folders(server.pid)])[0] == "done"


@contextmanager
def opener(path: Path | str, flags: int, user: int = 0) -> Iterator[int]:
    """A process of this user that has this open."""
    script = (
        "import os, sys; path, flags, user = sys.argv[1], *map(int, sys.argv[2:]); os.open(path, flags); "
        "os.setuid(user); print(flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", script, str(path), str(flags), str(user)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield process.pid
        process.kill()


def test_it_tells_who_has_which_disks_open(ask: Ask, zram: Zram) -> None:
    zram.plug()
    number = Path(zram.syspath, "dev").read_text().strip()

    def there() -> set[int]:
        answer, opened = ask(roots_helper.DISKS, [])
        said, *lines = answer.split("\0")
        assert (said, opened) == ("done", [])
        pairs = [line.split(" ") for line in lines]
        return {int(pid) for disk, pid in pairs if disk == number}

    settle()
    eventually(lambda: there() == set())
    with opener(zram.node, os.O_RDONLY) as one, opener(zram.node, os.O_PATH), opener("/dev/null", os.O_RDWR):
        assert there() == {one}
        with opener(zram.node, os.O_RDWR, user=64055) as other:
            assert there() == {one, other}
    eventually(lambda: there() == set())


def test_it_tells_who_has_a_node_open_and_not_by_o_path(ask: Ask) -> None:
    node = "/dev/full"
    with opener(node, os.O_PATH), opener(node, os.O_RDONLY) as one:
        answer, _ = ask(roots_helper.USERS + b"\0char\x001:7", [])
        block, _ = ask(roots_helper.USERS + b"\0block\x001:7", [])
    assert answer.split("\0") == ["done", f"1:7 {one}"]
    assert block == "done"


@pytest.mark.parametrize(
    "fields", ["char", "char\0001:7\000", "fifo\0001:7", "char\0001:-7", "char\000/dev/null"]
)
def test_it_tells_of_nothing_that_is_no_number(ask: Ask, fields: str) -> None:
    answer, _ = ask(roots_helper.USERS + b"\0" + fields.encode(), [])
    assert answer == "not a request"


def test_a_file_system_that_never_answers_does_not_hold_it_up(ask: Ask, tmp_path: Path, zram: Zram) -> None:
    zram.plug()
    number = Path(zram.syspath, "dev").read_text().strip()
    with hanging_here(tmp_path), opener(tmp_path, os.O_PATH), opener(zram.node, os.O_RDONLY) as one:
        answer, _ = ask(roots_helper.DISKS, [])
    assert f"{number} {one}" in answer.split("\0")


def test_who_has_many_descriptors_is_looked_at_for_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roots_helper, "_LOOK_MOST", 0.0)
    with pytest.raises(ValueError, match=r"takes longer than 0 s: process \d+ alone has \d+ descriptors"):
        list(roots_helper._open_nodes(lambda file: file.kind == "block"))


_LOOK = """
import asyncio, os, sys
from pathlib import Path
from hotplugd.container.root import process_folder
from hotplugd.container.opener import Opener
from hotplugd.container.server_folders import ALL, sockets_of
from hotplugd.aio.threads import Threads
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


_NODES = """
import asyncio, os, sys
from pathlib import Path
from hotplugd.container.opener import Opener
from hotplugd.aio.threads import Threads
async def main():
    opener = Opener(Threads(), Path(sys.argv[2]))
    nodes = await opener.nodes(int(sys.argv[1]), sys.argv[3])
    found = await nodes.list("box")
    print(type(nodes).__name__, len(found), len(await nodes.list("many")), len(await nodes.list("")))
    for inode, name in found:
        try:
            print(os.fstat(await nodes.open("box", name)).st_ino == inode)
        except OSError as error:
            print(error)
    try:
        await nodes.open("box", "unix.hp--00000000000000a9.none")
    except FileNotFoundError:
        print("gone")
    nodes.close()
    for use in (nodes.list("box"), nodes.open("box", name)):
        try:
            await use
        except OSError as error:
            print(error.errno)
    opener.close()
asyncio.run(main())
"""


def test_and_has_the_servers_nodes_opened(server: Server, project: Path, tmp_path: Path) -> None:
    words = [*CONFINE, str(project / "systemd/hotplugd.service"), sys.executable, "-c", _NODES]
    words += [str(server.pid), str(tmp_path / "roots"), server.folder]
    program = (*CONFINE, str(project / "systemd/hotplugd-roots@.service"), *command(), "roots")
    with socket_unit(tmp_path / "roots", *program):
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    head, *answers = done.stdout.splitlines()
    assert head == "_AskedNodes 4 2000 4", done.stderr
    assert sorted(answers[:4]) == ["True", "True", "not a device node", "not a device node"]
    assert answers[4:] == ["gone", str(errno.EBADF), str(errno.EBADF)]


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
