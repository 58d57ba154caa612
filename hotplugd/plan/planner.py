"""What has to change in one instance. Pure: no I/O, no clock, no state.

    Wants x Instance x Inside -> Plan     `plan_instance`

An instance's plan depends on that instance and the devices that should be in it alone, so one event costs one
small plan. The daemon, `hotplugd plan`, `hotplugd explain` and the tests all call this.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from hotplugd.model import entry as entries
from hotplugd.model import nic_slot
from hotplugd.model.problem import Problem
from hotplugd.model.text import quoted
from hotplugd.model.values import Device, Entry, Inside, Instance, InstanceName
from hotplugd.plan.change import (
    Attachment,
    Barred,
    Change,
    Plan,
    change_of,
    compare,
    entry_for,
    observed,
    removal,
)
from hotplugd.plan.foreign_entries import problems_of
from hotplugd.plan.identity import apart, hardware, own_serial
from hotplugd.plan.kinds import registry
from hotplugd.plan.kinds.kind import Want
from hotplugd.plan.nic_entries import NicEntries, told_of_dead
from hotplugd.plan.targets import Targets

# So many dead interfaces of one instance are told of one by one: who may edit it may write any number down.
_MOST_TOLD: Final = 10


def plan_instance(
    name: InstanceName,
    instance: Instance | None,
    wanted: Iterable[Want],
    inside: Inside | None,
    unprocessed: Sequence[Device] = (),
    present: Container[str] | None = None,
    nics_inside: Mapping[str, str] = MappingProxyType({}),
    unstartable: Mapping[str, Barred] = MappingProxyType({}),
    by_hand: Mapping[str, str] = MappingProxyType({}),
    *,
    unserved: bool = False,
) -> Plan:
    """What has to change in one instance.

    instance     as the server has it now; None where there is none of that name
    wanted       what should be in it
    inside       what was seen in it since the last change; None where nothing was
    unprocessed  devices that exist and that udevd has not processed (yet, or any more): an entry for one of
                 them stays as it is until udevd says what the device is
    present      the slots of all devices that exist; None where nobody knows, and an entry goes if unwanted
    nics_inside  the network interfaces that are in it: their entries' names by slot
    unstartable  the entries with which the instance could not be started, by name
    by_hand      what somebody decided about devices, in words, by their slots
    unserved     whether another hotplugd serves pools: what they gave stays as it is while its device exists
    """
    if instance is None:
        message = f"there is no instance '{name.name}' in project '{name.project}'"
        return Plan(problems=tuple(_problem(want, message) for want in wanted))
    if not instance.here:
        return Plan(problems=tuple(_elsewhere(want, instance) for want in wanted))
    planner = _Planner(instance, inside, unprocessed, nics_inside, unstartable)
    if unserved:
        planner.leave(present or (), by_hand)
    mine = planner.adopt(wanted)
    planner.wait(mine)
    if present is not None and planner.nics.entries:
        planner.bury(present, mine)
    if planner.others:
        planner.problems += problems_of(planner.others, instance)
    planner.place(mine)
    planner.clear(present or (), by_hand)
    changes: list[Change] = []
    for change in planner.changes:
        if why := _fixed(change, instance):
            planner.problems.append(Problem(change.device, change.rule, f"{change.why}; {why}"))
        else:
            changes.append(change)
    return Plan(tuple(changes), tuple(planner.attachments), tuple(planner.problems), tuple(planner.out))


def _decider(want: Want) -> str:
    """The rule that put the want here; empty where somebody did by hand, whatever rule takes the device."""
    return want.rule.name if want.override is None else ""


def _fixed(change: Change, instance: Instance) -> str:
    """Why the server cannot make this change while the instance runs; empty where it can."""
    actual = instance.entries.get(change.entry.name)
    return registry.fixed(actual, instance) if actual is not None else ""


def _elsewhere(want: Want, instance: Instance) -> Problem:
    """The problem of a device and an instance on two members: only `explain` shows it."""
    message = f"{instance.id} is on the cluster member {instance.location}, and the device is here"
    return Problem(str(want.device), want.rule.name, message, guard=True)


def _problem(want: Want, message: str) -> Problem:
    return Problem(str(want.device), want.rule.name, message)


class _Planner:
    """A plan in the making, for one instance."""

    def __init__(
        self,
        instance: Instance,
        inside: Inside | None,
        unprocessed: Sequence[Device],
        nics_inside: Mapping[str, str],
        unstartable: Mapping[str, Barred],
    ) -> None:
        self.changes: list[Change] = []
        self.attachments: list[Attachment] = []
        self.problems: list[Problem] = []
        self.out: list[Problem] = []
        self._instance = instance
        self._inside = inside
        self._unstartable = unstartable
        self._ours = {entry.name: entry for entry in instance.entries.values() if entries.is_ours(entry)}
        self.others = tuple(
            entry
            for entry in (*instance.inherited.values(), *instance.entries.values())
            if entry.name not in self._ours
        )
        self._targets = Targets(instance, self.others)
        self.nics = NicEntries(instance, self._ours, nics_inside)
        self._waiting = entries.of_unprocessed(self._ours, unprocessed)
        self._kept = set(self._waiting)
        self._serials: dict[tuple[str, str], Want] = {}

    def leave(self, present: Container[str], by_hand: Container[str]) -> None:
        """Keep what pools gave of these devices, and its places."""
        for name, each in entries.of_pools(self._instance, self._ours, present, by_hand).items():
            if name not in self._unstartable:
                self._kept.add(name)
                self._targets.take(entries.target_of(each), f"the entry '{name}' of a pool's device")

    def adopt(self, wanted: Iterable[Want]) -> list[Want]:
        """The wants, those of an interface under the slot that its entry names, where there is one."""
        return [self.nics.adopt(want) if want.kind.leaves else want for want in wanted]

    def wait(self, wanted: Iterable[Want]) -> None:
        """Keep the places of entries whose devices are not known yet."""
        # Its name says that its device is known: other keys were edited, and are put right.
        known = {name for want in wanted for name in entries.names_for(want.slot)}
        for name, entry in self._waiting.items():
            if name not in known:
                holder = f"the entry '{name}' of a device that udevd has not processed"
                self._targets.take(entries.target_of(entry), holder)

    def bury(self, present: Container[str], wanted: Sequence[Want]) -> None:
        """Leave the entries of network interfaces whose hardware went while they were inside."""
        dead = list(self.nics.dead(present, wanted))
        for number, entry in enumerate(dead):
            self._kept.add(entry.name)
            holder = f"the entry '{entry.name}' of an interface that is gone"
            self._targets.take(entries.target_of(entry), holder)
            if number < _MOST_TOLD:
                message = told_of_dead(entry, self._instance)
                device, rule = (entry.config.get(mark, "") for mark in (entries.MARK_NODE, entries.MARK_RULE))
                self.problems.append(Problem(device, rule, message))
        if len(dead) > _MOST_TOLD:
            message = f"{self._instance.id} has {len(dead)} entries of interfaces that are gone"
            self.problems.append(Problem("", "", message))

    def place(self, wanted: Iterable[Want]) -> None:
        """Find what each wanted device needs. Those that are attached go first, then the older.

        Several may be one entry: a GPU's card and its render node.
        """

        def precedence(want: Want) -> tuple[bool, int, str]:
            return (
                self._name_of(want) not in self._ours,
                entries.age_of(want.slot),
                want.device.syspath,
            )

        by_entry: dict[str, list[Want]] = {}
        for want in sorted(wanted, key=precedence):
            by_entry.setdefault(self._name_of(want), []).append(want)
        for name, wants in by_entry.items():
            self._place_entry(name, wants)

    def _name_of(self, want: Want) -> str:
        """The name of the want's entry: the one that it has, whichever version gave it."""
        first, *before = entries.names_for(want.slot)
        return first if first in self._ours else next((name for name in before if name in self._ours), first)

    def _place_entry(self, name: str, wants: Sequence[Want]) -> None:
        first, actual = wants[0], self._ours.get(name)
        if first.device.away and (actual is None or self._instance.kind not in first.kind.leaves):
            # It is in another instance, and on the host again once it was taken out of there.
            return
        if message := next(filter(None, (self._in_the_way(want, name) for want in wants)), ""):
            self.problems.append(_problem(first, message))
        elif why := self._why_unstartable(first, name):
            self.out.append(_problem(first, why))
            self.problems.append(self.out[-1])
        elif theirs := [want.target for want in wants if want.target in self._targets.foreign]:
            self._share(first, actual, self._targets.foreign[theirs[0]])
        else:
            wants = [first, *(self._as_one(first, want) for want in wants[1:])]
            for want in wants:
                self._targets.take_all(want)
            self._kept.add(name)
            entry = entry_for(first, self._instance, self._inside, actual)
            if isinstance(entry, str):
                self.problems.append(_problem(first, entry))
                if actual is not None and (target := entries.target_of(actual)):
                    if self._targets.is_of_another(target, wants):
                        # Somebody edited it: it goes, rather than lie over a device that is placed there.
                        self._kept.discard(name)
                    else:
                        self._targets.take(target, f"the entry '{name}' of {first.device}")
            elif actual is None:
                self.changes.append(change_of("add", first, entry, "it is not attached"))
            else:
                compared = compare(wants, entry, actual, self._instance, self._inside)
                self.changes += compared.changes
                self.attachments += compared.attachments
                self.problems += compared.problems

    def _as_one(self, first: Want, other: Want) -> Want:
        """The other of one entry, with the owner and mode that the entry has by the first one's rule."""
        said = [(one.uid, one.gid, one.user, one.group, one.mode) for one in (first.attach, other.attach)]
        if said[0] == said[1]:
            return other
        message = (
            f"it goes into {self._instance.id} with {first.device}, as one GPU with one owner and mode, "
            f"which rule '{first.rule.name}' says; take `as: gpu` out of both rules, and each node goes in "
            f"as its rule says"
        )
        self.problems.append(_problem(other, message))
        return replace(other, attach=first.attach)

    def _why_unstartable(self, want: Want, name: str) -> str:
        """Why the instance cannot be started with it, whatever entry it had; else empty."""
        if self._instance.running:
            return ""
        names = {name, *entries.names_for(want.slot)}
        for out, barred in self._unstartable.items():
            # An interface may have had one under another slot, and has its own once that is out.
            if out in names or nic_slot.stands_for(barred.entry, want.device, self._instance):
                return barred.why
        return ""

    def clear(self, present: Container[str], by_hand: Mapping[str, str]) -> None:
        """Take out what is ours and has no reason to be here."""
        for entry in self._ours.values():
            if entry.name in self._kept:
                continue
            mark = entry.config.get(entries.MARK_INSTANCE, "")
            member = entry.config.get(entries.MARK_MEMBER, "")
            if mark != entries.mark_for(self._instance.id):
                why = f"it was made for {quoted(mark)}, not for this instance"
            elif member != self._instance.location:
                why = f"its device is on the cluster member {quoted(member) or 'of another time'}"
            elif entry.name in self._unstartable:
                why = f"{self._instance.id} cannot be started with it"
            elif (said := by_hand.get(entries.slot_of(entry))) is not None:
                why = f"its device was {said}"
            elif entries.slot_of(entry) in present:
                leased = entries.MARK_POOL in entry.config
                why = "its lease is over" if leased else "no rule puts its device here any more"
            else:
                why = "its device is gone"
            self.changes.append(removal(self._instance.id, entry, why))

    def _in_the_way(self, want: Want, name: str) -> str:
        """Why this device cannot be in this instance, or empty. Notes its serial where it counts."""
        who = self._instance.id
        if message := want.kind.barred(want, self._instance, self._ours.get(name)):
            return message
        if (name in self._instance.entries and name not in self._ours) or name in self._instance.inherited:
            return f"{who} has an entry '{name}' that is not ours (it lacks our marks); remove it by hand"
        serial = self._own_serial(want)
        message = (serial and self._twin(want, serial)) or self._targets.occupied(want)
        message = message or (self._same_name(want, name) if want.kind.has_name else "")
        if serial and not message:
            self._serials.setdefault((_decider(want), serial), want)
        return message

    def _own_serial(self, want: Want) -> str:
        """The serial number that tells it from the rule's other devices; empty where something else does."""
        if want.target in self._targets.foreign:
            return ""
        if want.override is not None:
            return own_serial(want.device) if want.override.of.is_unique else ""
        if not want.rule.names_serial(want.device):
            return ""
        return own_serial(want.device)

    def _twin(self, want: Want, serial: str) -> str:
        """Which device of this serial number is here already, or empty."""
        there = self._serials.get((_decider(want), serial))
        if there is None or hardware(there.device).syspath == hardware(want.device).syspath:
            return ""
        key, its, own = apart(there.device, want.device)
        way = f"tell them apart with `{key}`, in a rule for each"
        if want.override is not None:
            way = "decide about each by its node with `hotplugd attach` or `hotplugd detach`"
        return (
            f"two devices have the serial '{quoted(serial)}': {there.device} at {its} is in "
            f"{self._instance.id} already, and this one is at {own}; {way}"
        )

    def _same_name(self, want: Want, name: str) -> str:
        """Which interface inside, none of ours, is called as this one would be; or empty."""
        if name in self._ours or self._inside is None:
            return ""
        if want.target not in (self._inside.interfaces or ()) or any(
            entries.target_of(entry) == want.target for entry in self._ours.values()
        ):
            return ""
        return (
            f"{want.target} in {self._instance.id} is an interface that is there already; give this one "
            f"another name with `name`, or rename that one"
        )

    def _share(self, want: Want, actual: Entry | None, other: str) -> None:
        """Leave the path to an entry that is not ours, unless our node is there already.

        The server mounts the first of two at one path, and leaves its node there when that goes (measured):
        taking ours out would leave a node of nobody's, and give the other nothing.
        """
        message = (
            f"{want.target} in {self._instance.id} belongs to its entry '{quoted(other)}', which is not ours"
        )
        self.problems.append(_problem(want, message))
        if actual is None or not self._instance.running or entries.target_of(actual) != want.target:
            return
        unlike = observed(want, self._instance, self._inside)
        if not unlike:
            self._kept.add(actual.name)
            self.attachments.append(Attachment(want, actual, verified=unlike == ""))
