"""The adapter to LXD, on a server that answers nonsense, does not trust us, or hangs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hotplugd.model.ports import Refused, Unreachable
from hotplugd.model.values import Instance
from hotplugd.server import connection
from hotplugd.server.client import Lxd
from tests.e2e.test_client import name_of, run
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """Something that answers every request in the same way."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    channel, _ = listening.accept()
                except OSError:
                    return
                with channel:
                    channel.recv(1 << 16)
                    channel.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def http(body: str, code: str = "200 OK") -> bytes:
    raw = body.encode()
    head = f"HTTP/1.1 {code}\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
    return head.encode() + raw


NONSENSE = {
    "no http": b"hello\r\n",
    "nothing": b"",
    "no json": http("<html>"),
    "no object": http("[]"),
    "null": http("null"),
    "no metadata": http("{}"),
    "metadata of another kind": http('{"type": "sync", "metadata": 7}'),
    "an error of nobody's": http('{"type": "error"}', "503 Service Unavailable"),
    "an error that is no text": http('{"error": 7}', "500 Internal Server Error"),
    "an error that is no object": http("null", "500 Internal Server Error"),
    "an error that is deeply nested": http("[" * 100_000, "500 Internal Server Error"),
    "an error in another encoding": http("~", "502 Bad Gateway").replace(b"~", b"\xe9"),
    "an error without a word": http("", "502 Bad Gateway"),
    "cut short": http('{"type": "sync", "metadata": {}}')[:-9],
    "deeply nested": http("[" * 100_000),
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_a_server_that_is_away(tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path / "s", answer), pytest.raises(Unreachable):
        run(tmp_path / "s", lambda lxd: lxd.list())


def test_what_is_no_utf_8_is_not_guessed_at(tmp_path: Path) -> None:
    answer = http('{"metadata": {"auth": "trusted", "environment": {"server": "~"}, "api_extensions": []}}')
    with answering(tmp_path / "s", answer.replace(b"~", b"\xe9")), pytest.raises(Unreachable, match="utf-8"):
        run(tmp_path / "s", lambda lxd: lxd.list())


def test_a_server_that_does_not_trust_us_is_said_to(tmp_path: Path) -> None:
    body = '{"type": "sync", "status_code": 200, "metadata": {"auth": "untrusted", "environment": {}}}'
    with answering(tmp_path / "s", http(body)), pytest.raises(Refused, match="does not trust us"):
        run(tmp_path / "s", lambda lxd: lxd.list())


def test_a_server_that_hangs_is_given_up(own_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "READ", 0.3)
    container = own_server.launch(start=False)

    async def work(lxd: Lxd) -> Instance:
        own_server.freeze()
        return await lxd.get(name_of(container))

    try:
        with pytest.raises(Unreachable, match="has not answered within"):
            run(own_server, work)
    finally:
        own_server.thaw()
    eventually(lambda: container.config["status"] == "Stopped")
