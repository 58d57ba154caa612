"""What should be attached, and what has to change. Pure: no I/O, no clock, no state.

    RuleSet x Device             -> Wants     `wants`: where one device should go
    Wants x Instance x Inside    -> Plan      `plan_instance`: what has to change in one instance

An instance's plan depends on that instance and the devices that should be in it alone, so one event costs
one small plan. The daemon, `hotplugd plan`, `hotplugd explain` and the tests all call these two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from hotplugd import entry as entries
from hotplugd.model import (
    Device,
    Devnum,
    Entry,
    Inside,
    Instance,
    InstanceName,
    is_instance_name,
    is_reserved_path,
    quoted,
)
from hotplugd.rules import Attach, Rule, RuleSet, TemplateError, render, values

Action = Literal["add", "update", "repair", "remove"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something that a rule asks for is not so. `device` and `rule` may be empty where none is concerned.

    guard  a guard rail did its work: `explain` says so, but nobody has to act
    """

    device: str
    rule: str
    message: str
    guard: bool = False


@dataclass(frozen=True, slots=True)
class Want:
    """One device that should be in one instance, and where and how."""

    device: Device
    rule: Rule
    attach: Attach
    instance: InstanceName
    path: str


@dataclass(frozen=True, slots=True)
class Wants:
    """Where a device should go, by the rule that takes it (None: no rule does), and what is in the way."""

    device: Device
    rule: Rule | None = None
    wants: tuple[Want, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do to one instance's entries. For `remove` the entry is the one that goes."""

    action: Action
    instance: InstanceName
    entry: Entry
    device: str
    rule: str
    why: str
    want: Want | None = None


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


def identity(device: Device) -> str:
    """What stays of a device when it is enumerated again: its serial, or its port, or its path, or its name.

    Serials of one repeated character ("0000000000") are what makers write who number nothing.
    """
    serial = next(iter(values(device, "serial")), "")
    if len(set(serial)) > 1:
        return f"serial:{quoted(serial)}"
    for key in ("port", "path", "kernel"):
        for value in values(device, key):
            return f"{key}:{quoted(value)}"
    return f"syspath:{device.syspath}"


# --- where one device should go -------------------------------------------------------------------------


_PATH: Final = re.compile(r"/dev(/[A-Za-z0-9_:+@,=-]+)+", re.ASCII)


def wants(rules: RuleSet, device: Device) -> Wants:
    """Where `device` should go by the first rule that matches, and what that asks and cannot have."""
    rule = rules.decide(device)
    if rule is None or rule.attach is None:
        return Wants(device, rule)
    attach = rule.attach

    def problem(message: str, *, guard: bool = False) -> Wants:
        return Wants(device, rule, (), (Problem(str(device), rule.name, message, guard),))

    if not attach.force and (held := guard_rail(device)):
        return problem(f"{held}; `force: true` in the rule attaches it all the same", guard=is_hub(device))
    if device.devnum is None or not device.slot:
        return problem("it has no device node, and only devices with a node can be attached so far")
    try:
        path = render(attach.path, device) if attach.path else device.node
        names = list(dict.fromkeys(render(to, device) for to in attach.to))
    except TemplateError as error:
        return problem(str(error))
    if message := _bad_path(device, path, given=attach.path is not None):
        return problem(message)
    problems = [
        Problem(
            str(device),
            rule.name,
            f"'{quoted(name)}' is no legal instance name "
            f"(1 to 63 letters, digits and dashes, a letter first and no dash last)",
        )
        for name in names
        if not is_instance_name(name)
    ]
    found = [
        Want(device, rule, attach, InstanceName(attach.project, name), path)
        for name in names
        if is_instance_name(name)
    ]
    return Wants(device, rule, tuple(found), tuple(problems))


def is_hub(device: Device) -> bool:
    """Whether it is a USB hub, by its own class or an interface's (USB class code 09)."""
    if not device.is_usb_device:
        return False
    interfaces = device.properties.get("ID_USB_INTERFACES", "")
    return device.attrs.get("bDeviceClass") == "09" or ":0900" in interfaces


def guard_rail(device: Device) -> str:
    """Why this device is better left to the host, or empty."""
    if is_hub(device):
        return "it is a USB hub, through which the host reaches other devices"
    if device.in_use:
        return f"the host uses it: {device.in_use}"
    return ""


def _bad_path(device: Device, path: str, *, given: bool) -> str:
    if given and device.is_usb_device:
        return "a USB device keeps its node's path, where libusb looks for it; take `path` out of the rule"
    if "." in path:
        advice = "give another" if given else "give one with `path`"
        return f"path '{quoted(path)}' has a dot, and the server never removes such nodes; {advice}"
    if not _PATH.fullmatch(path):
        return f"path '{quoted(path)}' is not below /dev in letters, digits and _ : + @ , = -"
    if is_reserved_path(path):
        return f"path '{path}' belongs to every container; give another"
    return ""


# --- what has to change in one instance -----------------------------------------------------------------


@dataclass(slots=True)
class _Draft:
    """A plan in the making, for one instance."""

    changes: list[Change] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, want: Want, message: str) -> None:
        self.problems.append(Problem(str(want.device), want.rule.name, message))


