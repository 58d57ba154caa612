"""The page of now: nobody is shown what was, and the daemon is not asked for nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hotplugd.web.live import Live, Message, Unmade
from hotplugd.web.page import Page
from tests.support.virtual import in_virtual_time


class World:
    """A daemon that can be away, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.failed = ""
        self.live = Live(self.make)

    async def make(self) -> Page:
        self.asked += 1
        if self.failed:
            raise Unmade(self.failed)
        document: Any = {"number": self.asked}
        return Page(document, {})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.live.run())
        yield
        task.cancel()

    async def next(self, number: int) -> Message:
        message = await self.live.after(number, 60.0)
        assert message is not None
        return message


@in_virtual_time
async def test_the_daemon_is_asked_once_for_all_and_not_for_nobody() -> None:
    world = World()
    async with world.running():
        for _ in range(10):
            world.live.heard()
            await asyncio.sleep(1)
        assert world.asked == 0
        with world.live.watched() as one, world.live.watched() as other:
            first, second = await world.next(one), await world.next(other)
            assert (first, json.loads(first.text)["number"], world.asked) == (second, 1, 1)
            # A hundred events in a second are two looks.
            for _ in range(100):
                world.live.heard()
                await asyncio.sleep(0.01)
            assert world.asked <= 4
            # Without an event it is made again all the same.
            before = world.asked
            await asyncio.sleep(35)
            assert before + 3 <= world.asked <= before + 5


@in_virtual_time
async def test_what_was_is_not_shown_to_who_comes_later() -> None:
    world = World()
    async with world.running():
        world.live.heard()
        with world.live.watched() as number:
            assert (await world.next(number)).event == "page"
        await asyncio.sleep(1000)
        with world.live.watched() as number:
            assert world.live.page is None
            message = await world.next(number)
            assert (message.event, json.loads(message.text)["number"]) == ("page", world.asked)


@in_virtual_time
async def test_it_is_stale_as_soon_as_events_are_not_heard_and_until_a_new_look() -> None:
    world = World()
    async with world.running():
        world.live.heard()
        with world.live.watched() as number:
            message = await world.next(number)
            world.live.cut("it hung up")
            stale = await world.next(message.number)
            assert (stale.event, stale.text) == ("stale", "the daemon's events are not heard: it hung up")
            assert world.live.page is None
            asked = world.asked
            await asyncio.sleep(30)
            assert (world.asked, world.live.message) == (asked, stale)
            world.live.heard()
            assert (await world.next(stale.number)).event == "page"


@in_virtual_time
async def test_a_daemon_that_does_not_answer_is_stale_and_asked_again() -> None:
    world = World()
    async with world.running():
        world.live.heard()
        world.failed = "no answer\x1b"
        with world.live.watched() as number:
            stale = await world.next(number)
            assert (stale.event, stale.text) == ("stale", "no answer\\x1b")
            world.failed = ""
            message = await world.next(stale.number)
            assert message.event == "page"


@in_virtual_time
async def test_a_defect_leaves_nothing_that_looks_current() -> None:
    world = World()

    async def make() -> Page:
        world.asked += 1
        if world.asked > 1:
            raise RuntimeError("nobody foresaw it")
        return Page({}, {})  # type: ignore[typeddict-item]

    world.live = Live(make)
    running = asyncio.create_task(world.live.run())
    world.live.heard()
    with world.live.watched() as number:
        message = await world.next(number)
        assert message.event == "page"
        stale = await world.next(message.number)
        assert (stale.event, world.live.page) == ("stale", None)
        with pytest.raises(RuntimeError):
            await running


@in_virtual_time
async def test_nobody_waits_for_what_has_ended() -> None:
    world = World()
    waiting = asyncio.create_task(world.live.after(5, 60.0))
    await asyncio.sleep(1)
    world.live.close()
    assert await waiting is None
    assert world.live.is_closed


@in_virtual_time
async def test_a_look_that_ends_after_the_cut_is_not_shown() -> None:
    world = World()
    gate = asyncio.Event()

    async def slow() -> Page:
        await gate.wait()
        return Page({}, {})  # type: ignore[typeddict-item]

    world.live = Live(slow)
    async with world.running():
        world.live.heard()
        with world.live.watched() as number:
            await asyncio.sleep(1)
            world.live.cut("x")
            gate.set()
            await asyncio.sleep(1)
            assert (await world.next(number)).event == "stale"
            assert world.live.page is None
