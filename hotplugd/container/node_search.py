"""Finds the nodes that an entry has: the server's files of them, or else the node inside the instance."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from hotplugd.container.held_nodes import HeldNode, HeldNodes, Inode
from hotplugd.container.inode_status import status_of
from hotplugd.container.server_nodes import NodeFiles
from hotplugd.model import entry as entries
from hotplugd.model.ports import ServerError
from hotplugd.model.values import Devnum, Entry, InstanceName

# A node that goes waits this many seconds for a look through the instance, whose file systems may hang.
LOOK: Final = 0.5


class NodeSearch:
    """Finds the nodes of entries.

    at  opens what is at a path inside a running instance, as `Inspector.node` does
    """

    def __init__(self, files: NodeFiles, at: Callable[[InstanceName, str], Awaitable[int]]) -> None:
        self._files = files
        self._at = at

    async def hold_files(
        self, held: HeldNodes, leave: Sequence[Entry], known: AbstractSet[str]
    ) -> tuple[list[HeldNode], dict[str, str]]:
        """Have the server's files of these entries held; those of the known names are, as far as was seen.

        Returns what was held and is none of them any more, and by the entries' names why one may be missing.
        """
        try:
            return await held.hold(leave)
        except OSError as error:
            # What is held is what there was when the server told of the instance at last.
            unknown = [each for each in leave if each.name not in known or held.unheld]
            return [], {each.name: str(error) for each in unknown}

    async def beside_files(
        self, held: HeldNodes, entry: Entry, problem: str, *, has_file: bool
    ) -> HeldNode | None:
        """The entry's node as the instance has it, if the server has no file of it.

        problem  why a file of the server's may be missing; empty if none is
        """
        if not has_file:
            return await self._inside(held, entry, problem)
        if problem:
            self.miss(held, entry, problem)
        else:
            held.found(entry)
        return None

    async def _inside(self, held: HeldNodes, entry: Entry, problem: str) -> HeldNode | None:
        path = entries.target_of(entry)
        if not entry.config:
            return None
        if not self._files.known:
            problem = problem or f"the folder of the server's nodes is not found beside {self._files.beside}"
        try:
            async with asyncio.timeout(LOOK):
                descriptor = await self._at(held.name, path) if entries.is_path(path) else -1
        except (ServerError, TimeoutError, OSError) as error:
            why = str(error) or "it cannot be looked for in time"
            descriptor, problem = -1, problem and f"{problem}; {why}"
        if descriptor >= 0:
            status = status_of(descriptor)
            if status.kind is not None and entries.is_for(entry, Devnum(status.kind, *status.number)):
                held.found(entry)
                return HeldNode(entry, Inode(descriptor))
            os.close(descriptor)
        if problem:
            self.miss(held, entry, problem)
        return None

    def miss(self, held: HeldNodes, entry: Entry, reason: str) -> None:
        """Not all nodes of the entry are known."""
        held.unseen[entry.name] = entry, held.problem(entry, reason)
