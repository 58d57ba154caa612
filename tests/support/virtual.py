"""An event loop whose clock jumps to the next timer: hours pass in no time, and every time is exact."""

from __future__ import annotations

import asyncio
import functools
import math
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec

_P = ParamSpec("_P")


class _Selector(selectors.DefaultSelector):
    """Waits by moving the clock."""

    def __init__(self, wait: Callable[[float | None], None]) -> None:
        super().__init__()
        self._wait = wait

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            self._wait(None if timeout is None else max(timeout, 0))
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """Nothing but timers makes time pass.

    defects  what its exception handler was called with
    tick     how long each turn of the loop takes, in seconds
    """

    def __init__(self) -> None:
        self._virtual = 0.0
        self.defects: list[BaseException | str] = []
        self.tick = 0.0
        super().__init__(_Selector(self._pass))
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self._virtual

    def _pass(self, timeout: float | None) -> None:
        if timeout is None:
            raise RuntimeError("everything waits, and no timer is set: nothing will ever happen")
        if timeout == 0:
            self._virtual += self.tick
            return
        self._virtual = max(self._virtual + timeout, math.nextafter(self._virtual, math.inf))

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.defects.append(context.get("exception") or str(context.get("message")))


def in_virtual_time(test: Callable[_P, Coroutine[Any, Any, None]]) -> Callable[_P, None]:
    """Run an async test in a loop of its own. Fails on defects that the test left in `defects`."""

    @functools.wraps(test)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        loop = VirtualLoop()
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(test(*args, **kwargs))
        assert loop.defects == [], loop.defects

    return run


def clock() -> VirtualLoop:
    """The loop that runs the test."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def now() -> float:
    """The time to a microsecond, so that it equals what a test writes down."""
    return round(clock().time(), 6)


async def later(seconds: float) -> None:
    """Go on after this many seconds."""
    reached = asyncio.Event()
    clock().call_at(clock().time() + seconds, reached.set)
    await reached.wait()


# More steps of the loop than any one event takes to have all its effects at one time.
_STEPS: Final = 50


async def at(when: float) -> None:
    """Go on once it is this late, and everything that was due until then was done."""
    await later(when - clock().time())
    for _ in range(_STEPS):
        turn = asyncio.Event()
        clock().call_soon(turn.set)
        await turn.wait()
