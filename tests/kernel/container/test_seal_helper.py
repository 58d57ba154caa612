"""The program that seals nodes: what it does, what it refuses, and that it goes on afterwards."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from hotplugd.aio.helper import words
from hotplugd.container import seal_helper
from tests.support.lab.daemon import command

_USER = 100_000
# What the kernel keeps an access control list in: user::rw- user:_USER:rw- group::r-- mask::rw- other::---
_LIST = bytes.fromhex(
    "02000000 01000600ffffffff 02000600a0860100 04000400ffffffff 10000600ffffffff 20000000ffffffff"
)

Ask = Callable[[bytes, Sequence[int]], list[str]]


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """The folder of what is like a server."""
    folder = tmp_path / "server"
    (folder / "devices/box").mkdir(parents=True)
    return folder


@pytest.fixture(params=["alone", "as the unit confines it"])
def ask(root: None, request: pytest.FixtureRequest, project: Path, server: Path) -> Iterator[Ask]:
    """Asks one program, which then ends well. It has the one capability."""
    alone = words(seal_helper.__name__, [str(server)])
    line = ["setpriv", "--bounding-set=-all,+chown", "--no-new-privs", *alone]
    if request.param != "alone":
        unit = project / "systemd/hotplugd-seal@.service"
        line = [sys.executable, "-m", "tests.support.lab.confine", str(unit), *command(), "seal", str(server)]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, subprocess.Popen(line, stdin=theirs.fileno()) as process:
        theirs.close()
        ours.settimeout(20)

        def one(message: bytes, nodes: Sequence[int]) -> list[str]:
            socket.send_fds(ours, [message], nodes)
            return ours.recv(seal_helper.LIMITS.answer).decode().split("\0")

        yield one
        ours.close()
        assert process.wait(20) == 0


@pytest.fixture
def node(server: Path) -> Iterator[Callable[..., int]]:
    """Makes nodes of null, somebody's, where the server has them or elsewhere, and gives descriptors."""
    opened: list[int] = []

    def make(name: str = "node", kind: int = stat.S_IFCHR, folder: Path | None = None) -> int:
        path = (folder or server / "devices/box") / name
        os.mknod(path, kind | 0o666, os.makedev(1, 3))
        os.chmod(path, 0o666)
        os.chown(path, _USER, _USER)
        opened.append(os.open(path, os.O_PATH | os.O_NOFOLLOW))
        return opened[-1]

    yield make
    for each in opened:
        os.close(each)


def is_sealed(node: int) -> bool:
    status = os.fstat(node)
    return (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, 0, 0)


def can(node: int, user: int = _USER) -> bool:
    """Whether this user could open what the descriptor holds."""
    pid = os.fork()
    if pid == 0:
        os.setgid(user)
        os.setuid(user)
        try:
            os.open(f"/proc/self/fd/{node}", os.O_RDONLY)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_nobody_opens_a_sealed_node(ask: Ask, node: Callable[..., int]) -> None:
    char, block = node("char"), node("block", stat.S_IFBLK)
    assert can(char)
    assert ask(seal_helper.REQUEST, [char, block]) == ["done", "done"]
    assert is_sealed(char)
    assert is_sealed(block)
    assert not can(char)
    assert ask(seal_helper.REQUEST, [char]) == ["done"]
    assert ask(seal_helper.REQUEST, []) == ["done"]


def test_nor_by_an_access_control_list(ask: Ask, node: Callable[..., int]) -> None:
    one = node()
    try:
        os.setxattr(f"/proc/self/fd/{one}", "system.posix_acl_access", _LIST)
    except OSError as error:
        pytest.fail(f"the file system has no such lists: {error}")
    os.chown(f"/proc/self/fd/{one}", _USER + 1, _USER + 1)
    assert can(one)
    assert ask(seal_helper.REQUEST, [one]) == ["done"]
    assert not can(one)


def test_nor_once_it_is_gone_from_its_folder(ask: Ask, node: Callable[..., int], server: Path) -> None:
    one = node()
    (server / "devices/box/node").unlink()
    assert ask(seal_helper.REQUEST, [one]) == ["done"]
    assert is_sealed(one)


def test_as_many_as_a_message_takes(ask: Ask, node: Callable[..., int]) -> None:
    nodes = [node(str(number)) for number in range(seal_helper.MOST)]
    assert ask(seal_helper.REQUEST, nodes) == ["done"] * seal_helper.MOST
    assert all(map(is_sealed, nodes))


