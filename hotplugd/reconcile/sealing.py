"""One instance's nodes that are about to go: that they are sealed is asked for once, whoever wants it.

A device that is pulled is sealed at once, and has to be sealed before its entry is taken out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from hotplugd.model.ports import Changed
from hotplugd.model.values import Entry, Instance, InstanceName
from hotplugd.reconcile.ports import SealsPort


class Sealing:
    """What is sealed of one instance, or is being sealed, for as long as its nodes are the same."""

    def __init__(self, name: InstanceName, seals: SealsPort) -> None:
        self._name: Final = name
        self._seals = seals
        # How often the instance had other nodes than before, in all.
        self.restarts = 0
        # Entries removed from an instance that was stopped or restarted meanwhile, with its state then.
        self._doubtful: list[tuple[Entry, Instance]] = []
        # By the names of entries, as which they were sealed; None of one that the instance did not have yet.
        self._asked: dict[str, tuple[Entry | None, asyncio.Task[bool]]] = {}

    async def seal(self, names: Iterable[str], instance: Instance) -> bool:
        """Seal what the instance has inside by its entries of these names.

        Returns whether it has something, and all is sealed.
        """
        if not instance.has_nodes:
            return False
        there, wanted = instance.entries, list(names)
        new = [each for each in wanted if each not in self._asked or self._asked[each][0] != there.get(each)]
        if new:
            leaving = [there.get(each, Entry(each, {})) for each in new]
            task = asyncio.get_running_loop().create_task(self._seals.seal(self._name, leaving))
            self._asked |= {each: (there.get(each), task) for each in new}
        tasks = {self._asked[each][1] for each in wanted}
        sealed = {each: await each for each in tasks}
        for each in wanted:
            # A failed sealing is forgotten, so that the next request tries again.
            if each in self._asked and not sealed.get(self._asked[each][1], True):
                del self._asked[each]
        return bool(sealed) and all(sealed.values())

    async def hold(self, names: Iterable[str], instance: Instance) -> None:
        """Hold what the instance has inside by these entries: the server is about to replace it."""
        there = instance.entries
        replaced = [there[each] for each in names if each in there]
        if replaced and instance.has_nodes:
            await self._seals.hold(self._name, replaced)

    def check(self, restarts: int) -> None:
        """Nodes were sealed, or held, when there had been so many restarts.

        Raises Changed where there was one more since, and so they are other nodes.
        """
        if restarts != self.restarts:
            raise Changed(f"{self._name} restarted meanwhile")

    def went(self, gone: Iterable[Entry], instance: Instance, restarts: int) -> bool:
        """The server has taken out the nodes of these entries, or made them anew.

        instance  as it was when they were sealed, and `restarts` then
        Returns whether the server is to be asked now whether there were others than that.
        """
        if instance.kind != "container" or not instance.here:
            return False
        if instance.has_nodes and restarts == self.restarts:
            return False
        doubtful = [(each, instance) for each in gone]
        self._doubtful += doubtful
        return bool(doubtful)

    def asked(self, instance: Instance | None) -> None:
        """The server was asked: the instance is like this now."""
        doubtful, self._doubtful = self._doubtful, []
        if instance is not None and instance.has_nodes:
            # Before the server took the node out, or after that: nobody can tell.
            missed = [each for each, then in doubtful if then.started != instance.started]
            if missed:
                self._seals.missed(self._name, missed)

    def learned(self, instance: Instance | None) -> None:
        """The instance is like this now. Where an entry is another, so is its node."""
        there = instance.entries if instance is not None and instance.has_nodes else {}
        self._asked = {name: each for name, each in self._asked.items() if each[0] == there.get(name)}

    def restarted(self) -> None:
        """The instance restarted or stopped: its nodes are new."""
        self.restarts += 1
        self._asked.clear()


def sealed_by_now(instance: InstanceName, entry: str) -> str:
    """What is to be said, and done, where the server refuses to take out an entry whose node is sealed."""
    project = "" if instance.project == "default" else f" --project {instance.project}"
    return (
        f"its node in there is sealed, so that nobody inside can open it any more, and its entry stays; this "
        f"is tried again, and if the server goes on refusing: `lxc config device remove {instance.name} "
        f"{entry}{project}`, or the same with `incus`"
    )
