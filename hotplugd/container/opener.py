"""Opens what belongs to other processes, by the program that may do that where we may not: see `roots`.

The owner of a user namespace may look into its processes, and root has made those of unprivileged containers.
So the program is asked for privileged ones, and for a server's own files, where a unit confines us.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from hotplugd.aio.helper import Program, Unanswered
from hotplugd.aio.threads import Threads
from hotplugd.container import roots_helper

_DEADLINE: Final = 5.0
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Opener:
    """Opens for us. process: a descriptor of a process's folder in /proc; every call may raise OSError."""

    def __init__(self, threads: Threads, path: Path) -> None:
        self._program = Program(
            threads, "roots", roots_helper.__file__, path, _DEADLINE, roots_helper.ANSWER_MOST
        )

    async def root(self, process: int) -> int:
        """The root of a container's init."""
        try:
            return os.open("root", _FOLDER, dir_fd=process)
        except PermissionError:
            return await self._ask(roots_helper.ROOT, process)

    async def network(self, process: int) -> int:
        """The network namespace of a container's init."""
        try:
            return os.open("ns/net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
        except PermissionError:
            return await self._ask(roots_helper.NETWORK, process)

    async def nodes(self, pid: int, folder: str) -> int:
        """Where the server that is process `pid`, and has this folder, keeps the nodes of its instances."""
        process = os.open(f"/proc/{pid}", _FOLDER)
        try:
            try:
                return os.open(f"root{folder}/devices", _FOLDER, dir_fd=process)
            except PermissionError:
                return await self._ask(roots_helper.NODES + folder.encode(), process)
        finally:
            os.close(process)

    def close(self) -> None:
        """Let go of the program. What is under way is cancelled."""
        self._program.close()

    async def _ask(self, request: bytes, process: int) -> int:
        held = os.dup(process)
        try:
            async with self._program.turn:
                answer, opened = await self._program.ask_for(request, [held])
        except Unanswered as error:
            raise PermissionError(str(error)) from error
        finally:
            os.close(held)
        if answer == roots_helper.DONE and not opened:
            # The kernel leaves away what there is no room for (unix(7), SCM_RIGHTS).
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        if answer != roots_helper.DONE or len(opened) != 1:
            for each in opened:
                os.close(each)
            raise PermissionError(self._program.explained(answer.decode("utf-8", "replace")))
        return opened[0]