def test_what_it_refuses_and_does_all_the_same(ask: Ask, node: Callable[..., int], tmp_path: Path) -> None:
    good = node()
    file, link, pipe = tmp_path / "file", tmp_path / "link", tmp_path / "pipe"
    file.write_text("precious")
    link.symlink_to(file)
    os.mkfifo(pipe)
    flags = os.O_PATH | os.O_NOFOLLOW
    others = [os.open(path, flags) for path in (file, link, pipe, tmp_path, "/dev/null", "/dev/tty")]
    others.append(os.open("/dev/null", os.O_RDONLY))
    before = [os.fstat(each)[:6] for each in others]
    answers = ask(seal_helper.REQUEST, [*others, good])
    assert answers[-1] == "done"
    assert answers[:4] == ["not a device node"] * 4
    assert [each.split(": ")[0] for each in answers[4:6]] == ["the node is none that a server has made"] * 2
    assert "expected was a descriptor that opens nothing" in answers[6]
    assert [os.fstat(each)[:6] for each in others] == before
    for each in others:
        os.close(each)


@pytest.fixture
def mount(root: None) -> Iterator[Callable[..., None]]:
    """Mounts, for as long as a test takes."""
    with ExitStack() as undo:

        def one(*options: str | Path) -> None:
            subprocess.run(["mount", *options], check=True)
            undo.callback(subprocess.run, ["umount", "--lazy", options[-1]], check=True)

        yield one


def test_what_no_server_has_made(
    ask: Ask, node: Callable[..., int], tmp_path: Path, mount: Callable[..., None], server: Path
) -> None:
    """A terminal of a container's, and nodes beside the server's: on its file system, and on another."""
    terminals, other = tmp_path / "pts", tmp_path / "other"
    for folder in (terminals, other):
        folder.mkdir()
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666", "devpts", terminals)
    mount("-t", "tmpfs", "other", other)
    here = server / "devices/box"
    (here / "terminal").touch()
    (here / "other").touch()
    nodes = [node(folder=tmp_path), node(folder=other), node("devices-not", folder=server)]
    # Whoever is root inside may mount them where nodes of the server's are.
    mount("--bind", terminals / "ptmx", here / "terminal")
    mount("--bind", other / "node", here / "other")
    paths = (terminals / "ptmx", here / "terminal", here / "other")
    nodes += [os.open(path, os.O_PATH | os.O_NOFOLLOW) for path in paths]
    before = [os.fstat(each)[:6] for each in nodes]
    answers = ask(seal_helper.REQUEST, [*nodes, node("good")])
    assert answers.pop() == "done"
    assert all("the node is none that a server has made: it is /" in each for each in answers)
    assert [os.fstat(each)[:6] for each in nodes] == before
    for each in nodes[3:]:
        os.close(each)


def test_what_is_mounted_where_a_container_has_it(
    ask: Ask, node: Callable[..., int], tmp_path: Path, mount: Callable[..., None], server: Path
) -> None:
    inside = tmp_path / "ttyUSB0"
    inside.touch()
    one = node()
    mount("--bind", server / "devices/box/node", inside)
    found = os.open(inside, os.O_PATH | os.O_NOFOLLOW)
    assert os.readlink(f"/proc/self/fd/{found}") == str(inside)
    assert ask(seal_helper.REQUEST, [found]) == ["done"]
    assert is_sealed(one)
    os.close(found)


def test_on_an_overlay_whose_files_have_other_numbers_than_its_folders(
    ask: Ask, node: Callable[..., int], tmp_path: Path, mount: Callable[..., None], server: Path
) -> None:
    layers = tmp_path / "layers"
    layers.mkdir()
    mount("-t", "tmpfs", "layers", layers)
    for each in ("upper", "work"):
        (layers / each).mkdir()
    options = f"lowerdir={server},upperdir={layers}/upper,workdir={layers}/work,xino=off"
    mount("-t", "overlay", "-o", options, "overlay", server)
    one = node()
    assert os.fstat(one).st_dev != (server / "devices").stat().st_dev
    assert ask(seal_helper.REQUEST, [one]) == ["done"]
    assert is_sealed(one)


@pytest.mark.parametrize("message", [b"x", b"seals", b"seal\0", b"x" * 5000])
def test_what_is_no_request(ask: Ask, node: Callable[..., int], message: bytes) -> None:
    one = node()
    assert ask(message, [one]) == ["not a request"]
    assert not is_sealed(one)
    assert ask(seal_helper.REQUEST, [one]) == ["done"]


def test_it_keeps_no_descriptors(root: None, node: Callable[..., int], server: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one = node()
    with (
        ours,
        theirs,
        subprocess.Popen(words(seal_helper.__name__, [str(server)]), stdin=theirs.fileno()) as process,
    ):
        counts = set()
        for message in (seal_helper.REQUEST, b"x", seal_helper.REQUEST, b"seal!"):
            socket.send_fds(ours, [message], [one] * 50)
            ours.recv(seal_helper.LIMITS.answer)
            counts.add(len(os.listdir(f"/proc/{process.pid}/fd")))
        assert len(counts) == 1
        process.kill()


def test_by_hand_it_says_who_starts_it() -> None:
    done = subprocess.run(
        [*command(), "seal"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "standard input is no socket" in done.stderr) == (2, True)
