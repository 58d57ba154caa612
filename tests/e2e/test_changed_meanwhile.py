"""The adapter takes nothing out of an instance that was started, or changed, since its nodes were sealed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from hotplugd.model.ports import Changed
from hotplugd.model.values import Instance
from hotplugd.server.client import Lxd
from tests.e2e.test_client import entry, name_of, run, run_told
from tests.support.lab.container import Container
from tests.support.lab.server import Server

MADE = entry()
NEW = entry(mode="0600")


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
@pytest.mark.parametrize("told", [run_told, run], ids=["its ETag is known", "it is read again"])
def test_what_was_started_is_left_as_it_is(
    server: Server, container: Container, told: Callable[..., tuple[Instance, Instance]], *, replaced: bool
) -> None:
    put, remove = ([NEW], []) if replaced else ([], [MADE.name])

    async def work(lxd: Lxd) -> tuple[Instance, Instance]:
        await lxd.apply(name_of(container), [MADE], [])
        await asyncio.to_thread(container.stop)
        stopped = await lxd.get(name_of(container))
        await asyncio.to_thread(container.start)
        with pytest.raises(Changed, match="was started"):
            await lxd.apply(name_of(container), put, remove, stopped)
        started = await lxd.get(name_of(container))
        assert started.entries.keys() == {MADE.name}
        return started, await lxd.apply(name_of(container), put, remove, started)

    started, after = told(server, work)
    assert started.running
    assert started.started
    assert container.devices.keys() == after.entries.keys() == {each.name for each in put}


def test_a_restart_is_told_by_when_it_was_started(server: Server, container: Container) -> None:
    async def work(lxd: Lxd) -> None:
        await lxd.apply(name_of(container), [MADE], [])
        before = await lxd.get(name_of(container))
        await asyncio.to_thread(container.restart)
        # Nobody tells what changes: it is read again.
        with pytest.raises(Changed):
            await lxd.apply(name_of(container), [], [MADE.name], before)
        assert (await lxd.get(name_of(container))).started > before.started

    run(server, work)


def test_what_somebody_else_changed_has_another_node(server: Server, container: Container) -> None:
    async def work(lxd: Lxd) -> None:
        before = await lxd.apply(name_of(container), [MADE], [])
        other = replace(MADE, config={**MADE.config, "mode": "0600"})
        await lxd.apply(name_of(container), [other], [], before)
        with pytest.raises(Changed, match="changed an entry of ours"):
            await lxd.apply(name_of(container), [], [MADE.name], before)

    run(server, work)


def test_what_goes_in_does_not_ask_who_started_it(server: Server, container: Container) -> None:
    async def work(lxd: Lxd) -> Instance:
        await asyncio.to_thread(container.stop)
        stopped = await lxd.get(name_of(container))
        await asyncio.to_thread(container.start)
        return await lxd.apply(name_of(container), [MADE], [], stopped)

    assert run_told(server, work).entries.keys() == {MADE.name}
