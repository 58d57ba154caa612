"""The events of the past: the journal's, and those that the running daemon keeps."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hotplugd.app.control import ControlError, ask
from hotplugd.app.event_views import Event
from hotplugd.app.systemd import EVENT, FIELD, MESSAGE_IDS

# Who may write to the journal as whom it likes is root alone: others' entries say another user.
_OURS: Final = ("SYSLOG_IDENTIFIER=hotplugd", "_UID=0")
_FIELDS: Final = (
    "DEVICE",
    *(f"{FIELD}{name}" for name in ("SERIAL", "PORT", "IDENTITY", "INSTANCE", "SLOT")),
)
# What an identity may begin with that is not written: `R5C001` is `serial:R5C001`.
_KINDS: Final = ("", "serial:", "port:", "mac:", "path:", "kernel:")
_GLOB: Final = frozenset("*?[")
_NAMES: Final = {number: name for name, number in MESSAGE_IDS.items()}
_LEVELS: Final = {"7": "debug", "6": "info", "4": "warning", "3": "error", "2": "critical"}
_PATIENCE: Final = 60.0
# A daemon that goes on telling is not listened to for ever.
_MOST_PAGES: Final = 100


def past(control: Path, word: str = "") -> list[Event]:
    """Events in the order in which they became so. Where nobody has kept any there are none.

    word  what names a device or an instance: of the journal's only events with that are read
    """
    found: dict[str, Event] = {}
    for number, event in enumerate((*from_journal(_journal(word)), *from_daemon(control))):
        found.setdefault(str(event.get("cursor") or number), event)
    return sorted(found.values(), key=_moment)


def from_daemon(control: Path) -> Iterator[Event]:
    """Those that the running daemon keeps; none where none runs."""
    cursor, more = "", True
    for _ in range(_MOST_PAGES):
        if not more:
            return
        try:
            page = ask(control, f"events {cursor}".rstrip(), long=True)
        except ControlError:
            return
        events, cursor = parse_page(page)
        more = page.get("more") is True
        yield from events


def parse_page(page: Mapping[str, object]) -> tuple[list[Event], str]:
    """The events of a daemon's answer, and the cursor of the last."""
    texts = page.get("events")
    found: list[Event] = []
    for text in texts if isinstance(texts, list) else []:
        event = json.loads(str(text))
        if isinstance(event, dict):
            found.append(event)
    return found, str(page.get("cursor", ""))


def from_journal(lines: Iterable[str]) -> Iterator[Event]:
    """The events of what `journalctl -o json` printed. Whatever is none is left out."""
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and (event := _event(entry)) is not None:
            yield event


def _event(entry: Mapping[str, object]) -> Event | None:
    # What is too large or no text is null or a list of bytes.
    texts = {key: value for key, value in entry.items() if isinstance(value, str)}
    name = texts.get(EVENT) or _NAMES.get(texts.get("MESSAGE_ID", ""))
    if name is None:
        return None
    event = {key.removeprefix(FIELD).lower(): text for key, text in texts.items() if key.startswith(FIELD)}
    if "DEVICE" in texts:
        event["device"] = texts["DEVICE"]
    event["event"] = name
    event["level"] = _LEVELS.get(texts.get("PRIORITY", ""), "info")
    at = texts.get("__REALTIME_TIMESTAMP", "")
    if "timestamp" not in event and at.isascii() and at.isdecimal():
        event["timestamp"] = datetime.fromtimestamp(int(at) / 1e6, UTC).isoformat()
    return event


def journal_matches(word: str) -> list[str]:
    """What journalctl is to look for: it has an index of each field's values, and none of globs."""
    if not word or not _GLOB.isdisjoint(word):
        return [*_OURS]
    texts = [f"{field}={word}" for field in _FIELDS]
    texts += [f"{FIELD}IDENTITY={kind}{word}" for kind in _KINDS if kind]
    if (short := word.removeprefix("default/")) != word:
        texts.append(f"{FIELD}INSTANCE={short}")
    found: list[str] = []
    for text in texts:
        found += ["+"] * bool(found) + [*_OURS, text]
    return found


def _journal(word: str) -> list[str]:
    """What journalctl prints; nothing where there is none."""
    command = ["journalctl", "--quiet", "--no-pager", "--output=json", "--", *journal_matches(word)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()


def _moment(event: Event) -> str:
    return str(event.get("timestamp", ""))
