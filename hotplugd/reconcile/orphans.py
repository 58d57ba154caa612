"""Tracks orphaned nodes: those that may be inside an instance, without an entry for them.

An entry can go in three ways:

- We take it out. Then its node should be gone, and a look shows whether it is.
- Somebody else takes it out; or, of two updates that overlap, the server forgets one, and not what it did.
  Then its node is looked for, too; and where that is not inside, whether the server still has its file.
- A request that was to put it in ends without an answer. A server that ends meanwhile may have made a node
  without having written down why. Then the server is asked to take away what may be left.

Entries that are being put in are in a journal until that is certain, so a crash of ours loses none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping
from typing import Final

from hotplugd.aio.backoff import Retry
from hotplugd.model.entry import is_ours, is_path, target_of
from hotplugd.model.problem import Problem
from hotplugd.model.values import Entry, Instance, InstanceName, Node
from hotplugd.plan.change import Change, removal
from hotplugd.reconcile.orphan_records import OrphanRecords, with_nodes
from hotplugd.reconcile.orphaned_node import OrphanedNode
from hotplugd.reconcile.ports import EntryJournal

# Seconds: the first pause after the server did not take something away, and the longest: after a refusal,
# where it was busy, and where it failed. A worker waits less then (`server_backoff`): in between others go.
_FIRST: Final = 0.1
_REFUSED: Final = 600.0
BUSY: Final = 20.0
AWAY: Final = 120.0


class Orphans:
    """The orphaned nodes of one instance. Times are the event loop's, in seconds.

    records  what is known of entries that it does not have, or may not have
    unseen   those whose nodes the last look has not seen, and of which the server may have files: it lost
             them by no request of ours, or did not take away what is left of them
    """

    def __init__(self, name: InstanceName, journal: EntryJournal) -> None:
        self._name = name
        self.records = OrphanRecords(name, journal)
        self.unseen: tuple[Entry, ...] = ()

    @property
    def is_unsure(self) -> bool:
        """Whether anything may be inside that the server is to take away."""
        return any(record.unsure for record in self.records.by_name.values())

    def may_be_there(self, names: Iterable[str]) -> bool:
        """Whether a request with an unknown outcome may have put in an entry of such a name."""
        return any(name in self.records.by_name and self.records.by_name[name].unsure for name in names)

    # --- entries that go --------------------------------------------------------------------------------

    def learned(self, before: Instance | None, after: Instance | None, sent: Container[str]) -> None:
        """The instance is as it is after now. sent: the names of the entries that we put in or took out.

        What lost its entry otherwise is to be looked for: somebody may have taken it out; but of two updates
        that overlap the server may forget one, and not what it did inside.
        """
        if after is None or not after.has_nodes:
            self.records.end_search(self.records.by_name)
            return
        if before is None or not before.has_nodes:
            return
        self.records.end_search(after.entries)
        gone = (before.entries[name] for name in before.entries.keys() - after.entries.keys())
        lost = with_nodes(entry for entry in gone if entry.name not in sent and is_ours(entry))
        for entry in lost:
            if target_of(entry):
                record = self.records.of(entry)
                record.entry, record.lost = entry, True
        # A GPU's entry does not say where its nodes are, so they cannot be looked for.
        self.doubt(entry for entry in lost if not target_of(entry))

    def left(self, entry: Entry, *, cleared: bool = False, running: bool = True) -> bool:
        """An entry went: its node should be gone. Returns whether that is to be seen anew.

        cleared  the server was asked once more
        running  whether the instance ran. Where it begins to start the server has read its entries before
                 (LXD: instance_state.go, which loads the instance before the start has its turn)
        """
        orphan = OrphanedNode(self._removal(entry), cleared)
        if not is_path(orphan.path) or self.records.of(entry).sought == orphan:
            self.records.tidy()
            return False
        for record in self.records.by_name.values():
            if record.sought is not None and record.sought.path == orphan.path:
                record.sought = None
        record = self.records.of(entry)
        record.sought, record.kept = orphan, not running
        self.records.tidy()
        return True

    def restarted(self) -> None:
        """The instance restarted or stopped: no node is inside without an entry."""
        for record in self.records.by_name.values():
            record.lost, record.seen = False, None
            if not record.kept:
                record.sought = None
        self.records.tidy()

    # --- looks ------------------------------------------------------------------------------------------

    def seek(self, instance: Instance) -> set[str]:
        """Look for what lost its entry, unless another entry has put something in its place since.

        Returns the paths at which that is new.
        """
        if not self.records.by_name:
            return set()
        taken = {target_of(entry) for entry in (*instance.entries.values(), *instance.inherited.values())}
        lost = [record.entry for record in self.records.by_name.values() if record.lost]
        new = {target_of(entry) for entry in lost if target_of(entry) not in taken and self.left(entry)}
        self.arrived(taken)
        return new

    def arrived(self, paths: Container[str]) -> None:
        """Something was put at these paths: whatever was there before is not there any more."""
        for record in self.records.by_name.values():
            if record.sought is not None and record.sought.path in paths:
                record.sought = None
            if record.seen is not None and record.seen.path in paths:
                record.seen = None
        self.records.tidy()

    def paths(self) -> set[str]:
        """Where to look."""
        found = ((each.sought, each.seen) for each in self.records.by_name.values())
        return {each.path for pair in found for each in pair if each is not None}

    def looked(self, nodes: Mapping[str, Node | None]) -> list[OrphanedNode]:
        """A look at all `paths` has seen these nodes. Returns the orphans that were not known to be there."""
        before = {
            record.seen.path: record.seen
            for record in self.records.by_name.values()
            if record.seen is not None
        }
        sought = {
            record.sought.path: record.sought
            for record in self.records.by_name.values()
            if record.sought is not None
        }
        there = {path: orphan for path, orphan in (before | sought).items() if orphan.is_at(nodes.get(path))}
        for record in self.records.by_name.values():
            record.sought = record.seen = None
        for orphan in there.values():
            self.records.of(orphan.change.entry).seen = orphan
        new = [orphan for path, orphan in there.items() if before.get(path) != orphan]
        gone = {orphan.change.entry.name for path, orphan in sought.items() if path not in there}
        still = [orphan.change.entry for orphan in new if not orphan.cleared]
        known = [self.records.by_name[name] for name in gone if name in self.records.by_name]
        self.unseen = tuple(record.entry for record in known if record.lost or record.unsure)
        self.records.end_search({*gone, *(entry.name for entry in still)})
        self.doubt(still)
        return new

    def kept(self, unseen: Collection[Entry], names: Container[str]) -> None:
        """Of entries whose nodes a look has not seen the server has files of those with these names alone."""
        self.doubt(entry for entry in unseen if entry.name in names)
        self.records.settle(entry for entry in unseen if entry.name not in names)

    # --- what the server is asked to take away ----------------------------------------------------------

    def to_clear(self, actual: Instance | None, now: float) -> list[Change]:
        """What should be cleared up, before anything is put in: as if these entries had been taken out.

        Also what is to be put in again: elsewhere in the instance it would not find what is left of it, and
        what another has left at its own place would stay there in its stead.
        """
        if not self.is_unsure or (actual is not None and not (actual.known and actual.here)):
            return []
        if actual is None or not actual.has_nodes:
            self.records.forget(set(self.records.by_name))
            return []
        self.records.forget(actual.entries)
        unsure = [record for record in self.records.by_name.values() if record.unsure]
        return [
            self._removal(record.entry)
            for record in unsure
            if record.retry is None or record.retry.until <= now
        ]

    def in_the_way(self, batch: Iterable[Change]) -> list[Change]:
        """The removals of nodes that lost their entries, and that may be in the way of these changes.

        They would have to go first: the server makes no second node for the same entry, and of two nodes at
        one target it mounts the first alone. A node at its own target is found by a look.
        """
        lost = [record.entry for record in self.records.by_name.values() if record.lost]
        targets: dict[str, set[str]] = {}
        names: dict[str, set[str]] = {}
        for change in batch if lost else ():
            target = target_of(change.entry)
            targets.setdefault(change.entry.name, set()).add(target)
            names.setdefault(target, set()).add(change.entry.name)

        def elsewhere(entry: Entry) -> bool:
            """Whether its name goes to another target, or another name to its target."""
            target = target_of(entry)
            at, by = targets.get(entry.name, set()), names.get(target, set())
            return bool(at - {target} or by - {entry.name})

        return [self._removal(entry) for entry in lost if elsewhere(entry)]

    def doubt(self, doubtful: Iterable[Entry]) -> None:
        """The server is to take away what may be left of these."""
        if new := with_nodes(doubtful):
            for entry in new:
                record = self.records.of(entry)
                record.entry, record.unsure = entry, True
            self.records.write()

    def cleared(self, changes: Collection[Change]) -> None:
        """Nothing is left of these any more."""
        names = {change.entry.name for change in changes}
        self.records.end_search(names)
        self.records.forget(names)

    def held(
        self, changes: Iterable[Change], message: str, now: float, most: float = _REFUSED
    ) -> tuple[float, bool]:
        """The server did not take away what is left of these now, or would not: it gave this message then.

        most  the longest pause, in seconds
        Returns the seconds until it is asked again, and whether the message is new.
        """
        pauses = []
        for change in changes:
            self.doubt([change.entry])
            record = self.records.of(change.entry)
            record.lost, record.retry = False, record.retry or Retry()
            pauses.append(record.retry.failed(message, now, _FIRST, most))
        return max(pauses)

    def hurry(self) -> None:
        """The server answers again: it may be asked for all."""
        for record in self.records.by_name.values():
            if record.retry is not None:
                record.retry.reset()

    def due(self) -> list[float]:
        """When the server is asked again for what it did not take away."""
        return [record.retry.until for record in self.records.by_name.values() if record.retry is not None]

    def problems(self) -> list[Problem]:
        """What the server would not take away."""
        refused = [
            record
            for record in self.records.by_name.values()
            if record.retry is not None and record.retry.message
        ]
        held = [(self._removal(record.entry), record.retry) for record in refused]
        return [self.refused(change, retry.message) for change, retry in held if retry]

    def refused(self, change: Change, message: str) -> Problem:
        """What is told of it where the server would not take away what is left of a change, and said this."""
        why = f"the server does not take away what it may have left of it in {self._name}"
        return Problem(change.device, change.rule, f"{why}: {message}")

    def seen_problems(self) -> list[Problem]:
        """Which orphaned nodes the last look has seen."""
        seen = [record.seen for record in self.records.by_name.values() if record.seen is not None]
        return [
            Problem(orphan.change.device, orphan.change.rule, f"{self._name}, {orphan.path}: {orphan}")
            for orphan in seen
        ]

    def _removal(self, entry: Entry) -> Change:
        return removal(self._name, entry, "the server left it behind")
