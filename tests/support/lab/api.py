"""LXD's REST API over its unix socket, with nothing but the standard library.

Not pylxd: what the tests see of the server should not come through the code that they test.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import cast

Json = Mapping[str, object]


class ServerError(Exception):
    """The server's answer was an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("lxd", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


class Api:
    """Requests to one server."""

    def __init__(self, path: Path, timeout: float = 60.0) -> None:
        self._path = path
        self._timeout = timeout

    def get(self, url: str) -> Json:
        """The metadata that the server answers with."""
        return self.request("GET", url)

    def get_with_etag(self, url: str) -> tuple[Json, str]:
        """The metadata that the server answers with, and its ETag."""
        connection = self._connection()
        try:
            connection.request("GET", url)
            response = connection.getresponse()
            answer, etag = _answer(response.status, response.read()), response.headers.get("ETag", "")
            return metadata_of(answer), etag
        finally:
            connection.close()

    def list(self, url: str) -> list[Json]:
        """The metadata, of an address that answers with a list."""
        found = self._json("GET", url, b"", {}).get("metadata")
        return cast("list[Json]", found) if isinstance(found, list) else []

    def text(self, url: str) -> str:
        """An answer that is no JSON."""
        status, raw = self._exchange("GET", url, b"", {})
        if status >= http.client.BAD_REQUEST:
            raise ServerError(status, raw.decode(errors="replace"))
        return raw.decode(errors="replace")

    def request(
        self, method: str, url: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Json:
        """Do one request, wait for its operation where there is one, and return the metadata.

        body is sent as it is if it is bytes, else as JSON.
        Raises ServerError, and OSError where no server is.
        """
        raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        answer = self._json(method, url, raw, headers or {})
        if answer.get("type") == "async":
            operation = cast("Json", answer["metadata"])
            answer = self._json("GET", f"/1.0/operations/{operation['id']}/wait", b"", {})
            done = metadata_of(answer)
            if done.get("status_code") != http.client.OK:
                raise ServerError(cast("int", done.get("status_code", 0)), str(done.get("err")))
        return metadata_of(answer)

    def begin(self, method: str, url: str, body: object) -> Json:
        """Do one request that begins an operation, and return what the operation is about, not waited for."""
        operation = metadata_of(self._json(method, url, json.dumps(body).encode(), {}))
        return cast("Json", operation["metadata"])

    def _connection(self) -> http.client.HTTPConnection:
        return _UnixConnection(self._path, self._timeout)

    def _json(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Json:
        return _answer(*self._exchange(method, url, body, headers))

    def _exchange(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        connection = self._connection()
        try:
            connection.request(method, url, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def _answer(status: int, raw: bytes) -> Json:
    """What an answer says. Raises ServerError where that is an error."""
    answer = cast("Json", json.loads(raw))
    if status >= http.client.BAD_REQUEST or answer.get("type") == "error":
        raise ServerError(status, str(answer.get("error")))
    return answer


def metadata_of(answer: Json) -> Json:
    """The metadata of an answer; empty where it has none."""
    found = answer.get("metadata")
    return cast("Json", found) if isinstance(found, dict) else {}
