"""A listing of many instances is taken in a little at a time: no turn of the event loop is long, and a plug
does not wait for its end. Turns are counted and not measured.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from hotplugd.model.values import Entry, Instance, InstanceName
from hotplugd.reconcile import work_loop, worker, workers
from tests.support.devices import ALL, BOX, box, phone
from tests.support.virtual import at, in_virtual_time, now
from tests.unit.reconcile.bench import Bench

MANY = 500
ONE = phone(1)
THEIRS = Entry("theirs", {"type": "unix-char", "source": ONE.node})


def name(number: int) -> InstanceName:
    return InstanceName("default", f"c{number}")


def many(count: int = MANY) -> list[Instance]:
    return [box(name=f"c{number}") for number in range(count)]


class Turns:
    """In which turn of the loop what was done how often."""

    def __init__(self) -> None:
        self.number = 0
        self.done: Counter[tuple[str, int]] = Counter()
        self._loop = asyncio.get_running_loop()
        self._on = True
        self._next()

    def _next(self) -> None:
        self.number += 1
        if self._on:
            self._loop.call_soon(self._next)

    def stop(self) -> None:
        self._on = False

    def count(self, monkeypatch: pytest.MonkeyPatch, where: object, what: str) -> None:
        """Count the calls of what is called so."""
        called = getattr(where, what)

        def counted(*words: object, **more: object) -> object:
            self.done[what, self.number] += 1
            return called(*words, **more)

        monkeypatch.setattr(where, what, counted)

    def most(self, what: str) -> int:
        """How often it was done in one turn at most."""
        return max(times for (name, _), times in self.done.items() if name == what)

    def all(self, what: str) -> int:
        return sum(times for (name, _), times in self.done.items() if name == what)


@pytest.mark.parametrize("again", [False, True], ids=["the first", "a later one"])
def test_no_turn_is_about_more_than_a_few(monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    @in_virtual_time
    async def run() -> None:
        bench = Bench(*many())
        if again:
            await bench.start()
            bench.instances = {each: replace(there, running=False) for each, there in bench.instances.items()}
        else:
            bench.reconciler.listed_devices([], [])
        turns = Turns()
        turns.count(monkeypatch, worker.Worker, "listed")
        turns.count(monkeypatch, work_loop.WorkLoop, "kick")
        turns.count(monkeypatch, work_loop, "plan_instance")
        await bench.reconciler.listed_instances(bench.instances.values())
        turns.stop()
        await bench.reconciler.settled()
        assert turns.all("listed") == MANY
        assert turns.all("plan_instance") >= MANY
        assert turns.most("listed") == workers.SLICE
        assert turns.most("kick") <= 2 * workers.SLICE
        assert turns.most("plan_instance") <= 2 * workers.SLICE

    run()


@in_virtual_time
async def test_a_plug_does_not_wait_for_the_end_of_a_listing() -> None:
    bench = Bench(*many(), box())
    await bench.start()
    await at(10)
    listing = asyncio.create_task(bench.reconciler.listed_instances(bench.instances.values(), now()))
    await asyncio.sleep(0)
    bench.reconciler.device(ONE)
    while not bench.requests:
        await asyncio.sleep(0)
    assert not listing.done()
    await listing
    await bench.reconciler.settled()
    assert bench.verified() == {str(ONE): True}


@in_virtual_time
async def test_nothing_is_planned_before_all_were_listed_once() -> None:
    bench = Bench(*many(), box(), replace(box([THEIRS]), id=name(MANY)))
    listing = asyncio.create_task(bench.start(ONE))
    for _ in range(MANY // workers.SLICE):
        await asyncio.sleep(0)
        assert not bench.requests
    await listing
    # Somebody else has it, and that one was listed last.
    assert not bench.requests
    assert "it belongs to" in bench.told()[0]


@in_virtual_time
async def test_what_is_learned_while_a_listing_is_taken_in_is_newer() -> None:
    last = name(MANY - 1)
    bench = Bench(*many(), box())
    await bench.start()
    await at(10)
    old = list(bench.instances.values())
    listing = asyncio.create_task(bench.reconciler.listed_instances(old, now()))
    await asyncio.sleep(0)
    bench.change(last, entries={THEIRS.name: THEIRS})
    bench.reconciler.refresh(last)
    del bench.instances[name(MANY - 2)]
    bench.reconciler.refresh(name(MANY - 2))
    await listing
    await bench.reconciler.settled()
    assert not bench.reconciler.knows(name(MANY - 2))
    await bench.plug(ONE)
    assert "it belongs to" in bench.told()[0]


@in_virtual_time
async def test_what_others_edit_is_heeded_before_the_end_of_a_listing() -> None:
    first = name(0)
    bench = Bench(*many(), box())
    await bench.start(ONE)
    await at(10)
    bench.change(first, entries={THEIRS.name: THEIRS})
    listing = asyncio.create_task(bench.reconciler.listed_instances(list(bench.instances.values()), now()))
    while not bench.told():
        await asyncio.sleep(0)
    assert not listing.done()
    assert f"{first} has it too" in bench.told()[0]
    await listing


@in_virtual_time
async def test_of_a_project_that_cannot_be_listed_those_are_asked_for_that_matter() -> None:
    bench = Bench(*many(20), box())
    await bench.start(ONE)
    await at(10)
    bench.gets.clear()
    bench.change(BOX, entries={})
    await bench.reconciler.listed_instances([], now(), {"default"})
    await bench.reconciler.settled()
    assert [name for _, name in bench.gets] == ["box"]
    # It had lost its entry, and has it again; the others are there still, as they were.
    assert bench.verified() == {str(ONE): True}
    assert all(bench.reconciler.knows(name(number)) for number in range(20))
    assert bench.told() == []


@in_virtual_time
async def test_also_where_it_never_could_be_listed() -> None:
    bench = Bench(*many(20), box())
    bench.reconciler.listed_devices([ONE], [])
    await bench.reconciler.listed_instances([], now(), {"default"})
    await bench.reconciler.settled()
    assert [name for _, name in bench.gets] == ["box"]
    assert bench.verified() == {str(ONE): True}


@pytest.mark.parametrize(
    "what",
    [
        lambda bench: bench.reconciler.set_rules(ALL),
        lambda bench: bench.reconciler.look_everywhere(),
        lambda bench: bench.reconciler.listed_devices([ONE], []),
    ],
    ids=["other rules", "a look everywhere", "a listing of devices"],
)
def test_nor_is_one_that_concerns_all_instances(
    monkeypatch: pytest.MonkeyPatch, what: Callable[[Bench], None]
) -> None:
    @in_virtual_time
    async def run() -> None:
        bench = Bench(*many(), box())
        await bench.start(ONE)
        turns = Turns()
        turns.count(monkeypatch, work_loop.WorkLoop, "kick")
        turns.count(monkeypatch, worker.Worker, "look_again")
        what(bench)
        # To where devices go it is done at once.
        assert turns.all("kick") + turns.all("look_again") == 1
        await bench.reconciler.settled()
        turns.stop()
        assert turns.all("kick") + turns.all("look_again") >= MANY
        assert max(turns.done.values()) <= 2 * workers.SLICE
        assert bench.verified() == {str(ONE): True}

    run()


@in_virtual_time
async def test_a_listing_of_one_project_says_nothing_of_others() -> None:
    theirs = InstanceName("evil", "c1")
    bench = Bench(box(), replace(box(name="c1"), id=theirs))
    await bench.start(ONE)
    await at(10)
    await bench.reconciler.listed_instances([], now(), (), {"evil"})
    await bench.reconciler.settled()
    assert not bench.reconciler.knows(theirs)
    assert bench.verified() == {str(ONE): True}
    assert bench.told() == []


@in_virtual_time
async def test_what_status_asks_of_instances_without_devices_is_little() -> None:
    calls = Counter[int]()

    def count(_: object, event: str, __: object) -> None:
        calls[here] += event == "call"

    for here in (100, 300):
        bench = Bench(*many(here), box())
        await bench.start(ONE)
        asked = bench.reconciler
        sys.setprofile(count)
        try:
            for each in (asked.attachments, asked.pending, asked.held, asked.problems):
                each()
        finally:
            sys.setprofile(None)
    # A few calls each. It was 60 when 10,000 took a quarter of a second of one turn.
    assert (calls[300] - calls[100]) / 200 < 30
