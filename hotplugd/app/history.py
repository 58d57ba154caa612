"""The events of the past: the journal's, and those that the running daemon keeps."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hotplugd.app.control_client import ControlError, NotRunning, get
from hotplugd.app.event_views import STARTS, Event, Filter
from hotplugd.app.systemd import EVENT, FIELD, MESSAGE_IDS
from hotplugd.model.text import plain

# Who may write to the journal as whom it likes is root alone: others' entries say another user.
_OURS: Final = ("SYSLOG_IDENTIFIER=hotplugd", "_UID=0")
_FIELDS: Final = (
    "DEVICE",
    *(f"{FIELD}{name}" for name in ("SERIAL", "PORT", "LOCATION", "IDENTITY", "INSTANCE", "SLOT", "NAME")),
)
# Prefixes of an identity that users may leave out: `R5C001` is `serial:R5C001`.
_KINDS: Final = ("", "serial:", "port:", "mac:", "path:", "kernel:")
_GLOB: Final = frozenset("*?[")
_NAMES: Final = {number: name for name, number in MESSAGE_IDS.items()}
_LEVELS: Final = {"7": "debug", "6": "info", "4": "warning", "3": "error", "2": "critical"}
_PATIENCE: Final = 60.0
# So much of what journalctl complains of is read.
_SAID: Final = 4096
_KEPT: Final = "what is known is what the running daemon keeps, its last ten thousand events"
# A daemon that goes on telling is not listened to for ever.
_MOST_PAGES: Final = 100


@dataclass(frozen=True, slots=True)
class Past:
    """Events in the order in which they became so.

    gaps  why there may be more that nobody can tell of, each fit to be shown
    """

    events: Sequence[Event]
    gaps: tuple[str, ...] = ()


def past(control: Path, meant: Filter | None = None) -> Past:
    """What the journal and the running daemon have, or those that are meant and how the daemon started."""
    found: dict[str, Event] = {}
    gaps: list[str] = []
    word = meant.pattern if meant is not None and not meant.key else ""
    for number, event in enumerate((*from_journal(_journal(word, gaps)), *from_daemon(control, gaps))):
        if meant is None or meant.meets(event) or event.get("event") in STARTS:
            found.setdefault(str(event.get("cursor") or number), event)
    return Past(in_order(found.values()), tuple(gaps))


def recent(control: Path, most: int) -> Past:
    """The last events, `most` at most, of the journal and of the running daemon."""
    found: dict[str, Event] = {}
    gaps: list[str] = []
    for number, event in enumerate((*from_journal(_journal("", gaps, most)), *from_daemon(control, gaps))):
        found.setdefault(str(event.get("cursor") or number), event)
    return Past(in_order(found.values())[-most:], tuple(gaps))


def in_order(events: Iterable[Event]) -> list[Event]:
    """Events in the order in which they became so, of whatever the clock said: each boot after the one whose
    events come before its own, and in it by the numbers of cursors.
    """
    boots: dict[str, int] = {}
    keyed: list[tuple[int, int, Event]] = []
    for event in events:
        boot, _, number = str(event.get("cursor", "")).partition("-")
        place = boots.setdefault(boot, len(boots))
        keyed.append((place, int(number) if number.isascii() and number.isdecimal() else 0, event))
    return [event for *_, event in sorted(keyed, key=lambda each: each[:2])]


def from_daemon(control: Path, gaps: list[str]) -> Iterator[Event]:
    """The events that the running daemon keeps. gaps: what the journal lacks; gets why the daemon has none"""
    cursor, more = "", True
    for _ in range(_MOST_PAGES):
        if not more:
            return
        try:
            page = get(control, "events", {"after": cursor})
        except NotRunning:
            if gaps:
                gaps.append("hotplugd is not running: what it kept is lost")
            return
        except ControlError as error:
            gaps.append(f"the daemon does not say what it keeps: {error}")
            return
        events, cursor = parse_page(page)
        more = page.get("more") is True
        yield from events


def parse_page(page: Mapping[str, object]) -> tuple[list[Event], str]:
    """The events of a daemon's answer, and the cursor of the last."""
    events = page.get("events")
    found: list[Event] = (
        [each for each in events if isinstance(each, dict)] if isinstance(events, list) else []
    )
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
    texts += [f"{FIELD}{name}={kind}{word}" for name in ("IDENTITY", "NAME") for kind in _KINDS if kind]
    if (short := word.removeprefix("default/")) != word:
        texts.append(f"{FIELD}INSTANCE={short}")
    texts += [f"{EVENT}={name}" for name in STARTS]
    found: list[str] = []
    for text in texts:
        found += ["+"] * bool(found) + [*_OURS, text]
    return found


def _journal(word: str, gaps: list[str], most: int = 0) -> Iterator[str]:
    """The lines that journalctl prints. gaps: gets why there are none, or not all

    most  of the last entries; 0 for all
    """
    last = [f"--lines={most}"] if most else []
    command = ["journalctl", "--no-pager", "--output=json", *last, "--", *journal_matches(word)]
    anything = False
    # Not a file: history is wanted where every disk is read-only or full, too.
    with open(os.memfd_create("journalctl"), "w+", errors="replace") as said:
        try:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=said, text=True, errors="replace"
            )
        except OSError as error:
            gaps.append(f"there is no journal that can be read (journalctl: {error.strerror}); {_KEPT}")
            return
        late = threading.Timer(_PATIENCE, process.kill)
        late.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                anything = True
                yield line
        finally:
            over = not late.is_alive()
            late.cancel()
            process.kill()
            if process.stdout is not None:
                process.stdout.close()
            code = process.wait()
        said.seek(0)
        why = said.read(_SAID)
    if over:
        gaps.append(f"the journal took longer than {_PATIENCE:.0f} s, and was not read to its end")
    elif "permission" in why or "Hint:" in why:
        gaps.append(
            f"this user may not read the system's journal: root may, and the group systemd-journal; {_KEPT}"
        )
    elif code > 0:
        gaps.append(
            f"the journal cannot be read (journalctl: {plain(why.strip()) or f'exit code {code}'}); {_KEPT}"
        )
    elif not anything and not _is_there():
        gaps.append(f"there is no journal; {_KEPT}")


def _is_there() -> bool:
    """Whether there is a journal with anything in it."""
    command = ["journalctl", "--quiet", "--no-pager", "--lines=1", "--output=cat"]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return bool(done.stdout)
