"""A udevd that is behind: its messages arrive when they are passed on, and the kernel's arrive as ever.

The kernel sends the uevents of devices to every network namespace, udevd its messages to its own alone. So
a listener in a namespace of its own hears the machine's kernel, and of the machine's udevd what is carried
over to it, byte for byte. Nobody else notices anything.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.support.lab.wait import eventually

_NETLINK_KOBJECT_UEVENT: Final = 15
_SO_RCVBUFFORCE: Final = 33
_UDEVD_GROUP: Final = 2
_CLONE_NEWNET: Final = 0x40000000
# As libudev sends: prefix, magic, header's length, where the properties are and how long (and four filters).
_HEADER: Final = struct.Struct("=8s4sIII")


class SlowUdevd:
    """Holds back what udevd says. For one thread: that which enters it."""

    def __init__(self) -> None:
        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._held: list[bytes] = []

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._ours = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            undo.callback(os.close, self._ours)
            self._heard = undo.enter_context(_socket())
            self._heard.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
            self._heard.bind((0, _UDEVD_GROUP))
            self._heard.setblocking(False)
            self._must(self._libc.unshare(_CLONE_NEWNET))
            try:
                self._theirs = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                undo.callback(os.close, self._theirs)
                self._sender = undo.enter_context(_socket())
            finally:
                self._must(self._libc.setns(self._ours, _CLONE_NEWNET))
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Sockets that are opened meanwhile belong to the namespace in which this udevd is heard."""
        self._must(self._libc.setns(self._theirs, _CLONE_NEWNET))
        try:
            yield
        finally:
            self._must(self._libc.setns(self._ours, _CLONE_NEWNET))

    def message(self, action: str, syspath: str) -> bytes:
        """The next message about a device that udevd sent and that was not asked for yet; waits for it."""

        def found() -> bytes:
            self._receive()
            for each in self._held:
                said = properties(each)
                if (said["ACTION"], "/sys" + said["DEVPATH"]) == (action, syspath):
                    self._held.remove(each)
                    return each
            return b""

        return eventually(found)

    def pass_on(self, message: bytes) -> None:
        self._sender.sendto(message, (0, _UDEVD_GROUP))

    def _receive(self) -> None:
        while True:
            try:
                self._held.append(self._heard.recv(1 << 16))
            except BlockingIOError:
                return

    def _must(self, result: int) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), "cannot change the network namespace")


def _socket() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_KOBJECT_UEVENT)


def properties(message: bytes) -> dict[str, str]:
    """What a message of udevd's says."""
    *_, offset, length = _HEADER.unpack_from(message)
    pairs = message[offset : offset + length].split(b"\0")[:-1]
    return dict(pair.decode("utf-8", "surrogateescape").split("=", 1) for pair in pairs)


def record(message: bytes, **changes: bytes | None) -> None:
    """udevd has these properties in its database, None for none, of the device that a message is about."""
    said = properties(message)
    path = Path("/run/udev/data", f"c{said['MAJOR']}:{said['MINOR']}")
    lines = path.read_bytes().splitlines(keepends=True)
    heads = [_head(key) for key in changes]
    kept = [each for each in lines if not each.startswith(tuple(heads))]
    new = [_head(key) + value + b"\n" for key, value in changes.items() if value is not None]
    fresh = path.with_suffix(".new")
    fresh.write_bytes(b"".join(kept + new))
    fresh.replace(path)


def _head(key: str) -> bytes:
    return b"I:" if key == "USEC_INITIALIZED" else b"E:" + key.encode() + b"="
