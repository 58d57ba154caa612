"""The inodes of one instance's nodes, held open until they are sealed: see `seals`."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import chain

from hotplugd.container.inode_status import status_of
from hotplugd.container.server_nodes import Files, NodeFiles
from hotplugd.model.entry import MARK_NODE, MARK_RULE, differing, slot_of
from hotplugd.model.problem import Problem
from hotplugd.model.values import Entry, InstanceName


def may_have_nodes(entry: Entry) -> bool:
    """Whether an entry may put nodes in. Of one that is being put in nothing but the name is known."""
    return not entry.config or entry.config.get("type", "").startswith(("unix-", "gpu"))


class Inode:
    """An inode, held by one descriptor (O_PATH) that several owners share; the last one closes it.

    Owners share the descriptor because the process may have no further one when a node goes.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._owners = 1

    def share(self) -> Inode:
        """Add an owner, who has to close it as well."""
        self._owners += 1
        return self

    def close(self) -> None:
        """Remove an owner; the last one closes the descriptor."""
        self._owners -= 1
        if not self._owners:
            os.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class HeldNode:
    """The node of an entry; its owner closes it."""

    entry: Entry
    inode: Inode

    def share(self, entry: Entry) -> HeldNode:
        """The same node for another owner, as that of this entry."""
        return HeldNode(entry, self.inode.share())

    def close(self) -> None:
        """Close the inode for this owner."""
        self.inode.close()

    @property
    def descriptor(self) -> int:
        """The inode's descriptor."""
        return self.inode.descriptor

    @property
    def is_sealed(self) -> bool:
        """Whether only the host's root can open it."""
        return status_of(self.descriptor).is_sealed


