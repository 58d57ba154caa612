"""The state file in use: leases are written soon, one after the other, and a disk that fails is said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hotplugd.app.kept_state import KeptState
from hotplugd.app.state_file import State, StateFile, written
from hotplugd.model.asker import Asker
from hotplugd.model.values import InstanceName
from hotplugd.pools.away_leases import KeptLeases
from hotplugd.pools.cordons import Cordon, Cordons
from tests.unit.app.test_problem_ends import Logged

JOB = InstanceName("default", "job")
FIRST, SECOND = (KeptLeases(order=((JOB, "a"), (JOB, name))) for name in ("b", "c"))


class Here:
    """The disk answers at once."""

    async def call(self, work: Callable[[], object], _: float) -> object:
        await asyncio.sleep(0)
        return work()


def kept(*, dry_run: bool = False) -> KeptState:
    threads: Any = Here()
    return KeptState(Logged().log, threads, dry_run=dry_run)


async def loaded(path: Path, *, dry_run: bool = False) -> KeptState:
    made = kept(dry_run=dry_run)
    await made.load(path)
    return made


def test_what_is_noted_is_on_the_disk_once_it_is_written(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "state.json"
        made = await loaded(path)
        made.note(FIRST)
        made.note(SECOND)
        await made.written()
        assert StateFile(path).read().leases == SECOND
        assert made.before() == SECOND
        # What is so already is not written again.
        path.unlink()
        made.note(SECOND)
        await made.written()
        assert not path.exists()

    asyncio.run(test())


def test_what_was_so_before_is_written_again_where_something_else_is_being_written(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "state.json"
        made = await loaded(path)
        made.note(FIRST)
        await made.written()
        made.note(SECOND)
        # It is being written by now.
        await asyncio.sleep(0)
        made.note(FIRST)
        await made.written()
        assert StateFile(path).read().leases == FIRST

    asyncio.run(test())


def test_what_is_noted_later_keeps_nobody_waiting(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "state.json"
        made = await loaded(path)
        orders = [replace(FIRST, order=((JOB, f"{number}"),)) for number in range(50)]

        class Busy(Here):
            """Something else is noted during each write, as where a hundred phones come and go."""

            async def call(self, work: Callable[[], object], within: float) -> object:
                if orders:
                    made.note(orders.pop())
                return await super().call(work, within)

        busy: Any = Busy()
        made._threads = busy
        made.note(FIRST)
        await made.written()
        # The next one is being written by now.
        assert len(orders) == 48
        made.note(SECOND)
        await made.written()
        assert len(orders) > 40

    asyncio.run(test())


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        made = await loaded(tmp_path / "state.json", dry_run=True)
        made.note(FIRST)
        await made.written()
        assert not (tmp_path / "state.json").exists()

    asyncio.run(test())


def test_a_disk_that_fails_holds_up_nobody_and_is_a_problem(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "state.json"
        made = await loaded(path)
        path.mkdir()
        made.note(FIRST)
        await made.written()
        (problem,) = made.problems()
        assert "leases of devices that are absent end with the daemon" in problem.message
        path.rmdir()
        made.note(FIRST)
        await made.written()
        assert (made.problems(), StateFile(path).read().leases) == ([], FIRST)

    asyncio.run(test())


def test_a_reload_takes_overrides_from_the_file_and_no_leases(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "state.json"
        made = await loaded(path)
        made.note(FIRST)
        await made.written()
        cordons = Cordons.made_of([Cordon("device", "serial:X", "", "", Asker(0))])
        old = State(leases=SECOND, cordons=cordons)
        path.write_bytes(written(old))
        # It is not overwritten before it was read.
        made.note(replace(FIRST, order=()))
        await made.written()
        assert "another program has written" in made.problems()[0].message
        await made.load(path)
        await made.written()
        assert (made.state.cordons, made.state.leases) == (cordons, FIRST)
        document = json.loads(path.read_bytes())
        assert (len(document["cordons"]), document["leases"]["order"][1]) == (1, "default job b")

    asyncio.run(test())
