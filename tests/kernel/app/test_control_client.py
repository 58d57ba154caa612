"""What commands make of the daemon's answers on the control socket, whoever gives them."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from hotplugd.app import control_client
from hotplugd.app.control_client import ControlError, NotRunning, get, post

_JSON = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hpc-", dir="/tmp") as folder:
        yield Path(folder, "control.sock")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_client, "_PATIENCE", 0.2)


def answered(path: Path, reply: bytes) -> dict[str, object]:
    """What comes of it when somebody on the socket says this."""
    with socket.socket(socket.AF_UNIX) as other, ThreadPoolExecutor(1) as pool:
        other.bind(str(path))
        other.listen()
        asked = pool.submit(get, path, "status")
        client, _ = other.accept()
        with client:
            assert client.recv(1 << 10).startswith(b"GET /1/status HTTP/1.0\r\n")
            client.sendall(reply)
        return asked.result(10)


def test_a_document_is_taken(path: Path) -> None:
    assert answered(path, _JSON + b'Content-Length: 8\r\n\r\n{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"", "did not answer: it hung up"),
        (b"not http", "8 bytes that are none: what answers there is no hotplugd"),
        (b'{"error": "unknown"}\n', "21 bytes that are none: is it another version?"),
        (b"\xff\r\n\r\n", "what answers there is no hotplugd"),
        (b"HTTP/1.0 \r\n\r\n", "what answers there is no hotplugd"),
        (b"HTTP/1.0 x\r\n\r\n", "what answers there is no hotplugd"),
        (_JSON + b"\r\n[]", "found HTTP status 200 with other JSON: is it another version?"),
        (_JSON + b"\r\n{}", "found HTTP status 200 with other JSON: is it another version?"),
        (_JSON + b"\r\n1", "other JSON"),
        (_JSON + b"\r\n{", "found HTTP status 200 with 1 bytes that are none: is it another version?"),
        (_JSON + b"\r\n\xff", "with 1 bytes that are none"),
        (_JSON + b"\r\n" + b"[" * 100_000, "100000 bytes that are none"),
        (_JSON + b'Content-Length: 9\r\n\r\n{"a', "3 bytes that are none: it breaks off"),
        (
            b"HTTP/1.0 400 Bad\r\nContent-Type: text/plain\r\n\r\nno \x1b[2J",
            "found HTTP status 400 with 7 bytes",
        ),
        (b'HTTP/1.0 403 No\r\n\r\n{"error": "may not"}', "answered: may not"),
        (b'HTTP/1.0 403 No\r\n\r\n{"error": "\\u001b[2J\\u202e\\n"}', r"answered: \x1b[2J\u202e\x0a"),
        (b'HTTP/1.0 500 No\r\n\r\n{"a": 1}', "found HTTP status 500 with other JSON"),
    ],
)
def test_what_is_no_answer_is_told_in_words(path: Path, reply: bytes, why: str) -> None:
    with pytest.raises(ControlError) as caught:
        answered(path, reply)
    text = str(caught.value)
    assert f"hotplugd on {path}" in text
    assert why in text
    assert "line 1 column" not in text
    assert text.isprintable()


def test_what_the_daemon_would_not_take_is_not_asked(path: Path) -> None:
    with pytest.raises(ControlError, match="longer than"):
        get(path, "events", {"after": "x" * 9000})
    with pytest.raises(ControlError, match="longer than"):
        post(path, "attach", {"device": "x" * (64 << 10)})


def test_nobody_there_is_told(path: Path) -> None:
    for _ in range(2):
        with pytest.raises(NotRunning, match=f"nobody answers on {path}"):
            get(path, "status")
        if not path.exists():
            with socket.socket(socket.AF_UNIX) as left:
                left.bind(str(path))


@pytest.mark.usefixtures("impatient")
def test_an_answer_that_comes_byte_by_byte_is_not_waited_for(path: Path) -> None:
    told = threading.Event()

    def drip() -> None:
        client, _ = slow.accept()
        with client, suppress(BrokenPipeError):
            while not told.wait(0.05):
                client.sendall(b" ")

    with socket.socket(socket.AF_UNIX) as slow, ThreadPoolExecutor(1) as pool:
        slow.bind(str(path))
        slow.listen()
        dripping = pool.submit(drip)
        try:
            with pytest.raises(ControlError, match="did not answer within 0 s; `systemctl status"):
                get(path, "status")
        finally:
            told.set()
        dripping.result(5)


def test_an_answer_without_end_is_taken_up_to_its_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_client, "_PATIENCE", 60)
    taken: list[int] = []

    def pour() -> None:
        client, _ = endless.accept()
        with client, suppress(OSError):
            client.sendall(_JSON + b"\r\n")
            while True:
                taken.append(client.send(b"x" * (1 << 20)))

    with socket.socket(socket.AF_UNIX) as endless, ThreadPoolExecutor(1) as pool:
        endless.bind(str(path))
        endless.listen()
        pouring = pool.submit(pour)
        with pytest.raises(ControlError, match="an answer of more than 64 MiB, which none is"):
            get(path, "status")
        pouring.result(10)
    # What was on its way then is the kernel's: a socket's buffer.
    assert 64 << 20 <= sum(taken) < 66 << 20


@pytest.mark.usefixtures("impatient")
def test_nobody_waits_for_an_answer_for_ever(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(path))
        hung.listen()
        with pytest.raises(ControlError, match="did not answer within 0 s; `systemctl status"):
            get(path, "status")
