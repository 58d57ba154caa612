"""Events are written some milliseconds later, in their order, and a warning at once."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
import structlog

from hotplugd.app.event_buffer import END, EventBuffer
from hotplugd.app.event_stream import EventStream
from hotplugd.app.systemd import logger
from tests.support.virtual import in_virtual_time, later


class Written:
    """A log, and what was written."""

    def __init__(self) -> None:
        self.buffer = EventBuffer("1a2b3c4d")
        self.names: list[str] = []
        self.events: list[dict[str, object]] = []
        self.stream = EventStream(self.buffer, self._write)
        self.log: Any = structlog.wrap_logger(None, [self.stream], structlog.make_filtering_bound_logger(0))

    def _write(self, event: Any, text: str) -> None:
        self.names.append(event["event"])
        self.events.append(dict(event))


def test_what_is_told_is_written_some_milliseconds_later() -> None:
    async def main() -> None:
        written = Written()
        written.log.info("one")
        await later(0.004)
        written.log.info("two")
        assert written.names == []
        await later(0.001)
        assert written.names == ["one", "two"]
        written.log.info("three")
        await later(0.005)
        assert written.names[-1] == "three"

    in_virtual_time(main)()


def test_a_warning_is_written_at_once_after_what_was_before_it() -> None:
    async def main() -> None:
        written = Written()
        written.log.info("one")
        written.log.warning("two", reason="a\nb")
        assert written.names == ["one", "two"]
        assert (written.events[1]["reason"], written.events[1]["level"]) == ("a\\x0ab", "warning")
        written.log.info("three")
        await later(1)
        assert written.names == ["one", "two", "three"]

    in_virtual_time(main)()


def test_the_times_are_those_of_when_it_became_so() -> None:
    async def main() -> None:
        written = Written()
        written.log.info("one")
        written.log.warning("two")
        first, second = (str(each["timestamp"]) for each in written.events)
        assert first < second

    asyncio.run(main())


def test_without_a_loop_and_in_threads_all_is_written_at_once() -> None:
    written = Written()
    written.log.info("one")
    thread = threading.Thread(target=lambda: written.log.info("two"))
    thread.start()
    thread.join()
    assert written.names == ["one", "two"]


def test_who_waits_for_an_event_gets_it() -> None:
    async def main() -> None:
        written = Written()
        for tell in (written.log.info, written.log.warning):
            waiting = asyncio.ensure_future(written.buffer.after(END, 10.0))
            await asyncio.sleep(0)
            tell("one")
            assert len((await asyncio.wait_for(waiting, 5)).events) == 1

    asyncio.run(main())


def test_the_stream_goes_on_in_another_loop() -> None:
    written = Written()

    async def tell(name: str, seconds: float) -> None:
        written.log.info(name)
        await later(seconds)

    in_virtual_time(tell)("one", 0)
    in_virtual_time(tell)("two", 1)
    assert written.names == ["one", "two"]


@pytest.mark.parametrize("verbose", [False, True])
def test_details_for_those_who_look_for_a_mistake_are_optional(
    capfd: pytest.CaptureFixture[str], *, verbose: bool
) -> None:
    log = logger("json", verbose=verbose)
    log.debug("instance.looked", instance="box")
    log.info("ready")
    told = [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()]
    assert told == (["instance.looked", "ready"] if verbose else ["ready"])
