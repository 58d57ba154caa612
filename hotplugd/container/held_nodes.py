"""The nodes of one instance's entries, each held by a descriptor (O_PATH): see `seals`."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain

from hotplugd.container.server_nodes import Files, NodeFiles
from hotplugd.model.entry import differing
from hotplugd.model.values import Entry, InstanceName
from hotplugd.plan.desired import Problem


@dataclass(frozen=True, slots=True)
class Node:
    """The node of an entry, by a descriptor that belongs to whoever has this."""

    entry: Entry
    descriptor: int

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)

    @property
    def is_sealed(self) -> bool:
        """Whether nobody but the host's root can open it."""
        status = os.fstat(self.descriptor)
        return (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, 0)


class HeldNodes:
    """What is held of one instance.

    room       says how many more descriptors may be held for what stays
    unsealed   nodes that are gone, or were to go, and could not be sealed, and why
    unseen     the same by the entries' names, where nobody knows which they are
    under_way  what seals nodes now, by the entries' names
    users      how many tasks work with this
    """

    def __init__(self, name: InstanceName, files: NodeFiles, room: Callable[[], int]) -> None:
        self.unsealed: list[tuple[Node, Problem]] = []
        self.unseen: dict[str, Problem] = {}
        self.under_way: dict[str, asyncio.Task[None]] = {}
        self.users = 0
        self._name = name
        self._files = files
        self._room = room
        self._entries: Mapping[str, Entry] = {}
        # The server's files, by the names of entries and the inodes' numbers.
        self._nodes: dict[str, dict[int, Node]] = {}
        # What a request is to replace where the server's files are not known, by the names of entries.
        self._replaced: dict[str, Node] = {}
        # One listing at a time: what an older one says is not so any more.
        self._turn = asyncio.Lock()

    def __bool__(self) -> bool:
        held = self._nodes or self._replaced or self.unsealed
        return bool(held or self.unseen or self.under_way or self.users)

    def __len__(self) -> int:
        return sum(map(len, self._nodes.values()))

    def has_unsealed(self, names: AbstractSet[str]) -> bool:
        """Whether a node of entries of these names should be sealed and is not."""
        return not names.isdisjoint({*self.unseen, *(node.entry.name for node, _ in self.unsealed)})

    def keep(self, entries: Mapping[str, Entry]) -> list[Node]:
        """The instance has these entries. Returns the nodes of those that it has no more."""
        self._entries = entries
        names = self._nodes.keys() - entries
        gone = list(chain.from_iterable(self._nodes.pop(each).values() for each in names))
        for name, node in list(self._replaced.items()):
            if name not in entries or differing(node.entry, entries[name]):
                gone.append(self._replaced.pop(name))
        return gone

    async def look(self) -> list[Node]:
        """Hold what the instance has, as far as there is room. Returns what was held and is gone."""
        gone, _ = await self.hold(self._entries.values(), always=False)
        # Meanwhile it may have come to have others.
        return [*gone, *self.keep(self._entries)]

    async def hold(self, wanted: Iterable[Entry], *, always: bool = True) -> tuple[list[Node], str]:
        """Hold the server's files of these entries.

        always  whether there is room or not
        Returns what was held and is none of them any more, and why one could not be opened, or nothing.
        """
        ours, gone = list(wanted), list[Node]()
        async with self._turn:
            try:
                files = await self._files.of(self._name, [each.name for each in ours]) if ours else None
            except OSError as error:
                return [], str(error)
            if files is None:
                return [], ""
            new, problem = await self._open(files, ours, always=always)
            for entry in ours:
                nodes = self._nodes.pop(entry.name, {})
                gone += [nodes.pop(inode) for inode in nodes.keys() - files.get(entry.name, {}).keys()]
                if nodes := nodes | new.get(entry.name, {}):
                    self._nodes[entry.name] = nodes
        return gone, problem

    def has_nodes(self, entry: Entry) -> bool:
        """Whether a file of this entry's is held."""
        return entry.name in self._nodes

    def hold_replaced(self, node: Node) -> None:
        """Hold this until its entry is another, or gone."""
        if (before := self._replaced.pop(node.entry.name, None)) is not None:
            before.close()
        self._replaced[node.entry.name] = node

    def copies(self, entries: Iterable[Entry], but: set[int]) -> tuple[list[Node], str]:
        """The nodes that are held of these entries, but for those inodes, to which they are added.

        Returns also why there is no copy of one, or nothing.
        """
        found, problem = list[Node](), ""
        for entry in entries:
            for inode, node in self._nodes.get(entry.name, {}).items():
                try:
                    if inode not in but:
                        found.append(Node(entry, os.dup(node.descriptor)))
                        but.add(inode)
                except OSError as error:
                    problem = str(error)
        return found, problem

    def close(self) -> None:
        """Let go of everything."""
        for node in chain.from_iterable(each.values() for each in self._nodes.values()):
            node.close()
        for node in (*self._replaced.values(), *(node for node, _ in self.unsealed)):
            node.close()
        self._nodes.clear()
        self._replaced.clear()
        self.unsealed.clear()

    async def _open(
        self, files: Files, entries: Sequence[Entry], *, always: bool
    ) -> tuple[dict[str, dict[int, Node]], str]:
        """Open those of the entries' files that are not held yet."""
        found, problem = dict[str, dict[int, Node]](), ""
        room = math.inf if always else self._room()
        try:
            for entry in entries:
                there, known = files.get(entry.name, {}), self._nodes.get(entry.name, {})
                for inode in there.keys() - known.keys():
                    if room <= 0:
                        return found, problem
                    try:
                        descriptor = await self._files.open(self._name, there[inode])
                    except FileNotFoundError:
                        continue
                    except OSError as error:
                        problem = str(error)
                    else:
                        found.setdefault(entry.name, {})[inode] = Node(entry, descriptor)
                        room -= 1
        except asyncio.CancelledError:
            for node in chain.from_iterable(each.values() for each in found.values()):
                node.close()
            raise
        return found, problem