def plan_instance(
    name: InstanceName,
    instance: Instance | None,
    wanted: Iterable[Want],
    inside: Inside | None,
    unsettled: Sequence[Device] = (),
) -> Plan:
    """What has to change in one instance.

    instance   as the server has it now; None where there is none of that name
    wanted     what should be in it
    inside     what was seen in it since the last change; None where nothing was
    unsettled  devices that exist and that udevd has not processed (yet, or any more): an entry for one of
               them stays as it is until udevd says what the device is
    """
    draft = _Draft()
    if instance is None or not instance.here:
        for want in wanted:
            if instance is None:
                draft.problem(want, f"there is no instance '{name.name}' in project '{name.project}'")
        return Plan(problems=tuple(draft.problems))
    ours = {each.name: each for each in instance.entries.values() if entries.is_ours(each)}
    foreign = {
        path: each.name
        for each in (*instance.inherited.values(), *instance.entries.values())
        if each.name not in ours and (path := entries.inside_path(each))
    }
    waiting = {
        each.name: each
        for each in ours.values()
        if any(device.devnum is not None and entries.is_for(each, device.devnum) for device in unsettled)
    }
    taken: dict[str, str] = {
        entries.inside_path(each): f"the entry '{name}' of a device that udevd has not processed"
        for name, each in waiting.items()
    }
    serials: dict[tuple[str, str], Want] = {}
    kept: set[str] = set()

    def precedence(want: Want) -> tuple[bool, int, str]:
        slot = want.device.slot
        return (entries.name_for(slot) not in ours, entries.age_of(slot), want.device.syspath)

    for want in sorted(wanted, key=precedence):
        message = _in_the_way(want, instance, ours, foreign, taken, serials)
        if message:
            draft.problem(want, message)
            continue
        taken[want.path] = f"{want.device} (rule '{want.rule.name}')"
        entry = _wanted_entry(want, ours.get(entries.name_for(want.device.slot)), inside, instance, draft)
        kept.add(entries.name_for(want.device.slot))
        if entry is not None:
            _compare(want, entry, ours.get(entry.name), inside if instance.running else None, draft)
    for each in ours.values():
        if each.name in kept or each.name in waiting:
            continue
        mark = each.config.get(entries.MARK_INSTANCE, "")
        why = (
            "no rule puts its device here"
            if mark == entries.mark_for(name)
            else f"it was made for {quoted(mark)}, not for this instance"
        )
        device = each.config.get(entries.MARK_DEVICE) or entries.slot_of(each)
        draft.changes.append(
            Change("remove", name, each, device, each.config.get(entries.MARK_RULE, ""), why)
        )
    return Plan(tuple(draft.changes), tuple(draft.attachments), tuple(draft.problems))


