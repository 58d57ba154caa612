"""Who has a disk open: asked of the real program about real ones."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hotplugd.aio.threads import Threads
from hotplugd.container.disk_users import DiskUsers
from hotplugd.host import open_disks
from hotplugd.host.open_disks import OpenDisks
from hotplugd.host.open_files import holder
from hotplugd.model.values import CANNOT_TELL, Device
from tests.support.lab.kernel import Zram
from tests.support.lab.udevd import settle
from tests.support.lab.wait import eventually

pytestmark = pytest.mark.usefixtures("root", "udevd")

Script = Callable[[OpenDisks, DiskUsers], Awaitable[None]]


@pytest.fixture
def disk(zram: Zram) -> Device:
    zram.plug()
    settle()
    return Device(os.path.realpath(f"/sys/class/block/{zram.name}"), "block", zram.name, node=zram.node)


@pytest.fixture
def told() -> list[float]:
    """When it asked to be asked again."""
    return []


@pytest.fixture
def run(told: list[float], tmp_path: Path) -> Callable[[Script], None]:
    def start(script: Script) -> None:
        async def work() -> None:
            loop = asyncio.get_running_loop()
            users = DiskUsers(Threads(), tmp_path / "roots")
            found = OpenDisks(users.look, lambda: told.append(loop.time()))
            try:
                await script(found, users)
            finally:
                found.close()
                users.close()

        asyncio.run(work())

    return start


@contextmanager
def held(disk: Device, flags: int = os.O_RDONLY) -> Iterator[subprocess.Popen[bytes]]:
    script = "import os, sys; os.open(sys.argv[1], int(sys.argv[2])); print(flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", script, disk.node, str(flags)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield process
        process.kill()


def test_one_that_nobody_has_open_is_free(run: Callable[[Script], None], disk: Device) -> None:
    async def script(found: OpenDisks, users: DiskUsers) -> None:
        assert await found.used(disk, "box") == ""
        # A descriptor by which nothing is open, as our own of nodes are.
        with held(disk, os.O_PATH):
            assert await found.used(disk, "") == ""
        assert await found.used(replace(disk, syspath="/sys/devices/virtual/block/gone"), "") == ""

    run(script)


def test_one_that_is_open_is_in_use_until_it_is_closed(
    run: Callable[[Script], None], disk: Device, told: list[float]
) -> None:
    async def script(found: OpenDisks, users: DiskUsers) -> None:
        with held(disk) as process:
            said = f"{disk.kernel} is open in {holder(str(process.pid))}"
            for inside in ("", "box"):
                assert await found.used(disk, inside) == said
            assert await found.used(disk, "", waits=True) == said
            await asyncio.sleep(1.2)
            assert len(told) == 1
        eventually(lambda: process.poll() is not None)
        assert await found.used(disk, "") == ""

    run(script)


def test_who_only_looks_what_is_on_it_does_not_keep_it(run: Callable[[Script], None], disk: Device) -> None:
    async def script(found: OpenDisks, users: DiskUsers) -> None:
        with held(disk) as process:
            asking = asyncio.ensure_future(found.used(disk, ""))
            await asyncio.sleep(0.15)
            process.kill()
            assert await asking == ""

    run(script)


def test_one_look_serves_several_that_go_in_together(
    run: Callable[[Script], None], disk: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(found: OpenDisks, users: DiskUsers) -> None:
        monkeypatch.setattr(open_disks, "_FRESH", 60.0)
        looks = []
        look = found._look

        async def counted() -> object:
            looks.append(1)
            return await look()

        monkeypatch.setattr(found, "_look", counted)
        assert await asyncio.gather(*(found.used(disk, "") for _ in range(5))) == [""] * 5
        assert len(looks) == 1

    run(script)


def test_what_cannot_be_told_is_not_free(
    run: Callable[[Script], None], disk: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(found: OpenDisks, users: DiskUsers) -> None:
        monkeypatch.setattr(users._program, "words", ("/bin/true",))
        assert await found.used(disk, "") == f"{CANNOT_TELL}: the program for it ended"

    run(script)


def test_what_has_no_disk_asks_nobody(run: Callable[[Script], None]) -> None:
    async def script(found: OpenDisks, users: DiskUsers) -> None:
        for subsystem in ("net", "drm", "usb", "tty", "pci"):
            assert await found.used(Device("/sys/devices/none", subsystem, "none"), "") == ""
        assert users._program.running is None
        assert found._open == {}

    run(script)
