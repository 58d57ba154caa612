"""Seals on folders of files in place of a server."""

from __future__ import annotations

import asyncio
import gc
import os
import stat
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from hotplugd.aio.threads import Threads
from hotplugd.container.opener import Opener
from hotplugd.container.seal_problems import Unsealed
from hotplugd.container.sealer import Sealer
from hotplugd.container.seals import Seals
from hotplugd.model.ports import ServerInfo, Unreachable
from hotplugd.model.values import Entry, InstanceName
from tests.support.devices import BOX, box, console, entry

ONE, TWO = console(1), console(2)
FIRST, SECOND = entry(ONE), entry(TWO)
ELSEWHERE = InstanceName("lab", "box")
_USER = 100_000


class Bench:
    """A server's folder of nodes, and what is inside an instance.

    known  whether the server says where its folder is, in which it has made its nodes
    """

    def __init__(self, folder: Path, *, known: bool) -> None:
        home = folder / "server"
        self.folder = home / "devices"
        self.folder.mkdir(parents=True)
        self.inside = folder / "inside"
        self.inside.mkdir()
        self.mounted: list[Path] = []
        self.told: list[Unsealed] = []
        self.over: list[Unsealed] = []
        self.hangs = False
        self.threads = Threads()
        self.opener = Opener(self.threads, folder / "roots.sock")
        self.sealer = Sealer(self.threads, folder / "seal.sock", str(home / "unix.socket"))
        self.seals = Seals(self.sealer, self.opener, self.at, self.told.append, self.over.append)
        self.server = ServerInfo(str((home if known else folder) / "unix.socket"), "lxd", "5", "")

    async def at(self, _: InstanceName, path: str) -> int:
        if self.hangs:
            await asyncio.Event().wait()
        try:
            return os.open(self.inside / path.rpartition("/")[2], os.O_PATH | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise Unreachable("nothing is there") from None

    def make(self, path: Path, number: tuple[int, int] = (188, 1)) -> Path:
        """Make a node, somebody's."""
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(path, stat.S_IFCHR | 0o660, os.makedev(*number))
        os.chown(path, _USER, _USER)
        return path

    def put(self, number: tuple[int, int] = (188, 1)) -> Path:
        """Make a node where nobody knows of it, and mount it inside."""
        made = self.make(self.folder / f"made{len(self.mounted)}", number)
        path = self.inside / "ttyUSB1"
        path.touch()
        subprocess.run(["mount", "--bind", made, path], check=True)
        self.mounted.append(path)
        return path

    def close(self) -> None:
        for each in self.mounted:
            subprocess.run(["umount", "--lazy", each], check=True)

    def file(self, of: Entry = FIRST, folder: str = "box", minor: int = 1) -> Path:
        """Make a node as the server does."""
        return self.make(
            self.folder / folder / f"unix.{of.name.replace('-', '--')}.dev-ttyUSB1", (188, minor)
        )

    async def has(self, *entries: Entry, **other: bool) -> None:
        self.seals.has(BOX, replace(box(entries), **other))  # type: ignore[arg-type]
        await self.seals.settled()

    def messages(self) -> list[str]:
        return [each.message for each in self.seals.problems()]


Script = Callable[[Bench], Awaitable[None]]


def is_sealed(path: Path | int) -> bool:
    status = os.fstat(path) if isinstance(path, int) else path.lstat()
    return (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, 0, 0)


def descriptors() -> int:
    gc.collect()  # what tests before this one left to it
    return len(os.listdir("/proc/self/fd"))
