"""Asks the running daemon over its control socket, as commands do. Blocks."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import urlencode

from hotplugd.model.text import plain

_PATIENCE: Final = 5.0
# Seconds to wait for an answer that takes the daemon work.
_LONG: Final = 90.0
_ANSWER_MOST: Final = 64 << 20
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")
# The most characters of an error that are shown; and the advice where there is no better.
_LONGEST: Final = 4096
_ASK: Final = "`systemctl status hotplugd` says how it is"
# Bytes that the daemon takes (control_connection.py, _LINE and _BODY).
_LINE: Final = 8000
_BODY: Final = 64 << 10
# The daemon did what was asked, or says in the same document why it did not.
_ANSWERS: Final = frozenset({200, 409, 503})


class ControlError(Exception):
    """The socket cannot be had, or nobody answers there as expected. The text is fit to be shown."""


class NotRunning(ControlError):
    """Nobody listens on the socket."""


class Answer(dict[str, object]):
    """An answer, or a part of one. A key that it lacks raises ControlError: its daemon is another version."""

    def __missing__(self, key: str) -> NoReturn:
        raise ControlError(
            f"expected `{key}` in what hotplugd answers, and it is not there: the daemon is another version "
            f"than this command; `systemctl restart hotplugd` starts the one that is installed"
        )


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
    if len(request) > _LINE or len(body) > _BODY:
        raise ControlError(
            f"what is asked is longer than hotplugd takes: {_LINE} bytes, and {_BODY} of words"
        )
    # HTTP/1.0 (RFC 1945): the daemon hangs up after the answer, and there are no chunks.
    head = f"{request} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return _answered(path, _exchange(path, head.encode("ascii") + body, patience))


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
        except PermissionError:
            raise ControlError(
                f"you may not connect to {path}: root may, members of the group hotplugd, and groups that "
                f"`allow` in the configuration names"
            ) from None
        except OSError as error:
            raise ControlError(f"cannot connect to {path}: {error.strerror or error}") from error
        raw = bytearray()
        try:
            channel.sendall(request)
            while len(raw) < _ANSWER_MOST and (more := channel.recv(1 << 16)):
                raw += more
                # The deadline is for the whole answer, also where it comes byte by byte.
                channel.settimeout(max(until - time.monotonic(), 0.001))
        except TimeoutError:
            raise ControlError(f"hotplugd on {path} did not answer within {patience:.0f} s; {_ASK}") from None
        except ConnectionError:
            return b""
        except OSError as error:
            raise ControlError(f"hotplugd on {path} did not answer: {error.strerror or error}") from error
    return bytes(raw)


def _answered(path: Path, raw: bytes) -> dict[str, object]:
    """The document in what came. Raises ControlError."""
    if not raw:
        raise ControlError(
            f"hotplugd on {path} did not answer: it hung up, since it ends or has too many others who ask; "
            f"ask again"
        )
    if len(raw) >= _ANSWER_MOST:
        raise ControlError(
            f"hotplugd on {path} gave an answer of more than {_ANSWER_MOST >> 20} MiB, which none is; {_ASK}"
        )
    head, ends, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    status = _STATUS.match(first)
    if not ends or status is None:
        what = "what answers there is no hotplugd"
        if raw.startswith(b"{"):  # as it did before it spoke HTTP
            what = "is it another version? `systemctl restart hotplugd` starts the one that is installed"
        raise ControlError(
            f"expected HTTP from hotplugd on {path}, and found {len(raw)} bytes that are none: {what}; {_ASK}"
        )
    try:
        document = json.loads(body, object_hook=Answer)
    except (ValueError, RecursionError):
        what = "it breaks off" if _is_cut(lines, body) else "is it another version?"
        raise ControlError(
            f"expected JSON from hotplugd on {path}, and found HTTP status {int(status[1])} with {len(body)} "
            f"bytes that are none: {what}; {_ASK}"
        ) from None
    told = document if isinstance(document, dict) else {}
    if isinstance(error := told.get("error"), str):
        raise ControlError(f"hotplugd on {path} answered: {plain(error[:_LONGEST])}")
    if not told or int(status[1]) not in _ANSWERS:
        raise ControlError(
            f"expected a document from hotplugd on {path}, and found HTTP status {int(status[1])} with other "
            f"JSON: is it another version? {_ASK}"
        )
    return told


def _is_cut(lines: Iterable[bytes], body: bytes) -> bool:
    for line in lines:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return value.strip() != b"%d" % len(body)
    return False
