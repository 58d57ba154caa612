"""What those inside a container hear of devices: in its user and network namespace, as its root."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.lab.container import Container
from tests.support.lab.wait import eventually

KERNEL, LIBUDEV = 1, 2
ROOT = 700000

# Goes where a process is, as its root.
ENTER = """
import ctypes, json, os, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
spaces = [(os.open(f"/proc/{sys.argv[1]}/ns/{name}", os.O_RDONLY), name) for name in ("user", "net")]
for there, name in spaces:
    if not os.path.samestat(os.fstat(there), os.stat(f"/proc/self/ns/{name}")):
        assert libc.setns(there, 0) == 0, os.strerror(ctypes.get_errno())
        if name == "user":
            os.setgid(0), os.setuid(0)
"""
# Hears both groups and prints what comes, with who it is from as those inside see it, and when it came.
_EAR = f"""
{ENTER}
ear = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)
ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
ear.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
ear.bind((0, 3))
print(flush=True)
while True:
    data, beside, _, (port, groups) = ear.recvmsg(1 << 16, 1024)
    pid, user, group = struct.unpack("iII", beside[0][2])
    print(json.dumps([groups, port, user, time.monotonic(), data.decode("latin-1")]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message: the group it came to, its sender's port and user, when, all of it, and its properties."""

    group: int
    port: int
    user: int
    at: float
    raw: bytes
    properties: Sequence[tuple[str, str]]

    def __getitem__(self, key: str) -> str:
        return dict(self.properties)[key]

    def get(self, key: str) -> str | None:
        return dict(self.properties).get(key)


@dataclass(slots=True)
class Ear:
    """Everything that was heard so far."""

    messages: list[Heard] = field(default_factory=list)

    def of(self, path: str, group: int | None = None) -> list[Heard]:
        """The messages about the node at this path inside."""
        name = path.removeprefix("/dev/")
        return [
            each
            for each in list(self.messages)
            if (each.get("DEVNAME") or "").removeprefix("/dev/") == name and group in (None, each.group)
        ]

    def actions(self, path: str) -> list[str]:
        """What was heard of this path: `add kernel`, `remove libudev`, …"""
        names = {KERNEL: "kernel", LIBUDEV: "libudev"}
        return [f"{each['ACTION']} {names[each.group]}" for each in self.of(path)]


@contextmanager
def listening(pid: int) -> Iterator[Ear]:
    """Hear what is said in the namespaces of a process, the host's included."""
    ear = Ear()
    words = [sys.executable, "-c", _EAR, str(pid)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                group, port, user, at, text = json.loads(line)
                raw = text.encode("latin-1")
                ear.messages.append(Heard(group, port, user, at, raw, parse(group, raw)))

        reader = threading.Thread(target=read, daemon=True)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "\n"
            reader.start()
            yield ear
        finally:
            process.kill()
            if reader.ident is not None:
                reader.join(10)


def parse(group: int, raw: bytes) -> list[tuple[str, str]]:
    """The properties of a message, read as strictly as the strictest reader does."""
    if group == KERNEL:
        head, *properties = raw.decode("utf-8", "surrogateescape").split("\0")
        assert "@" in head
    else:
        assert raw[:8] == b"libudev\0"
        assert raw[8:12] == b"\xfe\xed\xca\xfe"
        size, start, length = (int.from_bytes(raw[at : at + 4], sys.byteorder) for at in (12, 16, 20))
        assert (size, start + length) == (40, len(raw))
        properties = raw[start:].decode("utf-8", "surrogateescape").split("\0")
    assert properties.pop() == ""
    return [(key, value) for key, equals, value in (each.partition("=") for each in properties) if equals]


@contextmanager
def namespaces() -> Iterator[int]:
    """A process in a user and a network namespace of its own. Its root is user `ROOT` here."""
    words = ["unshare", "--user", "--net", "sh", "-c", "echo; exec sleep infinity"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{process.pid}/{name}").write_text(f"0 {ROOT} 1000\n")
            yield process.pid
        finally:
            process.kill()


@contextmanager
def monitor(container: Container) -> Iterator[Callable[[], str]]:
    """`udevadm monitor` in there: what libudev makes of it all. Gives what it has printed."""
    target = f"--target={container.pid}"
    user = [] if _same(container.pid, "user") else ["--user"]
    words = ["nsenter", target, *user, "--net", "udevadm", "monitor", "--kernel", "--udev", "--property"]
    with ExitStack() as undo:
        read, write = os.pipe()
        undo.callback(os.close, read)
        process = undo.enter_context(subprocess.Popen(words, stdout=write))
        undo.callback(process.kill)
        os.close(write)
        os.set_blocking(read, False)
        printed = bytearray()

        def text() -> str:
            with suppress(BlockingIOError):
                while chunk := os.read(read, 1 << 16):
                    printed.extend(chunk)
            return printed.decode(errors="replace")

        eventually(lambda: "KERNEL - the kernel uevent" in text())
        yield text


def _same(pid: int, space: str) -> bool:
    ours, theirs = (os.stat(f"/proc/{each}/ns/{space}") for each in ("self", pid))
    return os.path.samestat(ours, theirs)


@contextmanager
def socket_unit(path: Path, *program: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A socket as systemd has it with Accept=yes: each connection is the standard input of its own program.

    Gives the programs that were started.
    """
    started: list[subprocess.Popen[bytes]] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(str(path))
        server.listen()

        def accept() -> None:
            with suppress(OSError):
                while True:
                    channel, _ = server.accept()
                    with channel:
                        started.append(subprocess.Popen(program, stdin=channel.fileno()))

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield started
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            path.unlink()
            for each in started:
                each.kill()
                each.wait(10)
