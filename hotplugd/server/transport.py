"""HTTP for pylxd, over requests: little work for each request, and bounds for each answer.

A plug waits for the request that it causes. requests prepares each request from scratch, and merges settings,
hooks and cookies into it; pylxd keeps 25 connections, each for one whole address. Here an address is prepared
once, and all requests share their connections: 0.3 ms from the call to the first byte, not 0.6.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from itertools import islice
from json import dumps
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ContentDecodingError
from requests.structures import CaseInsensitiveDict
from urllib3.connectionpool import HTTPSConnectionPool

from hotplugd.server.unix_socket import Begun, UnixAdapter, timed

# The most bytes of one answer, unless the caller expects more.
_MOST: Final = 1 << 24
# Answers of more bytes are had one at a time, and looked at before they are read as JSON, which holds up the
# event loop meanwhile: lists in lists take twenty times the memory that they come in.
_LARGE: Final = 1 << 18
_MOST_PARTS: Final = 200_000
_PART: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[{,:]', re.DOTALL)
_CHUNK: Final = 1 << 16
_ADDRESSES: Final = 1024
# A socket takes so many bytes at once (unix(7): net.core.wmem_default is 208 KB).
_SMALL: Final = 1 << 16


class Room:
    """A lock for large answers: one thread at a time may have one, until it has used it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = threading.local()

    def enter(self, longest: float) -> None:
        """Wait for it, so many seconds at most. Raises requests.Timeout."""
        if getattr(self._owner, "inside", False):
            return
        if not self._lock.acquire(timeout=longest):
            raise requests.Timeout
        self._owner.inside = True

    def leave(self) -> None:
        """Take note that the thread has used its answer."""
        if getattr(self._owner, "inside", False):
            self._owner.inside = False
            self._lock.release()


class Http(requests.Session):
    """A session for one server. It follows no redirect and keeps no cookie: one that the server rejects would
    spoil later requests. It ignores proxies and certificates of the environment.

    path     where the server's socket is, empty where it is spoken to over https
    most     the number of connections that are kept
    longest  the seconds that an answer may take; the time-out of a request counts between two bytes
    room     the lock for large answers
    """

    def __init__(self, path: str, most: int, longest: float, room: Room) -> None:
        super().__init__()
        self.trust_env = False
        self._longest = longest
        self._room = room
        if path:
            self.mount("http+unix://", UnixAdapter(path, most, longest))

    def begin(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any],
        json: object,
        headers: Mapping[str, str] | None = None,
    ) -> Begun | None:
        """Send a request by a connection to a socket that is open, and read nothing: that blocks nobody.

        None, and nothing was sent, where no connection is open, or where the request is large.
        """
        request = _request(method, url, params, None, json, headers)
        assert request.url is not None
        adapter = self.get_adapter(request.url)
        assert isinstance(request.body, bytes)
        if not isinstance(adapter, UnixAdapter) or len(request.body) > _SMALL:
            return None
        return adapter.begin(method, request.path_url, request.body, dict(request.headers))

    def mount_https(self, address: str, adapter: HTTPAdapter) -> None:
        """Speak to this address by this adapter, within the same time."""
        adapter.poolmanager.pool_classes_by_scheme = {"https": partial(_HttpsPool, longest=self._longest)}
        self.mount(address, adapter)

    def request(  # type: ignore[override]  # what pylxd gives, and no more
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        data: bytes | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: tuple[float, float] | None = None,
        most: int = _MOST,
        stream: bool = False,
        **_others: object,
    ) -> requests.Response:
        """Ask, and read the answer. Raises requests.RequestException, also for more bytes than `most`.

        stream  where nothing is wrong read nothing yet: whoever asks takes it piece by piece, to its end, or
                closes it

        JSON is UTF-8: what is not raises ValueError. requests would guess, and what others wrote would be put
        back as it was guessed.
        """
        request = _request(method, url, params, data, json, headers)
        assert request.url is not None
        adapter, verify = self.get_adapter(request.url), self.verify is not None and self.verify
        response = adapter.send(request, stream=True, timeout=timeout, verify=verify, cert=self.cert)
        if packed := response.headers.get("Content-Encoding"):
            # No compression was asked for: a few bytes could expand without bound.
            response.close()
            raise ContentDecodingError(f"the answer is packed as {packed!r}, and was to be as it is")
        response.encoding = "utf-8"
        if stream and response.ok:
            response.raw = _Bounded(response.raw, most)
            return response
        response.raw = _Bounded(response.raw, min(most, _MOST), partial(self._room.enter, self._longest))
        # Read now, and the connection let go.
        content = response.content
        if len(content) > _LARGE and any(islice(_PART.finditer(content), _MOST_PARTS, None)):
            raise ContentDecodingError("the answer has more in it than any of LXD's")
        content.decode()
        return response


def _request(
    method: str,
    url: str,
    params: Mapping[str, Any] | None,
    data: bytes | None,
    json: object,
    headers: Mapping[str, str] | None,
) -> requests.PreparedRequest:
    request = requests.PreparedRequest()
    request.method = method
    # An operation is asked for once.
    find = _prepared if "/1.0/operations/" in url else _whole
    request.url = find(url, tuple((params or {}).items()))
    request.headers = CaseInsensitiveDict({"User-Agent": "hotplugd", "Accept": "application/json"})
    if json is not None:
        data = dumps(json).encode()
        request.headers["Content-Type"] = "application/json"
    if data is not None or method not in ("GET", "HEAD"):
        request.headers["Content-Length"] = str(len(data or b""))
    request.headers.update(headers or {})
    request.body = data
    return request


def _prepared(url: str, params: tuple[tuple[str, Any], ...]) -> str:
    found = requests.Request("GET", url, params=dict(params)).prepare().url
    assert found is not None
    return found


_whole: Final = lru_cache(_ADDRESSES)(_prepared)


class _HttpsPool(HTTPSConnectionPool):
    def __init__(self, *words: Any, longest: float, **options: Any) -> None:
        super().__init__(*words, **options)
        self._longest = longest

    def _new_conn(self) -> Any:
        return timed(super()._new_conn(), self._longest)


class _Bounded:
    """What requests reads a body by of urllib3's response, and nothing that it takes cookies by.

    large  called before more is read than most answers have
    """

    def __init__(self, raw: Any, most: int, large: Callable[[], None] = lambda: None) -> None:
        self._raw = raw
        self._most = most
        self._large = large

    def stream(self, _: int, **__: object) -> Iterator[bytes]:
        """The body, as it comes."""
        size = 0
        # Not `read`, which waits until it has as much as it was asked for.
        while chunk := self._raw.read1(_CHUNK, decode_content=False):
            size += len(chunk)
            if size > self._most:
                self._raw.close()
                raise ContentDecodingError(f"the answer has more than {self._most >> 20} MB")
            if size > _LARGE:
                self._large()
            yield chunk

    def close(self) -> None:
        """Let go of the connection."""
        self._raw.close()

    def release_conn(self) -> None:
        """Return the connection to the pool."""
        self._raw.release_conn()
