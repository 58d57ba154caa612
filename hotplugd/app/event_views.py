"""What people and programs see of events: which of them, when, and as a line. Pure.

An event is a mapping of texts by the names of its fields, as the JSON log has it. All that is in one may be a
device's own words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Final

from hotplugd.app.event_documents import ENDS, OVER
from hotplugd.model.text import plain
from hotplugd.plan.overrides import BY_HAND

Event = Mapping[str, object]

KEYS: Final = (
    "device", "serial", "port", "location", "model", "identity", "instance", "rule", "event", "cause"
)  # fmt: skip
"""What can be filtered by."""

STARTS: Final = ("starting", "server.connected", "ready")
"""What tells how the daemon started: by the last it has told of all that it found attached."""

_ANY: Final = ("device", "serial", "port", "location", "identity", "instance", "slot", "name")
_COMES: Final = frozenset({"device.add", "device.update", "device.repair", "device.attached"})
_GOES: Final = frozenset({"device.asked", "device.remove", "device.detached"})
_PLUGS: Final = ("device.seen", "device.unmatched", "device.gone")
_PLACE: Final = ("port", "location", "model", "serial", "rule")
_PROBLEM: Final = ("device", "identity", "slot", "instance", "entry", "action", "path", "reason")
_SHOWN: Final = ("serial", "model", "port", "location")


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
        found += [_text(event, key).partition(":")[2] for key in ("identity", "name")]
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
    if device := _text(event, "device") or _text(event, "name"):
        parts.append(device)
        if more := ", ".join(_named(event)):
            parts.append(f"({more})")
    if instance := _text(event, "instance"):
        parts.append(f"in {instance}" if device else instance)
    if by := _text(event, "by"):
        parts.append(f"by {by}")
    elif rule := _text(event, "rule"):
        parts.append(BY_HAND if rule == BY_HAND else f"by rule {rule}")
    said = [text for key in ("reason", "why", "devices", "server") if (text := _text(event, key))]
    said += [f"cause: {cause}"] if (cause := _text(event, "cause")) else []
    said += [f"{after} after the plug"] if (after := _text(event, "after_plug")) else []
    head = " ".join(parts)
    return plain(f"{head.rstrip()}: {'; '.join(said)}" if said else head.rstrip())


def standing(events: Iterable[Event]) -> list[Event]:
    """What is so once these have happened: what is attached, and the problems that are not over."""
    every = list(events)
    problems: list[Event] = []
    for each in every:
        name = _text(each, "event")
        if name in ENDS:
            problems.append(each)
        elif name == OVER:
            # Another of the same device may last.
            problems = [one for one in problems if not _is_same(one, each)]
        elif name == "starting":
            problems = []
    return [*attached(every).values(), *problems]


def _is_same(problem: Event, over: Event) -> bool:
    return all(_text(problem, key) == _text(over, key) for key in _PROBLEM)


def attached(events: Iterable[Event]) -> dict[tuple[str, str], Event]:
    """What is attached once these have happened: the last event of each, by its instance and its entry.

    What a daemon does not find attached when it starts is not: its instance was deleted while none ran.
    """
    found: dict[tuple[str, str], Event] = {}
    # Problems that the previous daemon reported and this one has not reported yet.
    untold: set[tuple[str, str]] = set()
    is_connected = False
    for each in events:
        key = _text(each, "instance"), _text(each, "entry")
        name = _text(each, "event")
        if name in _COMES:
            found[key] = each
            untold.discard(key)
        elif name in _GOES:
            found.pop(key, None)
        elif name == "starting":
            untold, is_connected = {*found}, False
        elif name == "server.connected":
            is_connected = True
        elif name == "ready" and is_connected:
            found = {one: event for one, event in found.items() if one not in untold}
    return found


def last_seen(events: Iterable[Event], word: str) -> Event | None:
    """The last event that tells where a device was that is called so; None where none does."""
    meant = Filter("", word)
    found: dict[str, object] = {}
    gone: object = None
    for each in events:
        if (
            (name := _text(each, "event")).startswith("device.")
            and meant.meets(each)
            and _text(each, "identity")
        ):
            # An entry's event may not say the port.
            found = {**{key: text for key in _PLACE if (text := _text(found, key))}, **each}
            if name in _PLUGS:
                gone = each.get("timestamp") if name == "device.gone" else None
            # The removal from the instance comes later, much later where that hangs.
            found["timestamp"] = gone or each.get("timestamp")
    return found or None


def is_gone(events: Iterable[Event]) -> bool:
    """Whether the last word of a device, in events about it alone, is that it is not plugged in."""
    words = [name for each in events if (name := _text(each, "event")) in _PLUGS]
    return bool(words) and words[-1] == "device.gone"


def absent(event: Event | None, would: str) -> str:
    """What is said of a device that is not there.

    event  the last one about it; None where there is none
    would  the rule that would take it, by what is known of it; empty if none
    """
    told = ["not plugged in"]
    rule = _text(event, "rule") if event is not None else ""
    if would:
        told.append(f"rule {would} would take it")
    elif rule == BY_HAND:
        told.append("it was attached by hand, and no rule is known to take it")
    elif rule:
        told.append(f"rule {rule} took it, and is not in force any more")
    if event is not None:
        at = when(event)
        port = _text(event, "location") or _text(event, "port")
        where = f" at {port}" if port else ""
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
