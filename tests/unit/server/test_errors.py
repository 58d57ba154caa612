"""What is said of a server that does not answer: what is so, and not what a library says of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from hotplugd.model.ports import Busy
from hotplugd.server.errors import no_answer, refusal
from hotplugd.server.transport import Http, Room


def said(path: Path) -> str:
    """What is said after a request to a socket."""
    with Http(str(path), 1, 5, Room()) as http, pytest.raises(requests.RequestException) as failed:
        http.request("GET", "http+unix://localhost/1.0", timeout=(5, 5))
    return no_answer(str(path), failed.value)


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        yield made


def test_no_socket_means_that_it_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "none"
    assert said(path) == f"LXD or Incus is not running: there is no socket {path}"


def test_a_socket_without_a_listener_means_that_too(channel: socket.socket, tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert said(path) == f"LXD or Incus is not running: nobody listens at {path}"


def test_a_connection_that_ends_is_one_that_ended(channel: socket.socket, tmp_path: Path) -> None:
    channel.listen()

    def hang_up() -> None:
        with suppress(OSError):
            channel.accept()[0].close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    assert said(tmp_path / "s").startswith(f"{tmp_path / 's'} ended the connection before it answered")
    thread.join()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionError(13, "Permission denied"), "x may not be used by this user: run it as root"),
        (requests.ConnectionError(("y", OSError(113, "No route to host"))), "x does not answer: "),
        (requests.ConnectionError(OSError(113, "No route to host")), "x does not answer: No route to host"),
        (requests.RequestException("a\nb"), "x does not answer: a\\x0ab"),
    ],
)
def test_whatever_it_is_no_exception_is_shown(error: Exception, text: str) -> None:
    found = no_answer("x", error)
    assert found.startswith(text)
    assert "Error(" not in found or "('y'" in found


_STOP = 'Failed to stop device "hp-0123456789abcdef": read unix @->/proc/self/fd/61/forkfile.sock'
_COUNT = "Instance snapshot record count doesn't match instance snapshot volume record count"


@pytest.mark.parametrize(
    "said", [f"{_STOP}: read: connection reset by peer", f"Failed to write backup file: {_COUNT}"]
)
def test_what_meets_a_snapshot_is_tried_again_soon(said: str) -> None:
    """Measured with LXD 5.0.2."""
    found = refusal(said)
    assert type(found) is Busy
    assert str(found) == f"it makes a snapshot of the instance, or stops it: {said}"
