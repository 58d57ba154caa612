"""The records of entries whose nodes may be inside an instance without the entry, and their journal.

Entries of a request that is under way, or whose outcome is unknown, are in the journal.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from hotplugd.aio.backoff import Retry
from hotplugd.model.values import Entry, InstanceName
from hotplugd.plan.change import Change
from hotplugd.reconcile.orphaned_node import OrphanedNode
from hotplugd.reconcile.ports import EntryJournal


@dataclass(slots=True)
class OrphanRecord:
    """What is known of one entry that the instance does not have, or may not have.

    sent    as a request that is under way puts it in
    unsure  the server is to be asked to take away what may be left of it
    lost    the instance lost it by no request of ours; it is to be looked for
    sought  as what the next look is to see it, or not
    kept    also once the instance starts: it went while that did not run, or began to
    seen    as what the last look has seen its node
    retry   when the server is asked again that did not take it away; None where it was not asked
    """

    entry: Entry
    sent: Entry | None = None
    unsure: bool = False
    lost: bool = False
    sought: OrphanedNode | None = None
    kept: bool = False
    seen: OrphanedNode | None = None
    retry: Retry | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing is to be done about it."""
        return not (self.sent or self.unsure or self.lost or self.sought or self.seen)


class OrphanRecords:
    """The orphan records of one instance.

    by_name  the records by the entries' names; empty where nothing may be orphaned
    """

    def __init__(self, name: InstanceName, journal: EntryJournal) -> None:
        self._name = name
        self._journal = journal
        self.by_name: dict[str, OrphanRecord] = {
            name: OrphanRecord(entry, unsure=True) for name, entry in journal.take(name).items()
        }

    def begin(self, batch: Iterable[Change]) -> None:
        """A request with these changes is about to be sent."""
        # An update counts, too: it puts in an entry that the server has lost meanwhile.
        sent = with_nodes(change.entry for change in batch if change.action != "remove")
        for entry in sent:
            self.of(entry).sent = entry
        if sent:
            self.write()

    def done(self) -> None:
        """Take note that the request was carried out."""
        self.forget({name for name, record in self.by_name.items() if record.sent})

    def undone(self) -> None:
        """Take note that the server did nothing of the request."""
        if self._end_request():
            self.write()

    def unknown(self) -> None:
        """Take note that the outcome of the request is unknown."""
        for entry in self._end_request():
            record = self.of(entry)
            record.entry, record.unsure = entry, True

    def of(self, entry: Entry) -> OrphanRecord:
        """The entry's record, a new one where there is none."""
        return self.by_name.setdefault(entry.name, OrphanRecord(entry))

    def end_search(self, names: Iterable[str]) -> None:
        """The nodes of these do not have to be looked for any more."""
        for name in names:
            if name in self.by_name:
                self.by_name[name].lost = False
        self.tidy()

    def forget(self, names: Container[str]) -> None:
        """Take note that no nodes are left of these entries, and that no request is under way."""
        before = self._noted()
        for name, record in self.by_name.items():
            record.sent = None
            if name in names:
                record.unsure = False
        self.tidy()
        if before != self._noted():
            self.write()

    def settle(self, entries: Iterable[Entry]) -> None:
        """Take note that nothing is left of these, but for what was sent or seen meanwhile."""
        before = self._noted()
        for entry in entries:
            record = self.by_name.get(entry.name)
            if record is not None and record.entry is entry and not (record.sent or record.seen):
                record.unsure = False
        self.tidy()
        if before != self._noted():
            self.write()

    def tidy(self) -> None:
        """Drop the records that are over."""
        for name, record in list(self.by_name.items()):
            if not record.unsure:
                record.retry = None
            if record.is_over:
                del self.by_name[name]

    def write(self) -> None:
        """Have the journal say what is being put in, and what the server is to take away."""
        self._journal.note(self._name, tuple(self._noted()))

    def _end_request(self) -> list[Entry]:
        sent = [record.sent for record in self.by_name.values() if record.sent is not None]
        for entry in sent:
            self.of(entry).sent = None
        self.tidy()
        return sent

    def _noted(self) -> list[Entry]:
        return [
            record.sent or record.entry for record in self.by_name.values() if record.unsure or record.sent
        ]


def with_nodes(entries: Iterable[Entry]) -> list[Entry]:
    """The entries of which nodes may be left: the server makes none for other types."""
    return [entry for entry in entries if entry.config.get("type", "").startswith(("unix-", "gpu"))]
