"""What a session does between the parts that have tests of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from hotplugd.app.session import Session
from hotplugd.app.settings import Config
from hotplugd.model.ports import ServerInfo, Unreachable
from hotplugd.model.values import Instance
from tests.support.devices import ruleset
from tests.support.lab.shortage import no_more_descriptors
from tests.support.virtual import at, in_virtual_time, later, now
from tests.unit.reconcile.scripted_leases import no_leases

# Of an earlier boot: nothing has its number.
_SLOTS = ["c-188-1-1a2b3c4d-1", "c-188-2-1a2b3c4d-2"]


def test_what_is_left_from_before_is_swept_also_where_no_file_could_be_opened_first(tmp_path: Path) -> None:
    logged = LogCapture()
    log: Any = structlog.wrap_logger(None, [logged], structlog.make_filtering_bound_logger(0))

    async def script() -> None:
        session = Session(str(tmp_path / "unix.socket"), ruleset(), log, Config(), no_leases())
        session._left_over.left = list(_SLOTS)
        with no_more_descriptors(), pytest.raises(Unreachable, match="Too many open files"):
            await session._left_over.sweep()
        assert session._left_over.left == _SLOTS
        await session._left_over.sweep()
        assert session._left_over.left == []
        session.reconciler.close()

    asyncio.run(script())
    assert sorted(each["slot"] for each in logged.entries if each["event"] == "slot.swept") == _SLOTS


class _Server:
    """One that is away, answers, or answers everything but whoever listens."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()
        self.is_away, self.is_mute = True, False
        self.tries: list[float] = []
        self.unlisted: dict[str, str] = {}

    async def connect(self) -> ServerInfo:
        self.tries.append(now())
        if self.is_away:
            raise Unreachable("no answer")
        self.answered.set()
        return ServerInfo("/x", "lxd", "5", "")

    async def list(self, _: object = ()) -> list[Instance]:
        return []

    def waiting(self) -> dict[str, int]:
        return {}

    async def events(self) -> AsyncIterator[None]:
        if self.is_mute:
            raise Unreachable("no events")
        yield None
        await asyncio.Event().wait()


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[tuple[Session, _Server]]:
    logged = LogCapture()
    log: Any = structlog.wrap_logger(None, [logged], structlog.make_filtering_bound_logger(0))
    session, server = Session(str(folder / "unix.socket"), ruleset(), log, Config(), no_leases()), _Server()
    instead: Any = server
    session._lxd = session._listing._server = instead
    work = asyncio.get_running_loop().create_task(session._listen())
    try:
        yield session, server
    finally:
        work.cancel()
        session.reconciler.close()


def test_the_first_answer_to_anybody_ends_the_pause(tmp_path: Path) -> None:
    @in_virtual_time
    async def test() -> None:
        async with listening(tmp_path) as (session, server):
            await at(101)
            # Every ten seconds by now.
            assert server.tries[-1] - server.tries[-2] == pytest.approx(10)
            server.is_away = False
            server.answered.set()
            await later(0.001)
            assert session.connected
            assert session.problems() == []

    test()


def test_a_server_that_answers_everything_but_whoever_listens_is_tried_less_and_less_often(
    tmp_path: Path,
) -> None:
    @in_virtual_time
    async def test() -> None:
        async with listening(tmp_path) as (session, server):
            await at(101)
            server.is_away, server.is_mute = False, True
            for _ in range(1000):
                server.answered.set()
                await later(0.1)
            assert not session.connected
            assert len([each for each in server.tries if each > 101]) < 20
            server.is_mute = False
            await later(10.1)
            assert session.connected

    test()
