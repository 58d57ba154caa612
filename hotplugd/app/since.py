"""The times that people write for `--since`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from hotplugd.model.text import plain

_DAYS: Final = ("%Y-%m-%d",)
_MOMENTS: Final = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S.%f")
_TIMES: Final = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f")
_AGO: Final = re.compile(
    r"-?([0-9]{1,6})\s*(s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?|w|weeks?)(?:\s+ago)?", re.ASCII
)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LONGEST: Final = 100 * 366 * 86400
# As `history` prints a time, and as ISO 8601 has it.
_BETWEEN: Final = re.compile(r"(\d{4}-\d{2}-\d{2})[tT ](.*)", re.ASCII)
_ZONE: Final = re.compile(r"(.*:\d{2}(?:\.\d+)?)\s*([zZ]|[+-]\d{2}:?\d{2}|utc)", re.ASCII)
_EPOCH: Final = re.compile(r"@([0-9]{1,10})(?:\.[0-9]+)?", re.ASCII)


def parse_since(text: str, now: datetime, local: Callable[[datetime], datetime] | None = None) -> datetime:
    """The time that `02:00`, `2026-11-27 21:12`, `yesterday`, `3h` or `@1795803586` means.

    now    with a zone
    local  gives a time without a zone the local one, as it is at that time; now's where that is left out

    A time of day is the last one that was. Raises ValueError.
    """
    try:
        found = _parsed(text, now, local)
    except (OverflowError, OSError):  # the calendar, or the system's time zones, end before
        found = None
    if found is None:
        raise ValueError(
            f"'{plain(text)}' is no time; write 02:00, yesterday, '2026-11-27 21:12' or 3h (30min, 2d)"
        )
    return found


def _parsed(text: str, now: datetime, local: Callable[[datetime], datetime] | None) -> datetime | None:
    zoned = local or (lambda at: at.replace(tzinfo=now.tzinfo))
    wanted = " ".join(text.lower().split())
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if (at := _by_now(wanted, now)) is not None:
        return at
    day, _, rest = wanted.partition(" ")
    if day in ("today", "yesterday"):
        wanted = f"{midnight - timedelta(days=day == 'yesterday'):%Y-%m-%d} {rest}".rstrip()
    if found := _BETWEEN.fullmatch(wanted):
        wanted = f"{found[1]} {found[2]}"
    if (at := _first(wanted, _TIMES)) is not None:
        time = at.replace(year=midnight.year, month=midnight.month, day=midnight.day)
        return last if (last := zoned(time)) <= now else zoned(time - timedelta(days=1))
    if (at := _first(wanted, (*_DAYS, *_MOMENTS))) is not None:
        return zoned(at)
    if (found := _ZONE.fullmatch(wanted)) and (at := _first(found[1], _MOMENTS)) is not None:
        zone = UTC if found[2] in ("z", "utc") else datetime.strptime(found[2], "%z").tzinfo
        return at.replace(tzinfo=zone)
    return None


def _by_now(text: str, now: datetime) -> datetime | None:
    """The time, where it is told by how long ago it was, or by seconds since 1970."""
    if found := _AGO.fullmatch(text):
        seconds = int(found[1]) * _UNITS[found[2][0]]
        return now - timedelta(seconds=min(seconds, _LONGEST))
    if _EPOCH.fullmatch(text):
        return datetime.fromtimestamp(float(text[1:]), now.tzinfo)
    return now if text == "now" else None


def _first(text: str, forms: tuple[str, ...]) -> datetime | None:
    for form in forms:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007  # the zone is whoever calls it
        except ValueError:
            continue
    return None
