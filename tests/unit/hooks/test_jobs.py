"""In which order commands of hooks run, and how many."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hotplugd.hooks.command_input import Event
from hotplugd.hooks.jobs import Jobs
from hotplugd.hooks.settings import Hook
from hotplugd.rules.pattern import Pattern


def hook(name: str, on: str = "*") -> Hook:
    return Hook(name, (Pattern.of(on),), ("x",), {})


class Bed:
    """Commands that end when they are told to."""

    def __init__(self, *hooks: Hook, at_a_time: int = 8, waiting: int = 1000) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self._gates: dict[str, asyncio.Future[str]] = {}
        self.jobs = Jobs(hooks, self._run, at_a_time=at_a_time, waiting=waiting, taken="0")
        self._number = 0

    async def _run(self, hook: Hook, event: Event) -> str:
        title = f"{hook.name}:{event['event']}"
        self.begun.append(title)
        gate = self._gates[title] = asyncio.get_running_loop().create_future()
        why: str = await gate
        self.ended.append(title)
        return why

    async def event(self, name: str, **fields: object) -> None:
        self._number += 1
        await self.jobs.take({"event": name, "cursor": str(self._number), **fields})
        await turns()

    async def end(self, title: str, why: str = "") -> None:
        self._gates.pop(title).set_result(why)
        await turns()


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def run(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await work

    asyncio.run(bounded())


def test_commands_for_one_device_run_one_after_the_other() -> None:
    async def work() -> None:
        bed = Bed(hook("a"), hook("b"))
        await bed.event("1", identity="x")
        await bed.event("2", identity="x")
        await bed.event("3", identity="y")
        assert bed.begun == ["a:1", "a:3"]
        for title in ("a:1", "b:1", "a:2"):
            await bed.end(title)
        assert bed.begun == ["a:1", "a:3", "b:1", "a:2", "b:2"]

    run(work())


def test_no_more_run_at_a_time_than_may_and_nobody_is_passed_over() -> None:
    async def work() -> None:
        bed = Bed(hook("a"), at_a_time=2)
        for name in ("1", "2", "3"):
            await bed.event(name, device=name)
        await bed.event("1b", device="1")
        assert bed.begun == ["a:1", "a:2"]
        await bed.end("a:1")
        assert bed.begun[2:] == ["a:3"]
        await bed.end("a:2")
        assert bed.begun[3:] == ["a:1b"]

    run(work())


def test_where_too_many_wait_no_further_event_is_taken() -> None:
    async def work() -> None:
        bed = Bed(hook("a"), waiting=2)
        for name in ("1", "2"):
            await bed.event(name, device="x")
        third = asyncio.create_task(bed.event("3", device="x"))
        await turns()
        assert (third.done(), bed.jobs.taken, bed.jobs.cursor) == (False, "3", "0")
        await bed.end("a:1")
        await third
        assert bed.jobs.cursor == "1"

    run(work())


def test_the_cursor_is_before_the_first_event_that_is_not_done_with() -> None:
    async def work() -> None:
        bed = Bed(hook("a", "[0-9]"))
        await bed.event("no")
        assert bed.jobs.cursor == "1"
        await bed.event("2", device="x")
        await bed.event("3", device="y")
        await bed.event("other")
        await bed.end("a:3")
        assert bed.jobs.cursor == "1"
        await bed.end("a:2")
        assert (bed.jobs.cursor, bed.jobs.open) == ("4", 0)

    run(work())


def test_what_fails_is_counted_until_it_does_not() -> None:
    async def work() -> None:
        bed = Bed(hook("a"))
        for name, why in (("1", "no"), ("2", "never"), ("3", "")):
            await bed.event(name, timestamp=f"t{name}")
            await bed.end(f"a:{name}", why)
            outcome = bed.jobs.outcomes["a"]
            assert (outcome.failed, outcome.why) == ({"1": 1, "2": 2, "3": 0}[name], why)

    run(work())


def test_at_the_end_what_runs_has_its_time_and_is_not_done_with_afterwards() -> None:
    async def work() -> None:
        bed = Bed(hook("a"))
        await bed.event("1", device="x")
        await bed.event("2", device="y")
        await bed.event("3", device="x")
        ending = asyncio.create_task(bed.jobs.end(0.05))
        await bed.end("a:1")
        await ending
        assert (bed.begun, bed.ended) == (["a:1", "a:2"], ["a:1"])
        assert bed.jobs.cursor == "1"

    run(work())