def _in_the_way(
    want: Want,
    instance: Instance,
    ours: Mapping[str, Entry],
    foreign: Mapping[str, str],
    taken: Mapping[str, str],
    serials: dict[tuple[str, str], Want],
) -> str:
    """Why this device cannot be in this instance, or empty. Notes its serial where the rule relies on it."""
    name = entries.name_for(want.device.slot)
    if instance.kind != "container":
        return f"{instance.id} is a virtual machine, and device nodes can go into containers alone"
    if (name in instance.entries and name not in ours) or name in instance.inherited:
        return f"{instance.id} has an entry '{name}' that is not ours (it lacks our marks); remove it by hand"
    if other := foreign.get(want.path):
        return f"{want.path} in {instance.id} belongs to its entry '{other}', which is not ours"
    if holder := taken.get(want.path):
        return f"{want.path} in {instance.id} is taken by {holder}"
    if want.rule.names_serial:
        anchor = want.device.usb or want.device
        for serial in values(want.device, "serial")[:1]:
            first = serials.setdefault((want.rule.name, serial), want)
            there = first.device.usb or first.device
            if there.syspath != anchor.syspath:
                return (
                    f"it has the same serial '{quoted(serial)}' as {first.device}, "
                    f"which is in {instance.id} already; tell them apart with `port`"
                )
    return ""


def _wanted_entry(
    want: Want, actual: Entry | None, inside: Inside | None, instance: Instance, draft: _Draft
) -> Entry | None:
    """The entry as it should be, or None (with a problem) while a user or group in it has no number."""
    device, attach = want.device, want.attach
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
                draft.problem(want, _no_such(key, who, instance, known=who in known))
                return None
    return Entry(entries.name_for(device.slot), config)


def _no_such(key: str, who: str, instance: Instance, *, known: bool) -> str:
    what, file = ("user", "/etc/passwd") if key == "uid" else ("group", "/etc/group")
    if known:
        return (
            f"{instance.id} has no {what} '{who}' in its {file}; make one there, or use `{key}` in the rule"
        )
    when = "could not be looked up yet" if instance.running else "is looked up when the instance runs"
    return f"{what} '{who}' of {instance.id} {when}"


def _compare(want: Want, wanted: Entry, actual: Entry | None, inside: Inside | None, draft: _Draft) -> None:
    """Set the wanted entry against the actual one, and against what was seen inside."""

    def change(action: Action, entry: Entry, why: str) -> None:
        draft.changes.append(
            Change(action, want.instance, entry, str(want.device), want.rule.name, why, want)
        )

    if actual is None:
        change("add", wanted, "it is not attached")
    elif not entries.same(actual, wanted):
        keys = sorted(
            key
            for key in actual.config.keys() | wanted.config.keys()
            if actual.config.get(key) != wanted.config.get(key)
        )
        change("update", wanted, f"its entry differs in {', '.join(map(quoted, keys))}")
    elif inside is None or inside.error or want.path not in inside.nodes:
        draft.attachments.append(Attachment(want, actual, None if inside is None else False))
    else:
        node = inside.nodes[want.path]
        if node is None or node.devnum != want.device.devnum:
            first, second = entries.slot_links(want.device.slot)
            source = first if actual.config["source"] == second else second
            change(
                "repair",
                Entry(actual.name, {**wanted.config, "source": source}),
                f"inside, {want.path} is {_seen(node.devnum if node else None, missing=node is None)}, "
                f"not {want.device.devnum}",
            )
        elif want.attach.mode is not None and node.mode != int(want.attach.mode, 8):
            draft.problem(
                want,
                f"{want.path} in {want.instance} has mode {node.mode:04o}, the rule says {want.attach.mode}: "
                f"something inside changed it",
            )
            draft.attachments.append(Attachment(want, actual, verified=False))
        else:
            draft.attachments.append(Attachment(want, actual, verified=True))


def _seen(devnum: Devnum | None, *, missing: bool) -> str:
    return "missing" if missing else str(devnum) if devnum else "no device node"
