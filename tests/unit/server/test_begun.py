"""Requests that are sent before a thread waits for the answer."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from urllib.parse import quote

import pytest
import requests

from hotplugd.server.transport import Http, Room
from hotplugd.server.unix_socket import Begun

BODY = {"devices": {"a": None}}
PROJECT = {"project": "default"}
PATIENCE = 10


class Server:
    """Writes down each request, and answers it as soon as it may."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "socket"
        self.asked: SimpleQueue[str] = SimpleQueue()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.may_read = threading.Event()
        self.may_read.set()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen()
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http+unix://{quote(str(self.path), safe='')}/1.0/instances/box"

    def end(self) -> None:
        self.may_answer.set()
        self.may_read.set()
        for each in (self._listening, *self.connections):
            each.close()

    def hang_up(self) -> None:
        for each in self.connections:
            each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection.makefile("rb") as file:
            while line := file.readline():
                assert self.may_read.wait(PATIENCE)
                length = 0
                while (header := file.readline()) != b"\r\n":
                    name, _, value = header.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                said = file.read(length)
                self.asked.put(f"{line.split()[0].decode()} {said.decode()}")
                assert self.may_answer.wait(PATIENCE)
                answer = json.dumps({"type": "sync", "metadata": {}}).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))


@pytest.fixture
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        one = Server(Path(folder))
        yield one
        one.end()


@pytest.fixture
def http(server: Server) -> Iterator[Http]:
    with closing(Http(str(server.path), 4, PATIENCE, Room())) as one:
        yield one


def ask(http: Http, server: Server, body: object = BODY) -> requests.Response:
    return http.request("PATCH", server.url, params=PROJECT, json=body, timeout=(PATIENCE, PATIENCE))


def begin(http: Http, server: Server, body: object = BODY) -> Begun | None:
    return http.begin("PATCH", server.url, params=PROJECT, json=body)


def asked(server: Server) -> str:
    return server.asked.get(timeout=PATIENCE)


def begun(http: Http, server: Server) -> Begun:
    """A request that was sent by a connection that was open."""
    ask(http, server)
    asked(server)
    one = begin(http, server)
    assert one is not None
    return one


def test_it_is_sent_at_once_and_the_answer_is_read_by_another_thread(http: Http, server: Server) -> None:
    one = begun(http, server)
    assert asked(server) == f"PATCH {json.dumps(BODY)}"
    found: list[Any] = []

    def read() -> None:
        with one.answering():
            found.append(ask(http, server).json())

    thread = threading.Thread(target=read)
    thread.start()
    thread.join(PATIENCE)
    assert (found, one.taken) == ([{"type": "sync", "metadata": {}}], True)
    # The connection is used again, and nothing was sent twice.
    ask(http, server)
    assert (asked(server), server.asked.empty()) == (f"PATCH {json.dumps(BODY)}", True)
    assert len(server.connections) == 1


def test_without_an_open_connection_nothing_is_sent(http: Http, server: Server) -> None:
    assert begin(http, server) is None
    ask(http, server)
    asked(server)
    server.hang_up()
    assert begin(http, server) is None
    ask(http, server)
    assert len(server.connections) == 2


def test_what_is_large_is_not_sent_at_once(http: Http, server: Server) -> None:
    ask(http, server)
    asked(server)
    assert begin(http, server, {"devices": "x" * (1 << 17)}) is None
    assert server.asked.empty()


def test_another_request_is_none_that_was_sent(http: Http, server: Server) -> None:
    one = begun(http, server)
    with one.answering(), pytest.raises(requests.ConnectionError, match="another request was sent ahead"):
        ask(http, server, {"devices": {}})
    ask(http, server)
    assert len(server.connections) == 2


def test_an_answer_that_nobody_reads_is_nobody_elses(http: Http, server: Server) -> None:
    begun(http, server).drop()
    asked(server)
    ask(http, server)
    assert asked(server) == f"PATCH {json.dumps(BODY)}"
    with begun(http, server).answering():
        pass
    assert ask(http, server).json()["type"] == "sync"
    assert len(server.connections) == 3


def test_a_server_that_hangs_up_meanwhile_has_not_answered(http: Http, server: Server) -> None:
    ask(http, server)
    asked(server)
    server.may_answer.clear()
    one = begin(http, server)
    assert one is not None
    asked(server)
    server.hang_up()
    with one.answering(), pytest.raises(requests.ConnectionError):
        ask(http, server)
    assert server.asked.empty()


class SmallSocket(socket.socket):
    """Takes less than a request at once, as where net.core.wmem_default is small."""

    def connect(self, address: Any) -> None:
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        super().connect(address)


def test_a_server_that_reads_nothing_blocks_nobody(
    http: Http, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", SmallSocket)
    ask(http, server)
    asked(server)
    server.may_read.clear()
    large = {"devices": "x" * 60_000}
    found: list[Begun | None] = []
    thread = threading.Thread(target=lambda: found.append(begin(http, server, large)), daemon=True)
    thread.start()
    thread.join(PATIENCE / 5)
    assert found == [None]
    # What it has of that is no request: the whole of it goes by another connection.
    server.may_read.set()
    ask(http, server, large)
    assert {asked(server) for _ in range(2)} >= {f"PATCH {json.dumps(large)}"}


def test_what_cannot_be_sent_keeps_no_connection(http: Http, server: Server) -> None:
    ask(http, server)
    asked(server)
    etag = {"If-Match": "a\rb"}
    assert http.begin("PATCH", server.url, params=PROJECT, json=BODY, headers=etag) is None
    assert begin(http, server) is None
    ask(http, server)
    asked(server)
    begun(http, server).drop()
    assert len(server.connections) == 2


def test_a_thread_that_comes_late_reads_no_answer_of_others(http: Http, server: Server) -> None:
    one = begun(http, server)
    asked(server)
    one.drop()
    ask(http, server)
    asked(server)
    with pytest.raises(requests.ConnectionError, match="nobody waits"), one.answering():
        ask(http, server)
    assert (server.asked.empty(), one.taken) == (True, False)


def test_what_a_thread_reads_is_dropped_by_nobody_else(http: Http, server: Server) -> None:
    one = begun(http, server)
    with one.answering():
        one.drop()
        assert ask(http, server).json()["type"] == "sync"
    assert len(server.connections) == 1
