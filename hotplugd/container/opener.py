"""Opens files of other processes by a helper program that has the privilege for it: see `roots_helper`.

The daemon, as root, may look into the processes of unprivileged containers, whose user namespaces belong to
root. The program is asked for privileged containers, and for a server's own nodes where a unit confines the
daemon.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from hotplugd.aio.helper import Program, Unanswered
from hotplugd.aio.helper_loop import DONE
from hotplugd.aio.shortage import is_short
from hotplugd.aio.threads import Threads
from hotplugd.container import roots_helper
from hotplugd.container.server_folders import nodes_in

_DEADLINE: Final = 5.0
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_FAILED: Final = re.compile(r"\[Errno (\d+)\]")


class Nodes(Protocol):
    """A server's folder of nodes. Every call may raise OSError."""

    async def list(self, instance: str) -> Sequence[tuple[int, str]]:
        """The inodes and names of an instance's files; of none: of the folders of all instances."""

    async def open(self, instance: str, file: str) -> int:
        """A descriptor (O_PATH) of one of an instance's files."""

    def close(self) -> None:
        """Let go of the folder."""


class Opener:
    """Opens for us. process: a descriptor of a process's folder in /proc; every call may raise OSError."""

    def __init__(self, threads: Threads, path: Path) -> None:
        self._program = Program(threads, "roots", roots_helper.__name__, path, _DEADLINE, roots_helper.LIMITS)

    async def root(self, process: int) -> int:
        """The root of a container's init."""
        try:
            return os.open("root", _FOLDER, dir_fd=process)
        except PermissionError:
            return await self._open(roots_helper.ROOT, process)

    async def network(self, process: int) -> int:
        """The network namespace of a container's init."""
        try:
            return os.open("ns/net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
        except PermissionError:
            return await self._open(roots_helper.NETWORK, process)

    async def nodes(self, pid: int, folder: str) -> Nodes:
        """Where the server that is process `pid`, and has this folder, keeps the nodes of its instances."""
        process = os.open(f"/proc/{pid}", _FOLDER)
        try:
            return OwnNodes(os.open(f"root{nodes_in(folder)}", _FOLDER, dir_fd=process))
        except PermissionError:
            asked = _AskedNodes(self._ask, self._open, os.dup(process), folder)
            try:
                await asked.list("")  # whether it is that server's
            except (OSError, asyncio.CancelledError):
                asked.close()
                raise
            return asked
        finally:
            os.close(process)

    def close(self) -> None:
        """Let go of the program. What is under way is cancelled."""
        self._program.close()

    async def _open(self, request: bytes, process: int) -> int:
        _, opened = await self._ask(request, process)
        if not opened:
            # The kernel leaves away what there is no room for (unix(7), SCM_RIGHTS).
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened[0]

    async def _ask(self, request: bytes, process: int) -> tuple[bytes, list[int]]:
        """What the program says and opens. Raises OSError.

        It is FileNotFoundError where it is gone, the program's own where that was short of something, and
        else PermissionError.
        """
        held = os.dup(process)
        try:
            async with self._program.turn:
                answer, opened = await self._program.ask_for(request, [held])
        except Unanswered as error:
            raise PermissionError(str(error)) from error
        finally:
            os.close(held)
        if answer.split(b"\0", 1)[0] in (DONE, roots_helper.MORE):
            return answer, opened
        for each in opened:
            os.close(each)
        message = answer.decode("utf-8", "replace")
        if (failed := _FAILED.match(message)) is not None:
            failure = OSError(int(failed[1]), message)
            if isinstance(failure, FileNotFoundError) or is_short(failure):
                raise failure
        raise PermissionError(self._program.explained(message))


class OwnNodes:
    """A folder of nodes that is open. See `Nodes`."""

    def __init__(self, folder: int) -> None:
        self._folder = folder

    async def list(self, instance: str) -> Sequence[tuple[int, str]]:
        """See `Nodes`."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            descriptor = os.open(instance or ".", flags, dir_fd=self._folder)
        except (FileNotFoundError, NotADirectoryError):
            return []  # the server makes an instance's folder with its first node
        try:
            with os.scandir(descriptor) as entries:
                return [(entry.inode(), entry.name) for entry in entries]
        finally:
            os.close(descriptor)

    async def open(self, instance: str, file: str) -> int:
        """See `Nodes`."""
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(f"{instance}/{file}", flags, dir_fd=self._folder)

    def close(self) -> None:
        """See `Nodes`."""
        # A late caller must not use another file that got the same descriptor.
        folder, self._folder = self._folder, -1
        os.close(folder)


class _AskedNodes:
    """A folder of nodes of which the program tells. See `Nodes`.

    process  of the server; closed in the end
    """

    def __init__(
        self,
        ask: Callable[[bytes, int], Awaitable[tuple[bytes, list[int]]]],
        opens: Callable[[bytes, int], Awaitable[int]],
        process: int,
        folder: str,
    ) -> None:
        self._ask = ask
        self._open = opens
        self._process = process
        self._folder = folder

    async def list(self, instance: str) -> Sequence[tuple[int, str]]:
        """See `Nodes`."""
        files: list[tuple[int, str]] = []
        while True:
            request = self._request(roots_helper.LIST, instance, files[-1][1] if files else "")
            answer, _ = await self._ask(request, self._process)
            said, *lines = answer.decode("utf-8", "surrogateescape").split("\0")
            for line in lines:
                inode, _, name = line.partition(" ")
                files.append((int(inode), name))
            if said.encode() == DONE or not lines:
                return files

    async def open(self, instance: str, file: str) -> int:
        """See `Nodes`."""
        return await self._open(self._request(roots_helper.NODE, instance, file), self._process)

    def close(self) -> None:
        """See `Nodes`."""
        process, self._process = self._process, -1
        os.close(process)

    def _request(self, *fields: bytes | str) -> bytes:
        kind, *rest = (
            field if isinstance(field, bytes) else field.encode("utf-8", "surrogateescape")
            for field in fields
        )
        return b"\0".join((kind, self._folder.encode(), *rest))
