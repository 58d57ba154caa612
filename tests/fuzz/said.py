"""The log in its three forms, with fields that say anything."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from typing import Final

from structlog.typing import FilteringBoundLogger

from hotplugd.app import systemd
from hotplugd.app.event_stream import plain_strings, traceback
from tests.fuzz import holds
from tests.fuzz.feed import Feed

_FIELDS: Final = (
    "device",
    "identity",
    "rule",
    "instance",
    "action",
    "path",
    "why",
    "reason",
    "place",
    "folder",
    "server",
)
_COLOURS: Final = re.compile("\x1b\\[[0-9;]*m")


class _Screen(StringIO):
    """A file in memory, as standard error; terminal: whether it says to be one."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._file = os.memfd_create("said")
        self._terminal = terminal

    def fileno(self) -> int:
        return self._file

    def isatty(self) -> bool:
        return self._terminal


class _Said:
    """The log in one form, kept, with what it wrote."""

    def __init__(self, screen: _Screen) -> None:
        self.screen = screen
        with _as_stderr(screen):
            self.log: FilteringBoundLogger = systemd.logger()

    def text(self) -> str:
        file = self.screen.fileno()
        found = os.pread(file, os.fstat(file).st_size, 0)
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
        return found.decode()


@contextmanager
def _as_stderr(screen: _Screen) -> Iterator[None]:
    before, sys.stderr = sys.stderr, screen
    try:
        yield
    finally:
        sys.stderr = before


_LINES: Final = _Said(_Screen(terminal=False))
_SCREEN: Final = _Said(_Screen(terminal=True))


def log(data: bytes) -> None:
    """An event whose fields come from others: one line, nothing raw, and all of it there."""
    feed = Feed(data)
    name = feed.pick(("device.problem", "device.add", "server.away", "defect"))
    fields = {key: feed.text() for key in dict.fromkeys(feed.several(lambda: feed.pick(_FIELDS), 6))}
    error = ValueError(feed.text()) if feed.chance(4) else None
    more: Mapping[str, object] = {"exc_info": error} if error is not None else {}
    _LINES.log.error(name, **fields, **more)
    _is_one_line(_LINES.text(), name, fields)
    _SCREEN.log.error(name, **fields, **more)
    shown = _COLOURS.sub("", _SCREEN.text())
    holds.can_be_shown(shown, lines=True)
    assert error is not None or shown.count("\n") == 1
    _sent(name, fields, more)


def _is_one_line(text: str, name: str, fields: Mapping[str, str]) -> None:
    assert text.count("\n") == 1
    assert text.endswith("\n")
    holds.can_be_shown(text[:-1])
    found = json.loads(text)
    assert found["event"] == name
    assert found.keys() >= fields.keys()
    for key, value in found.items():
        holds.can_be_shown(str(value), lines=key == "exception")


def _sent(name: str, fields: Mapping[str, str], more: Mapping[str, object]) -> None:
    """As the journal gets it: fields of ours alone, whatever is in them."""
    sent: list[tuple[str, Mapping[str, object]]] = []
    journal = systemd._Journal()
    journal._send = lambda message, **each: sent.append((message, each))
    event = traceback("error", {"event": name, "level": "error", **fields, **more})
    journal(plain_strings(event), "")
    ((message, each),) = sent
    holds.can_be_shown(message, lines="exc_info" in more)
    assert "\n" not in message or more
    ours = {systemd._field(key) for key in ("exception", *fields, *more)}
    assert each.keys() <= {"PRIORITY", "SYSLOG_IDENTIFIER", "MESSAGE_ID", systemd.EVENT, *ours}
    for key, text in each.items():
        holds.can_be_shown(str(text), lines=key == "HOTPLUGD_EXCEPTION")
