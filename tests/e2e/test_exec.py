"""Commands inside containers, on a real server: what comes of them, and that none outlives its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hotplugd.model.ports import Gone, Ran, Refused, ServerError, Unreachable
from hotplugd.model.values import InstanceName
from hotplugd.server import exec as commands
from hotplugd.server.client import Lxd
from tests.e2e.test_client import name_of, run
from tests.support.lab.container import Container
from tests.support.lab.server import Server
from tests.support.lab.wait import eventually


def ran(server: Server, container: Container, *command: str, within: float = 20, given: bytes = b"") -> Ran:
    async def work(lxd: Lxd) -> Ran:
        return await lxd.run(name_of(container), command, within, given)

    return run(server, work)


def processes(container: Container) -> str:
    return container.run("ps").output


def test_a_command_says_what_it_exits_with_and_writes(server: Server, container: Container) -> None:
    script = "echo out; echo err >&2; exit 7"
    found = ran(server, container, "/bin/sh", "-c", script)
    assert found.code == 7
    assert sorted(found.output.split()) == [b"err", b"out"]
    assert ran(server, container, "/bin/true") == Ran(0, b"")


def test_no_shell_reads_the_words(server: Server, container: Container) -> None:
    assert ran(server, container, "/bin/echo", "$HOME; *", "`id`").output == b"$HOME; * `id`\n"


def test_a_command_reads_what_it_is_given(server: Server, container: Container) -> None:
    assert ran(server, container, "/bin/cat", given=b"\x00\xffhello").output == b"\x00\xffhello"
    # There is no more then.
    assert ran(server, container, "/bin/cat") == Ran(0, b"")


def test_a_command_that_hangs_is_killed(server: Server, container: Container) -> None:
    start = time.monotonic()
    found = ran(server, container, "/bin/sleep", "4321", within=0.5)
    assert (found.code, found.why) == (None, "it did not end within 0.5 s")
    assert time.monotonic() - start < 5
    eventually(lambda: "4321" not in processes(container))


def test_a_command_that_ignores_signals_holds_up_nobody(server: Server, container: Container) -> None:
    start = time.monotonic()
    found = ran(
        server,
        container,
        "/bin/sh",
        "-c",
        "trap '' TERM HUP INT; echo on; sleep 4322 & sleep 4323",
        within=0.5,
    )
    assert (found.code, found.output) == (None, b"on\n")
    assert time.monotonic() - start < 8


def test_what_writes_without_end_is_killed_and_a_part_is_kept(server: Server, container: Container) -> None:
    start = time.monotonic()
    found = ran(
        server, container, "/bin/sh", "-c", "while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done"
    )
    assert found.why == "it wrote more than 256 KB"
    assert len(found.output) == commands._KEPT
    assert time.monotonic() - start < 15


def test_a_command_that_there_is_not_is_refused(server: Server, container: Container) -> None:
    with pytest.raises(Refused, match=r"[Nn]ot found|there is no command"):
        ran(server, container, "/no/such/command")


def test_an_instance_that_stops_meanwhile_ends_the_command(server: Server, container: Container) -> None:
    async def work(lxd: Lxd) -> Ran | ServerError:
        task = asyncio.create_task(lxd.run(name_of(container), ["/bin/sleep", "60"], 30))
        while "sleep 60" not in await asyncio.to_thread(processes, container):
            await asyncio.sleep(0.05)
        await asyncio.to_thread(container.stop)
        try:
            return await task
        except ServerError as error:
            return error

    start = time.monotonic()
    found = run(server, work)
    assert isinstance(found, ServerError) or found.code != 0
    assert time.monotonic() - start < 25


def test_a_stopped_instance_and_none_run_nothing(server: Server, launch: Callable[..., Container]) -> None:
    stopped = launch(start=False)
    with pytest.raises(ServerError):
        ran(server, stopped, "/bin/true")

    async def nobody(lxd: Lxd) -> Ran:
        return await lxd.run(InstanceName("default", "nobody"), ["/bin/true"], 5)

    with pytest.raises(Gone):
        run(server, nobody)


def test_a_server_that_is_away_is_unreachable(tmp_path: Path) -> None:
    async def work() -> Ran:
        return await commands.Exec(str(tmp_path / "none"), None).run(
            InstanceName("default", "x"), ["/bin/true"], 5
        )

    with pytest.raises(Unreachable):
        asyncio.run(work())
