"""HTTP over a server's socket: connections that are kept, answers with bounds, requests sent ahead.

What is here stands below requests, in place of urllib3's connections to a host and a port.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.client import CannotSendRequest, HTTPResponse
from queue import Empty
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

# The most bytes of an answer's head.
_HEAD: Final = 1 << 18
_CHUNK: Final = 1 << 16


class UnixAdapter(HTTPAdapter):
    """Has one socket's connections, whatever is asked for."""

    def __init__(self, path: str, most: int, longest: float) -> None:
        super().__init__()
        self._path = path
        self._most = most
        self._longest = longest
        self._pool = _Pool(path, most, longest)

    def begin(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Begun | None:
        """See `Http.begin`."""
        return self._pool.begin(method, path, body, headers)

    def get_connection_with_tls_context(self, *_: object, **__: object) -> HTTPConnectionPool:
        """All connections, whatever the address."""
        return self._pool

    def request_url(self, request: requests.PreparedRequest, _: object) -> str:
        """The path alone."""
        return request.path_url

    def close(self) -> None:
        """Let go of all connections. A request that is under way gets a new one."""
        before, self._pool = self._pool, _Pool(self._path, self._most, self._longest)
        before.close()


class _Pool(HTTPConnectionPool):
    def __init__(self, path: str, most: int, longest: float) -> None:
        super().__init__("localhost", maxsize=most)
        self._path = path
        self._longest = longest
        # The connection by which the thread's next request was sent already.
        self.begun = threading.local()

    def begin(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Begun | None:
        """See `Http.begin`."""
        try:
            connection: Any = self.pool.get(block=False) if self.pool is not None else None
        except Empty:
            return None
        if connection is None or not connection.is_connected:
            self._put_conn(connection)
            return None
        begun = Begun(self, connection)
        try:
            connection.send_ahead(method, path, body, headers)
        except (OSError, ValueError):
            # The server has ended, or reads nothing now, or has said an ETag that is none: it has no whole
            # request.
            begun.drop()
            return None
        return begun

    def let_go(self, connection: Any) -> None:
        """Have a connection back."""
        self._put_conn(connection)

    def _get_conn(self, timeout: float | None = None) -> Any:
        begun = self.begun.__dict__.pop("connection", None)
        return begun if begun is not None else super()._get_conn(timeout)

    def _new_conn(self) -> Any:
        return timed(_Connection(self._path), self._longest)


class Begun:
    """A request that was sent, and whose answer nobody has read.

    A thread that has to wait for its turn on a processor, while others have them, would send it some
    milliseconds later than whoever decided on it.

    taken  whether a thread reads the answer, or has read it
    """

    def __init__(self, pool: _Pool, connection: Any) -> None:
        self._pool = pool
        self._connection = connection
        # Whoever has it may use the connection: a thread, or whoever waits for that thread no more.
        self._turn = threading.Lock()
        self.taken = False

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Within the context the thread's first request has to be this one, and is not sent again.

        Raises requests.ConnectionError where it was dropped.
        """
        if not self._turn.acquire(blocking=False):
            raise requests.ConnectionError("nobody waits for the answer any more")
        self.taken = True
        self._pool.begun.connection = self._connection
        try:
            yield
        finally:
            if self._pool.begun.__dict__.pop("connection", None) is not None:
                self._end()

    def drop(self) -> None:
        """Nobody will read the answer, unless a thread does by now."""
        if self._turn.acquire(blocking=False):
            self._end()

    def _end(self) -> None:
        self._connection.close()
        self._pool.let_go(self._connection)


def timed(connection: Any, longest: float) -> Any:
    """The connection, with answers that are there in time."""
    connection.response_class = partial(_Response, longest=longest)
    return connection


class _Connection(HTTPConnection):
    """Sends a request in one piece: between head and body another thread could run."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path
        self._pieces: list[bytes] | None = None
        # Of the request that was sent ahead: its method, its path and its body.
        self._ahead: tuple[str, str, object] | None = None

    def send_ahead(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a request that `request` is called with later. Raises OSError, also where the socket does not
        take all of it at once: then close the connection.
        """
        before, self.timeout = self.timeout, 0.0
        try:
            self.request(
                method, path, body=body, headers=headers, preload_content=False, decode_content=False
            )
        finally:
            self.timeout = before
        self._ahead = method, path, body

    def request(self, method: str, url: str, **options: Any) -> None:  # type: ignore[override]
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            if ahead != (method, url, options.get("body")):
                raise CannotSendRequest("another request was sent ahead")
            return
        self._pieces = []
        try:
            super().request(method, url, **options)
            whole = b"".join(self._pieces)
        finally:
            self._pieces = None
        self.send(whole)

    def close(self) -> None:
        self._ahead = None
        super().close()

    def send(self, data: Any) -> None:
        if self._pieces is None:
            super().send(data)
        else:
            self._pieces.append(data)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Response(HTTPResponse):
    """An answer that is there in time, with its head.

    A time-out counts between two bytes: a server that sends one now and then would block a thread for hours.
    """

    def __init__(self, channel: socket.socket, *words: Any, longest: float, **options: Any) -> None:
        self._timed = _Timed(channel, longest)
        super().__init__(self._timed, *words, **options)  # type: ignore[arg-type]  # no more is asked of it

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        self._timed.most = None


class _Timed(io.RawIOBase):
    """What comes from a socket until so many seconds from now on, and not more than `most` bytes."""

    def __init__(self, channel: socket.socket, longest: float) -> None:
        super().__init__()
        self.most: int | None = _HEAD
        self._channel = channel
        # By a file, for as long as which the socket is not closed.
        self._file = channel.makefile("rb", buffering=0)
        self._pause = channel.gettimeout()
        self._until = time.monotonic() + longest

    def makefile(self, _: str) -> io.BufferedReader:
        """See `socket.makefile`."""
        return io.BufferedReader(self, _CHUNK)

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """See `io.RawIOBase`. Raises TimeoutError, or OSError for more bytes than `most`."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer has no end in time")
        self._channel.settimeout(left if self._pause is None else min(left, self._pause))
        size = self._file.readinto(buffer)
        if size is not None and self.most is not None:
            self.most -= size
            if self.most < 0:
                raise OSError(f"the head of the answer is larger than {_HEAD >> 10} KB")
        return size

    def close(self) -> None:
        """Let go of the socket."""
        self._file.close()
        super().close()
