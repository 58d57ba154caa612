"""The control socket: orders, which go on where their clients hang up, and end with the socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from hotplugd.app import control
from hotplugd.app.control import serve
from hotplugd.app.control_client import ControlError, get
from hotplugd.app.control_request import ControlRequest, Handler
from hotplugd.app.endpoints import Endpoint, Method

_ORDER = b"POST /1/order HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


def _at(name: str, method: Method = "GET") -> Endpoint:
    return Endpoint(method, name, "read", "", dict)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


def test_who_asked_for_something_is_told_what_came_of_it(path: Path) -> None:
    async def run() -> bytes:
        began = asyncio.Event()

        async def order(_: ControlRequest) -> object:
            began.set()
            await asyncio.sleep(0.1)
            return {"taken": True}

        async with serve(path, {_at("order", "POST"): order}):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(_ORDER)
            await began.wait()
        answer = await reader.read()
        writer.close()
        return answer

    assert asyncio.run(run()).endswith(b'{"taken": true}\n')


def test_an_order_without_end_does_not_keep_it_from_ending(path: Path) -> None:
    async def run() -> float:
        loop, began = asyncio.get_running_loop(), asyncio.Event()

        async def order(_: ControlRequest) -> object:
            began.set()
            return await asyncio.Event().wait()

        async with serve(path, {_at("order", "POST"): order}):
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(_ORDER)
            await began.wait()
            start = loop.time()
        writer.close()
        return loop.time() - start

    assert 0.9 < asyncio.run(run()) < 5


def test_an_order_goes_on_where_its_client_hangs_up_and_counts_until_then(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_OF_ROOT", 2)

    async def run() -> None:
        began, go_on, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def order(_: ControlRequest) -> object:
            began.set()
            await go_on.wait()
            over.set()
            return {"taken": True}

        handlers: Mapping[Endpoint, Handler] = {
            _at("order", "POST"): order, _at("status"): lambda _: {"ready": True},
        }  # fmt: skip
        async with serve(path, handlers):
            for _ in range(2):
                began.clear()
                _, writer = await asyncio.open_unix_connection(path)
                writer.write(_ORDER)
                await began.wait()
                writer.close()
            with pytest.raises(ControlError, match="hung up"):
                await asyncio.to_thread(get, path, "status")
            go_on.set()
            await asyncio.wait_for(over.wait(), 5)
            assert await asyncio.to_thread(get, path, "status") == {"ready": True}

    asyncio.run(run())


@pytest.mark.parametrize(("error", "defects"), [(ValueError("x"), 0), (KeyError("x"), 1)])
def test_an_order_without_a_client_that_fails_is_a_defect(path: Path, error: Exception, defects: int) -> None:
    told: list[object] = []

    async def run() -> None:
        began, go_on = asyncio.Event(), asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

        async def order(_: ControlRequest) -> object:
            began.set()
            await go_on.wait()
            raise error

        async with serve(path, {_at("order", "POST"): order, _at("status"): lambda _: {"ready": True}}):
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(_ORDER)
            await began.wait()
            writer.close()
            # The daemon has seen by then that the other one hung up.
            await asyncio.to_thread(get, path, "status")
            go_on.set()

    asyncio.run(run())
    assert len(told) == defects
