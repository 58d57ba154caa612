"""The events that the daemon keeps: how many, how they are asked for, and who may wait for the next."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from hotplugd.app.event_buffer import END, EventBuffer, Moment, Page
from tests.support.virtual import in_virtual_time, later, now

BOOT = "1a2b3c4d"
MOMENT = Moment(1_764_245_574_123_456_789, 5_000_000_000)


def filled(count: int, most: int = 100, most_bytes: int = 1 << 20) -> EventBuffer:
    buffer = EventBuffer(BOOT, most, most_bytes)
    for number in range(count):
        buffer.keep(MOMENT, {"event": "device.add", "number": number})
    return buffer


def numbers(page: Page) -> list[int]:
    return [json.loads(each)["number"] for each in page.events]


def cursor(page: Page) -> str:
    return page.cursor


def test_an_event_has_its_times_and_a_cursor() -> None:
    full, text = EventBuffer(BOOT).keep(MOMENT, {"event": "x", "what": {1}})
    assert full["timestamp"] == "2025-11-27T12:12:54.123457Z"
    assert full["boottime"] == 5.0
    assert str(full["cursor"]).startswith(f"{BOOT}-")
    assert json.loads(text) == {**full, "what": "{1}"}


def test_what_follows_a_cursor_is_told_and_nothing_twice() -> None:
    buffer = filled(5)
    page = buffer.page("")
    assert (numbers(page), page.more, page.lost) == ([0, 1, 2, 3, 4], False, False)
    assert buffer.page(cursor(page)).events == ()
    buffer.keep(MOMENT, {"number": 5})
    assert numbers(buffer.page(cursor(page))) == [5]


def test_end_is_after_the_newest() -> None:
    buffer = filled(3)
    page = buffer.page(END)
    assert page.events == ()
    buffer.keep(MOMENT, {"number": 3})
    assert numbers(buffer.page(cursor(page))) == [3]


def test_the_oldest_go_and_who_missed_them_is_told() -> None:
    buffer = filled(10, most=10)
    first = cursor(buffer.page(""))
    early = f"{BOOT}-{int(first.rpartition('-')[2]) - 9}"
    for number in range(10, 15):
        buffer.keep(MOMENT, {"number": number})
    page = buffer.page(early)
    assert (numbers(page), page.lost) == ([*range(5, 15)], True)
    page = buffer.page(first)
    assert (numbers(page), page.lost) == ([*range(10, 15)], False)
    assert buffer.page("").lost is False


def test_large_ones_are_bounded_by_their_size() -> None:
    buffer = EventBuffer(BOOT, 1000, 10_000)
    for number in range(50):
        buffer.keep(MOMENT, {"number": number, "text": "x" * 3000})
    assert numbers(buffer.page("")) == [47, 48, 49]
    buffer.keep(MOMENT, {"number": 50, "text": "x" * 20_000})
    assert numbers(buffer.page("")) == [50]


def test_many_come_in_pages() -> None:
    buffer, at, found = filled(2500, most=10_000), "", list[int]()
    while True:
        page = buffer.page(at)
        at = cursor(page)
        found += numbers(page)
        assert len(page.events) <= 1000
        if not page.more:
            break
    assert found == [*range(2500)]


def test_a_cursor_of_the_daemon_before_or_of_another_boot_gets_everything_there_is() -> None:
    before = cursor(filled(3).page(""))
    # Its successor begins later.
    while time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000 <= int(before.rpartition("-")[2]):
        pass
    buffer = filled(2)
    for at in (before, "ffffffff-99999999999999999999"):
        page = buffer.page(at)
        assert (numbers(page), page.lost) == ([0, 1], False)


def test_a_cursor_of_another_boot_is_told_of_what_is_not_kept_any_more() -> None:
    buffer = filled(3, most=2)
    assert buffer.page("ffffffff-7").lost
    # Who asks for all that is kept misses nothing.
    assert not buffer.page("").lost
    assert not filled(2, most=2).page("ffffffff-7").lost


def test_a_cursor_from_the_future_gets_nothing_twice() -> None:
    buffer = filled(2)
    page = buffer.page(f"{BOOT}-{10**19}")
    assert page.events == ()
    assert numbers(buffer.page("")) == [0, 1]


@pytest.mark.parametrize(
    "text", ["x", "1a2b3c4d", "1a2b3c4d-", "1a2b3c4d--1", "1a2b3c4d-" + "1" * 21, "end "]
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no cursor"):
        filled(1).page(text)


@in_virtual_time
async def test_the_next_event_is_waited_for() -> None:
    buffer = filled(1)
    waiting = asyncio.ensure_future(buffer.after(END, 20.0))
    await later(5)
    assert not waiting.done()
    buffer.keep(MOMENT, {"number": 1})
    buffer.tell()
    assert numbers(await waiting) == [1]
    assert now() == 5


@in_virtual_time
async def test_nothing_is_waited_for_without_end() -> None:
    page = await filled(1).after(END, 20.0)
    assert (page.events, now()) == ((), 20)


@in_virtual_time
async def test_no_more_than_some_wait() -> None:
    buffer = filled(1)
    waiting = [asyncio.ensure_future(buffer.after(END, 20.0)) for _ in range(90)]
    await later(1)
    assert sum(each.done() for each in waiting) == 26
    waiting[0].cancel()
    buffer.keep(MOMENT, {"number": 1})
    buffer.tell()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert now() == 1


@in_virtual_time
async def test_lines_are_those_that_are_kept_and_then_each_as_it_comes() -> None:
    buffer = filled(1500, most=2000)
    lines = buffer.lines("", 15.0)
    found = [json.loads(await anext(lines))["number"] for _ in range(1500)]
    assert found == [*range(1500)]
    waiting = asyncio.ensure_future(anext(lines))
    await later(5)
    buffer.keep(MOMENT, {"number": 1500})
    buffer.tell()
    assert json.loads(await waiting)["number"] == 1500
    assert (await anext(lines), now()) == ("", 20)
    await lines.aclose()


@in_virtual_time
async def test_lines_tell_what_is_lost_between_them() -> None:
    buffer = filled(3, most=3)
    lines = buffer.lines("", 15.0)
    assert json.loads(await anext(lines))["number"] == 0
    for number in range(3, 9):
        buffer.keep(MOMENT, {"number": number})
    kept = [json.loads(await anext(lines)) for _ in range(6)]
    assert [each.get("number", each.get("event")) for each in kept] == [1, 2, "events.lost", 6, 7, 8]
    await lines.aclose()


@in_virtual_time
async def test_who_cannot_wait_among_very_many_gets_few_empty_lines() -> None:
    buffer = filled(1)
    waiting = [asyncio.ensure_future(buffer.after(END, 20.0)) for _ in range(64)]
    await later(1)
    lines = buffer.lines(END, 15.0)
    assert [await anext(lines) for _ in range(5)] == [""] * 5
    assert now() == 5
    await lines.aclose()
    await asyncio.gather(*waiting)


def test_lines_after_no_cursor_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="no cursor"):
        filled(1).lines("x", 15.0)


def test_a_page_is_a_document() -> None:
    page = filled(2).page("")
    assert json.loads(page.json()) == {
        "events": [*map(json.loads, page.events)], "cursor": page.cursor, "more": False, "lost": False,
    }  # fmt: skip
    assert json.loads(EventBuffer(BOOT).page("").json())["events"] == []
