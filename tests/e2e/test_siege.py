"""The real daemon's control socket under those who mean it no good: it goes on attaching all the while."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.support.lab.container import Container
from tests.support.lab.daemon import Daemon
from tests.support.lab.kernel import Console
from tests.support.lab.wait import eventually

pytestmark = pytest.mark.alone

_NOBODY = 65534
_PLACES = 64  # control.py, _OF_ROOT
_KEPT = 16  # connections to the server, kept for the next request: as many as were had at a time
_MIB = 1 << 20
# Opens many connections, says so, and holds them until its input ends.
_MANY = """
import socket, sys
held = []
for _ in range(int(sys.argv[2])):
    channel = socket.socket(socket.AF_UNIX)
    channel.connect(sys.argv[1])
    held.append(channel)
print(len(held), flush=True)
sys.stdin.read()
"""
# Asks again and again, and prints each answer once.
_OTHER = """
import socket, sys
answers = set()
for _ in range(int(sys.argv[2])):
    with socket.socket(socket.AF_UNIX) as channel:
        try:
            channel.connect(sys.argv[1])
            channel.sendall(b"GET /1/status HTTP/1.0\\r\\n\\r\\n")
            answers.add(channel.makefile().read().split("\\n")[-2])
        except OSError as error:
            answers.add(type(error).__name__)
print("\\n".join(sorted(answers)))
"""


@dataclass(frozen=True, slots=True)
class Besieged:
    """A daemon with something to do."""

    running: Daemon
    attaches: Callable[[], None]

    def connect(self) -> socket.socket:
        channel = socket.socket(socket.AF_UNIX)
        # Waits while others wait; with a timeout it would be told to try again.
        channel.connect(str(self.running.control))
        channel.settimeout(10)
        return channel

    def descriptors(self) -> list[str]:
        """What it has open, each as the kernel names it."""
        folder = f"/proc/{self.running.pid}/fd"
        found = []
        for each in os.listdir(folder):
            with suppress(FileNotFoundError):
                found.append(os.readlink(f"{folder}/{each}"))
        return found

    def see_few(self, before: list[str]) -> bool:
        """See that it has no more descriptors than before and those that it keeps."""
        found = self.descriptors()
        new, gone = Counter(found) - Counter(before), Counter(before) - Counter(found)
        assert len(found) <= len(before) + _KEPT, f"new: {sorted(new.elements())}, gone: {sorted(gone)}"
        return True

    def memory(self) -> int:
        """In bytes (proc(5): VmRSS)."""
        status = Path(f"/proc/{self.running.pid}/status").read_text()
        (line,) = [each for each in status.splitlines() if each.startswith("VmRSS:")]
        return int(line.split()[1]) << 10

    def answers(self) -> bool:
        return self.running.ask("status", "--json").returncode == 0

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """Afterwards it has no more than before, and answers."""
        self.attaches()
        assert self.answers()
        descriptors, memory = self.descriptors(), self.memory()
        yield
        eventually(lambda: self.see_few(descriptors))
        assert self.memory() < memory + 8 * _MIB
        self.attaches()
        eventually(self.answers)
        assert "defect" not in self.running.log()


@pytest.fixture
def besieged(container: Container, console: Console, daemon: StartDaemon) -> Besieged:
    rule = (
        f"{{name: one, match: {{subsystem: vc, kernel: vcsa{console.number}}}, attach: {{to: {container}}}}}"
    )
    running = daemon(f"rules: [{rule}]")

    def attaches() -> None:
        console.plug()
        eventually(lambda: container.look(console.node))
        console.unplug()
        eventually(lambda: container.look(console.node) is None)

    return Besieged(running, attaches)


def hung_up(channel: socket.socket) -> bool:
    poll = select.poll()
    poll.register(channel, 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


def test_ten_thousand_connections_one_after_the_other(besieged: Besieged) -> None:
    with besieged.unharmed():
        for number in range(10_000):
            # Whoever comes while all places are taken is hung up on.
            with besieged.connect() as channel, suppress(BrokenPipeError):
                if number % 2:
                    channel.sendall(b"stat")


def test_ten_thousand_connections_at_once(besieged: Besieged) -> None:
    before = len(besieged.descriptors())
    with besieged.unharmed(), ExitStack() as undo:
        crowd = [
            undo.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _MANY, str(besieged.running.control), "1000"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            for _ in range(10)
        ]
        for each in crowd:
            assert each.stdout is not None
            assert each.stdout.readline() == b"1000\n"
        eventually(lambda: len(besieged.descriptors()) <= before + _PLACES + _KEPT)
        besieged.attaches()


def test_a_request_of_a_gigabyte(besieged: Besieged) -> None:
    sent, memory = 0, besieged.memory()
    with besieged.unharmed():
        with besieged.connect() as channel, suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(1024):
                channel.sendall(b"s" * _MIB)
                sent += _MIB
        assert sent <= 2 * _MIB
        assert besieged.memory() < memory + 4 * _MIB


def test_clients_that_speak_a_letter_at_a_time_hold_up_no_device(besieged: Besieged) -> None:
    with besieged.unharmed(), ExitStack() as undo:
        slow = [undo.enter_context(besieged.connect()) for _ in range(_PLACES)]

        def all_hung_up() -> bool:
            for each in slow:
                with suppress(BrokenPipeError, ConnectionResetError):
                    each.sendall(b"s")
            return all(map(hung_up, slow))

        besieged.attaches()
        eventually(all_hung_up, pause=0.2)


def test_another_user_is_told_no_however_often(besieged: Besieged) -> None:
    with besieged.unharmed():
        assert _as_nobody(besieged.running, 100) == ["PermissionError"]
        # As if somebody had loosened the modes.
        besieged.running.folder.chmod(0o755)
        besieged.running.control.chmod(0o666)
        told = _as_nobody(besieged.running, 1000)
        why = f"user {_NOBODY} may not read; root may, and groups that `allow` in the configuration names"
        assert told == [f'{{"error": "{why}"}}']


def _as_nobody(running: Daemon, times: int) -> list[str]:
    # Debian's Python: the tests' own may be where only root can go.
    done = subprocess.run(
        ["/usr/bin/python3", "-c", _OTHER, str(running.control), str(times)], user=_NOBODY, group=_NOBODY,
        extra_groups=[], capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    return done.stdout.splitlines()
