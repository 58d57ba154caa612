"""What people and programs see of events: which of them, when, and as a line. Pure.

An event is a mapping of texts by the names of its fields, as the JSON log has it. All that is in one may be a
device's own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Final

from hotplugd.model.text import plain

Event = Mapping[str, object]

KEYS: Final = ("device", "serial", "port", "model", "identity", "instance", "rule", "event", "cause")
"""What can be filtered by."""

_ANY: Final = ("device", "serial", "port", "identity", "instance", "slot")
_COMES: Final = frozenset({"device.add", "device.update", "device.repair", "device.attached"})
_GOES: Final = frozenset({"device.asked", "device.remove", "device.detached"})
_DAYS: Final = ("%Y-%m-%d",)
_MOMENTS: Final = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M")
_TIMES: Final = ("%H:%M:%S", "%H:%M")
_AGO: Final = re.compile(r"([0-9]{1,6})\s*(s|min|m|h|d)(?:in|ours?|ays?|ec)?(?:\s+ago)?", re.ASCII)
_LONGEST: Final = 100 * 366 * 86400
_UNITS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_SHOWN: Final = ("serial", "model", "port")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are meant. key: one of KEYS; empty: any of those that name a device or an instance.

    pattern  a glob, for the whole value
    """

    key: str
    pattern: str

    def meets(self, event: Event) -> bool:
        """Whether the event is one of these."""
        if self.key:
            return fnmatchcase(_text(event, self.key), self.pattern)
        found = [_text(event, key) for key in _ANY]
        # `serial:R5C` is R5C, and an instance of the default project may be named with it.
        found.append(_text(event, "identity").partition(":")[2])
        if instance := _text(event, "instance"):
            found.append(f"default/{instance}")
        return any(fnmatchcase(each, self.pattern) for each in found if each)


def parse_filter(text: str) -> Filter:
    """The filter that `serial=R5C*`, or `R5C*` for any name, stands for. Raises ValueError."""
    key, equals, pattern = text.partition("=")
    if not equals:
        return Filter("", text)
    if key not in KEYS:
        raise ValueError(f"no key '{plain(key)}' to filter by; one of {', '.join(KEYS)}")
    return Filter(key, pattern)


def is_meant(event: Event, filters: Sequence[Filter]) -> bool:
    """Whether an event meets the filters: of those by one key any, and of each key one."""
    keys = {each.key for each in filters}
    return all(any(each.meets(event) for each in filters if each.key == key) for key in keys)


def parse_since(text: str, now: datetime) -> datetime:
    """The time that `02:00`, `2026-11-27 21:12`, `yesterday` or `3h` means. now: with a zone, which counts.

    A time of day is the last one that was. Raises ValueError.
    """
    text = text.strip().lower().replace("t", "T") if re.match(r"\d{4}-", text) else text.strip().lower()
    if found := _AGO.fullmatch(text):
        seconds = int(found[1]) * _UNITS[found[2]]
        return now - timedelta(seconds=min(seconds, _LONGEST))
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text in ("today", "yesterday"):
        return midnight - timedelta(days=text == "yesterday")
    for form in _TIMES:
        if (at := _parsed(text, form)) is not None:
            last = midnight.replace(hour=at.hour, minute=at.minute, second=at.second)
            return last if last <= now else last - timedelta(days=1)
    for form in (*_DAYS, *_MOMENTS):
        if (at := _parsed(text, form)) is not None:
            return at.replace(tzinfo=now.tzinfo)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ValueError(
            f"'{plain(text)}' is no time; write 02:00, yesterday, '2026-11-27 21:12' or 3h (30min, 2d)"
        )
    return at


def _parsed(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)  # noqa: DTZ007  # the zone is whoever calls it
    except ValueError:
        return None


def when(event: Event) -> datetime | None:
    """When it became so, in UTC; None where it does not say."""
    try:
        at = datetime.fromisoformat(_text(event, "timestamp"))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def shown_time(at: datetime) -> str:
    """A time as people read it: in the zone that it is in, with the offset."""
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} {at:%z}"


def line(event: Event) -> str:
    """An event as one printable line, its time in the local zone."""
    at = when(event)
    parts = [shown_time(at.astimezone()) if at is not None else "?", f"{_text(event, 'event'):<17}"]
    if device := _text(event, "device"):
        parts.append(device)
        if more := ", ".join(_named(event)):
            parts.append(f"({more})")
    if instance := _text(event, "instance"):
        parts.append(f"in {instance}" if device else instance)
    if by := _text(event, "by"):
        parts.append(f"by {by}")
    elif rule := _text(event, "rule"):
        parts.append(f"by rule {rule}")
    said = [text for key in ("reason", "why", "devices", "server") if (text := _text(event, key))]
    said += [f"cause: {cause}"] if (cause := _text(event, "cause")) else []
    said += [f"{after} after the plug"] if (after := _text(event, "after_plug")) else []
    head = " ".join(parts)
    return plain(f"{head.rstrip()}: {'; '.join(said)}" if said else head.rstrip())


def attached(events: Iterable[Event]) -> dict[tuple[str, str], Event]:
    """What is attached once these have happened: the last event of each, by its instance and its entry."""
    found: dict[tuple[str, str], Event] = {}
    for each in events:
        key = _text(each, "instance"), _text(each, "entry")
        name = _text(each, "event")
        if name in _COMES:
            found[key] = each
        elif name in _GOES:
            found.pop(key, None)
    return found


def last_seen(events: Iterable[Event], word: str) -> Event | None:
    """The last event that tells where a device was that is called so; None where none does."""
    meant = Filter("", word)
    found = None
    for each in events:
        if _text(each, "event").startswith("device.") and meant.meets(each) and _text(each, "identity"):
            # An entry's event may not say the port.
            found = each if found is None or _text(each, "port") else {**each, "port": _text(found, "port")}
    return found


def absent(event: Event) -> str:
    """What is said of a device that is not there, by the last event about it."""
    told = ["not plugged in"]
    if rule := _text(event, "rule"):
        told.append(f"rule {rule} took it")
    at = when(event)
    where = f" at {port}" if (port := _text(event, "port")) else ""
    told.append(f"last seen {shown_time(at.astimezone()) if at is not None else 'earlier'}{where}")
    return plain("; ".join(told))


def _named(event: Event) -> Iterable[str]:
    for key in _SHOWN:
        if text := _text(event, key):
            yield f"{key} {text}"
    if not _text(event, "serial") and (identity := _text(event, "identity")):
        yield identity


def _text(event: Event, key: str) -> str:
    value = event.get(key)
    return "" if value is None else str(value)
