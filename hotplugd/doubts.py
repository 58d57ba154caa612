"""What may be left inside an instance of entries that it does not have.

A server that ends while it puts something in may have made a node and not have written down why, and of two
updates that overlap it may forget what one wrote down, and not what it did. Whoever asked for it knows; and
so that this is known after a crash of ours, too, a note is kept until it is certain.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from hotplugd.entry import MARK_NODE, MARK_RULE, is_ours, place_of, slot_of
from hotplugd.model import Entry, Instance, InstanceName
from hotplugd.plan import Change
from hotplugd.tools import Notes


class Doubts:
    """Of one instance: what is being put in, and what may be inside though it has no entry."""

    def __init__(self, name: InstanceName, notes: Notes) -> None:
        self._name = name
        self._notes = notes
        self._doubtful = dict(notes.take(name))
        self._sent: dict[str, Entry] = {}

    def __bool__(self) -> bool:
        return bool(self._doubtful)

    def begin(self, batch: Iterable[Change]) -> None:
        """A request with these changes is about to be sent."""
        self._sent = _by_name(each.entry for each in batch if each.action == "add")
        if self._sent:
            self._note()

    def learned(self, before: Instance | None, after: Instance | None, ours: Container[str]) -> None:
        """The instance is as it is after now. ours: the names of the entries that we sent, or took out.

        Of two updates that overlap the server may forget one, and not what it did inside.
        """
        if before is None or after is None or not (before.running and before.here and after.here):
            return
        gone = (before.entries[name] for name in before.entries.keys() - after.entries.keys())
        self._doubt(each for each in gone if each.name not in ours and is_ours(each))

    def found(self, left: Iterable[Change]) -> None:
        """The nodes are there of what these changes have taken out."""
        self._doubt(each.entry for each in left)

    def done(self) -> None:
        """The request was carried out."""
        self._forget(self._sent)

    def undone(self) -> None:
        """Nothing of the request was."""
        if self._sent:
            self._sent = {}
            self._note()

    def unknown(self) -> None:
        """Nobody knows."""
        self._doubtful |= self._sent
        self._sent = {}

    def cleared(self, changes: Iterable[Change]) -> None:
        """Nothing is left of these any more."""
        self._forget({each.entry.name for each in changes})

    def left(self, actual: Instance | None) -> list[Change]:
        """What should be cleared up, before anything is put in: as if these entries had been taken out.

        Also what is to be put in again: elsewhere in the instance it would not find what is left of it, and
        what another has left at its own place would stay there in its stead.
        """
        if not self._doubtful or (actual is not None and not (actual.known and actual.here)):
            return []
        if actual is None or not actual.running or actual.kind != "container":
            self._forget(self._doubtful)
            return []
        self._forget(actual.entries)
        return [self._gone(each) for each in self._doubtful.values()]

    def _gone(self, entry: Entry) -> Change:
        device, rule = entry.config.get(MARK_NODE) or slot_of(entry), entry.config.get(MARK_RULE, "")
        why = "the server left it behind"
        return Change("remove", self._name, entry, device, rule, why, frees=place_of(entry))

    def _doubt(self, entries: Iterable[Entry]) -> None:
        if new := _by_name(entries):
            self._doubtful |= new
            self._note()

    def _forget(self, names: Container[str]) -> None:
        known = self._doubtful | self._sent
        self._doubtful = {name: each for name, each in self._doubtful.items() if name not in names}
        self._sent = {}
        if known != self._doubtful:
            self._note()

    def _note(self) -> None:
        self._notes.note(self._name, tuple((self._doubtful | self._sent).values()))


def _by_name(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Those of which nodes may be left: of what else an entry may be the server keeps no files."""
    return {each.name: each for each in entries if each.config.get("type", "").startswith(("unix-", "gpu"))}
