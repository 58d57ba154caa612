"""What may be left inside an instance of entries that it does not have.

A server that ends while it puts something in may have made a node and not have written down why, and of two
updates that overlap it may forget what one wrote down, and not what it did. Whoever asked for it knows; and
so that this is known after a crash of ours, too, a note is kept until it is certain.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable
from typing import Final

from hotplugd.aio.backoff import Retry
from hotplugd.model.entry import MARK_NODE, MARK_RULE, is_ours, place_of, slot_of
from hotplugd.model.problem import Problem
from hotplugd.model.values import Entry, Instance, InstanceName
from hotplugd.plan.planner import Change
from hotplugd.reconcile.ports import EntryJournal

# Seconds: the first pause after the server did not take something away, and the longest.
_PAUSES: Final = (0.1, 600.0)


class Orphans:
    """Of one instance: what is being put in, and what may be inside though it has no entry."""

    def __init__(self, name: InstanceName, notes: EntryJournal) -> None:
        self._name = name
        self._notes = notes
        self._doubtful = dict(notes.take(name))
        self._sent: dict[str, Entry] = {}
        # What the server will not take away now.
        self._held: dict[str, Retry] = {}
        # What has lost its entry, be it that somebody took it out, and is still to be looked for.
        self._lost: dict[str, Entry] = {}

    def __bool__(self) -> bool:
        return bool(self._doubtful)

    def may_be_there(self, names: Iterable[str]) -> bool:
        """Whether the instance may have been given an entry of such a name, and nobody knows."""
        return any(each in self._doubtful for each in names)

    def begin(self, batch: Iterable[Change]) -> None:
        """A request with these changes is about to be sent."""
        # An update, too: of what the server has lost meanwhile it puts something in.
        self._sent = _by_name(each.entry for each in batch if each.action != "remove")
        if self._sent:
            self._note()

    def learned(self, before: Instance | None, after: Instance | None, sent: Container[str]) -> None:
        """The instance is as it is after now. sent: the names of the entries that we put in or took out.

        What lost its entry otherwise is to be looked for: somebody may have taken it out; but of two updates
        that overlap the server may forget one, and not what it did inside.
        """
        if after is None or not after.has_nodes:
            self._lost.clear()
            return
        if before is None or not before.has_nodes:
            return
        self._lost = {name: each for name, each in self._lost.items() if name not in after.entries}
        gone = (before.entries[name] for name in before.entries.keys() - after.entries.keys())
        lost = _by_name(each for each in gone if each.name not in sent and is_ours(each))
        self._lost |= {name: each for name, each in lost.items() if place_of(each)}
        # Where a GPU's nodes were its entry does not say: nobody can look for them.
        self._doubt(each for each in lost.values() if not place_of(each))

    def restarted(self) -> None:
        """There is another init, or none: nothing is inside that has no entry."""
        self._lost.clear()

    def lost(self, actual: Instance | None) -> list[Change]:
        """What lost its entry and should be looked for: as if it had been taken out.

        What somebody else's entry has put in its place is not looked for.
        """
        if actual is None or not self._lost:
            return []
        taken = {place_of(each) for each in (*actual.entries.values(), *actual.inherited.values())}
        return [self._removal(each) for each in self._lost.values() if place_of(each) not in taken]

    def looked(self, gone: Iterable[Change], left: Iterable[Change]) -> None:
        """Nothing is at the places of those that are gone, and of the others the nodes are there."""
        names, there = {each.entry.name for each in gone}, [each.entry for each in left]
        for name in names | {each.name for each in there}:
            self._lost.pop(name, None)
        if names & self._doubtful.keys():
            self._forget(names)
        self._doubt(there)

    def in_the_way(self, batch: Iterable[Change]) -> list[Change]:
        """Of what lost its entry, and was not looked for yet, what may be where these would put something.

        At its own place it would be found. Elsewhere in the instance the server would not make the node, and
        of two at one place it mounts the first alone.
        """
        places: dict[str, set[str]] = {}
        names: dict[str, set[str]] = {}
        for each in batch if self._lost else ():
            place = place_of(each.entry)
            places.setdefault(each.entry.name, set()).add(place)
            names.setdefault(place, set()).add(each.entry.name)

        def elsewhere(entry: Entry) -> bool:
            """By its name at another place, or by another's name at its place."""
            place = place_of(entry)
            at, by = places.get(entry.name, set()), names.get(place, set())
            return bool(at - {place} or by - {entry.name})

        return [self._removal(each) for each in self._lost.values() if elsewhere(each)]

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

    def cleared(self, changes: Collection[Change]) -> None:
        """Nothing is left of these any more."""
        for each in changes:
            self._lost.pop(each.entry.name, None)
        self._forget({each.entry.name for each in changes})

    def held(self, changes: Iterable[Change], message: str, now: float) -> tuple[float, bool]:
        """The server did not take away what is left of these now, or would not: it gave this message then.

        Returns the seconds until it is asked again, and whether the message is new.
        """
        pauses = []
        for each in changes:
            self._lost.pop(each.entry.name, None)
            self._doubt([each.entry])
            pauses.append(self._held.setdefault(each.entry.name, Retry()).failed(message, now, *_PAUSES))
        return max(pauses)

    def hurry(self) -> None:
        """The server answers again: it may be asked for all."""
        for each in self._held.values():
            each.reset()

    def problems(self) -> list[Problem]:
        """What the server would not take away."""
        why = "the server does not take away what it may have left of it in"
        changes = {name: self._removal(self._doubtful[name]) for name in self._held}
        return [
            Problem(each.device, each.rule, f"{why} {self._name}: {self._held[name].message}")
            for name, each in changes.items()
            if self._held[name].message
        ]

    def due(self) -> Iterable[float]:
        """When the server is asked again for what it did not take away."""
        return [each.until for each in self._held.values()]

    def left(self, actual: Instance | None, now: float) -> list[Change]:
        """What should be cleared up, before anything is put in: as if these entries had been taken out.

        Also what is to be put in again: elsewhere in the instance it would not find what is left of it, and
        what another has left at its own place would stay there in its stead.
        """
        if not self._doubtful or (actual is not None and not (actual.known and actual.here)):
            return []
        if actual is None or not actual.has_nodes:
            self._forget(self._doubtful)
            return []
        self._forget(actual.entries)
        held = {name for name, each in self._held.items() if each.until > now}
        return [self._removal(each) for name, each in self._doubtful.items() if name not in held]

    def _removal(self, entry: Entry) -> Change:
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
        self._held = {name: each for name, each in self._held.items() if name in self._doubtful}
        self._sent = {}
        if known != self._doubtful:
            self._note()

    def _note(self) -> None:
        self._notes.note(self._name, tuple((self._doubtful | self._sent).values()))


def _by_name(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Those of which nodes may be left: of what else an entry may be the server keeps no files."""
    return {each.name: each for each in entries if each.config.get("type", "").startswith(("unix-", "gpu"))}
