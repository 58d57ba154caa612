"""A proxy in front of a real server's socket, that does to requests what networks, disks and bugs do.

It knows where requests and answers of HTTP begin and end; everything else passes byte by byte. What can go
wrong is in `faults`.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Message:
    """A request, or an answer to one: its first line, its headers with the names in small letters, its body.

    head  the first line and the headers as they came, with the empty line
    body  as it came, chunks and all
    """

    head: bytes
    body: bytes = b""

    @property
    def line(self) -> str:
        """`GET /1.0 HTTP/1.1`, or `HTTP/1.1 200 OK`."""
        return self.head.partition(b"\r\n")[0].decode("latin-1")

    @property
    def headers(self) -> Mapping[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if line)
        return {name.lower(): value.strip() for name, _, value in pairs}

    @property
    def content(self) -> bytes:
        """The body without the marks of chunks."""
        if self.headers.get("transfer-encoding") != "chunked":
            return self.body
        left, found = self.body, b""
        while True:
            size, _, left = left.partition(b"\r\n")
            if not int(size, 16):
                return found
            found, left = found + left[: int(size, 16)], left[int(size, 16) + 2 :]


class Act(Protocol):
    """What is done in place of passing a request on. Returns whether the connection goes on."""

    def __call__(self, exchange: Exchange) -> bool: ...


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to which requests.

    act    what
    to     a pattern of their method and target: `(PATCH|PUT) /1.0/instances/c1`
    skip   so many of them are let through first
    times  so many of them are met; 0 for all
    """

    act: Act
    to: str = ""
    skip: int = 0
    times: int = 0


class Active:
    """A fault that is switched on.

    seen  how many requests its pattern fits
    met   to how many it was done
    """

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.over = threading.Event()
        self.seen = 0
        self.met = 0

    def takes(self, request: Message) -> bool:
        """Whether the fault is done to this request, which counts."""
        if self.over.is_set() or not re.match(self.fault.to, request.line):
            return False
        self.seen += 1
        number = self.seen - self.fault.skip
        if number <= 0 or 0 < self.fault.times < number:
            return False
        self.met += 1
        return True


@dataclass(slots=True)
class Exchange:
    """One request, and who is at both ends.

    over  set once the fault is switched off
    """

    request: Message
    client: socket.socket
    server: Server
    over: threading.Event

    def deliver(self, raw: bytes) -> None:
        """Send something to the server."""
        self.server.send(raw)

    def ask(self) -> Message:
        """Pass the request on and return the whole answer."""
        self.deliver(self.request.head + self.request.body)
        return self.server.answer()

    def answer(self, raw: bytes) -> None:
        """Send something to the client."""
        self.client.sendall(raw)

    def pass_on(self) -> bool:
        """What is done where there is no fault."""
        answer = self.ask()
        self.answer(answer.head + answer.body)
        if " 101 " in answer.line:
            self.tunnel()
            return False
        return answer.headers.get("connection") != "close"

    def tunnel(self) -> None:
        """Pass everything on, both ways, until one end closes."""
        with ExitStack() as undo:
            back = threading.Thread(target=self._back, name="proxy-back")
            back.start()
            undo.callback(back.join)
            # Whichever direction ends first ends the other.
            undo.callback(self.server.end)
            with suppress(OSError):
                while raw := self.client.recv(_CHUNK):
                    self.deliver(raw)

    def _back(self) -> None:
        with suppress(OSError, ValueError):
            while raw := self.server.file.read1(_CHUNK):
                self.answer(raw)
        _shut(self.client)


class Server:
    """A connection to the real server, made when there is something to say.

    LXD 5.0 waits for the first bytes of a connection before it takes the next one.
    """

    def __init__(self, path: Path, opened: Callable[[socket.socket], None]) -> None:
        self._path = path
        self._opened = opened
        self._channel: socket.socket | None = None
        self._file: BufferedReader | None = None

    def send(self, raw: bytes) -> None:
        """Say this to it."""
        if self._channel is None:
            self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._file = self._channel.makefile("rb")
            self._opened(self._channel)
            self._channel.connect(str(self._path))
        self._channel.sendall(raw)

    @property
    def file(self) -> BufferedReader:
        """What it says; something must have been said to it."""
        assert self._file is not None
        return self._file

    def answer(self) -> Message:
        """The next whole answer. Raises EOFError where it breaks off."""
        return _read(self.file)

    def end(self) -> None:
        """Have whoever reads from it find the end."""
        if self._channel is not None:
            _shut(self._channel)

    def close(self) -> None:
        """Let go of it."""
        if self._channel is not None and self._file is not None:
            self._file.close()
            self._channel.close()


