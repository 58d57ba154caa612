"""Asks the running daemon over its control socket, as commands do. Blocks."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

_PATIENCE: Final = 5.0
# Of a question for which the daemon may have to work, or wait.
_LONG: Final = 90.0
_ANSWER_MOST: Final = 64 << 20
_HEAD_ENDS: Final = b"\r\n\r\n"
# The daemon did what was asked, or says in the same document why it did not.
_ANSWERS: Final = frozenset({200, 409, 503})


class ControlError(Exception):
    """The socket cannot be had, or nobody answers there as expected. The text is fit to be shown."""


class NotRunning(ControlError):
    """Nobody listens on the socket."""


def get(
    path: Path, name: str, query: Mapping[str, str] | None = None, *, long: bool = False
) -> dict[str, object]:
    """The document that the daemon has at `/1/NAME`. Raises NotRunning, ControlError.

    long  the daemon may have to wait for it: blocks for a minute and a half at most, else for a few seconds
    """
    target = f"/1/{name}?{urlencode(query)}" if query else f"/1/{name}"
    return _ask(path, f"GET {target}", b"", _LONG if long else _PATIENCE)


def post(path: Path, name: str, words: Mapping[str, object] | None = None) -> dict[str, object]:
    """Ask the daemon for something: `/1/NAME`. Returns its document. Blocks for a minute and a half at most.

    Raises NotRunning, ControlError.
    """
    return _ask(path, f"POST /1/{name}", json.dumps(words or {}).encode(), _LONG)


def _ask(path: Path, request: str, body: bytes, patience: float) -> dict[str, object]:
    # HTTP/1.0 (RFC 1945): the daemon hangs up after the answer, and there are no chunks.
    head = f"{request} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    raw = _exchange(path, head.encode("ascii") + body, patience)
    try:
        status, document = _parsed(raw)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"hotplugd on {path} did not answer: {error}") from error
    if not isinstance(document, dict) or status not in _ANSWERS or document.keys() == {"error"}:
        why = document.get("error") if isinstance(document, dict) else None
        raise ControlError(f"hotplugd on {path} answered: {why or f'HTTP status {status}'}")
    return document


def _exchange(path: Path, request: bytes, patience: float) -> bytes:
    """Send this, and return what comes until the daemon hangs up."""
    until = time.monotonic() + patience
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(patience)
        try:
            channel.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning(
                f"hotplugd is not running (nobody answers on {path}); what is attached stays attached; "
                f"`systemctl status hotplugd` says why it ended"
            ) from None
        except OSError as error:
            raise ControlError(f"cannot connect to {path}: {error.strerror or error}") from error
        raw = bytearray()
        try:
            channel.sendall(request)
            while len(raw) < _ANSWER_MOST and (more := channel.recv(1 << 16)):
                raw += more
                # For the whole answer: one that comes byte by byte would be waited for as long.
                channel.settimeout(max(until - time.monotonic(), 0.001))
        except OSError as error:
            raise ControlError(f"hotplugd on {path} did not answer: {error}") from error
    return bytes(raw)


def _parsed(raw: bytes) -> tuple[int, object]:
    """The status and the document of an answer. Raises ValueError, RecursionError."""
    if not raw:
        raise ValueError("it hung up")
    head, ends, body = raw.partition(_HEAD_ENDS)
    first, *lines = head.split(b"\r\n")
    words = first.split(b" ", 2)
    if not ends or not words[0].startswith(b"HTTP/1.") or len(words) < 2 or not words[1].isdigit():  # noqa: PLR2004
        raise ValueError("what came is no HTTP response")
    status = int(words[1])
    for line in lines:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip() != b"%d" % len(body):
            raise ValueError(f"the answer was cut off after {len(body)} bytes")
        if name.strip().lower() == b"content-type" and b"json" not in value:
            raise ValueError(f"HTTP status {status}: {body[:200].decode(errors='replace').strip()}")
    try:
        return status, json.loads(body)
    except ValueError as error:
        raise ValueError(f"what came is no JSON: {error}") from error
