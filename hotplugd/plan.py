"""What has to change in one instance. Pure: no I/O, no clock, no state.

    Wants x Instance x Inside -> Plan     `plan_instance`

An instance's plan depends on that instance and the devices that should be in it alone, so one event costs one
small plan. The daemon, `hotplugd plan`, `hotplugd explain` and the tests all call this.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from hotplugd import entry as entries
from hotplugd import form
from hotplugd.model import Device, Entry, Inside, Instance, InstanceName, quoted
from hotplugd.rules import values
from hotplugd.wants import Problem, Want, identity

Action = Literal["add", "update", "repair", "remove"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do to one instance's entries. For `remove` the entry is the one that goes.

    device  its node on the host; of what goes, the one that it had
    frees   the place inside at which the entry's device is no more once this was done, or empty
    """

    action: Action
    instance: InstanceName
    entry: Entry
    device: str
    rule: str
    why: str
    want: Want | None = None
    frees: str = ""

    @property
    def identity(self) -> str:
        """The device's identity, as the entry has it."""
        return self.entry.config.get(entries.MARK_DEVICE, "")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A device whose entry is as it should be. verified: seen inside, None where there is no inside now."""

    want: Want
    entry: Entry
    verified: bool | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to change in one instance, what is as it should be, and what cannot be."""

    changes: tuple[Change, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    problems: tuple[Problem, ...] = ()


def plan_instance(
    name: InstanceName,
    instance: Instance | None,
    wanted: Iterable[Want],
    inside: Inside | None,
    unsettled: Sequence[Device] = (),
    present: Container[str] | None = None,
) -> Plan:
    """What has to change in one instance.

    instance   as the server has it now; None where there is none of that name
    wanted     what should be in it
    inside     what was seen in it since the last change; None where nothing was
    unsettled  devices that exist and that udevd has not processed (yet, or any more): an entry for one of
               them stays as it is until udevd says what the device is
    present    the slots of all devices that exist; None where nobody knows, and an entry goes if unwanted
    """
    if instance is None:
        message = f"there is no instance '{name.name}' in project '{name.project}'"
        return Plan(problems=tuple(_problem(want, message) for want in wanted))
    if not instance.here:
        return Plan(problems=tuple(_elsewhere(want, instance) for want in wanted))
    mine = list(wanted)
    planner = _Planner(instance, inside, unsettled, {entries.name_for(want.slot) for want in mine})
    if present is not None:
        planner.bury(present, mine)
    planner.place(mine)
    planner.clear(present or ())
    return Plan(tuple(planner.changes), tuple(planner.attachments), tuple(planner.problems))


def _may_be_for(entry: Entry, device: Device) -> bool:
    """Whether the entry may have been made for a device of which nothing but this is known yet."""
    if device.devnum is not None and entries.is_for(entry, device.devnum):
        return True
    if entry.config.get("type") == "nic":
        return device.subsystem == "net" and device.kernel == entry.config.get("parent")
    address = entry.config.get("pci") or entry.config.get("address")
    return address is not None and address in device.syspath.split("/")


def _is_again(entry: Entry, want: Want) -> bool:
    """Whether this is the interface that the entry was for, plugged in again under the same name.

    Under another's name it would be another that the server gives the dead one's address (measured).
    """
    return (
        want.what == "nic"
        and not want.device.away
        and want.device.kernel == entry.config.get("parent")
        and identity(want.device) == entry.config.get(entries.MARK_DEVICE)
    )


def _elsewhere(want: Want, instance: Instance) -> Problem:
    """Of no concern where all members have the same rules: only `explain` says it."""
    message = f"{instance.id} is on the cluster member {instance.location}, and the device is here"
    return Problem(str(want.device), want.rule.name, message, guard=True)


def _problem(want: Want, message: str) -> Problem:
    return Problem(str(want.device), want.rule.name, message)


class _Planner:
    """A plan in the making, for one instance."""

    def __init__(
        self, instance: Instance, inside: Inside | None, unsettled: Sequence[Device], wanted: Container[str]
    ) -> None:
        self.changes: list[Change] = []
        self.attachments: list[Attachment] = []
        self.problems: list[Problem] = []
        self._instance = instance
        self._inside = inside
        self._ours = {each.name: each for each in instance.entries.values() if entries.is_ours(each)}
        self._foreign = {
            path: each.name
            for each in (*instance.inherited.values(), *instance.entries.values())
            if each.name not in self._ours and (path := entries.place_of(each))
        }
        waiting = {
            each.name: each
            for each in self._ours.values()
            if any(_may_be_for(each, device) for device in unsettled)
        }
        self._kept = set(waiting)
        self._taken = {
            entries.place_of(each): f"the entry '{name}' of a device that udevd has not processed"
            for name, each in waiting.items()
            # By its name it is a device's that is known: whatever else it says was edited, and is put right.
            if name not in wanted
        }
        self._serials: dict[tuple[str, str], Want] = {}

    def bury(self, present: Container[str], wanted: Sequence[Want]) -> None:
        """Leave the entries of network interfaces whose hardware went while they were inside.

        The server cannot take them out, and a try makes it forget what it would need for that later (LXD:
        device/nic_physical.go, postStop looks for the interface on the host under its old name).
        """
        who, mark = self._instance.id, entries.mark_for(self._instance.id)
        for name, each in self._ours.items():
            lives = each.config.get("type") != "nic" or entries.slot_of(each) in present
            if lives or not self._instance.running or each.config.get(entries.MARK_INSTANCE) != mark:
                continue
            if each.config.get(entries.MARK_MEMBER, "") != self._instance.location:
                continue
            if any(_is_again(each, want) for want in wanted):
                continue
            parent = quoted(each.config.get("parent", ""))
            message = (
                f"its hardware went while it was in {who}, and the server can take its entry out only once "
                f"it is back as {parent}, or while {who} is stopped: plug it in again, or stop {who} until "
                f"the entry is gone"
            )
            device, rule = each.config.get(entries.MARK_NODE, ""), each.config.get(entries.MARK_RULE, "")
            self.problems.append(Problem(device, rule, message))
            self._kept.add(name)
            self._taken[entries.place_of(each)] = f"the entry '{name}' of an interface that is gone"

    def place(self, wanted: Iterable[Want]) -> None:
        """Find what each wanted device needs. Those that are attached go first, then the older.

        Several may be one entry: a GPU's card and its render node.
        """

        def precedence(want: Want) -> tuple[bool, int, str]:
            return (
                entries.name_for(want.slot) not in self._ours,
                entries.age_of(want.slot),
                want.device.syspath,
            )

        by_entry: dict[str, list[Want]] = {}
        for want in sorted(wanted, key=precedence):
            by_entry.setdefault(entries.name_for(want.slot), []).append(want)
        for name, wants in by_entry.items():
            self._place_entry(name, wants)

    def _place_entry(self, name: str, wants: Sequence[Want]) -> None:
        first, actual = wants[0], self._ours.get(name)
        if first.device.away and actual is None:
            # It is in another instance, and on the host again once it was taken out of there.
            return
        if message := next(filter(None, (self._in_the_way(want, name) for want in wants)), ""):
            self.problems.append(_problem(first, message))
        elif other := next(filter(None, (self._foreign.get(want.place) for want in wants)), ""):
            self._share(first, actual, other)
        else:
            for want in filter(lambda each: each.place, wants):
                for place in (want.place, *want.links):
                    self._taken[place] = f"{want.device} (rule '{want.rule.name}')"
            self._kept.add(name)
            entry = form.entry_for(first, self._instance, self._inside, actual)
            if isinstance(entry, str):
                self.problems.append(_problem(first, entry))
                if actual is not None and (place := entries.place_of(actual)):
                    self._taken[place] = f"the entry '{name}' of {first.device}"
            elif actual is None:
                self._change("add", first, entry, "it is not attached")
            else:
                self._compare(wants, entry, actual)

    def clear(self, present: Container[str]) -> None:
        """Take out what is ours and has no reason to be here."""
        for each in self._ours.values():
            if each.name in self._kept:
                continue
            mark = each.config.get(entries.MARK_INSTANCE, "")
            member = each.config.get(entries.MARK_MEMBER, "")
            if mark != entries.mark_for(self._instance.id):
                why = f"it was made for {quoted(mark)}, not for this instance"
            elif member != self._instance.location:
                why = f"its device is on the cluster member {quoted(member) or 'of another time'}"
            elif entries.slot_of(each) in present:
                why = "no rule puts its device here any more"
            else:
                why = "its device is gone"
            self._remove(each, why)

    def _remove(self, entry: Entry, why: str) -> None:
        device = entry.config.get(entries.MARK_NODE) or entries.slot_of(entry)
        rule = entry.config.get(entries.MARK_RULE, "")
        place = entries.place_of(entry)
        self.changes.append(Change("remove", self._instance.id, entry, device, rule, why, frees=place))

    def _change(self, action: Action, want: Want, entry: Entry, why: str, frees: str = "") -> None:
        change = Change(action, self._instance.id, entry, str(want.device), want.rule.name, why, want, frees)
        self.changes.append(change)

    def _in_the_way(self, want: Want, name: str) -> str:
        """Why this device cannot be in this instance, or empty. Notes its serial where it counts."""
        who = self._instance.id
        if message := form.barred(want, self._instance, self._ours.get(name)):
            return message
        if (name in self._instance.entries and name not in self._ours) or name in self._instance.inherited:
            return f"{who} has an entry '{name}' that is not ours (it lacks our marks); remove it by hand"
        if holder := self._taken.get(want.place):
            return f"{want.place} in {who} is taken by {holder}"
        for link in want.links:
            if holder := self._taken.get(link) or self._foreign.get(link):
                return f"the link {link} in {who} is where {holder} is"
        if want.rule.names_serial and want.place not in self._foreign:
            anchor = want.device.usb or want.device
            for serial in values(want.device, "serial")[:1]:
                first = self._serials.setdefault((want.rule.name, serial), want)
                there = first.device.usb or first.device
                if there.syspath != anchor.syspath:
                    return (
                        f"it has the same serial '{quoted(serial)}' as {first.device}, "
                        f"which is in {who} already; tell them apart with `port`"
                    )
        return ""

    def _share(self, want: Want, actual: Entry | None, other: str) -> None:
        """Leave the path to an entry that is not ours, unless our node is there already.

        The server mounts the first of two at one path, and leaves its node there when that goes (measured):
        taking ours out would leave a node of nobody's, and give the other nothing.
        """
        message = (
            f"{want.place} in {self._instance.id} belongs to its entry '{quoted(other)}', which is not ours"
        )
        self.problems.append(_problem(want, message))
        if actual is None or not self._instance.running or entries.place_of(actual) != want.place:
            return
        unlike = form.unlike(want, self._instance, self._inside)
        if not unlike:
            self._kept.add(actual.name)
            self.attachments.append(Attachment(want, actual, verified=unlike == ""))

    def _compare(self, wants: Sequence[Want], wanted: Entry, actual: Entry) -> None:
        """Set the wanted entry against the actual one, and against what was seen inside."""
        first = wants[0]
        if keys := entries.differing(actual, wanted):
            before = entries.place_of(actual)
            why = f"its entry differs in {', '.join(map(quoted, keys))}"
            self._change("update", first, wanted, why, frees=before if before != first.place else "")
            return
        unlike = [(want, form.unlike(want, self._instance, self._inside)) for want in wants]
        wrong = next(((want, found) for want, found in unlike if found), None)
        if wrong is None or wrong[0].device.away:
            for want, found in unlike:
                self._attached(want, actual, found)
        elif (again := form.moved(wanted, actual, first.slot)) is not None:
            wanted_number = "open to it" if wrong[1] == form.SEALED else wrong[0].device.devnum
            why = f"inside, {wrong[0].place} is {wrong[1]}, not {wanted_number}"
            self._change("repair", first, again, why)
        else:
            self._remove(actual, f"inside, {wrong[0].place} is {wrong[1]}, and it has to be put in anew")

    def _attached(self, want: Want, actual: Entry, unlike: str | None) -> None:
        if unlike:
            self.problems.append(
                _problem(
                    want,
                    f"there is no interface {want.place} in {want.instance}, and it is not on the host: it "
                    f"was renamed inside, or its hardware is gone; stopping the instance brings back what "
                    f"there is",
                )
            )
        message = _wrong_mode(want, self._inside) if unlike == "" else ""
        if message:
            self.problems.append(_problem(want, message))
        verified: bool | None = unlike == "" and not message
        if unlike is None and (self._inside is None or not self._instance.running or not want.place):
            verified = None
        self.attachments.append(Attachment(want, actual, verified))


def _wrong_mode(want: Want, inside: Inside | None) -> str:
    node = inside.nodes.get(want.place) if inside is not None else None
    if want.attach.mode is None or node is None or node.mode == int(want.attach.mode, 8):
        return ""
    return (
        f"{want.place} in {want.instance} has mode {node.mode:04o}, the rule says {want.attach.mode}: "
        f"something inside changed it"
    )
