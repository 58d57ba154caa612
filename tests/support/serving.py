"""A control socket that is served in another thread."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from hotplugd.app.control import serve
from hotplugd.app.control_client import ControlError
from hotplugd.app.control_request import Handler
from hotplugd.app.endpoints import Endpoint
from hotplugd.app.grants import Grants


@contextmanager
def serving(
    path: Path,
    handlers: Mapping[Endpoint, Handler],
    grants: Grants = Grants(),  # noqa: B008
) -> Iterator[asyncio.AbstractEventLoop]:
    """Serve in another thread, with nothing that the daemon would end by. Gives that thread's loop."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    defects: list[Mapping[str, object]] = []

    async def run() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(lambda _, context: defects.append(context))
        try:
            async with serve(path, handlers, grants):
                started.set_result((loop, stop))
                await stop.wait()
        except ControlError as error:
            started.set_exception(error)

        finally:
            # What a task raised that nobody awaits is told once the task is collected.
            gc.collect()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        loop, stop = started.result(10)
        try:
            yield loop
        finally:
            loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join(3)
    assert not thread.is_alive(), "it does not end"
    assert not defects, defects
