"""The times that people write."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from hotplugd.app.since import parse_since

ZONE = timezone(timedelta(hours=1))
NOW = datetime(2026, 11, 27, 9, 30, tzinfo=ZONE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("02:13", "2026-11-27T02:13:00+01:00"),
        ("21:12:54", "2026-11-26T21:12:54+01:00"),
        ("yesterday", "2026-11-26T00:00:00+01:00"),
        ("today", "2026-11-27T00:00:00+01:00"),
        ("2026-11-20", "2026-11-20T00:00:00+01:00"),
        ("2026-11-20 21:12", "2026-11-20T21:12:00+01:00"),
        ("2026-11-20T21:12:05", "2026-11-20T21:12:05+01:00"),
        ("2026-11-20T21:12:05+00:00", "2026-11-20T21:12:05+00:00"),
        ("3h", "2026-11-27T06:30:00+01:00"),
        ("30min", "2026-11-27T09:00:00+01:00"),
        ("30 min ago", "2026-11-27T09:00:00+01:00"),
        ("2d", "2026-11-25T09:30:00+01:00"),
        ("999999d", "1926-09-13T09:30:00+01:00"),
        ("-1h", "2026-11-27T08:30:00+01:00"),
        ("90 minutes", "2026-11-27T08:00:00+01:00"),
        ("1 hour ago", "2026-11-27T08:30:00+01:00"),
        ("2 weeks", "2026-11-13T09:30:00+01:00"),
        ("now", "2026-11-27T09:30:00+01:00"),
        ("yesterday 21:12", "2026-11-26T21:12:00+01:00"),
        ("Today 02:13:05", "2026-11-27T02:13:05+01:00"),
        ("@1795803586", "2026-11-27T18:19:46+00:00"),
        ("@1795803586.5", "2026-11-27T18:19:46.5+00:00"),
        ("2026-11-20 21:12:05.402 +0200", "2026-11-20T21:12:05.402+02:00"),
        ("2026-11-20T21:12:05.123456Z", "2026-11-20T21:12:05.123456+00:00"),
        ("2026-11-20 21:12 UTC", "2026-11-20T21:12:00+00:00"),
        ("21:12:54.020", "2026-11-26T21:12:54.020+01:00"),
    ],
)
def test_times(text: str, expected: str) -> None:
    assert parse_since(text, NOW) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "25:00",
        "2026-13-01",
        "3x",
        "--1h",
        "@",
        "yesterday 25:00",
        "0001-01-01x",
        "9" * 400 + "h",
        "\x1b[2J",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; write 02:00") as refused:
        parse_since(text, NOW)
    assert "\x1b" not in str(refused.value)


def test_a_time_without_a_zone_has_the_offset_of_that_day() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    now = datetime(2026, 10, 25, 12, 0, tzinfo=berlin)

    def local(at: datetime) -> datetime:
        return at.replace(tzinfo=berlin)

    assert parse_since("2026-10-24 21:00", now, local).isoformat() == "2026-10-24T21:00:00+02:00"
    assert parse_since("01:00", now, local).isoformat() == "2026-10-25T01:00:00+02:00"
    assert parse_since("11:00", now, local).isoformat() == "2026-10-25T11:00:00+01:00"


def test_what_the_calendar_does_not_have_is_refused() -> None:
    def local(_: datetime) -> datetime:
        raise OverflowError

    with pytest.raises(ValueError, match="is no time"):
        parse_since("0001-01-01", NOW, local)
