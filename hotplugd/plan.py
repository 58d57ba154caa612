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
from hotplugd.model import Device, Devnum, Entry, Inside, Instance, InstanceName, quoted
from hotplugd.rules import values
from hotplugd.wants import Problem, Want, identity

Action = Literal["add", "update", "repair", "remove"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do to one instance's entries. For `remove` the entry is the one that goes.

    device  its node on the host; of what goes, the one that it had
    frees   the path inside at which the entry's node is no more once this was done, or empty
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
    present: Container[str] = (),
) -> Plan:
    """What has to change in one instance.

    instance   as the server has it now; None where there is none of that name
    wanted     what should be in it
    inside     what was seen in it since the last change; None where nothing was
    unsettled  devices that exist and that udevd has not processed (yet, or any more): an entry for one of
               them stays as it is until udevd says what the device is
    present    the slots of all devices that exist, to say why an entry goes
    """
    if instance is None:
        message = f"there is no instance '{name.name}' in project '{name.project}'"
        return Plan(problems=tuple(_problem(want, message) for want in wanted))
    if not instance.here:
        return Plan()
    planner = _Planner(instance, inside, unsettled)
    planner.place(wanted)
    planner.clear(present)
    return Plan(tuple(planner.changes), tuple(planner.attachments), tuple(planner.problems))


def _problem(want: Want, message: str) -> Problem:
    return Problem(str(want.device), want.rule.name, message)


