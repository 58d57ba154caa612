"""What is held of one instance's nodes, to seal them when they go: see `seals`."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from hotplugd.container.server_nodes import NodeFiles
from hotplugd.model.problem import Problem
from hotplugd.model.values import Entry, InstanceName


class Inode:
    """An inode, by a descriptor (O_PATH) that is closed once nobody has this any more.

    Several may have it, and need no descriptor each: when something goes there may be none left.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._owners = 1

    def share(self) -> Inode:
        """For another, who closes it too."""
        self._owners += 1
        return self

    def close(self) -> None:
        """Have it no more."""
        self._owners -= 1
        if not self._owners:
            os.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class HeldNode:
    """The node of an entry; whoever has it closes it."""

    entry: Entry
    inode: Inode

    def share(self, entry: Entry) -> HeldNode:
        """For another, to whom the entry is this."""
        return HeldNode(entry, self.inode.share())

    def close(self) -> None:
        """Have it no more."""
        self.inode.close()

    @property
    def descriptor(self) -> int:
        """The inode's."""
        return self.inode.descriptor

    @property
    def is_sealed(self) -> bool:
        """Whether nobody but root can open it."""
        status = os.fstat(self.descriptor)
        return (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, 0)


@dataclass(slots=True)
class HeldNodes:
    """Of one instance: the nodes of its entries, by the entries' names and the inodes' numbers.

    unsealed   those that are gone, or were to go, and could not be sealed, and why
    unseen     by the entries' names those of which nobody knows all nodes, as they were, and why
    under_way  what seals nodes now, by the entries' names
    """

    nodes: dict[str, dict[int, HeldNode]] = field(default_factory=dict)
    unsealed: list[tuple[HeldNode, Problem]] = field(default_factory=list)
    unseen: dict[str, tuple[Entry, Problem]] = field(default_factory=dict)
    under_way: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.nodes or self.unsealed or self.unseen or self.under_way)

    def hold(
        self, files: NodeFiles, name: InstanceName, wanted: Iterable[Entry], room: float = math.inf
    ) -> tuple[list[HeldNode], dict[str, str]]:
        """Hold the server's files of these entries, so many new ones as there is room for.

        Returns what was held and is none of them any more, and by the entries' names why a file could not be
        opened. Raises OSError where it cannot be seen which files there are.
        """
        ours = list(wanted)
        gone, problems = list[HeldNode](), dict[str, str]()
        found = files.of(name, [each.name for each in ours]) if ours else None
        if found is None:
            return gone, problems
        for entry in ours:
            there, nodes = found.get(entry.name, {}), self.nodes.get(entry.name, {})
            gone += [nodes.pop(inode) for inode in nodes.keys() - there.keys()]
            for inode in there.keys() - nodes.keys():
                if room <= 0:
                    break
                try:
                    nodes[inode] = HeldNode(entry, Inode(files.open(name, there[inode])))
                    room -= 1
                except FileNotFoundError:
                    continue
                except OSError as error:
                    problems[entry.name] = str(error)
            if nodes:
                self.nodes[entry.name] = nodes
            else:
                self.nodes.pop(entry.name, None)
        return gone, problems

    def found(self, entry: Entry) -> None:
        """All nodes of this entry are known.

        Where they were not before, and the entry is as it was, so are its nodes, and none has gone unsealed.
        """
        if (before := self.unseen.get(entry.name)) is not None and before[0] == entry:
            del self.unseen[entry.name]

    def close(self) -> None:
        """Let go of all."""
        for node in (node for each in self.nodes.values() for node in each.values()):
            node.close()
        for node, _ in self.unsealed:
            node.close()
