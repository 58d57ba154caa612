"""A server that means nobody any good, in a process of its own: only what it does to others counts.

It speaks HTTP on a unix socket, is like an LXD without instances, and says to some requests what `SAID` has.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Final

from tests.support.lab.absurd import ABSURD, FLIPPING
from tests.support.lab.faults import answer, document, frame

Pieces = Iterator[bytes]
"""What is sent, one after the other, as fast as it is taken."""

_MIB: Final = 1 << 20
_CHUNKED: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: x\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_HEAD: Final = b'{"type":"sync","status":"Success","status_code":200,"metadata":'
_HOST: Final = {
    "auth": "trusted",
    "api_extensions": [],
    "environment": {"server": "lxd", "server_version": "5.0.2", "server_clustered": False},
}


def instance(name: str, config: Mapping[str, str], **entries: Mapping[str, str]) -> dict[str, object]:
    """An instance as LXD lists it, in the order in which it does."""
    return {
        "architecture": "x86_64", "config": config, "devices": entries, "ephemeral": False,
        "profiles": ["default"], "stateful": False, "description": "", "expanded_config": config,
        "expanded_devices": entries, "name": name, "status": "Running", "status_code": 103,
        "location": "none", "type": "container", "project": "default",
    }  # fmt: skip


def chunked(parts: Iterator[bytes]) -> Pieces:
    """An answer with this as its metadata, as it is made."""
    yield _CHUNKED
    for part in chain([_HEAD], parts, [b"}"]):
        yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def _listing(items: Iterator[dict[str, object]]) -> Pieces:
    between = chain([b"["], repeat(b","))
    return chunked(chain((next(between) + json.dumps(each).encode() for each in items), [b"]"]))


def _lists(size: int) -> Iterator[bytes]:
    """Lists in a list, of so many bytes."""
    return chain([b"["], repeat(b"[]," * 20_000, size // 60_000), [b"[]]"])


def _packed(layers: int, size: int) -> Pieces:
    raw = b" " * size
    for _ in range(layers):
        raw = gzip.compress(raw)
    yield answer(raw, more=f"Content-Encoding: {', '.join(['gzip'] * layers)}\r\n")


def _large(count: int, size: int) -> Iterator[dict[str, object]]:
    entry = {"type": "unix-char", "source": "/dev/null"}
    return (instance(f"c{number}", {"user.x": 'é\\"\n' * (size // 5)}, e=entry) for number in range(count))


def _marked(count: int, size: int) -> Iterator[dict[str, object]]:
    """Instances with an entry whose marks are lists in a list."""
    marks = f"[{'[],' * (size // 3)}[]]"
    entry = {"type": "none", "user.hotplugd": marks}
    return (instance(f"c{number + 1}", {}, **{"hp-00000000000000ff": entry}) for number in range(count))


def _alike(count: int, entries: int) -> Iterator[dict[str, object]]:
    """Instances that inherit the same entries."""
    found = {f"e{number}": {"type": "unix-char", "source": "/dev/null"} for number in range(entries)}
    return ({**instance(f"c{number}", {}), "expanded_devices": found} for number in range(count))


def _many(count: int) -> Iterator[dict[str, object]]:
    return (instance(f"c{number}", {}) for number in range(count))


def _one(size: int) -> Pieces:
    yield document(instance("c1", {"user.x": "x" * size})).replace(b"\r\n", b"\r\nETag: x\r\n", 1)


SAID: Final[Mapping[str, Callable[[], Pieces]]] = {
    # In place of an answer.
    "head that drips": lambda: chain([b"HTTP/1.1 200 OK\r\n"], repeat(b"x: y\r\n")),
    "first line that drips": lambda: chain([b"HTTP/1.1 200 "], repeat(b"x")),
    "head without end": lambda: chain([b"HTTP/1.1 200 OK\r\n"], repeat(b"x: " + b"y" * 60_000 + b"\r\n")),
    "wait without end": lambda: repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "mark of a chunk without end": lambda: chain([_CHUNKED, b"5;"], repeat(b"x" * 65_536)),
    "what follows the body without end": lambda: chain([_CHUNKED, b"0\r\n"], repeat(b"x: y\r\n" * 1000)),
    "packed": lambda: _packed(1, 32 * _MIB),
    "packed and packed again": lambda: _packed(9, 32 * _MIB),
    "lists": lambda: chunked(_lists(8 * _MIB)),
    "list of lists": lambda: chunked(chain([b'[{"name":"c1","devices":'], _lists(4 * _MIB), [b"}]"])),
    "large instance": lambda: _one(5 * _MIB),
    "marks of lists": lambda: iter(
        [document(next(_marked(1, 7 * _MIB))).replace(b"\r\n", b"\r\nETag: x\r\n", 1)]
    ),
    "larger instance than any": lambda: _one(10 * _MIB),
    "instance of some size": lambda: _one(1 << 16),
    "two large instances": lambda: _listing(_large(2, 12 * _MIB)),
    "instance with marks of lists": lambda: _listing(_marked(1, 3 * _MIB)),
    "instances of one profile": lambda: _listing(_alike(200, 2000)),
    "many instances": lambda: _listing(_many(1001)),
    "two projects": lambda: iter([document(["/1.0/projects/evil", "/1.0/projects/good"])]),
    # In place of events.
    "pings": lambda: repeat(frame(b"", 9) * 50_000),
    "long pings": lambda: repeat(frame(b"x" * 125, 9) * 1_000),
    "events of nothing": lambda: repeat(frame(b"{}") * 20_000),
    "large events": lambda: repeat(frame(b'{"a":[' + b"[]," * 340_000 + b"[]]}")),
    "parts of an event": lambda: chain([b"\x01\x00"], repeat(b"\x00\x00" * 50_000)),
    "silence": lambda: iter(()),
    **ABSURD,
    **FLIPPING,
}
_PAUSES: Final = {"head that drips": 0.05, "first line that drips": 0.05, "what happens to it": 0.01}


@contextmanager
def hostile(path: Path, said: Mapping[str, str], tls: bool = False) -> Iterator[str]:
    """The address of such a server. said: to which requests (`GET /1.0/instances/c1`) it says what.

    tls  it answers over https on 127.0.0.1, and at the path is its certificate with the key
    """
    words = [
        sys.executable,
        "-m",
        "tests.support.lab.hostile",
        str(path),
        json.dumps(said),
        *(["tls"] if tls else []),
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def _proper(target: str) -> bytes:
    return document(_HOST if target.partition("?")[0] == "/1.0" else [])


def _greeting(head: str) -> bytes:
    """The beginning of a websocket (RFC 6455, 4.2.2)."""
    (key,) = re.findall(r"(?i)^sec-websocket-key: (\S+)", head, re.MULTILINE)
    proof = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return upgrade + b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"


async def _serve(said: Mapping[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = head.split(" ", 2)
        if length := re.search(r"(?i)^content-length: (\d+)", head, re.MULTILINE):
            await reader.readexactly(int(length[1]))
        name = next((said[each] for each in said if f"{method} {target} ".startswith(each)), "")
        events = target.startswith("/1.0/events")
        writer.write(_greeting(head) if events else b"" if name else _proper(target))
        for piece in SAID[name]() if name else ():
            writer.write(piece)
            await writer.drain()
            if name in _PAUSES:
                await asyncio.sleep(_PAUSES[name])
        await writer.drain()


async def _main(path: str, said: Mapping[str, str], *, tls: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _serve(said, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        server: asyncio.Server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        address = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    else:
        server, address = await asyncio.start_unix_server(serve, path), path
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], json.loads(sys.argv[2]), tls="tls" in sys.argv[3:]))