class _Planner:
    """A plan in the making, for one instance."""

    def __init__(self, instance: Instance, inside: Inside | None, unsettled: Sequence[Device]) -> None:
        self.changes: list[Change] = []
        self.attachments: list[Attachment] = []
        self.problems: list[Problem] = []
        self._instance = instance
        self._inside = inside
        self._ours = {each.name: each for each in instance.entries.values() if entries.is_ours(each)}
        self._foreign = {
            path: each.name
            for each in (*instance.inherited.values(), *instance.entries.values())
            if each.name not in self._ours and (path := entries.inside_path(each))
        }
        waiting = {
            each.name: each
            for each in self._ours.values()
            if any(device.devnum is not None and entries.is_for(each, device.devnum) for device in unsettled)
        }
        self._kept = set(waiting)
        self._taken = {
            entries.inside_path(each): f"the entry '{name}' of a device that udevd has not processed"
            for name, each in waiting.items()
        }
        self._serials: dict[tuple[str, str], Want] = {}

    def place(self, wanted: Iterable[Want]) -> None:
        """Find what each wanted device needs. Those that are attached go first, then the older."""

        def precedence(want: Want) -> tuple[bool, int, str]:
            slot = want.device.slot
            return (entries.name_for(slot) not in self._ours, entries.age_of(slot), want.device.syspath)

        for want in sorted(wanted, key=precedence):
            name = entries.name_for(want.device.slot)
            actual = self._ours.get(name)
            if message := self._in_the_way(want, name):
                self.problems.append(_problem(want, message))
            elif other := self._foreign.get(want.path):
                self._share(want, actual, other)
            else:
                self._taken[want.path] = f"{want.device} (rule '{want.rule.name}')"
                self._kept.add(name)
                entry = self._wanted_entry(want, actual)
                if isinstance(entry, Problem):
                    self.problems.append(entry)
                    if actual is not None:
                        self._taken[entries.inside_path(actual)] = f"the entry '{name}' of {want.device}"
                elif actual is None:
                    self._change("add", want, entry, "it is not attached")
                else:
                    self._compare(want, entry, actual)

    def clear(self, present: Container[str]) -> None:
        """Take out what is ours and has no reason to be here."""
        for each in self._ours.values():
            if each.name in self._kept:
                continue
            mark = each.config.get(entries.MARK_INSTANCE, "")
            if mark != entries.mark_for(self._instance.id):
                why = f"it was made for {quoted(mark)}, not for this instance"
            elif entries.slot_of(each) in present:
                why = "no rule puts its device here any more"
            else:
                why = "its device is gone"
            device = each.config.get(entries.MARK_NODE) or entries.slot_of(each)
            rule = each.config.get(entries.MARK_RULE, "")
            path = entries.inside_path(each)
            self.changes.append(Change("remove", self._instance.id, each, device, rule, why, frees=path))

    def _change(self, action: Action, want: Want, entry: Entry, why: str, frees: str = "") -> None:
        change = Change(action, self._instance.id, entry, str(want.device), want.rule.name, why, want, frees)
        self.changes.append(change)

    def _in_the_way(self, want: Want, name: str) -> str:
        """Why this device cannot be in this instance, or empty. Notes its serial where it counts."""
        who = self._instance.id
        if self._instance.kind != "container":
            return f"{who} is a virtual machine, and device nodes can go into containers alone"
        if (name in self._instance.entries and name not in self._ours) or name in self._instance.inherited:
            return f"{who} has an entry '{name}' that is not ours (it lacks our marks); remove it by hand"
        if holder := self._taken.get(want.path):
            return f"{want.path} in {who} is taken by {holder}"
        if want.rule.names_serial and want.path not in self._foreign:
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
        message = f"{want.path} in {self._instance.id} belongs to its entry '{other}', which is not ours"
        self.problems.append(_problem(want, message))
        if actual is None or not self._instance.running or entries.inside_path(actual) != want.path:
            return
        seen = self._inside is not None and want.path in self._inside.nodes
        if not seen or self._is_there(want):
            self._kept.add(actual.name)
            self.attachments.append(Attachment(want, actual, verified=seen))

    def _is_there(self, want: Want) -> bool:
        node = self._inside.nodes.get(want.path) if self._inside is not None else None
        return node is not None and node.devnum == want.device.devnum

    def _wanted_entry(self, want: Want, actual: Entry | None) -> Entry | Problem:
        """The entry as it should be, or why it cannot be written yet: a user or group in it has no number."""
        device, attach, inside = want.device, want.attach, self._inside
        assert device.devnum is not None
        first, second = entries.slot_links(device.slot)
        source = second if actual is not None and actual.config.get("source") == second else first
        config = {
            "type": entries.TYPES[device.devnum.kind],
            "source": source,
            "path": want.path,
            # A required device that is absent keeps the instance from starting.
            "required": "false",
            entries.MARK_VERSION: entries.VERSION,
            entries.MARK_INSTANCE: entries.mark_for(want.instance),
            entries.MARK_DEVICE: identity(device),
            entries.MARK_NODE: device.node,
            entries.MARK_RULE: want.rule.name,
        }
        if attach.mode is not None:
            config["mode"] = attach.mode
        for key, number, who, known in (
            ("uid", attach.uid, attach.user, inside.users if inside else {}),
            ("gid", attach.gid, attach.group, inside.groups if inside else {}),
        ):
            if number is not None:
                config[key] = str(number)
            elif who is not None:
                found = known.get(who)
                if found is not None:
                    config[key] = str(found)
                elif actual is not None and key in actual.config and who not in known:
                    config[key] = actual.config[key]
                else:
                    return _problem(want, _no_such(key, who, self._instance, known=who in known))
        return Entry(entries.name_for(device.slot), config)

    def _compare(self, want: Want, wanted: Entry, actual: Entry) -> None:
        """Set the wanted entry against the actual one, and against what was seen inside."""
        inside = self._inside if self._instance.running else None
        if keys := entries.differing(actual, wanted):
            before = entries.inside_path(actual)
            why = f"its entry differs in {', '.join(map(quoted, keys))}"
            self._change("update", want, wanted, why, frees=before if before != want.path else "")
        elif inside is None or inside.error or want.path not in inside.nodes:
            self.attachments.append(Attachment(want, actual, None if inside is None else False))
        elif not self._is_there(want):
            first, second = entries.slot_links(want.device.slot)
            source = first if actual.config["source"] == second else second
            node = inside.nodes[want.path]
            seen = _seen(node.devnum if node else None, missing=node is None)
            why = f"inside, {want.path} is {seen}, not {want.device.devnum}"
            self._change("repair", want, Entry(actual.name, {**wanted.config, "source": source}), why)
        else:
            message = _wrong_mode(want, inside)
            if message:
                self.problems.append(_problem(want, message))
            self.attachments.append(Attachment(want, actual, verified=not message))


def _no_such(key: str, who: str, instance: Instance, *, known: bool) -> str:
    what, file = ("user", "/etc/passwd") if key == "uid" else ("group", "/etc/group")
    if known:
        return (
            f"{instance.id} has no {what} '{who}' in its {file}; make one there, or use `{key}` in the rule"
        )
    when = "could not be looked up yet" if instance.running else "is looked up when the instance runs"
    return f"{what} '{who}' of {instance.id} {when}"


def _wrong_mode(want: Want, inside: Inside) -> str:
    node = inside.nodes[want.path]
    if want.attach.mode is None or node is None or node.mode == int(want.attach.mode, 8):
        return ""
    return (
        f"{want.path} in {want.instance} has mode {node.mode:04o}, the rule says {want.attach.mode}: "
        f"something inside changed it"
    )


def _seen(devnum: Devnum | None, *, missing: bool) -> str:
    return "missing" if missing else str(devnum) if devnum else "no device node"