def _read(file: BufferedReader) -> Message:
    """The next request or answer. Raises EOFError where there is none any more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = file.readline()
        if not line:
            raise EOFError
        head += line
    headers = Message(head).headers
    if headers.get("transfer-encoding") != "chunked":
        return Message(head, file.read(int(headers.get("content-length", "0"))))
    body = b""
    while not body.endswith(b"\r\n0\r\n\r\n") and body != b"0\r\n\r\n":
        line = file.readline()
        body += line + file.read(int(line, 16) + 2)
    return Message(head, body)


def _shut(channel: socket.socket) -> None:
    with suppress(OSError):
        channel.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Stands in front of a server while its context lasts.

    socket    where clients find it
    requests  when (of the monotonic clock) which request came: `GET /1.0 HTTP/1.1`
    """

    def __init__(self, path: Path, server: Path) -> None:
        self.socket = path
        self.requests: list[tuple[float, str]] = []
        self._server = server
        self._faults: list[Active] = []
        # What is open, to be closed by somebody else.
        self._lock = threading.Lock()
        self._channels: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._listening: socket.socket | None = None

    def __enter__(self) -> Self:
        self.appear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._faults:
            each.over.set()
        self.vanish()
        for thread in list(self._threads):
            thread.join(30)

    @contextmanager
    def fault(self, *faults: Fault) -> Iterator[list[Active]]:
        """Has these faults while the context lasts; of several that fit a request the first is done."""
        active = [Active(each) for each in faults]
        self._faults = [*self._faults, *active]
        try:
            yield active
        finally:
            for each in active:
                each.over.set()
            self._faults = [each for each in self._faults if each not in active]

    def count(self, pattern: str = "", since: float = 0.0) -> int:
        """How many requests of this pattern came since then."""
        return sum(1 for when, line in list(self.requests) if when >= since and re.match(pattern, line))

    def appear(self) -> None:
        """The socket is there, and answers."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(self.socket))
        listening.listen(128)
        self._listening = listening
        self._spawn(self._accept, listening)

    def vanish(self) -> None:
        """The socket is there no more, and neither is any connection."""
        listening, self._listening = self._listening, None
        if listening is not None:
            self.socket.unlink()
            _shut(listening)
        self.cut()

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Its socket is not there while the context lasts."""
        self.vanish()
        try:
            yield
        finally:
            self.appear()

    def cut(self) -> None:
        """Every connection ends."""
        with self._lock:
            for channel in self._channels:
                _shut(channel)

    # --- threads ----------------------------------------------------------------------------------------

    def _spawn(self, work: Callable[[socket.socket], None], channel: socket.socket) -> None:
        def run() -> None:
            try:
                with channel:
                    work(channel)
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name="proxy", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        mine: list[socket.socket] = []

        def opened(channel: socket.socket) -> None:
            mine.append(channel)
            with self._lock:
                self._channels.add(channel)

        with ExitStack() as undo, suppress(OSError, EOFError):
            undo.callback(self._forget, mine)
            opened(client)
            requests = undo.enter_context(client.makefile("rb"))
            server = Server(self._server, opened)
            undo.callback(server.close)
            while self._exchange(_read(requests), client, server):
                pass

    def _forget(self, channels: list[socket.socket]) -> None:
        with self._lock:
            self._channels.difference_update(channels)

    def _exchange(self, request: Message, client: socket.socket, server: Server) -> bool:
        self.requests.append((time.monotonic(), request.line))
        active = next((each for each in self._faults if each.takes(request)), None)
        if active is None:
            return Exchange(request, client, server, threading.Event()).pass_on()
        return active.fault.act(Exchange(request, client, server, active.over))
