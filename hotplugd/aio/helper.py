"""Sends requests to a helper program of ours, which has a privilege that the daemon lacks: see `seal_helper`.

Under systemd the program waits behind a socket. Where there is none, as when hotplugd is run by hand, it is
started as a child. One program is kept; one that ended or hangs is replaced.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import hotplugd
from hotplugd.aio.helper_loop import Limits
from hotplugd.aio.threads import NoThread, Threads

# Alone with the standard library and our own modules, of which the programs import `helper_loop`.
_START: Final = (
    "import sys; from importlib import import_module; sys.path.append(sys.argv[1]); "
    "sys.exit(import_module(sys.argv[2]).main(sys.argv[3:]))"
)
_OURS: Final = Path(hotplugd.__file__).parent.parent
_DENIED: Final = ("Operation not permitted", "Permission denied")
# A busy machine may be slow to start a program, and one more that starts makes it slower.
_STARTS_WITHIN: Final = 30.0


def words(module: str, arguments: Sequence[str] = ()) -> tuple[str, ...]:
    """How to start the program that is this module of ours."""
    return (sys.executable, "-I", "-S", "-c", _START, str(_OURS), module, *arguments)


class Unanswered(Exception):
    """The program did not do what it was asked for. The text is fit to be shown."""


@dataclass(frozen=True, slots=True)
class Running:
    """A helper program that runs: our end of its socket. process is None where systemd started it."""

    channel: socket.socket
    process: subprocess.Popen[bytes] | None = None

    def end(self) -> None:
        """End the program, also one that hangs."""
        self.channel.close()
        if self.process is not None:
            self.process.kill()


class Program:
    """One program, asked one thing after the other.

    turn       a lock that a caller of `ask` holds
    running    None until the first request
    name       names its socket under systemd, hotplugd-NAME.socket
    module     the Python module that is the program
    path       where systemd listens for it
    deadline   seconds within which it answers, once it has answered before
    starting   seconds within which it gives its first answer after a start
    limits     the longest request and answer, and the number of descriptors
    arguments  its command line where we start it as a child
    """

    def __init__(
        self,
        threads: Threads,
        name: str,
        module: str,
        path: Path,
        deadline: float,
        limits: Limits,
        arguments: Sequence[str] = (),
    ) -> None:
        self.turn = asyncio.Lock()
        self.running: Running | None = None
        self.words: Sequence[str] = words(module, arguments)
        self.deadline = deadline
        self.starting = max(deadline, _STARTS_WITHIN)
        self._threads = threads
        self._name = name
        self._path = path
        self._limits = limits
        self._over = False
        self._answered = False

    async def ask(self, request: bytes, descriptors: Sequence[int]) -> bytes:
        """Send a request and these descriptors, and return the answer. Raises Unanswered."""
        answer, opened = await self.ask_for(request, descriptors)
        for each in opened:
            os.close(each)
        return answer

    async def ask_for(self, request: bytes, descriptors: Sequence[int]) -> tuple[bytes, list[int]]:
        """Likewise, and the descriptor beside the answer, if there is one; the caller closes it."""
        self.see_whether_over()
        kept = self.running
        try:
            answer, opened = await self._exchange(request, descriptors)
            self.see_whether_over()
            if not answer and kept is not None:
                # The program ended while it was idle, perhaps because a new version was installed.
                answer, opened = await self._exchange(request, descriptors)
        except OSError as error:
            raise Unanswered(f"the program for it cannot be reached: {error}") from error
        if not answer:
            raise Unanswered("the program for it ended")
        return answer, opened

    def explained(self, message: str) -> str:
        """The error text of a program, with advice where the program is our child and lacks a privilege."""
        if (
            self.running is not None
            and self.running.process is not None
            and any(each in message for each in _DENIED)
        ):
            return f"{message}; under systemd, hotplugd-{self._name}.socket has to be there ({self._path})"
        return message

    def see_whether_over(self) -> None:
        """For a caller that has waited for its turn. Raises CancelledError once closed."""
        if self._over:
            raise asyncio.CancelledError

    def close(self) -> None:
        """Let go of the program. What is under way is cancelled."""
        self._over = True
        if self.running is not None and self.turn.locked():
            # The event loop still watches the channel: its number could be reused under that watch.
            self.running.channel.shutdown(socket.SHUT_RDWR)
        else:
            self._drop()

    def let_go(self) -> None:
        """Have it end until it is needed again."""
        self._drop()

    def _drop(self) -> None:
        if self.running is not None:
            self.running.end()
            self.running = None
            self._answered = False

    async def _exchange(self, request: bytes, descriptors: Sequence[int]) -> tuple[bytes, list[int]]:
        """The program's answer, empty if it ended. Raises OSError, and Unanswered where it takes too long."""
        answer, opened = b"", list[int]()
        limit = self.deadline if self._answered else self.starting
        try:
            async with asyncio.timeout(limit):
                if self.running is None:
                    self.running = self._connect() or await self._start()
                with suppress(BrokenPipeError, ConnectionResetError):
                    socket.send_fds(self.running.channel, [request], descriptors)
                    answer, opened = await self._receive(self.running.channel)
                    self._answered = True
        except TimeoutError:
            raise Unanswered(f"the program for it does not answer within {limit:.0f} s") from None
        finally:
            if not answer:  # a late answer must not be taken for the next one
                self._drop()
        return answer, opened

    async def _receive(self, channel: socket.socket) -> tuple[bytes, list[int]]:
        loop = asyncio.get_running_loop()
        while True:
            try:
                answer, opened, *_ = socket.recv_fds(channel, self._limits.answer, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                ready: asyncio.Future[None] = loop.create_future()
                loop.add_reader(channel, _be_ready, ready)
                try:
                    await ready
                finally:
                    loop.remove_reader(channel)
            else:
                return answer, opened

    def _connect(self) -> Running | None:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            channel.setblocking(False)
            channel.connect(str(self._path))
        except FileNotFoundError:
            channel.close()
            return None
        except OSError:
            channel.close()
            raise
        return Running(channel)

    async def _start(self) -> Running:
        """Start the program with an empty environment: our variables are not meant for it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)

        def spawn() -> subprocess.Popen[bytes]:
            # Closed here alone: after a cancellation the program could otherwise get a reused descriptor.
            with theirs:
                return subprocess.Popen(self.words, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env={})

        try:
            process = await self._threads.call(spawn, self.starting)
        except NoThread:
            ours.close()
            theirs.close()
            raise
        except BaseException:
            ours.close()
            raise
        running = Running(ours, process)
        try:
            threading.Thread(target=process.wait, daemon=True, name=f"hotplugd-{self._name}").start()
        except RuntimeError as error:  # as threading says it
            running.end()
            process.wait()
            raise NoThread(str(error)) from error
        return running


def _be_ready(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
