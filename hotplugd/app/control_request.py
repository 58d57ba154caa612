"""What somebody asks the daemon for on its control socket, and what answers that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from hotplugd.app.grants import Grant
from hotplugd.app.peer import Peer


class Forbidden(Exception):
    """Whoever asks may not. The text is fit to be shown."""


class Unavailable(Exception):
    """The answer is not known now, and may be later. The text says why."""


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """A request.

    grant  what the peer may
    query  the words after `?` in the path
    body   what was sent
    """

    peer: Peer
    grant: Grant
    query: Mapping[str, str]
    body: str


Handler: TypeAlias = Callable[[ControlRequest], object]
"""Gives the document, or its text as JSON; an awaitable of it; or an AsyncIterator of lines without end.
Raises ValueError where what was asked is wrong, Forbidden, and Unavailable.
"""
