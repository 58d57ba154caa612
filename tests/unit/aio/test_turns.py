"""Who has very much to do waits for itself, and for nobody else."""

from __future__ import annotations

import asyncio

from hotplugd.aio.turns import Turns
from tests.support.virtual import in_virtual_time, later, now


class Work:
    """What takes a second each."""

    def __init__(self, each: int) -> None:
        self.turns = Turns(each)
        self.done: list[tuple[float, str]] = []

    async def do(self, whose: str, what: str = "") -> None:
        async with self.turns.of(whose):
            await later(1)
        self.done.append((now(), what or whose))


@in_virtual_time
async def test_one_that_has_much_does_not_keep_another_waiting() -> None:
    work = Work(2)
    await asyncio.gather(*(work.do("evil") for _ in range(100)), work.do("lab"))
    assert (1, "lab") in work.done
    assert work.done[-1] == (50, "evil")


@in_virtual_time
async def test_of_one_they_go_in_order() -> None:
    work = Work(1)
    await asyncio.gather(*(work.do("lab", str(number)) for number in range(5)))
    assert work.done == [(number + 1, str(number)) for number in range(5)]


@in_virtual_time
async def test_who_does_not_wait_any_more_takes_no_place() -> None:
    work = Work(1)
    tasks = [asyncio.create_task(work.do("lab", str(number))) for number in range(4)]
    await asyncio.sleep(0)
    assert work.turns.waiting() == {"lab": 3}
    tasks[1].cancel()
    await later(1)
    # In the moment in which it was given its place.
    tasks[2].cancel()
    await tasks[3]
    assert [what for _, what in work.done] == ["0", "3"]
    assert work.turns.waiting() == {}
    assert work.turns._inside == {}


@in_virtual_time
async def test_who_is_given_a_place_and_cancelled_passes_it_on() -> None:
    work = Work(1)
    async with work.turns.of("lab"):
        tasks = [asyncio.create_task(work.do("lab", str(number))) for number in range(2)]
        await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [what for _, what in work.done] == ["1"]
    assert work.turns._inside == {}


@in_virtual_time
async def test_all_can_be_cancelled_at_once() -> None:
    work = Work(1)
    tasks = [asyncio.create_task(work.do("lab")) for _ in range(4)]
    await asyncio.sleep(0)
    for task in tasks[:3]:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    # Who leaves passes its place on to the first that still waits for one.
    assert [type(each) for each in ends] == [*[asyncio.CancelledError] * 3, type(None)]
    assert work.turns._inside == work.turns._waiting == {}


@in_virtual_time
async def test_nothing_is_kept_of_whoever_is_done() -> None:
    work = Work(2)
    await asyncio.gather(*(work.do(str(number % 7)) for number in range(50)))
    assert work.turns._inside == {}
    assert work.turns._waiting == {}
