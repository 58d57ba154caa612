"""Sees to it that no node leaves an instance before its inode is sealed: see `seal_helper`.

The inodes of what is inside are held by descriptors (O_PATH) from the moment on in which the server says that
it is there. So they can be sealed whoever takes a node out, and whatever somebody inside does to its path:
they are the server's own files, and what is reached through the instance counts only where there is none.
A held inode keeps nothing from being unmounted or removed (measured).
"""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from hotplugd.aio.alarm import Alarm
from hotplugd.container.held_nodes import HeldNode, HeldNodes, may_have_nodes, room_for
from hotplugd.container.node_search import LOOK, NodeSearch
from hotplugd.container.opener import Opener
from hotplugd.container.seal_problems import SealProblems, Unsealed, message_about
from hotplugd.container.sealer import Sealer
from hotplugd.container.server_nodes import NodeFiles
from hotplugd.model import entry as entries
from hotplugd.model.ports import ServerInfo, Unreachable
from hotplugd.model.problem import Problem
from hotplugd.model.values import Entry, Instance, InstanceName

# What goes waits this many seconds for the program, which may hang.
_WAIT: Final = 1.0
# Seconds until what could not be sealed is tried again: at first, and at most.
_PAUSES: Final = (1.0, 30.0)


class Seals:
    """The inodes of the nodes that entries of ours have, on one server.

    at    opens what is at a path inside a running instance, as `Inspector.node` does
    told  called with each problem once it has begun, and `over` once it is over
    """

    def __init__(
        self,
        sealer: Sealer,
        opener: Opener,
        at: Callable[[InstanceName, str], Awaitable[int]],
        told: Callable[[Unsealed], None],
        over: Callable[[Unsealed], None] = lambda _: None,
    ) -> None:
        self._sealer = sealer
        self._problems = SealProblems(told, over)
        self._files = NodeFiles(opener)
        self._search = NodeSearch(self._files, at)
        self._all: dict[InstanceName, HeldNodes] = {}
        # The instances with something to hold that was not looked at, and those that are looked at.
        self._unlooked: set[InstanceName] = set()
        self._looking: set[InstanceName] = set()
        # Others need descriptors, too.
        self._room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        self._begun = False
        self._trouble = ""
        self._again = Alarm(self._ring, *_PAUSES)
        self._tasks: set[asyncio.Task[None]] = set()

    async def connected(self, server: ServerInfo) -> None:
        """Take note that this server answers: its files may be elsewhere than before.

        Raises Unreachable where no file can be opened.
        """
        try:
            await self._files.find(server)
        except OSError as error:
            raise Unreachable(f"the folder of the server's nodes cannot be looked for: {error}") from error

    # --- what is in instances ---------------------------------------------------------------------------

    def has(self, name: InstanceName, instance: Instance | None) -> None:
        """The instance is as it is now: hold what it has, and seal what it has no more."""
        if instance is not None and not instance.known:
            return
        there = instance.entries.values() if instance is not None and instance.has_nodes else ()
        ours = {each.name: each for each in there if entries.is_ours(each) and may_have_nodes(each)}
        held = self._of(name)
        if instance is None or not instance.has_nodes:
            held.unseen.clear()
        if gone := held.keep(ours):
            self._start(partial(self._seal, name, gone))
        held.unheld = bool(ours)
        if ours:
            self._look_at(name, held)
            if not self._begun:
                self._begun = True
                self._start(self._begin)
        self._forget(name)
        self._problems.are(self._wrong())

    def restarted(self, name: InstanceName) -> None:
        """The instance restarted or stopped: the processes inside have ended."""
        if (held := self._all.get(name)) is not None:
            held.restarted()
            self._problems.are(self._wrong())

    async def hold(self, name: InstanceName, replaced: Iterable[Entry]) -> None:
        """The server is asked to make the nodes of these entries anew: what is there is sealed then.

        Not before: the device stays in the instance, and where the server refuses, its node goes on working.
        """
        leave = [each for each in replaced if may_have_nodes(each)]
        if leave:
            held = self._of(name)
            held.users += 1
            await asyncio.wait({self._start(partial(self._hold, name, held, leave))}, timeout=LOOK + _WAIT)

    async def seal(self, name: InstanceName, leaving: Iterable[Entry]) -> bool:
        """The nodes of these entries are about to go: seal them. What cannot be sealed is a problem.

        Returns whether there are some, and all are sealed.
        """
        leave = [each for each in leaving if may_have_nodes(each)]
        if not leave:
            return False
        held = self._of(name)
        # A device that is pulled is sealed at once, and by the request that takes its entry out.
        mine = [each for each in leave if each.name not in held.under_way]
        tasks = {held.under_way[each.name] for each in leave if each.name in held.under_way}
        if mine:
            task = self._start(partial(self._seal_entries, name, held, mine))
            tasks.add(task)
            for each in mine:
                held.under_way[each.name] = task
        # Who has them here can seal them later, too.
        _, late = await asyncio.wait(tasks, timeout=LOOK + _WAIT)
        return not late and held.is_all_sealed(leave)

    def missed(self, name: InstanceName, gone: Iterable[Entry]) -> None:
        """The instance was started while the server took out these entries, or made their nodes anew."""
        held = self._of(name)
        for each in gone:
            if may_have_nodes(each):
                self._search.miss(held, each, f"{name} was started while the server took it out")
        self._forget(name)
        self._problems.are(self._wrong())

    async def seal_everywhere(self, name: str) -> None:
        """Seal what any instance has by an entry of this name, as far as the server's files say.

        Raises OSError where no file can be opened.
        """
        found = await self._files.everywhere(name)
        try:
            if found:
                await self._sealer.seal(found)
        finally:
            for each in found:
                os.close(each)

    async def unsealed(self, names: Collection[str]) -> str:
        """See `SealsPort`."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=LOOK + _WAIT)
        return message_about(self._wrong(), names)

    async def kept(self, name: InstanceName, entries: Collection[str]) -> Collection[str]:
        """See `SealsPort`."""
        try:
            return await self._files.of(name, entries) or ()
        except OSError:
            return ()

    def problems(self) -> list[Problem]:
        """What could not be sealed, and what may keep it from being so."""
        return list(dict.fromkeys(each.problem for each in self._wrong()))

    async def settled(self) -> None:
        """Return once nothing is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Let go of everything; what is in instances stays as it is."""
        for task in self._tasks:
            task.cancel()
        self._again.cancel()
        self._sealer.close()
        self._files.close()
        for held in self._all.values():
            held.close()
        self._all.clear()

    def _wrong(self) -> Iterator[Unsealed]:
        for name, held in self._all.items():
            unsealed = [(node.entry, problem) for node, problem in held.unsealed]
            for entry, problem in (*unsealed, *held.unseen.values()):
                yield Unsealed(problem, name, entry)
        if self._trouble:
            yield Unsealed(Problem("", "", f"nodes that go cannot be sealed: {self._trouble}"))

    # --- nodes ------------------------------------------------------------------------------------------

    def _of(self, name: InstanceName) -> HeldNodes:
        if name not in self._all:
            self._all[name] = HeldNodes(
                name, self._files, partial(room_for, name.project, self._all, self._room)
            )
        return self._all[name]

    def _forget(self, name: InstanceName) -> None:
        if name in self._all and not self._all[name]:
            del self._all[name]

    def _look_at(self, name: InstanceName, held: HeldNodes) -> None:
        """Have what the instance has held; again, where that is under way."""
        self._unlooked.add(name)
        if name not in self._looking:
            self._looking.add(name)
            held.users += 1
            self._start(partial(self._look, name, held))

    async def _look(self, name: InstanceName, held: HeldNodes) -> None:
        try:
            while name in self._unlooked:
                self._unlooked.discard(name)
                await self._seal(name, await held.look())
            if held.unheld:
                # Soon, since once somebody else has taken it out it is too late.
                self._again.set()
        finally:
            held.users -= 1
            self._looking.discard(name)
            self._forget(name)

    async def _hold(self, name: InstanceName, held: HeldNodes, leave: Sequence[Entry]) -> None:
        known = {each.name for each in leave if held.has_nodes(each)}
        try:
            gone, problems = await self._search.hold_files(held, leave, known)
            await self._seal(name, gone)
            for entry in leave:
                problem, has_file = problems.get(entry.name, ""), held.has_nodes(entry)
                node = await self._search.beside_files(held, entry, problem, has_file=has_file)
                if node is not None:
                    held.hold_replaced(node)
        finally:
            held.users -= 1
            self._forget(name)

    async def _seal_entries(self, name: InstanceName, held: HeldNodes, leave: Sequence[Entry]) -> None:
        inodes = set[int]()
        nodes: list[HeldNode] = []
        try:
            # First what is held: whoever tells of the rest may hang.
            first = held.shares(leave, inodes)
            known = {node.entry.name for node in first}
            await self._seal(name, first)
            gone, problems = await self._search.hold_files(held, leave, known)
            nodes += [*gone, *held.shares(leave, inodes)]
            known |= {node.entry.name for node in nodes}
            for entry in leave:
                problem, has_file = problems.get(entry.name, ""), entry.name in known
                node = await self._search.beside_files(held, entry, problem, has_file=has_file)
                if node is not None:
                    nodes.append(node)
            last, nodes = nodes, []
            await self._seal(name, last)
        finally:
            for node in nodes:
                node.close()
            for each in leave:
                held.under_way.pop(each.name, None)
            self._forget(name)

    # --- sealing ----------------------------------------------------------------------------------------

    async def _seal(self, name: InstanceName, nodes: Sequence[HeldNode]) -> None:
        """Seal these and let go of them, but for those that are to be tried again."""
        if not nodes:
            return
        try:
            reasons = await self._reasons(nodes)
        except asyncio.CancelledError:
            for node in nodes:
                node.close()
            raise
        for node, reason in zip(nodes, reasons, strict=True):
            if reason:
                held = self._of(name)
                held.unsealed.append((node, held.problem(node.entry, reason)))
            else:
                node.close()
        if any(reasons):
            self._again.set()

    def _ring(self) -> None:
        self._start(self._try_again)

    async def _try_again(self) -> None:
        if self._trouble:
            await self._begin()
        for name, held in self._all.items():
            if held.unheld:
                self._look_at(name, held)
        tried = [(held, each) for held in self._all.values() for each in held.unsealed]
        # Shared: an instance that restarts lets go of them meanwhile.
        nodes = [node.share(node.entry) for _, (node, _) in tried]
        try:
            reasons = await self._reasons(nodes)
        finally:
            for node in nodes:
                node.close()
        for (held, each), reason in zip(tried, reasons, strict=True):
            if not reason and each in held.unsealed:
                held.unsealed.remove(each)
                each[0].close()
        if any(held.unheld or held.unsealed for held in self._all.values()):
            self._again.set()
        else:
            self._again.reset()

    async def _reasons(self, nodes: Sequence[HeldNode]) -> list[str]:
        """Seal these. Returns for each why it is not sealed, or nothing."""
        unsealed = [each.descriptor for each in nodes if not each.is_sealed]
        answers = dict(zip(unsealed, await self._ask(unsealed), strict=True)) if unsealed else {}
        return [answers.get(each.descriptor, "") for each in nodes]

    async def _ask(self, descriptors: Sequence[int]) -> list[str]:
        reasons = await self._sealer.seal(descriptors)
        self._trouble = self._trouble and "; ".join(sorted({each for each in reasons if each}))
        return reasons

    async def _begin(self) -> None:
        """Have the program started: then it need not be when something goes."""
        self._trouble = "".join(await self._sealer.seal(()))
        if self._trouble:
            self._again.set()

    def _start(self, work: Callable[[], Coroutine[object, object, None]]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # A task is cancelled when the daemon ends: that solves no problem.
        if not task.cancelled():
            self._problems.are(self._wrong())
