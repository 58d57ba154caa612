"""A server whose numbers no server has: each answer is taken or refused in time, and nothing else fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import pytest

from hotplugd.aio.threads import Threads
from hotplugd.container.opener import Opener
from hotplugd.container.server_nodes import NodeFiles
from hotplugd.model.ports import ServerError
from hotplugd.model.values import Entry, InstanceName
from hotplugd.server import client
from hotplugd.server.client import Lxd
from tests.support.lab.absurd import NUMBERS
from tests.support.lab.hostile import hostile

_NAME: Final = InstanceName("default", "c1")
_MARKS: Final = {"user.hotplugd.version": "2", "user.hotplugd.instance": "default/c1"}
_ENTRY: Final = Entry("hp-00000000000000aa", {"type": "unix-char", "source": "/dev/null", **_MARKS})
_GET: Final = "GET /1.0/instances/c1"


async def _connected(lxd: Lxd) -> object:
    server = await lxd.connect()
    assert 0 <= server.pid <= 1 << 22
    files = NodeFiles(Opener(Threads(), Path("/nonexistent")))
    await files.find(server)
    return server


async def _told(lxd: Lxd) -> None:
    async with aclosing(lxd.events()) as events, asyncio.timeout(0.5):
        async for _ in events:
            pass


async def _got(lxd: Lxd) -> object:
    found = await lxd.get(_NAME)
    assert len(found.started) <= 64
    return found


def _changed(lxd: Lxd) -> Awaitable[object]:
    return lxd.apply(_NAME, [_ENTRY], [])


# Which answer is absurd, to which request, and who asks.
ASKED: Final[Mapping[str, tuple[Mapping[str, str], Callable[[Lxd], Awaitable[Any]]]]] = {
    "host": ({"GET /1.0 ": "host"}, _connected),
    "instance": ({_GET: "instance"}, _got),
    "status": ({_GET: "status"}, _got),
    "instances": ({"GET /1.0/instances?recursion": "instances"}, lambda lxd: lxd.list()),
    "state": ({f"{_GET}/state": "state"}, lambda lxd: lxd.init(_NAME)),
    "operation": ({"PATCH": "operation", f"{_GET}?": "instance"}, _changed),
    "ended": ({"PATCH": "operation: text", "GET /1.0/operations": "ended", f"{_GET}?": "instance"}, _changed),
    "events": ({"GET /1.0/events": "events"}, _told),
}


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("what", ASKED)
def test_an_absurd_number_is_no_defect(tmp_path: Path, what: str, number: str) -> None:
    said, ask = ASKED[what]
    answers = {request: each if ":" in each else f"{each}: {number}" for request, each in said.items()}
    with hostile(tmp_path / "s", answers) as address:
        asyncio.run(_is_answered(address, ask))


@pytest.mark.parametrize(
    "said",
    [
        "large etag",
        "etag of some size",
        "etag of no text",
        "no status that there is",
        "negative length",
        "huge length",
    ],
)
def test_nor_is_an_absurd_head(tmp_path: Path, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_CALL", 2.0)

    async def ask(lxd: Lxd) -> None:
        await lxd.get(_NAME)
        # What it said goes back to it.
        await lxd.apply(_NAME, [], ["e"])

    with hostile(tmp_path / "s", {_GET: said}) as address:
        asyncio.run(_is_answered(address, ask))


async def _is_answered(address: str, ask: Callable[[Lxd], Awaitable[Any]]) -> None:
    lxd = Lxd(address, Threads())
    try:
        async with asyncio.timeout(10):
            await ask(lxd)
    except (ServerError, TimeoutError) as error:
        _is_said(error, whether=ask is not _told)
    finally:
        lxd.close()


def _is_said(error: Exception, *, whether: bool) -> None:
    assert len(str(error)) < 1000
    assert isinstance(error, ServerError) is whether
