"""The program that injects uevents: what it does, what it refuses, and that it goes on afterwards."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotplugd.aio import helper_loop
from hotplugd.aio.helper import words
from hotplugd.container import inject_helper, inode_status, roots_helper, seal_helper, server_folders
from hotplugd.container.uevent_message import kernel_form, libudev_form
from hotplugd.host import udev_rules_helper
from hotplugd.model.uevent import Uevent
from tests.support.devices import phone
from tests.support.lab.daemon import command
from tests.support.lab.inject import Program
from tests.support.lab.uevents import KERNEL, LIBUDEV, ROOT, listening, namespaces
from tests.support.lab.wait import eventually, steadily

PATH = "/dev/phone"
ADD = Uevent("add", phone(), PATH, "BUSNUM=001\nDEVNUM=001")
FORMS = kernel_form(ADD), libudev_form(ADD, 7)
PROPER = inject_helper.request(ROOT, *FORMS)


@pytest.fixture
def program(root: None) -> Iterator[Program]:
    with closing(Program()) as started:
        yield started


@pytest.fixture
def space(root: None) -> Iterator[int]:
    """A process in namespaces of its own."""
    with namespaces() as pid:
        yield pid


@pytest.fixture
def network(space: int) -> Iterator[int]:
    """A descriptor of its network namespace."""
    descriptor = os.open(f"/proc/{space}/ns/net", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_both_forms_are_heard_as_from_root(program: Program, space: int, network: int) -> None:
    with listening(space) as ear:
        assert program.ask(PROPER, [network]) == "done"
        eventually(lambda: len(ear.messages) == 2)
    kernel, libudev = ear.messages
    assert (kernel.group, kernel.port, kernel.user) == (KERNEL, 0, 0)
    assert (libudev.group, libudev.user, libudev.raw) == (LIBUDEV, 0, FORMS[1])
    assert libudev.port > 0
    assert kernel.raw == FORMS[0] + f"SEQNUM={kernel['SEQNUM']}\0".encode()


def test_where_nobody_listens_all_is_well(program: Program, network: int) -> None:
    assert program.ask(PROPER, [network]) == "done"


def test_many_are_heard_in_order(program: Program, space: int, network: int) -> None:
    with listening(space) as ear:
        for number in range(1, 101):
            assert program.tell(ADD, number, network) == "done"
        eventually(lambda: len(ear.messages) == 200)
    numbers = [each["SEQNUM"] for each in ear.messages if each.group == LIBUDEV]
    assert numbers == [str(number) for number in range(1, 101)]
    assert [each.group for each in ear.messages] == [KERNEL, LIBUDEV] * 100


def test_a_namespace_without_a_user_namespace_of_its_own_hears_too(program: Program) -> None:
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE
    ) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            with listening(other.pid) as ear, open(f"/proc/{other.pid}/ns/net") as file:
                assert program.ask(inject_helper.request(0, *FORMS), [file.fileno()]) == "done"
                eventually(lambda: ear.actions(PATH) == ["add kernel", "add libudev"])
                assert {each.user for each in ear.of(PATH)} == {0}
        finally:
            other.kill()


def test_another_user_is_not_taken_for_root(program: Program, space: int, network: int) -> None:
    with listening(space) as ear:
        assert program.ask(inject_helper.request(0, *FORMS), [network]) == "done"
        eventually(lambda: len(ear.messages) == 2)
    assert {each.user for each in ear.messages} == {65534}


def test_the_hosts_own_namespace_is_refused(program: Program) -> None:
    with listening(os.getpid()) as ear, open("/proc/self/ns/net") as file:
        assert "is the host's" in program.ask(PROPER, [file.fileno()])
        steadily(lambda: not ear.of(PATH), 0.2)


def test_what_is_no_network_namespace_is_refused(program: Program, space: int, network: int) -> None:
    for path, answer in (
        (f"/proc/{space}/ns/user", "not a network namespace"),
        (f"/proc/{space}/ns/mnt", "not a network namespace"),
        ("/dev/null", "Inappropriate ioctl for device"),
        ("/", "Inappropriate ioctl for device"),
    ):
        with ExitStack() as undo:
            descriptor = os.open(path, os.O_RDONLY)
            undo.callback(os.close, descriptor)
            assert answer in program.ask(PROPER, [descriptor])
    assert program.ask(PROPER, [network]) == "done"


@pytest.mark.parametrize("count", [0, 2, 3, 5, 20])
def test_there_is_one_descriptor(program: Program, network: int, count: int) -> None:
    assert program.ask(PROPER, [network]) == "done"
    before = descriptors(program)
    assert program.ask(PROPER, [network] * count) == "not a request"
    assert program.ask(PROPER, [network]) == "done"
    assert descriptors(program) == before


@pytest.mark.parametrize(
    "request_",
    [
        b"\0",
        b"\0" * 8,
        PROPER[:7],
        inject_helper.request(ROOT, b"", FORMS[1]),
        inject_helper.request(ROOT, FORMS[0], b""),
        struct.pack("=II", ROOT, 2**32 - 1) + b"x" * 100,
        inject_helper.request(ROOT, FORMS[0], b"x" * (40 << 10)),
    ],
)
def test_what_is_no_request_is_refused(program: Program, network: int, request_: bytes) -> None:
    assert program.ask(request_, [network]) == "not a request"
    assert program.ask(PROPER, [network]) == "done"


def test_what_the_kernel_refuses_is_passed_on(program: Program, space: int, network: int) -> None:
    with listening(space) as ear:
        assert (
            program.ask(inject_helper.request(ROOT, b"x" * 2048, FORMS[1]), [network])
            == "[Errno 22] Invalid argument"
        )
        steadily(lambda: not ear.messages, 0.1)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=300), st.integers(0, 3))
def test_it_answers_whatever_comes(program: Program, network: int, request_: bytes, count: int) -> None:
    assert program.ask(request_, [network] * count)
    assert program.process.poll() is None


def test_it_stays_where_it_is_and_keeps_nothing(program: Program, network: int) -> None:
    program.ask(PROPER, [network])
    before = descriptors(program)
    for _ in range(50):
        program.ask(PROPER, [network])
    assert descriptors(program) == before
    here, there = (Path(f"/proc/{each}/ns/net").stat() for each in ("self", program.process.pid))
    assert os.path.samestat(here, there)


def test_it_ends_when_nobody_asks_any_more(program: Program) -> None:
    program.channel.close()
    assert program.process.wait(10) == 0


def test_it_needs_nothing_but_the_standard_library() -> None:
    for module in (inject_helper, roots_helper, seal_helper, udev_rules_helper):
        *start, path, name = words(module.__name__)
        script = "import sys, importlib; sys.path.append(sys.argv[1]); importlib.import_module(sys.argv[2])"
        done = subprocess.run(
            [*start[:-1], f"{script}; print(*sys.modules)", path, name],
            capture_output=True,
            text=True,
            check=True,
        )
        ours = {each for each in done.stdout.split() if each.partition(".")[0] == "hotplugd"}
        reads = module in (roots_helper, seal_helper)
        own = {helper_loop, server_folders, inode_status} if reads else {helper_loop}
        needed = (module.__name__, *(each.__name__ for each in own))
        assert ours == {"hotplugd", *needed, *(each.rpartition(".")[0] for each in needed)}
        assert not {"click", "asyncio", "pyudev"} & set(done.stdout.split())


class TestCommand:
    def test_it_is_the_same_program(self, network: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(20)
        with ours, theirs, subprocess.Popen([*command(), "inject"], stdin=theirs.fileno()) as process:
            theirs.close()
            socket.send_fds(ours, [PROPER], [network])
            assert ours.recv(100) == b"done"
            ours.close()
            assert process.wait(10) == 0

    def test_it_is_not_for_people(self) -> None:
        helped = subprocess.run([*command(), "--help"], capture_output=True, text=True, check=True)
        assert "inject" not in helped.stdout
        done = subprocess.run(
            [*command(), "inject"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert "hotplugd or systemd starts this" in done.stderr

    def test_a_stream_is_not_what_it_serves(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            done = subprocess.run(
                [*command(), "inject"], stdin=theirs.fileno(), capture_output=True, check=False
            )
        assert done.returncode == 2


def descriptors(program: Program) -> int:
    return len(os.listdir(f"/proc/{program.process.pid}/fd"))
