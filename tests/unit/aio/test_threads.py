"""Blocking calls, each in a thread of its own: what comes back, what never does, and what that costs."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from typing import Any, TypeVar

import pytest

from hotplugd.aio.threads import NoThread, Threads
from tests.support.lab.wait import eventually, steadily

T = TypeVar("T")

_ENOUGH = 20.0


class Hanging:
    """Calls that hang until they are let go."""

    def __init__(self) -> None:
        self._go = threading.Event()
        self.threads: list[threading.Thread] = []

    def __call__(self) -> str:
        self.threads.append(threading.current_thread())
        assert self._go.wait(_ENOUGH)
        return "late"

    def let_go(self) -> None:
        self._go.set()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    with ExitStack() as undo:
        one = Hanging()
        undo.callback(one.let_go)
        yield one


def in_loop(script: Coroutine[Any, Any, T]) -> T:
    """Run it, and see that nothing went wrong behind its back."""
    defects: list[str] = []

    async def run() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(repr(context)))
        return await script

    result = asyncio.run(run())
    assert not defects, defects
    return result


async def eventually_in_loop(check: Callable[[], object]) -> None:
    """As `eventually`, with the loop going on meanwhile."""
    start = time.monotonic()
    while not check():
        assert time.monotonic() - start < _ENOUGH
        await asyncio.sleep(0.002)


def test_the_result_of_a_call_comes_back_to_the_loop() -> None:
    async def run() -> None:
        threads = Threads()
        assert await threads.call(lambda: 6 * 7, _ENOUGH) == 42
        assert await threads.call(lambda: os.environ.get(""), _ENOUGH) is None
        assert await threads.call(threading.get_ident, _ENOUGH) != threading.get_ident()

    in_loop(run())


@pytest.mark.parametrize(
    "error", [ValueError("no"), OSError(5, "gone"), SystemExit(3), TimeoutError("its own")]
)
def test_what_a_call_raises_is_raised_where_it_is_awaited(error: BaseException) -> None:
    def work() -> None:
        raise error

    async def run() -> None:
        threads = Threads()
        with pytest.raises(type(error)) as raised:
            await threads.call(work, _ENOUGH)
        assert raised.value is error
        assert await threads.call(lambda: "well", _ENOUGH) == "well"

    in_loop(run())


def test_a_call_that_takes_too_long_is_given_up_at_its_deadline(hanging: Hanging) -> None:
    async def run() -> float:
        threads = Threads()
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            await threads.call(hanging, 0.1)
        return time.monotonic() - start

    assert 0.09 < in_loop(run()) < 5


def test_calls_one_after_another_share_one_thread() -> None:
    async def run() -> set[int]:
        threads = Threads()
        return {await threads.call(threading.get_ident, _ENOUGH) for _ in range(50)}

    assert len(in_loop(run())) == 1


def test_calls_at_the_same_time_run_at_the_same_time() -> None:
    async def run() -> None:
        threads = Threads()
        together = threading.Barrier(8)
        calls = [threads.call(lambda: together.wait(_ENOUGH), _ENOUGH) for _ in range(8)]
        assert sorted(await asyncio.gather(*calls)) == list(range(8))

    in_loop(run())


def test_a_hanging_call_holds_up_no_other(hanging: Hanging) -> None:
    async def run() -> None:
        threads = Threads()
        stuck = [asyncio.ensure_future(threads.call(hanging, _ENOUGH)) for _ in range(40)]
        await eventually_in_loop(lambda: len(hanging.threads) == 40)
        assert await threads.call(lambda: "quick", 5) == "quick"
        assert not any(each.done() for each in stuck)
        hanging.let_go()
        assert await asyncio.gather(*stuck) == ["late"] * 40

    in_loop(run())


def test_a_storm_of_calls_leaves_a_few_threads(hanging: Hanging) -> None:
    async def run() -> None:
        threads = Threads()
        calls = [asyncio.ensure_future(threads.call(hanging, _ENOUGH)) for _ in range(40)]
        await eventually_in_loop(lambda: len(hanging.threads) == 40)
        hanging.let_go()
        await asyncio.gather(*calls)
        await eventually_in_loop(lambda: sum(each.is_alive() for each in hanging.threads) == 8)
        assert await threads.call(lambda: "still", _ENOUGH) == "still"

    in_loop(run())


def test_no_more_calls_run_at_a_time_than_are_allowed_and_lost_ones_count(hanging: Hanging) -> None:
    async def run() -> None:
        threads = Threads(3)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await threads.call(hanging, 0.02)
        # There is no room before one of those comes back.
        with pytest.raises(TimeoutError):
            await threads.call(lambda: "never", 0.1)
        waiting = asyncio.ensure_future(threads.call(lambda: "in time", _ENOUGH))
        hanging.let_go()
        assert await waiting == "in time"
        calls = [threads.call(threading.get_ident, _ENOUGH) for _ in range(100)]
        assert set(await asyncio.gather(*calls)) <= {each.ident for each in hanging.threads}

    in_loop(run())


def test_where_no_thread_can_be_had_the_call_is_not_begun_and_later_ones_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def run() -> None:
        threads = Threads(1)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", none_left)
            for _ in range(3):
                with pytest.raises(NoThread, match="can't start"):
                    await threads.call(lambda: "begun", _ENOUGH)
        assert await threads.call(lambda: "begun", _ENOUGH) == "begun"

    in_loop(run())


def test_a_thread_that_comes_back_after_its_deadline_is_used_again(hanging: Hanging) -> None:
    async def run() -> None:
        threads = Threads()
        with pytest.raises(TimeoutError):
            await threads.call(hanging, 0.05)
        other = await threads.call(threading.current_thread, _ENOUGH)
        assert other is not hanging.threads[0]
        hanging.let_go()
        both = threading.Barrier(2)

        def meet() -> threading.Thread:
            both.wait(_ENOUGH)
            return threading.current_thread()

        # The late thread is idle again as soon as the loop has heard of it.
        await eventually_in_loop(lambda: len(threads._idle) == 2)
        met = await asyncio.gather(threads.call(meet, _ENOUGH), threads.call(meet, _ENOUGH))
        assert set(met) == {other, hanging.threads[0]}

    in_loop(run())


def test_a_call_that_nobody_awaits_any_more_gives_its_thread_back(hanging: Hanging) -> None:
    async def run() -> None:
        threads = Threads()
        call = asyncio.ensure_future(threads.call(hanging, _ENOUGH))
        await eventually_in_loop(lambda: hanging.threads)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        hanging.let_go()
        await eventually_in_loop(lambda: threads._idle)
        assert await threads.call(threading.current_thread, _ENOUGH) is hanging.threads[0]

    in_loop(run())


def test_a_thread_tells_the_loop_something_while_it_works() -> None:
    async def run() -> None:
        threads = Threads()
        told: list[tuple[str, int]] = []
        here = threading.get_ident()

        def work() -> None:
            threads.tell(lambda word: told.append((word, threading.get_ident())), "half-way")

        await threads.call(work, _ENOUGH)
        assert told == [("half-way", here)]

    in_loop(run())


def test_a_call_that_comes_back_after_the_loop_has_ended_hurts_nobody(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    finished = threading.Event()

    async def run() -> None:
        threads = Threads()

        def work() -> None:
            hanging()
            threads.tell(failures.append, "told a loop that is closed")
            finished.set()

        with pytest.raises(TimeoutError):
            await threads.call(work, 0.05)

    in_loop(run())
    hanging.let_go()
    assert finished.wait(_ENOUGH)
    steadily(lambda: hanging.threads[0].is_alive() and not failures, 0.05)


def test_a_hanging_call_does_not_keep_the_process_from_ending(hanging: Hanging) -> None:
    async def run() -> None:
        with pytest.raises(TimeoutError):
            await Threads().call(hanging, 0.05)

    in_loop(run())
    eventually(lambda: hanging.threads)
    assert hanging.threads[0].is_alive()
    assert hanging.threads[0].daemon


def test_closed_it_keeps_neither_threads_nor_what_they_did() -> None:
    class Thing:
        def work(self) -> int:
            return 1

    async def run() -> None:
        before = threading.active_count()
        threads, thing, held = Threads(), Thing(), threading.Event()
        late = asyncio.ensure_future(threads.call(lambda: held.wait(_ENOUGH), _ENOUGH))
        assert await threads.call(thing.work, _ENOUGH) == 1
        gone = weakref.ref(thing)
        del thing
        eventually(lambda: gone() is None)
        threads.close()
        held.set()
        assert await late
        eventually(lambda: threading.active_count() == before)

    in_loop(run())
