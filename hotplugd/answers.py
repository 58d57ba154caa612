"""How much of a server's answers is taken: none fills the memory, and none lasts for ever.

The time-out of requests is one between two bytes, and a body has no bound there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import requests

# Ten thousand instances are listed in some 40 MB.
_MOST: Final = 1 << 26
_CHUNK: Final = 1 << 16


def bound(session: requests.Session, longest: float) -> None:
    """From now on no answer has more than 64 MB, or takes longer than so many seconds and one read.

    Nobody is sent elsewhere, and no cookie is kept: one that the server rejects would spoil what follows.
    """
    session.max_redirects = 0

    def on_response(response: requests.Response, **_: Any) -> requests.Response:
        response.raw = _Bounded(response.raw, time.monotonic() + longest)
        return response

    session.hooks["response"].append(on_response)


class _Bounded:
    """What requests reads a body by of urllib3's response, and nothing that it takes cookies by."""

    def __init__(self, raw: Any, until: float) -> None:
        self._raw = raw
        self._until = until

    def stream(self, _: int, decode_content: bool | None = None) -> Iterator[bytes]:
        """The body, as it comes."""
        left = _MOST
        # Not `read`, which waits until it has as much as it was asked for.
        while chunk := self._raw.read1(_CHUNK, decode_content=decode_content):
            left -= len(chunk)
            if left < 0 or time.monotonic() > self._until:
                self._raw.close()
                much = f"more than {_MOST >> 20} MB" if left < 0 else "no end in time"
                raise requests.exceptions.ContentDecodingError(f"the answer has {much}")
            yield chunk

    def close(self) -> None:
        """Let go of the connection."""
        self._raw.close()

    def release_conn(self) -> None:
        """Let others have the connection."""
        self._raw.release_conn()
