"""What can happen to a request in front of a server: frozen values, for `proxy.Fault`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from tests.support.lab.api import Json
from tests.support.lab.proxy import Exchange, Message

# A fault that is forgotten ends at last.
_LONGEST: Final = 120.0
_CHUNK: Final = 1 << 16

Change = Callable[[Json], object]


def answer(
    body: bytes, status: int = 200, reason: str = "OK", length: int | None = None, more: str = ""
) -> bytes:
    """An answer in HTTP.

    length  what it says about its body, where that is not so
    more    whole lines of its head
    """
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n{more}"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


def document(metadata: object, kind: str = "sync") -> bytes:
    """An answer as LXD gives it."""
    body = {"type": kind, "status": "Success", "status_code": 200, "metadata": metadata}
    return answer(json.dumps(body).encode())


@dataclass(frozen=True, slots=True)
class Slow:
    """The request is passed on so much later."""

    seconds: float

    def __call__(self, exchange: Exchange) -> bool:
        exchange.over.wait(self.seconds)
        return exchange.pass_on()


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing happens before the fault is over; then the request is passed on."""

    def __call__(self, exchange: Exchange) -> bool:
        exchange.over.wait(_LONGEST)
        return exchange.pass_on()


@dataclass(frozen=True, slots=True)
class Refuse:
    """The server's own error."""

    status: int
    message: str = "no"

    def __call__(self, exchange: Exchange) -> bool:
        error = {"type": "error", "error": self.message, "error_code": self.status}
        exchange.answer(answer(json.dumps(error).encode(), self.status, "Error"))
        return True


@dataclass(frozen=True, slots=True)
class Say:
    """These bytes come in place of an answer, and the end, unless the client is to go on.

    A client may send its next request before it notices that end.
    """

    raw: bytes
    ends: bool = True

    def __call__(self, exchange: Exchange) -> bool:
        exchange.answer(self.raw)
        return not self.ends


@dataclass(frozen=True, slots=True)
class Half:
    """The answer breaks off in the middle of its body."""

    def __call__(self, exchange: Exchange) -> bool:
        found = exchange.ask()
        exchange.answer(found.head + found.body[: len(found.body) // 2])
        return False


@dataclass(frozen=True, slots=True)
class HalfRequest:
    """The server hears half of the request, and the client nothing."""

    def __call__(self, exchange: Exchange) -> bool:
        body = exchange.request.body
        exchange.deliver(exchange.request.head + body[: len(body) // 2])
        return False


@dataclass(frozen=True, slots=True)
class Lost:
    """The server does what was asked, and the client does not hear of it."""

    def __call__(self, exchange: Exchange) -> bool:
        exchange.ask()
        return False


@dataclass(frozen=True, slots=True)
class Late:
    """The server does what was asked, and the client hears of it once the fault is over."""

    def __call__(self, exchange: Exchange) -> bool:
        found = exchange.ask()
        exchange.over.wait(_LONGEST)
        exchange.answer(found.head + found.body)
        return True


@dataclass(frozen=True, slots=True)
class Endless:
    """An answer that goes on and on, with what JSON may have in front, as fast as it is taken."""

    def __call__(self, exchange: Exchange) -> bool:
        exchange.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not exchange.over.is_set():
            exchange.answer(b"%x\r\n%s\r\n" % (_CHUNK, b" " * _CHUNK))
        return False


@dataclass(frozen=True, slots=True)
class Drip:
    """An answer that comes byte by byte, and has no end."""

    pause: float = 0.05

    def __call__(self, exchange: Exchange) -> bool:
        exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not exchange.over.wait(self.pause):
            exchange.answer(b" ")
        return False


@dataclass(frozen=True, slots=True)
class Twist:
    """The server's answer with its metadata changed."""

    change: Change

    def __call__(self, exchange: Exchange) -> bool:
        found = exchange.ask()
        body = cast("dict[str, object]", json.loads(found.content))
        body["metadata"] = self.change(cast("Json", body["metadata"]))
        etag = found.headers.get("etag", "")
        exchange.answer(answer(json.dumps(body).encode(), more=f"ETag: {etag}\r\n" if etag else ""))
        return True


@dataclass(frozen=True, slots=True)
class Frames:
    """A websocket on which these bytes come first, perhaps often; then it passes everything on, or ends."""

    raw: bytes
    ends: bool = False
    times: int = 1
    pause: float = 0.0

    def __call__(self, exchange: Exchange) -> bool:
        greeting: Message = exchange.ask()
        exchange.answer(greeting.head)
        for _ in range(self.times):
            if exchange.over.wait(self.pause):
                break
            exchange.answer(self.raw)
        if not self.ends:
            exchange.tunnel()
        return False


def frame(text: bytes, opcode: int = 1, length: int | None = None) -> bytes:
    """One frame of a server's (RFC 6455, 5.2). length: what it says, where that is not so."""
    size = len(text) if length is None else length
    if size < 126:
        head = bytes([0x80 | opcode, size])
    elif size < 1 << 16:
        head = bytes([0x80 | opcode, 126]) + size.to_bytes(2)
    else:
        head = bytes([0x80 | opcode, 127]) + size.to_bytes(8)
    return head + text
