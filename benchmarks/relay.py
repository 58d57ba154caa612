"""A server's socket in front of another, which passes everything on and counts the requests by method."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_REQUEST: Final = re.compile(rb"(GET|PUT|POST|PATCH|DELETE) /\S* HTTP/1\.1\r\n")


class Relay:
    """Listens on `path` for as long as its context lasts."""

    def __init__(self, path: Path, server: Path) -> None:
        self.path = path
        self._server = server
        self._asked: list[bytearray] = []
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._listening.bind(str(self.path))
        self._listening.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._listening, *self._open):
            with suppress(OSError):  # it was closed from there
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def requests(self) -> Counter[str]:
        """How many there were of each method."""
        return Counter(
            found.decode() for asked in list(self._asked) for found in _REQUEST.findall(bytes(asked))
        )

    def _accept(self) -> None:
        with suppress(OSError):  # the context has ended
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                server.connect(str(self._server))
                self._open += [client, server]
                asked = bytearray()
                self._asked.append(asked)
                for source, sink, copy in ((client, server, asked), (server, client, None)):
                    threading.Thread(target=_pass_on, args=(source, sink, copy), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket, copy: bytearray | None) -> None:
    with suppress(OSError):  # one of the two is gone, and so is the connection
        while data := source.recv(1 << 16):
            if copy is not None:
                copy += data
            sink.sendall(data)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