class HeldNodes:
    """The held nodes of one instance.

    room       returns how many more nodes of entries that stay may be held
    unheld     some nodes of the instance may not be held although there is room
    unsealed   nodes that could not be sealed when they went, and the problem of each
    unseen     entries of which not all nodes could be found, by their names, and the problem of each
    under_way  the tasks that seal nodes now, by the entries' names
    users      the number of tasks that use this
    """

    def __init__(self, name: InstanceName, files: NodeFiles, room: Callable[[], int]) -> None:
        self.unheld = False
        self.unsealed: list[tuple[HeldNode, Problem]] = []
        self.unseen: dict[str, tuple[Entry, Problem]] = {}
        self.under_way: dict[str, asyncio.Task[None]] = {}
        self.users = 0
        self.name = name
        self._files = files
        self._room = room
        self._entries: Mapping[str, Entry] = {}
        # The server's files, by the names of entries and the inodes' numbers.
        self._nodes: dict[str, dict[int, HeldNode]] = {}
        # Nodes that a request replaces and of which the server's file is unknown, by the names of entries.
        self._replaced: dict[str, HeldNode] = {}
        # One listing at a time: the result of an older one would be out of date.
        self._turn = asyncio.Lock()

    def __bool__(self) -> bool:
        held = self._nodes or self._replaced or self.unsealed or self.unheld
        return bool(held or self.unseen or self.under_way or self.users)

    def __len__(self) -> int:
        return sum(map(len, self._nodes.values()))

    def problem(self, entry: Entry, reason: str) -> Problem:
        """The problem that a node of this entry could not be sealed."""
        device = entry.config.get(MARK_NODE) or slot_of(entry) or entry.name
        message = (
            f"its node in {self.name} could not be sealed ({reason}): a program inside that kept it can open "
            f"it again, and whatever has its number next; restart {self.name}"
        )
        return Problem(device, entry.config.get(MARK_RULE, ""), message)

    def is_all_sealed(self, leaving: Iterable[Entry]) -> bool:
        """Whether all nodes of these entries that had to be sealed are sealed."""
        left = [node.entry for node, _ in self.unsealed] + [entry for entry, _ in self.unseen.values()]
        return not any(entry in left for entry in leaving)

    def keep(self, entries: Mapping[str, Entry]) -> list[HeldNode]:
        """Take note of the instance's entries. Returns the nodes of the entries that it no longer has."""
        self._entries = entries
        names = self._nodes.keys() - entries
        gone = list(chain.from_iterable(self._nodes.pop(each).values() for each in names))
        for name, node in list(self._replaced.items()):
            if name not in entries or differing(node.entry, entries[name]):
                gone.append(self._replaced.pop(name))
        return gone

    async def look(self) -> list[HeldNode]:
        """Hold the instance's nodes, as far as there is room. Returns held nodes that are gone."""
        entries = self._entries
        try:
            gone, problems = await self.hold(entries.values(), always=False)
            whole = not problems
        except OSError:
            gone, whole = [], False
        # The entries may have changed meanwhile.
        self.unheld = not whole or entries is not self._entries
        return [*gone, *self.keep(self._entries)]

    async def hold(
        self, wanted: Iterable[Entry], *, always: bool = True
    ) -> tuple[list[HeldNode], dict[str, str]]:
        """Hold the server's files of these entries.

        always  hold them even without room
        Returns held nodes that are no longer among these files, and why a file could not be opened, by the
        entries' names. Raises OSError where the files cannot be listed.
        """
        ours, gone = list(wanted), list[HeldNode]()
        async with self._turn:
            files = await self._files.of(self.name, [each.name for each in ours]) if ours else None
            if files is None:
                return [], {}
            new, problems = await self._open(files, ours, always=always)
            for entry in ours:
                nodes = self._nodes.pop(entry.name, {})
                gone += [nodes.pop(inode) for inode in nodes.keys() - files.get(entry.name, {}).keys()]
                if nodes := nodes | new.get(entry.name, {}):
                    self._nodes[entry.name] = nodes
        return gone, problems

    def has_nodes(self, entry: Entry) -> bool:
        """Whether a file of this entry's is held."""
        return entry.name in self._nodes

    def hold_replaced(self, node: HeldNode) -> None:
        """Hold this node until its entry changes or goes."""
        if (before := self._replaced.pop(node.entry.name, None)) is not None:
            before.close()
        self._replaced[node.entry.name] = node

    def shares(self, entries: Iterable[Entry], but: set[int]) -> list[HeldNode]:
        """The held nodes of these entries, without inodes in `but`; adds theirs to it."""
        shared: list[HeldNode] = []
        for entry in entries:
            for inode, node in self._nodes.get(entry.name, {}).items():
                if inode not in but:
                    shared.append(node.share(entry))
                    but.add(inode)
        return shared

    def found(self, entry: Entry) -> None:
        """Take note that all nodes of this entry are known.

        If the entry has not changed since they were unknown, no node has gone unsealed: the problem ends.
        """
        if (before := self.unseen.get(entry.name)) is not None and before[0] == entry:
            del self.unseen[entry.name]

    def restarted(self) -> None:
        """The instance restarted or stopped: the processes that had its nodes open have ended."""
        self.unseen.clear()
        for node, _ in self.unsealed:
            node.close()
        self.unsealed.clear()

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
    ) -> tuple[dict[str, dict[int, HeldNode]], dict[str, str]]:
        """Open those of the entries' files that are not held yet."""
        opened, problems = dict[str, dict[int, HeldNode]](), dict[str, str]()
        room = math.inf if always else self._room()
        try:
            for entry in entries:
                there, known = files.get(entry.name, {}), self._nodes.get(entry.name, {})
                for inode in there.keys() - known.keys():
                    if room <= 0:
                        return opened, problems
                    try:
                        descriptor = await self._files.open(self.name, there[inode])
                    except FileNotFoundError:
                        continue
                    except OSError as error:
                        problems[entry.name] = str(error)
                    else:
                        opened.setdefault(entry.name, {})[inode] = HeldNode(entry, Inode(descriptor))
                        room -= 1
        except asyncio.CancelledError:
            for node in chain.from_iterable(each.values() for each in opened.values()):
                node.close()
            raise
        return opened, problems


def room_for(project: str, held: Mapping[InstanceName, Sized], room: int) -> int:
    """How many more nodes of a project may be held: half of what the others leave, so that none, however
    much is in it, takes the last one.

    held  the nodes that each instance has held
    room  for so many of all projects
    """
    mine = sum(len(nodes) for name, nodes in held.items() if name.project == project)
    others = sum(map(len, held.values())) - mine
    return (room - others) // 2 - mine
